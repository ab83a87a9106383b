"""The pipeline: what it draws, what each augmentation does by itself, and what it leaves unchanged."""

import math

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from figment.nets.registry import build_discriminator
from figment.train.augment import DRAWS_VERSION, Augment, geometry
from figment.train.augment.geometry import resample
from figment.train.augment.pipeline import AUGMENTATIONS, GATES, KINDS, NORMAL, UNIFORM, Move, combine
from figment.train.losses import r1_penalty


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(n=4, channels=3, height=16, width=16):
    return torch.rand(n, channels, height, width, generator=seeded(7)) * 2 - 1


def alone(name, p=1.0, channels=3):
    """A pipeline of one change."""
    augment = Augment(channels, "", {name: 1.0})
    augment.p.fill_(p)
    return augment


def fixed(augment, n, **values):
    """Draws of which some, by name, are set by hand."""
    draws = augment.draw(seeded(), n)
    for name, value in values.items():
        table, names = (draws.uniform, UNIFORM) if name in UNIFORM else (draws.normal, NORMAL)
        table[:, names.index(name)] = torch.as_tensor(value)
    return draws


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(16, 16), (8, 16)])
def test_at_p_0_everything_is_left_bit_for_bit(channels, size):
    images = pictures(4, channels, *size)
    assert torch.equal(Augment(channels, "bgcfnx")(images, seeded()), images)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(16, 16), (8, 16)])
def test_at_p_1_every_picture_changes_and_stays_finite(channels, size):
    images = pictures(8, channels, *size)
    augment = Augment(channels, "bgcfnx")
    augment.p.fill_(1.0)
    seen = augment(images, seeded())
    assert seen.shape == images.shape and seen.isfinite().all()
    assert ((seen - images).abs().flatten(1).max(1).values > 0.1).all()


def test_a_flip_at_p_1_gives_the_mirrored_picture_exactly():
    images, augment = pictures(), alone("flip")
    draws = fixed(augment, 4, flip=[0.2, 0.7, 0.49, 0.5])
    expected = torch.stack([images[0], images[1].flip(2), images[2], images[3].flip(2)])
    assert torch.equal(augment.apply_draws(images, draws), expected)


def test_a_turn_at_p_1_gives_the_turned_picture_exactly():
    images, augment = pictures(), alone("turn")
    draws = fixed(augment, 4, turn=[0.1, 0.3, 0.6, 0.9])
    expected = np.stack([np.rot90(image.numpy(), k, (1, 2)) for k, image in enumerate(images)])
    assert np.array_equal(augment.apply_draws(images, draws).numpy(), expected)


def test_a_shift_at_p_1_gives_the_moved_picture():
    images, augment = pictures(2).double(), alone("shift")
    draws = fixed(augment, 2, shift_x=[1.0, 0.25], shift_y=[0.5, 0.0])  # 2 right; 1 left and 2 up
    seen = augment.apply_draws(images, draws)
    assert (seen[0, :, :, 2:] - images[0, :, :, :-2]).abs().max() < 1e-6
    assert (seen[0, :, :, :2] - images[0, :, :, [2, 1]]).abs().max() < 1e-6  # reflected, border not repeated
    assert (seen[1, :, :-2, :-1] - images[1, :, 2:, 1:]).abs().max() < 1e-6


def test_all_moves_are_composed_in_the_papers_order():
    augment = Augment(3)
    augment.p.fill_(1.0)
    draws = augment.draw(seeded(3), 1)
    u = dict(zip(UNIFORM, draws.uniform[0].double().tolist(), strict=True))
    n = dict(zip(NORMAL, draws.normal[0].double().tolist(), strict=True))
    height, width = 20, 16

    def turn(share):
        a = (2 * share - 1) * math.pi
        return np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])

    def move(x, y):
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])

    size, stretch = 2 ** (0.2 * n["scale"]), 2 ** (0.2 * n["stretch"])
    forward = move(round((2 * u["shift_x"] - 1) * 0.125 * width), round((2 * u["shift_y"] - 1) * 0.125 * height))
    forward = np.diag([size, size, 1]) @ forward
    forward = turn(u["rotate_before"]) @ forward
    forward = np.diag([stretch, 1 / stretch, 1]) @ forward
    forward = turn(u["rotate_after"]) @ forward
    forward = move(0.125 * width * n["slide_x"], 0.125 * height * n["slide_y"]) @ forward

    images = pictures(1, 3, height, width).double()
    moves = [each for each in AUGMENTATIONS if isinstance(each, Move)]
    matrix = combine(moves, augment.numbers(draws, images))
    assert np.abs(matrix[0].numpy() - np.linalg.inv(forward)).max() < 1e-5

    # And the picture is resampled through that matrix, after the exact flips and turns.
    augment.weights *= torch.tensor([0.0 if name in ("flip", "turn") else 1.0 for name in GATES])
    augment.active &= {"shift", "scale", "rotate", "stretch", "slide"}
    expected = resample(images, torch.from_numpy(np.linalg.inv(forward))[None])
    assert (augment.apply_draws(images, draws) - expected).abs().max() < 1e-4


def test_the_chance_of_each_change_is_p_and_that_of_any_rotation_too():
    augment = Augment(3, "bgcfnx")
    augment.p.fill_(0.3)
    gates = augment.numbers(augment.draw(seeded(), 20000), pictures(1)).gates
    rates = {name: float(happens.float().mean()) for name, happens in gates.items() if "rotate" not in name}
    assert rates == pytest.approx(dict.fromkeys(rates, 0.3), abs=0.015)
    assert float((gates["rotate_before"] | gates["rotate_after"]).float().mean()) == pytest.approx(0.3, abs=0.015)
    both = [gates["flip"], gates["hue"]]
    assert float((both[0] & both[1]).float().mean()) == pytest.approx(0.09, abs=0.01)


def test_weights_switch_single_changes():
    augment = Augment(3, "b", {"turn": 0.0, "flip": 0.5})
    augment.p.fill_(1.0)
    gates = augment.numbers(augment.draw(seeded(), 4000), pictures(1)).gates
    assert not gates["turn"].any() and gates["shift"].all()
    assert float(gates["flip"].float().mean()) == pytest.approx(0.5, abs=0.03)
    with pytest.raises(ValueError, match="no such change: spin"):
        Augment(3, "b", {"spin": 1.0})
    with pytest.raises(ValueError, match="kinds 'bz'"):
        Augment(3, "bz")


def test_ranks_draw_the_batch_and_take_their_share():
    images, augment = pictures(8), Augment(3, "bgcfnx")
    augment.p.fill_(0.7)
    whole = augment(images, seeded(5))
    parts = [augment(images[part], seeded(5), part, 8) for part in (slice(0, 4), slice(4, 8))]
    assert torch.allclose(whole, torch.cat(parts), atol=1e-6)


RECORDED = {
    "columns": (19, 10, 12),
    "gates": [0.8302518725395203, 0.12611091136932373, 0.9074696898460388, 0.8199270367622375],
    "uniform": [0.4384790062904358, 0.9868150353431702, 0.5818747282028198, 0.3590012192726135],
    "normal": [-0.6861071586608887, -0.3713698387145996, 0.48846200108528137, 0.31185096502304077],
    "seeds": [856971103448592059, 384690085419459981],
}
"""What version 1 draws for two images from seed 5: the beginning of each table."""
COLUMNS = {
    "gates": "flip turn shift scale rotate_before stretch rotate_after slide brightness contrast luma hue saturation "
    "filter_0 filter_1 filter_2 filter_3 noise cutout",
    "uniform": "flip turn shift_x shift_y rotate_before rotate_after luma hue cutout_x cutout_y",
    "normal": "scale stretch slide_x slide_y brightness contrast saturation noise filter_0 filter_1 filter_2 filter_3",
}
"""What each column of version 1 means."""


def test_the_draws_change_only_with_their_version():
    """Whoever changes what is drawn must raise DRAWS_VERSION and record the new draws here."""
    draws = Augment(3).draw(seeded(5), 2)
    assert DRAWS_VERSION == 1
    columns = {"gates": GATES, "uniform": UNIFORM, "normal": NORMAL}
    assert {name: " ".join(names) for name, names in columns.items()} == COLUMNS
    assert tuple(part.shape[1] for part in draws[:3]) == RECORDED["columns"]
    assert all(getattr(draws, name)[0, :4].tolist() == RECORDED[name] for name in ("gates", "uniform", "normal"))
    assert draws.seeds.tolist() == RECORDED["seeds"]


def test_the_table_lists_every_kind_and_augmentation_once():
    assert "".join(KINDS) == "bgcfnx"
    assert KINDS["g"] == ("scale", "rotate", "stretch", "slide")
    assert all(len(set(names)) == len(names) for names in (GATES, UNIFORM, NORMAL))


def test_a_generators_draws_do_not_depend_on_p_or_kinds():
    one, two = seeded(5), seeded(5)
    strong = Augment(3, "bgcfnx")
    strong.p.fill_(1.0)
    Augment(3, "x")(pictures(), one)
    strong(pictures(), two)
    assert torch.equal(one.get_state(), two.get_state())


def test_r1_through_the_pipeline_against_an_explicit_jacobian():
    torch.manual_seed(0)
    d = build_discriminator(
        {"family": "stylegan2", "resolution": 8, "channels": 3, "channel_base": 32, "channel_max": 4, "mbstd_group": 1}
    ).double()
    augment = Augment(3, "bgcf")
    augment.p.fill_(0.8)
    images = pictures(3, 3, 8, 8).double().requires_grad_()
    draws = augment.draw(seeded(), 3)
    penalty = r1_penalty(images, d(augment.apply_draws(images, draws)))
    for i, value in enumerate(penalty):
        one = type(draws)(*(part[i : i + 1] for part in draws))
        jacobian = torch.autograd.functional.jacobian(
            lambda x, one=one: d(augment.apply_draws(x[None], one)).squeeze(), images[i].detach()
        )
        assert value.item() == pytest.approx(jacobian.square().sum().item(), rel=1e-9)

    # The penalty's gradient for a weight of D, against a finite difference.
    weight = d.conv.weight
    (grad,) = torch.autograd.grad(penalty.sum(), weight)
    values = []
    for step in (1e-5, -1e-5):
        with torch.no_grad():
            weight[0, 0, 1, 1] += step
        values.append(r1_penalty(images, d(augment.apply_draws(images, draws))).sum().item())
        with torch.no_grad():
            weight[0, 0, 1, 1] -= step
    assert grad[0, 0, 1, 1].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


class Watch(TorchDispatchMode):
    """Notes operations that would wait for the device."""

    def __init__(self):
        super().__init__()
        self.waits = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal"):
            self.waits.append(str(func))
        return func(*args, **(kwargs or {}))


def test_nothing_waits_for_the_device(monkeypatch):
    monkeypatch.setattr(geometry, "reads_values", lambda images: False)  # as if it were not the CPU
    augment, images = Augment(3, "bgcfx"), pictures()
    augment.p.fill_(0.5)
    images.requires_grad_()
    with Watch() as watch:
        augment(images, seeded()).sum().backward()
    assert watch.waits == []
    with Watch() as watch:
        images.sum().item()
    assert watch.waits


def test_half_precision_comes_back_as_it_came():
    augment = Augment(3)
    augment.p.fill_(1.0)
    images = pictures()
    seen = augment(images.bfloat16(), seeded())
    assert seen.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        again = augment(images, seeded())
    assert torch.allclose(again, augment(images, seeded()), atol=1e-6)
