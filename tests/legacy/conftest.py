"""Fixtures: the folder of reference files; no gradients."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.legacy.reference import DATA


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of reference files."""
    return DATA


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield
