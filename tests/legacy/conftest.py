"""Every test of foreign checkpoints runs without gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.legacy.reference import DATA


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of reference files."""
    return DATA


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield
