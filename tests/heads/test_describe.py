"""Headness and embeddings of crops."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from figment.base.errors import FigmentError
from figment.heads.describe import Describer
from figment.heads.network import HeadNet, NetConfig, save_net


def noise(seed: int, side: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


def test_crops_of_any_size_get_a_headness_and_a_unit_embedding() -> None:
    describer = Describer.load()
    headness, embedding = describer.describe([noise(0, 40), noise(1, 300).convert("L")])
    assert headness.shape == (2,) and ((headness >= 0) & (headness <= 1)).all()
    assert embedding.shape == (2, 128) and embedding.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-5)


def test_a_crop_is_judged_by_itself() -> None:
    describer, crops = Describer.load(), [noise(seed, 128) for seed in range(3)]
    together = describer.describe(crops)
    for i, crop in enumerate(crops):
        alone = describer.describe([crop])
        np.testing.assert_allclose(alone[0][0], together[0][i], atol=1e-5)
        np.testing.assert_allclose(alone[1][0], together[1][i], atol=1e-5)


def test_no_crops_are_no_rows() -> None:
    headness, embedding = Describer.load().describe([])
    assert headness.shape == (0,) and embedding.shape == (0, 128)


def test_a_file_without_an_embedding_is_named(tmp_path: Path) -> None:
    save_net(tmp_path / "boxes.safetensors", HeadNet(NetConfig((4, 4), (8, 8, 8), 8)), {})
    with pytest.raises(FigmentError, match=r"boxes\.safetensors.*no embedding"):
        Describer.load(tmp_path / "boxes.safetensors")
