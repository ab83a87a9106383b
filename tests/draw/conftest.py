"""A tiny real model with lively latents."""

import pytest
import torch

from figment.nets.checkpoint import Model, save
from figment.nets.registry import build_generator

CONFIG = {
    "family": "stylegan2",
    "resolution": 16,
    "channels": 3,
    "channel_base": 128,
    "channel_max": 16,
    "z_dim": 8,
    "w_dim": 8,
    "map_depth": 2,
}


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    torch.manual_seed(0)
    g = build_generator(CONFIG).eval()
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save(path, Model(g_ema=g, config={"kimg": 1.5, "data": {"pictures": 12}, "licence": "CC0 <test>"}))
    return path
