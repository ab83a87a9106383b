"""300 of the mutated checkpoints of benchmarks/fuzz_pickles.py: no execution, no crash, one line each."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.mark.slow
def test_mutated_checkpoints(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "fuzz_pickles.py"
    spec = importlib.util.spec_from_file_location("fuzz_pickles", script)
    assert spec is not None and spec.loader is not None
    fuzz = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fuzz)
    counts, failures = fuzz.fuzz(tmp_path, 300, seed=7, largest=340_000)
    assert failures == []
    assert counts["refused in one line"] > 150
    assert counts["loaded"] > 10
