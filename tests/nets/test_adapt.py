"""Adapted networks draw what they drew, as far as other pictures allow."""

import pytest
import torch
from torch.nn.functional import avg_pool2d

from figment.base.errors import FigmentError
from figment.nets.adapt import adapt, differences
from figment.nets.checkpoint import Model
from figment.nets.ops import FIR_1331, upfirdn2d, upsample2d
from figment.nets.registry import build_discriminator, build_generator

Z = torch.randn(3, 8, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def make(family: str, resolution: int = 16, channels: int = 3, c_dim: int = 0, **more: object) -> Model:
    """A small model with random weights, biases and noise strengths, in float64."""
    torch.manual_seed(1)
    shared = {
        "family": family,
        "resolution": resolution,
        "channels": channels,
        "c_dim": c_dim,
        "channel_base": 512,
        "channel_max": 8,
    } | more
    w_dim = {} if family == "progan" else {"w_dim": 8, "map_depth": 2}
    g = build_generator(shared | {"z_dim": 8} | w_dim).double().eval()
    d = build_discriminator(shared).double().eval()
    with torch.no_grad():
        for part in (*g.parameters(), *d.parameters()):
            part.add_(torch.randn_like(part) * 0.1)
    return Model(g_ema=g, d=d)


@pytest.mark.parametrize("family", ["stylegan2", "stylegan1", "progan"])
@pytest.mark.parametrize("start", [(4, 4), (4, 3)])
def test_grown_networks_draw_the_old_pictures_enlarged(family, start):
    old = make(family, start=list(start))
    new, done = adapt(old, resolution=64)
    assert done == ["g_ema: grown from 16 to 64 px", "d: grown from 16 to 64 px"]
    assert new.config["adapted"] == done
    before, after = old.g_ema(Z), new.g_ema(Z)
    assert after.shape == (3, 3, 64, 16 * start[1])
    if family == "stylegan2":
        torch.testing.assert_close(after, upsample2d(upsample2d(before)))
        picture = torch.randn_like(after)
        small = upfirdn2d(upfirdn2d(picture, FIR_1331, down=2, padding=1), FIR_1331, down=2, padding=1)
        torch.testing.assert_close(new.d(picture), old.d(small))
    else:
        assert new.g_ema.lod == new.d.lod == 2
        torch.testing.assert_close(after, before.repeat_interleave(4, 2).repeat_interleave(4, 3))
        torch.testing.assert_close(new.d(after), old.d(before))
    new.g_ema.requires_grad_(True)
    new.d(new.g_ema(Z)).sum().backward()


@pytest.mark.parametrize("family", ["stylegan1", "progan"])
def test_cut_networks_draw_what_they_drew_before_they_grew(family):
    old = make(family, resolution=32)
    new, done = adapt(old, resolution=8)
    assert done[0] == "g_ema: cut from 32 to 8 px"
    old.g_ema.lod = old.d.lod = 2
    small = new.g_ema(Z)
    torch.testing.assert_close(small, avg_pool2d(old.g_ema(Z), 4))
    torch.testing.assert_close(new.d(small), old.d(small))


def test_growing_undoes_cutting_where_nothing_was_lost():
    old = make("stylegan2", resolution=16)
    grown, _ = adapt(old, resolution=32)
    back, _ = adapt(grown, resolution=16)
    assert torch.equal(back.g_ema(Z), old.g_ema(Z))


def test_widths_grow_and_shrink_with_the_levels():
    old = make("stylegan2", widths=[8, 6, 4])
    assert adapt(old, resolution=64)[0].g_ema.widths == [8, 6, 4, 2, 1]
    assert adapt(old, resolution=8)[0].d.widths == [8, 6]


@pytest.mark.parametrize("family", ["stylegan2", "stylegan1", "progan"])
def test_alpha_is_opaque_and_has_no_say_at_first(family):
    old = make(family)
    new, done = adapt(old, channels=4)
    assert done == ["g_ema: RGB to RGBA", "d: RGB to RGBA"]
    picture = new.g_ema(Z)
    torch.testing.assert_close(picture[:, :3], old.g_ema(Z))
    torch.testing.assert_close(picture[:, 3], torch.ones_like(picture[:, 3]))
    picture[:, 3] = 0.3
    torch.testing.assert_close(new.d(picture), old.d(picture[:, :3]))
    back, _ = adapt(new, channels=3)
    torch.testing.assert_close(back.d(picture[:, :3]), old.d(picture[:, :3]))


def test_grey_becomes_rgb():
    old = make("stylegan2", channels=1)
    new, _ = adapt(old, channels=3)
    picture = new.g_ema(Z)
    torch.testing.assert_close(picture, old.g_ema(Z).expand(-1, 3, -1, -1))
    torch.testing.assert_close(new.d(picture), old.d(picture[:, :1]))


@pytest.mark.parametrize(("norm", "normalize_z"), [("each", True), ("joint", True), ("each", False), ("joint", False)])
def test_dropped_labels_leave_the_mean_label(norm, normalize_z):
    torch.manual_seed(2)
    shared = {"family": "stylegan2", "resolution": 8, "channels": 3, "c_dim": 5, "channel_base": 64, "channel_max": 8}
    mapping = {"map_depth": 2, "map_norm": norm, "normalize_z": normalize_z}
    g = build_generator(shared | {"z_dim": 8, "w_dim": 8, **mapping}).double()
    label = {"label": "project" if norm == "each" else "select", "map_depth": 8 if normalize_z else 0}
    d = build_discriminator(shared | label).double()
    new, done = adapt(Model(g_ema=g, d=d), labels=False)
    assert done == ["g_ema: 5 labels dropped", "d: 5 labels dropped"]
    mean = torch.full((3, 5), 0.2, dtype=torch.float64)
    z = Z * (8 / Z.square().sum(1, keepdim=True)).sqrt()  # of mean square 1, so that the joint norm is exact too
    torch.testing.assert_close(new.g_ema(z), g(z, mean))
    torch.testing.assert_close(new.d(g(z, mean)), d(g(z, mean), mean))


def test_progan_without_labels_still_draws():
    old = make("progan", c_dim=3)
    new, _ = adapt(old, labels=False)
    picture = new.g_ema(Z)
    assert picture.isfinite().all()
    torch.testing.assert_close(new.d(picture), old.d(picture))


def test_what_can_not_be_done_is_told():
    with pytest.raises(FigmentError, match="resolution 24"):
        adapt(make("stylegan2"), resolution=24)
    with pytest.raises(FigmentError, match="channels 1: RGB can't become gray"):
        adapt(make("stylegan2"), channels=1)
    with pytest.raises(FigmentError, match="family lucidrains can't be adapted"):
        adapt(Model(g=build_generator({"family": "lucidrains", "resolution": 8, "z_dim": 8})), resolution=16)


def test_differences_name_both_sides_and_the_offer():
    g = make("stylegan2", c_dim=2).g_ema
    assert differences(g, 32, 4, 0) == [
        "draws 16 px, the data have 32 (can be grown)",
        "draws RGB, the data are RGBA (can be changed)",
        "has 2 labels, the data have none (can be dropped)",
    ]
    assert differences(g, 16, 3, 2) == []
