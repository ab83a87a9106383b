import numpy as np
import pytest
import torch

from figment.base.errors import FigmentError
from figment.draw import export as exporting
from figment.models import load
from figment.nets.checkpoint import Model, save
from figment.nets.registry import build_generator

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

SMALL = {"resolution": 8, "channel_base": 64, "channel_max": 8, "z_dim": 8}
FAMILIES = {
    "stylegan2": {**SMALL, "family": "stylegan2", "w_dim": 8, "map_depth": 1, "channels": 4, "c_dim": 3},
    "stylegan1": {**SMALL, "family": "stylegan1", "w_dim": 8, "map_depth": 1, "channels": 1, "lod": 0.5},
    "progan": {**SMALL, "family": "progan", "channels": 3},
    "stylegan3-r": {**SMALL, "family": "stylegan3-r", "resolution": 16, "w_dim": 8},
    "lucidrains": {"family": "lucidrains", "resolution": 8, "z_dim": 8, "widths": [8, 8], "map_depth": 1},
}


def lively(config):
    """A network whose noise, biases, mean and constant are not what they are before training: zero, or flat."""
    torch.manual_seed(1)
    g = build_generator(config).eval()
    with torch.no_grad():
        for name, value in g.named_parameters():
            if "noise" in name or "bias" in name:
                value += 0.1 * torch.randn_like(value)
            if name == "const":
                value += torch.randn_like(value)
        if "w_avg" in dict(g.named_buffers()):
            g.w_avg += torch.randn_like(g.w_avg)
    return g


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "net.safetensors"
    save(path, Model(g_ema=lively(FAMILIES["progan"]), config={"licence": "CC0"}))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_draws_in_onnx_what_it_draws_in_pytorch(family):
    g = lively(FAMILIES[family])
    split = family == "progan"
    graphs = exporting.to_onnx(g, {}, split=split)
    assert list(graphs) == (["mapping", "synthesis"] if split else ["whole"])
    z = np.random.RandomState(5).randn(3, 8).astype(np.float32)
    with torch.inference_mode():
        wanted = g(torch.from_numpy(z), truncation_psi=0.4).numpy()
    assert wanted.std() > 0.01
    assert np.abs(exporting.Runner(graphs)(z, 0.4) - wanted).max() < 1e-3
    assert exporting.compare(g, graphs, exporting.LIMIT) < 1e-3


def test_the_file_says_what_it_is_and_half_of_it_is_enough(file, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "SMALL", 16)
    whole = exporting.export(file, tmp_path / "net.onnx")
    assert whole.files == (tmp_path / "net.onnx",) and whole.difference < 1e-3
    proto = onnx.load(tmp_path / "net.onnx")
    notes = {prop.key: prop.value for prop in proto.metadata_props}
    assert (notes["family"], notes["resolution"], notes["licence"]) == ("progan", "8", "CC0")
    assert str(tmp_path).encode() not in (tmp_path / "net.onnx").read_bytes()
    assert b"/site-packages/" not in (tmp_path / "net.onnx").read_bytes()

    # The same graph with weights of 16 bits: smaller, and two steps of 255 away at most.
    before = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    exporting.store_half(proto)
    onnx.checker.check_model(proto)
    assert sum(len(tensor.raw_data) for tensor in proto.graph.initializer) < 0.6 * before
    gap = exporting.compare(load(file).generator, {"whole": proto.SerializeToString()}, exporting.HALF_LIMIT)
    assert 0 < gap < exporting.HALF_LIMIT


def test_a_file_that_differs_is_not_left_behind(file, tmp_path, monkeypatch):
    def wrong(*_, **__):
        proto = onnx.helper.make_model(
            onnx.helper.make_graph(
                [onnx.helper.make_node("Constant", [], ["rgb"], value_floats=[0.5])],
                "wrong",
                [
                    onnx.helper.make_tensor_value_info("z", 1, ["n", 8]),
                    onnx.helper.make_tensor_value_info("psi", 1, []),
                ],
                [onnx.helper.make_tensor_value_info("rgb", 1, [1])],
            ),
            opset_imports=[onnx.helper.make_opsetid("", 18)],
            ir_version=10,
        )
        return {"whole": proto.SerializeToString()}

    monkeypatch.setattr(exporting, "to_onnx", wrong)
    with pytest.raises(FigmentError, match=r"differs from PyTorch by up to .*nothing was written"):
        exporting.export(file, tmp_path / "net.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_mistakes_are_told(file, tmp_path, monkeypatch):
    with pytest.raises(FigmentError, match=r"--output .*must end in \.onnx"):
        exporting.export(file, tmp_path / "net.pb")
    monkeypatch.setattr(exporting, "MAX_BYTES", 1000)
    with pytest.raises(FigmentError, match=r"GB of weights; an ONNX file holds .*--half"):
        exporting.export(file, tmp_path / "net.onnx")
