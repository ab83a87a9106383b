"""Snapshots for NVIDIA's programs: they hold the same weights, and draw the same pictures without figment."""

from __future__ import annotations

import io
import pickle
import pickletools
import types

import pytest
import torch

from figment.base.errors import FigmentError
from figment.legacy.formats import load
from figment.legacy.nvidia import write
from figment.models import convert
from figment.nets.checkpoint import Model, save
from figment.nets.registry import build_discriminator, build_generator
from tests.legacy.reference import tensor

SNAPSHOTS = ["sg3t_tiny.pkl", "sg3r_tiny.pkl", "ada_tiny.pkl", "ada_tiny_cond.pkl", "sg3repo_tiny.pkl"]


def run_by_its_program(path):
    """Return the snapshot as `torch_utils.persistence` makes it: by running the source that it holds."""
    sources: dict[str, types.ModuleType] = {}

    def reconstruct(meta):
        assert (meta["type"], meta["version"]) == ("class", 6)
        source = meta["module_src"]
        if source not in sources:
            sources[source] = types.ModuleType("source")
            exec(source, sources[source].__dict__)
        made = object.__new__(vars(sources[source])[meta["class_name"]])
        made.__setstate__(meta["state"])
        return made

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            if module == "torch_utils.persistence":
                return reconstruct
            assert module.partition(".")[0] in ("torch", "collections", "builtins"), module
            return super().find_class(module, name)

    snapshot = Unpickler(io.BytesIO(path.read_bytes())).load()
    assert len(sources) == 1
    return snapshot


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_a_round_trip_keeps_every_bit(data, tmp_path, name):
    before = load(data / name)
    assert write(tmp_path / "net.pkl", before) == []
    after = load(tmp_path / "net.pkl")
    assert after.origin == before.origin
    assert before.networks().keys() == after.networks().keys() == {"g", "g_ema", "d"}
    for key, network in before.networks().items():
        assert after.networks()[key].settings() == network.settings()
        for weight, value in network.state_dict().items():
            assert torch.equal(after.networks()[key].state_dict()[weight], value), (key, weight)


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_its_own_source_draws_and_scores_alike(data, tmp_path, name):
    model = load(data / name)
    write(tmp_path / "net.pkl", model)
    snapshot = run_by_its_program(tmp_path / "net.pkl")
    torch.manual_seed(0)
    z, c = torch.randn(4, 16), torch.eye(5)[:4] if model.d.c_dim else torch.zeros(4, 0)
    labels = c if model.d.c_dim else None
    for key, ours in (("G", model.g), ("G_ema", model.g_ema)):
        theirs = snapshot[key]
        w = ours.mapping(z, labels, truncation_psi=0.6, truncation_cutoff=5)
        torch.testing.assert_close(theirs.mapping(z, c, truncation_psi=0.6, truncation_cutoff=5), w)
        images = ours.synthesis(w)
        found = theirs.synthesis(w, noise_mode="const", force_fp32=True)
        torch.testing.assert_close(found, images, rtol=1e-4, atol=1e-4 * float(images.abs().max()))
        torch.testing.assert_close(theirs(z, c, noise_mode="none"), ours(z, labels, noise="none"), rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(snapshot["D"](images, c), model.d(images, labels), rtol=1e-4, atol=1e-4)
        assert (theirs.img_resolution, theirs.num_ws) == (32, ours.num_layers)


@pytest.mark.parametrize("name", ["sg3t_tiny.pkl", "sg3repo_tiny.pkl"])
def test_magnitudes_and_means_move_if_a_program_trains_on(data, tmp_path, name):
    write(tmp_path / "net.pkl", load(data / name))
    g = run_by_its_program(tmp_path / "net.pkl")["G"]
    before = {key: value.clone() for key, value in g.named_buffers()}
    g(torch.randn(2, 16), torch.zeros(2, 0), update_emas=True)
    moved = {key.rpartition(".")[2] for key, value in g.named_buffers() if not torch.equal(value, before[key])}
    assert moved == ({"w_avg", "magnitude_ema"} if "sg3t" in name else {"w_avg"})


def test_the_users_transform_is_written(data, tmp_path):
    model = load(data / "sg3r_tiny.pkl")
    model.g_ema.move(degrees=30)
    write(tmp_path / "net.pkl", model)
    theirs, z = run_by_its_program(tmp_path / "net.pkl")["G_ema"], torch.randn(1, 16)
    torch.testing.assert_close(theirs(z, torch.zeros(1, 0)), model.g_ema(z), rtol=1e-4, atol=1e-4)


def test_oblong_gray_networks_of_any_width(tmp_path):
    settings = {"family": "stylegan2", "resolution": 16, "start": [4, 2], "channels": 1, "widths": [6, 9, 4]}
    g = build_generator({**settings, "z_dim": 8, "w_dim": 8, "map_depth": 2})
    d = build_discriminator({**settings, "mbstd_group": 0, "mbstd_channels": 2, "widths": [6, 9, 4]})
    write(tmp_path / "net.pkl", Model(g_ema=g, d=d))
    after, z = load(tmp_path / "net.pkl"), torch.randn(3, 8)
    images = g(z)
    assert torch.equal(after.g_ema(z), images)
    assert torch.equal(after.d(images), d(images))
    snapshot = run_by_its_program(tmp_path / "net.pkl")
    torch.testing.assert_close(snapshot["D"](images, torch.zeros(3, 0)), d(images), rtol=1e-4, atol=1e-4)


def test_what_is_missing_is_said(data, tmp_path):
    before = load(data / "ada_tiny.pkl")
    lines = write(tmp_path / "net.pkl", Model(g_ema=before.g_ema))
    assert lines == ["no discriminator: a program that trains on from this file starts with a new one"]
    assert load(tmp_path / "net.pkl").networks().keys() == {"g_ema"}
    snapshot = run_by_its_program(tmp_path / "net.pkl")
    assert snapshot["G"] is snapshot["G_ema"]
    with pytest.raises(RuntimeError, match="no discriminator"):
        snapshot["D"](torch.zeros(1, 3, 32, 32), None)


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"family": "progan"}, "family=progan"),
        ({"family": "stylegan2", "normalize_z": False}, "normalize_z=False"),
        ({"family": "stylegan2", "map_norm": "joint", "c_dim": 3}, "map_norm=joint"),
    ],
)
def test_networks_without_an_equivalent_are_refused(tmp_path, settings, wrong):
    g = build_generator({"resolution": 16, "channel_base": 64, **settings})
    with pytest.raises(FigmentError, match=f"those programs do not support a network with {wrong}"):
        write(tmp_path / "net.pkl", Model(g_ema=g))
    assert not (tmp_path / "net.pkl").exists()


def test_the_command_writes_it_and_asks_for_the_ending(data, tmp_path):
    model = load(data / "ada_tiny.pkl")
    save(tmp_path / "model.safetensors", model)
    convert(tmp_path / "model.safetensors", tmp_path / "net.pkl", "nvidia")
    z = tensor(torch.randn(2, 16).numpy())
    assert torch.equal(load(tmp_path / "net.pkl").g_ema(z), model.g_ema(z))
    with pytest.raises(FigmentError, match=r"-o .*net.pt: must end in .pkl"):
        convert(tmp_path / "model.safetensors", tmp_path / "net.pt", "nvidia")


@pytest.mark.parametrize(("name", "to"), [("net.pkl", "nvidia"), ("net.pt", "rosinality"), ("net.safetensors", None)])
def test_a_checkpoint_is_never_written_over_itself(data, tmp_path, name, to):
    save(tmp_path / name, load(data / "ada_tiny.pkl"))
    before = (tmp_path / name).read_bytes()
    with pytest.raises(FigmentError, match=f"would overwrite FILE .*{name}"):
        convert(tmp_path / name, tmp_path / name, to)
    assert (tmp_path / name).read_bytes() == before


def test_the_pickle_names_one_function_of_those_programs(data, tmp_path):
    write(tmp_path / "net.pkl", load(data / "sg3t_tiny.pkl"))
    names = {
        argument
        for opcode, argument, _ in pickletools.genops((tmp_path / "net.pkl").read_bytes())
        if opcode.name == "GLOBAL"
    }
    assert "torch_utils.persistence _reconstruct_persistent_obj" in names
    assert not any("figment" in name for name in names)
