"""Reference files and comparisons with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parents[1] / "data"


def close(ours: torch.Tensor, theirs: np.ndarray, relative: float = 1e-4) -> None:
    """Assert that no number differs by more than `relative` times the largest one."""
    found = ours.detach().numpy()
    assert found.shape == theirs.shape
    assert np.abs(found - theirs).max() <= relative * np.abs(theirs).max()


def arrays(name: str) -> dict[str, np.ndarray]:
    """Return the reference arrays in `name`.npz."""
    with np.load(DATA / f"{name}.npz") as loaded:
        return dict(loaded)


def tensor(array: np.ndarray) -> torch.Tensor:
    """Return `array` as a tensor."""
    return torch.from_numpy(array)
