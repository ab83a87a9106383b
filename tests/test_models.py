"""Loading, converting and describing any model by its path."""

from __future__ import annotations

import pytest
import torch

import figment
from figment.base.errors import FigmentError
from figment.info import describe as describe_any
from figment.models import convert, describe
from tests.legacy.reference import DATA

FILES = {
    "sg1_tiny.pkl": ("stylegan1", "NVlabs/stylegan"),
    "sg2_tiny.pkl": ("stylegan2", "NVlabs/stylegan2"),
    "pg_tiny.pkl": ("progan", "tkarras/progressive_growing_of_gans"),
    "ada_tiny.pkl": ("stylegan2", "NVlabs/stylegan2-ada-pytorch"),
    "ada_tiny_cond.pkl": ("stylegan2", "NVlabs/stylegan2-ada-pytorch"),
    "sg3repo_tiny.pkl": ("stylegan2", "NVlabs/stylegan2-ada-pytorch"),
    "sg3t_tiny.pkl": ("stylegan3-t", "NVlabs/stylegan3"),
    "sg3r_tiny.pkl": ("stylegan3-r", "NVlabs/stylegan3"),
    "ros1_tiny.model": ("stylegan1", "rosinality/style-based-gan-pytorch"),
    "ros1_tiny_train_step-4.model": ("stylegan1", "rosinality/style-based-gan-pytorch"),
    "ros2_tiny_000100.pt": ("stylegan2", "rosinality/stylegan2-pytorch"),
    "ros2_tiny_converted.pt": ("stylegan2", "rosinality/stylegan2-pytorch"),
    "luc_tiny_model_1.pt": ("lucidrains", "lucidrains/stylegan2-pytorch"),
    "tfada_tiny.pkl": ("stylegan2", "NVlabs/stylegan2-ada"),
    "tfada_tiny_cond.pkl": ("stylegan2", "NVlabs/stylegan2-ada"),
}


@torch.no_grad()
@pytest.mark.parametrize("name", FILES)
def test_a_round_trip_through_safetensors_is_bit_identical(tmp_path, name):
    out = tmp_path / "model.safetensors"
    before, _ = convert(DATA / name, out)
    after = figment.load(str(out))
    assert after.origin == before.origin == FILES[name][1]
    assert before.networks().keys() == after.networks().keys()
    for part, network in before.networks().items():
        assert network.config == after.networks()[part].config
        assert network.family.name == FILES[name][0]
        assert network.state_dict().keys() == after.networks()[part].state_dict().keys()
        for key, value in after.networks()[part].state_dict().items():
            assert torch.equal(value, network.state_dict()[key]), key
    g, h = before.generator, after.generator
    z = torch.randn(1, g.z_dim)
    if g.family.growth is not None:
        g.lod = h.lod = 4.0
    assert torch.equal(g(z), h(z))


def test_info_describes_a_checkpoint():
    rows = dict(describe(DATA / "ros1_tiny_train_step-4.model"))
    assert rows["origin"] == "rosinality/style-based-gan-pytorch"
    assert rows["family"] == "stylegan1"
    assert rows["pictures"] == "1024x1024 RGB"
    assert rows["layers"] == "18 of style, 8 of mapping"
    assert rows["lod"] == "4: trained up to 64 px so far"
    assert rows["d"] == "discriminator, 26,041 parameters"
    assert rows["dropped"] == "g_optimizer, d_optimizer"
    assert dict(describe(DATA / "ada_tiny_cond.pkl"))["labels"] == "5"


def test_a_model_file_must_end_in_safetensors(tmp_path):
    with pytest.raises(FigmentError, match=r"must end in \.safetensors"):
        convert(DATA / "ada_tiny.pkl", tmp_path / "net.pt")


def test_unknown_targets_are_refused(tmp_path):
    with pytest.raises(FigmentError, match="--to caffe: must be one of figment, rosinality"):
        convert(DATA / "ada_tiny.pkl", tmp_path / "net.pt", to="caffe")


def test_the_content_decides_and_not_the_ending(tmp_path):
    convert(DATA / "ada_tiny.pkl", tmp_path / "own.safetensors")
    renamed = {
        "really_figments.ckpt": tmp_path / "own.safetensors",
        "really_figments.pkl": tmp_path / "own.safetensors",
        "really_a_pt.safetensors": DATA / "ros2_tiny_converted.pt",
        "really_a_pickle.safetensors": DATA / "ada_tiny.pkl",
        "no_ending": DATA / "sg1_tiny.pkl",
        "really_a_pickle.zip": DATA / "sg2_tiny.pkl",
    }
    for name, source in renamed.items():
        (tmp_path / name).write_bytes(source.read_bytes())
        before, after = figment.load(str(source)), figment.load(str(tmp_path / name))
        assert torch.equal(after.generator.w_avg, before.generator.w_avg)
        assert dict(describe_any(tmp_path / name))["origin"] == before.origin


def test_a_cut_model_file_is_damaged_under_any_name(tmp_path):
    convert(DATA / "ada_tiny.pkl", tmp_path / "own.safetensors")
    for name in ("cut.safetensors", "cut.pkl"):
        for size in (500, 30_000):
            (tmp_path / name).write_bytes((tmp_path / "own.safetensors").read_bytes()[:size])
            with pytest.raises(FigmentError, match=rf"{name}: a damaged model file"):
                figment.load(str(tmp_path / name))


def test_info_names_what_was_dropped_from_a_file(tmp_path):
    value = torch.load(DATA / "ros2_tiny_converted.pt", weights_only=True)
    table = {name: tensor for name, tensor in value["g_ema"].items() if not name.startswith("noises.")}
    torch.save({**value, "g_ema": table, "iter": 3}, tmp_path / "550000.pt")
    rows = dict(describe(tmp_path / "550000.pt"))
    assert rows["dropped"] == "iter"
    assert rows["notes"] == "noise maps are drawn with seed 0: the file has none"
