"""`figment info` knows what a path is."""

from pathlib import Path

import numpy as np
import pytest

from figment.base.catalog import Catalog
from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.base.records import Box, Head, Picture
from figment.info import describe
from figment.pack.zips import pack
from figment.train.run import start_training

DATA = Path(__file__).parent / "data"


def test_a_checkpoint_of_torch_is_no_data_set():
    rows = dict(describe(DATA / "luc_tiny_model_1.pt"))
    assert rows["family"] == "lucidrains"


def test_a_heads_folder(tmp_path):
    with Catalog(tmp_path, create=True) as catalog:
        head = Head("a_0.png", Box(0, 0, 9, 9), 0.9, (0, 0, 9, 9))
        catalog.put_picture(Picture("a.png", "1", 20, 20, "heads"), [head])
        catalog.put_picture(Picture("b.png", "1", None, None, "bad", "truncated", "ends early"))
    rows = dict(describe(tmp_path))
    assert rows["pictures"] == "2" and rows["heads"] == "1, 0 kept" and rows["crop:truncated"] == "1"


def test_a_data_set_and_a_run(tmp_path):
    for i in range(3):
        write_png(tmp_path / "in" / f"{i}.png", np.full((16, 16, 3), 40 * i, np.uint8))
    pack(tmp_path / "in", tmp_path / "heads.zip", resolution=16)
    assert dict(describe(tmp_path / "heads.zip"))["pictures"] == "3 of 16x16, 3 channels"
    run = start_training(
        tmp_path / "heads.zip",
        tmp_path / "runs",
        device="cpu",
        channel_base=64,
        z_dim=8,
        w_dim=8,
        batch=2,
        kimg=0.004,
        tick_kimg=0.002,
    )
    rows = dict(describe(run))
    assert rows["trained"] == "0.004 of 0.004 kimg" and rows["family"] == "stylegan2" and rows["latents"] == "z 8, w 8"


def test_a_missing_path_is_one_line(tmp_path):
    with pytest.raises(FigmentError, match="none: does not exist"):
        describe(tmp_path / "none")
