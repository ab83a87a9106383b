"""Training headness and embedding on a tiny network and heads that differ in colour."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from likeness import (
    WEAK,
    Batch,
    Known,
    contrast,
    draw_batch,
    no_head,
    positives,
    shows,
    train_likeness,
    view_of,
)
from PIL import Image, ImageDraw

from figment.base.records import Box
from figment.heads.network import CROP, HeadNet, NetConfig

BOX = Box(40, 40, 100, 100)


def picture(seed: int) -> Image.Image:
    """A face whose eyes and mouth depend on the seed."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (160, 160), (60, 60, 60))
    pen = ImageDraw.Draw(image)
    pen.ellipse((40, 40, 99, 99), fill=(230, 200, 170))
    for x in (55, 80):
        size = int(rng.integers(2, 8))
        pen.ellipse((x - size, 60 - size, x + size, 60 + size), fill=tuple(int(v) for v in rng.integers(0, 255, 3)))
    pen.rectangle((55, 80, 55 + int(rng.integers(5, 30)), 84 + int(rng.integers(0, 8))), fill=(120, 0, 0))
    return image


def people() -> Iterator[list[Known]]:
    seed = 0
    while True:
        yield [Known(picture(seed % 6), BOX, str(seed % 6), ("drawn", f"tone {seed % 2}"))]
        seed += 1


def walls() -> Iterator[Image.Image]:
    rng = np.random.default_rng(0)
    while True:
        yield Image.fromarray(rng.integers(0, 255, (4, 4, 3), np.uint8)).resize((64, 64))


def batches(count: int = 4) -> Iterator[Batch]:
    rng = np.random.default_rng(0)
    known, strangers = people(), walls()
    while True:
        yield draw_batch(rng, known, strangers, count)


def test_a_batch_holds_each_head_twice_and_then_what_is_none() -> None:
    batch = next(batches())
    assert batch.pixels.shape == (12, CROP, CROP, 3) and batch.pixels.dtype == np.uint8
    assert batch.identities == ["0", "0", "1", "1", "2", "2", "3", "3"]
    wanted = positives(batch)
    assert wanted[0, 1] == wanted[1, 0] == 1 and wanted[0, 0] == 0
    assert 0 < wanted[0, 2] < wanted[0, 4] <= WEAK  # 0 and 2 share one more attribute


def test_views_of_a_head_differ() -> None:
    known = Known(picture(0), BOX, "0")
    one, two = (view_of(np.random.default_rng(seed), known) for seed in (1, 2))
    assert one.shape == (CROP, CROP, 3) and not np.array_equal(one, two)


def test_what_is_no_head_shows_less_than_half_of_one() -> None:
    rng = np.random.default_rng(0)
    crops = [no_head(rng, picture(0), [BOX]) for _ in range(60)]
    assert sum(crop is not None for crop in crops) > 20
    assert shows(Box(30, 30, 110, 110), BOX) and not shows(Box(0, 0, 60, 60), BOX)


def test_contrast_is_low_where_positives_are_near() -> None:
    near = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]]), dim=1)
    wanted = torch.zeros(4, 4)
    wanted[[0, 1, 2, 3], [1, 0, 3, 2]] = 1
    crossed = torch.zeros(4, 4)
    crossed[[0, 1, 2, 3], [2, 3, 0, 1]] = 1
    assert contrast(near, wanted) < 0.01 < 5 < contrast(near, crossed)


def test_it_learns_and_leaves_the_boxes_alone() -> None:
    torch.manual_seed(0)
    net = HeadNet(NetConfig((8, 8), (16, 16, 16), 8, embed=16))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    seen: list[tuple[float, float]] = []
    train_likeness(net, batches(), steps=25, rate=3e-3, on_step=lambda _, near, sure, sec: seen.append((near, sure)))
    assert np.mean(seen[-8:], axis=0)[1] < 0.8 * np.mean(seen[:4], axis=0)[1]
    assert np.mean(seen[-8:], axis=0)[0] < np.mean(seen[:4], axis=0)[0]
    for name, value in net.state_dict().items():
        assert name.startswith("portrait.") or torch.equal(value, before[name]), name


def test_a_network_for_boxes_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="embedding"):
        train_likeness(HeadNet(NetConfig((8, 8), (16, 16, 16), 8)), batches())
