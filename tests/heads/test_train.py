"""Training the detector for a few steps on ellipses with eyes."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from figment.base.records import Box
from figment.heads.network import HeadNet, NetConfig
from figment.heads.train import Step, TrainConfig, learning_rate, train_detector
from figment.heads.views import Scene, ScenePool, View

SMALL = TrainConfig(steps=48, batch=4, size=64, rate=5e-3, pool=20, fresh=1, seed=3)


def ellipses() -> Iterator[Scene]:
    rng = np.random.default_rng(0)
    while True:
        image = Image.new("RGB", (120, 90), tuple(int(v) for v in rng.integers(0, 120, 3)))
        x, y = (int(v) for v in rng.integers(0, 50, 2))
        ImageDraw.Draw(image).ellipse((x, y, x + 39, y + 39), fill=(250, 200, 160))
        yield image, [Box(x, y, x + 40, y + 40)]


def tiny() -> HeadNet:
    torch.manual_seed(0)
    return HeadNet(NetConfig((8, 8), (16, 16, 16), 16))


@pytest.mark.slow
def test_losses_fall_and_a_seed_repeats_exactly() -> None:
    steps: list[Step] = []
    net = train_detector(ellipses(), config=SMALL, start=tiny(), on_step=steps.append)
    assert [step.number for step in steps] == list(range(1, 49))
    assert np.mean([s.heat for s in steps[-5:]]) < 0.8 * np.mean([s.heat for s in steps[:5]])
    assert np.mean([s.sides for s in steps[-5:]]) < 0.9 * np.mean([s.sides for s in steps[:5]])

    again = train_detector(ellipses(), config=SMALL, start=tiny())
    for one, two in zip(net.state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_fine_tuning_leaves_what_it_starts_from_alone() -> None:
    start = tiny()
    before = [value.clone() for value in start.state_dict().values()]
    tuned = train_detector(ellipses(), config=replace(SMALL, steps=1), start=start)
    assert all(torch.equal(old, new) for old, new in zip(before, start.state_dict().values(), strict=True))
    assert not torch.equal(tuned.stem[0][0].weight, start.stem[0][0].weight)


def test_the_rate_rises_then_falls() -> None:
    rates = [learning_rate(number, 100) for number in range(1, 101)]
    assert max(rates) == pytest.approx(1, abs=0.01) and np.argmax(rates) == 4
    assert rates[0] == pytest.approx(0.2) and rates[-1] == pytest.approx(0.02)


def test_no_scenes_is_an_error() -> None:
    with pytest.raises(ValueError, match="scenes"):
        train_detector([], config=SMALL)


def test_every_second_batch_is_of_larger_and_fewer_views(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    draw = ScenePool.draw

    def counted(pool: ScenePool, rng: np.random.Generator, size: int) -> View:
        drawn.append(size)
        return draw(pool, rng, size)

    monkeypatch.setattr(ScenePool, "draw", counted)
    train_detector(ellipses(), config=replace(SMALL, steps=2, large=128), start=tiny())
    assert drawn == [64, 64, 64, 64, 128]


def test_boxes_alone_can_learn_and_the_features_stay() -> None:
    start = tiny()
    tuned = train_detector(ellipses(), config=replace(SMALL, steps=2, backbone=False), start=start)
    for name, old in start.state_dict().items():
        same = torch.equal(old, tuned.state_dict()[name])
        assert same == name.startswith(("stem", "down")), name
    assert all(parameter.requires_grad for parameter in tuned.parameters())
