"""Model files: bit for bit, whole or not at all, and every damage in one line."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from figment.base.errors import FigmentError
from figment.models import load
from figment.nets.checkpoint import METADATA_KEY, Model, fill_generator, read_record, save
from figment.nets.registry import build_discriminator, build_generator

CONFIG = {"family": "stylegan2", "resolution": 8, "channel_base": 32, "channel_max": 8}


def model() -> Model:
    torch.manual_seed(0)
    g = build_generator(CONFIG | {"z_dim": 8, "w_dim": 8, "map_depth": 1})
    return Model(g_ema=g, d=build_discriminator(CONFIG), config={"kimg": 3.5}, origin="somewhere")


def test_a_round_trip_is_bit_identical(tmp_path):
    before = model()
    save(tmp_path / "m.safetensors", before, licence="MIT")
    after = load(tmp_path / "m.safetensors")
    assert after.origin == "somewhere" and after.config["kimg"] == 3.5 and after.config["licence"] == "MIT"
    assert after.g is None and not any(p.requires_grad for p in after.g_ema.parameters())
    for name in ("g_ema", "d"):
        old, new = getattr(before, name).state_dict(), getattr(after, name).state_dict()
        assert old.keys() == new.keys() and all(torch.equal(old[key], new[key]) for key in old)
    save(tmp_path / "again.safetensors", after)
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "m.safetensors").read_bytes()


def test_half_precision_halves_the_file_and_rounds_weights_only(tmp_path):
    before = model()
    save(tmp_path / "whole.safetensors", before)
    save(tmp_path / "half.safetensors", before, half=True)
    sizes = [sum(t.nbytes for t in load_file(tmp_path / f"{name}.safetensors").values()) for name in ("whole", "half")]
    assert sizes[1] == sizes[0] / 2
    after = load(tmp_path / "half.safetensors")
    for name in ("g_ema", "d"):
        old, new = getattr(before, name).state_dict(), getattr(after, name).state_dict()
        assert all(new[key].dtype == torch.float32 and torch.equal(new[key], old[key].half().float()) for key in old)


def test_half_precision_refuses_values_that_would_get_infinite(tmp_path):
    large = model()
    with torch.no_grad():
        large.g_ema.const[0, 0, 0] = 1e6
    with pytest.raises(FigmentError, match=r"g_ema\.const: holds values above 65504"):
        save(tmp_path / "m.safetensors", large, half=True)
    assert not list(tmp_path.iterdir())


def test_missing_left_over_and_misshapen_weights_are_listed():
    g = model().g_ema
    tensors = dict(g.state_dict())
    del tensors["w_avg"]
    tensors["extra"] = torch.zeros(1)
    tensors["const"] = torch.zeros(2)
    with pytest.raises(FigmentError, match=r"missing w_avg, left over extra, const is \[2\] and not \[8, 4, 4\]"):
        fill_generator(g.settings(), tensors)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"format": 99, "origin": "x", "config": {}}, "written by a newer figment"),
        ({"format": 1, "origin": 3, "config": {}}, "damaged metadata"),
        ([], "damaged metadata"),
    ],
)
def test_records_that_do_not_fit_are_one_line(tmp_path, record, message):
    path = tmp_path / "m.safetensors"
    save_file({"g_ema.x": torch.zeros(1)}, path, metadata={METADATA_KEY: json.dumps(record)})
    with pytest.raises(FigmentError, match=message):
        read_record(path)


def test_other_files_are_one_line(tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(FigmentError, match="not one that figment wrote"):
        load(path)
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(FigmentError, match="a damaged model file"):
        load(path)
    with pytest.raises(FigmentError, match=r"a folder without model\.safetensors"):
        load(tmp_path)
    with pytest.raises(FigmentError, match="needs at least one network"):
        save(path, Model())


def test_a_family_nobody_knows_is_one_line():
    with pytest.raises(FigmentError, match="family 'vqgan': must be one of stylegan2, stylegan1, progan, lucidrains"):
        build_generator({"family": "vqgan"})
    with pytest.raises(FigmentError, match="stylegan2 generator: .*depth"):
        build_generator({"family": "stylegan2", "depth": 3})
