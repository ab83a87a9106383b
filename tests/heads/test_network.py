"""The detector's network and its file."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from figment.base.errors import FigmentError
from figment.heads.network import CROP, SHIPPED, HeadNet, NetConfig, fold_norms, grow, load_net, save_net

TINY = NetConfig(stem=(4, 4), stages=(8, 8, 8), top=8)


def make_net() -> HeadNet:
    torch.manual_seed(0)
    net = HeadNet(TINY)
    net.train()
    for _ in range(3):  # move the statistics away from where they start
        net(torch.randn(4, 3, 64, 64))
    return net.eval()


@torch.no_grad()
def test_shapes_at_every_stride() -> None:
    levels = make_net()(torch.zeros(2, 3, 64, 96))
    assert [level.stride for level in levels] == [8, 16, 32]
    assert [tuple(level.heat.shape) for level in levels] == [(2, 8, 12), (2, 4, 6), (2, 2, 3)]
    assert all(level.sides.shape[1] == 4 and bool((level.sides > 0).all()) for level in levels)


@torch.no_grad()
def test_folded_norms_change_nothing() -> None:
    net, x = make_net(), torch.randn(1, 3, 64, 64)
    before = net(x)
    after = fold_norms(net)(x)
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(old.heat, new.heat, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(old.sides, new.sides, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_file_gives_the_same_answers(tmp_path: Path) -> None:
    net, x = make_net(), torch.randn(1, 3, 64, 64)
    save_net(tmp_path / "net.safetensors", net, {"trained_on": "nothing"})
    again = load_net(tmp_path / "net.safetensors")
    assert again.config == TINY
    torch.testing.assert_close(net(x)[0].heat, again(x)[0].heat, rtol=0.02, atol=0.02)  # half precision weights


def test_a_file_that_is_no_detector_is_named(tmp_path: Path) -> None:
    text = tmp_path / "text.safetensors"
    text.write_text("hello")
    other = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(1)}, other, {"format": "else"})
    bare = tmp_path / "bare.safetensors"
    save_file({"x": torch.zeros(1)}, bare, {"format": "figment-heads-1"})
    for path in (text, other, bare, tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(FigmentError, match=path.name) as caught:
            load_net(path)
        assert "\n" not in str(caught.value)


def test_shipped_weights_are_small_and_say_what_they_are() -> None:
    assert SHIPPED.stat().st_size < 15_000_000
    assert sum(parameter.numel() for parameter in load_net(SHIPPED).parameters()) < 5_000_000


@torch.no_grad()
def test_a_grown_network_answers_the_same_boxes() -> None:
    net, x = make_net(), torch.randn(1, 3, 64, 64)
    larger = grow(net, deep=2, embed=16)
    assert larger.config.deep == 2 and larger.portrait is not None
    for old, new in zip(net(x), larger(x), strict=True):
        torch.testing.assert_close(old.heat, new.heat)
        torch.testing.assert_close(old.sides, new.sides)


@torch.no_grad()
def test_the_describing_part_survives_its_file(tmp_path: Path) -> None:
    net = grow(make_net(), deep=1, embed=16)
    save_net(tmp_path / "net.safetensors", net, {})
    x = torch.randn(2, 3, CROP, CROP)
    ours, again = (
        one.portrait(one.features(x))
        for one in (net, load_net(tmp_path / "net.safetensors"))
        if one.portrait is not None
    )
    assert ours[0].shape == (2,) and ours[1].shape == (2, 16)
    torch.testing.assert_close(ours[1].norm(dim=1), torch.ones(2))
    torch.testing.assert_close(ours[1], again[1], rtol=0.02, atol=0.02)


def test_features_have_four_strides_and_gradients() -> None:
    net, x = make_net(), torch.randn(1, 3, 64, 96, requires_grad=True)
    found = net.features(x)
    assert [tuple(part.shape[2:]) for part in found] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    torch.stack([part.square().mean() for part in found]).sum().backward()
    assert x.grad is not None and float(x.grad.abs().sum()) > 0
