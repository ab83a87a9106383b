"""A tiny real model with lively latents."""

import pytest
import torch

from figment.nets.checkpoint import Model, save
from figment.nets.registry import build_generator
from tests.conftest import TINY_GENERATOR


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    torch.manual_seed(0)
    g = build_generator(TINY_GENERATOR).eval()
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save(path, Model(g_ema=g, config={"kimg": 1.5, "data": {"pictures": 12}, "licence": "CC0 <test>"}))
    return path


@pytest.fixture(scope="session")
def oblong(tmp_path_factory):
    """A model whose pictures are 8 pixels wide and 16 high."""
    torch.manual_seed(0)
    g = build_generator({**TINY_GENERATOR, "start": (4, 2)}).eval()
    path = tmp_path_factory.mktemp("oblong") / "model.safetensors"
    save(path, Model(g_ema=g))
    return path
