"""Check that images read ahead from disk equal images held in memory."""

import numpy as np
import pytest
import torch

from figment.base.pixels import write_png
from figment.pack import readahead
from figment.pack.dataset import ImageDataset
from figment.pack.readahead import ReadAhead, hold_images
from figment.pack.zips import pack

CPU = torch.device("cpu")


@pytest.fixture
def path(tmp_path):
    for i in range(12):
        write_png(tmp_path / "in" / f"{i:02d}.png", np.full((16, 16, 3), i, np.uint8))
    pack(tmp_path / "in", tmp_path / "a.zip", resolution=16)
    return tmp_path / "a.zip"


def test_the_same_pictures_in_the_asked_order(path):
    held = hold_images(ImageDataset(path), CPU)
    ahead = hold_images(ImageDataset(path, hold=False), CPU)
    assert isinstance(ahead, ReadAhead) and isinstance(held, torch.Tensor)
    asked = torch.tensor([7, 3, 3, 11])
    assert torch.equal(ahead[asked], held[asked]) and len(ahead) == len(held)


def test_expected_pictures_are_read_before_they_are_asked_for(path, monkeypatch):
    dataset = ImageDataset(path, hold=False)
    ahead = ReadAhead(dataset, workers=1)
    ahead.expect([1, 2])
    ahead.wait()
    monkeypatch.setattr(dataset, "read", lambda index: pytest.fail("read too late"))
    assert ahead[torch.tensor([2, 1])][:, 0, 0, 0].tolist() == [2, 1]


def test_what_is_not_expected_any_more_is_forgotten(path):
    ahead = ReadAhead(ImageDataset(path, hold=False))
    ahead.expect([1, 2, 3])
    ahead.expect([3, 4])
    assert ahead.expected == {3, 4}
    assert readahead.WORKERS > 1
