"""Small sets of pictures as zips and folders, a tiny model, and runs with scores."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from figment.base.pixels import write_png
from figment.nets.checkpoint import Model, save
from figment.nets.registry import build_discriminator, build_generator
from figment.pack.zips import pack
from figment.train.config import projected_settings
from tests.conftest import TINY_GENERATOR


def blobs(seed, side=16):
    """A few soft blobs of colour, uint8 [H, W, 3]."""
    cells = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return np.asarray(Image.fromarray(cells).resize((side, side), Image.Resampling.BICUBIC))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Folder with 24 pictures, `real`, another with 12, `fake`, and real.zip."""
    folder = tmp_path_factory.mktemp("score")
    for i in range(24):
        write_png(folder / "real" / f"{i:02d}.png", blobs(i))
    for i in range(12):
        write_png(folder / "fake" / f"{i:02d}.png", blobs(100 + i))
    pack(folder / "real", folder / "real.zip", resolution=16)
    return folder


@pytest.fixture(scope="session")
def generator():
    torch.manual_seed(0)
    return build_generator(TINY_GENERATOR).eval()


@pytest.fixture(scope="session")
def model(tmp_path_factory, generator):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save(path, Model(g_ema=generator, config={"kimg": 1.5}))
    return path


@pytest.fixture(scope="session")
def projected_model(tmp_path_factory):
    """A model whose discriminator looked through the head detector's features."""
    torch.manual_seed(0)
    settings = TINY_GENERATOR | {"resolution": 32}
    d = build_discriminator(projected_settings(settings, None))
    path = tmp_path_factory.mktemp("projected") / "model.safetensors"
    save(path, Model(g_ema=build_generator(settings).eval(), d=d, config={"kimg": 3.0}))
    return path


@pytest.fixture
def make_run(tmp_path, pictures, generator):
    """A function that makes a run's folder: its model, its configuration and, if asked, a curve."""

    def make(name, curve=(), **terms):
        run = tmp_path / "runs" / name
        run.mkdir(parents=True)
        (run / "config.json").write_text(json.dumps({"data": str(pictures / "real.zip")}))
        save(run / "model.safetensors", Model(g_ema=generator, config={"kimg": 2.0}))
        rows = [
            {
                "kimg": float(i),
                "distance": value,
                "smooth": value,
                "label": "FD-heads",
                "images": 10,
                "reference": "abc",
                **terms,
            }
            for i, value in enumerate(curve)
        ]
        if rows:
            (run / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return run

    return make
