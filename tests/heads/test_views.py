"""Training views keep their boxes on what the boxes were drawn around."""

import numpy as np
from PIL import Image, ImageDraw

from figment.base.records import Box
from figment.heads.views import ScenePool, View, cut_view, damage, mirror, mosaic

RED = Box(60, 40, 100, 90)


def scene() -> tuple[Image.Image, list[Box]]:
    """A grey picture with one red rectangle for a head."""
    image = Image.new("RGB", (200, 150), (90, 90, 90))
    ImageDraw.Draw(image).rectangle((60, 40, 99, 89), fill=(255, 0, 0))
    return image, [RED]


def red_area(view: View) -> Box:
    """Where the view is red."""
    rows, columns = np.nonzero((view.pixels[:, :, 0] > 200) & (view.pixels[:, :, 1] < 50))
    return Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_boxes_follow_the_pixels() -> None:
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(60):
        view = cut_view(rng, *scene(), 128)
        assert view.pixels.shape == (128, 128, 3)
        for box in view.heads:
            if min(box) > 2 and max(box) < 126 and min(box.width, box.height) > 12:
                assert box.iou(red_area(view)) > 0.8
                assert mirror(view).heads[0].iou(red_area(mirror(view))) > 0.8
                seen += 1
    assert seen > 15


def test_scales_run_from_tiny_to_full() -> None:
    rng = np.random.default_rng(1)
    heights = [box.height for _ in range(200) for box in cut_view(rng, *scene(), 128).heads]
    assert min(heights) < 30 and max(heights) > 100


def test_a_mosaic_moves_the_boxes_of_its_quarters() -> None:
    quarter = View(np.zeros((32, 32, 3), np.uint8), [Box(1, 2, 3, 4)], [])
    joined = mosaic([quarter] * 4)
    assert joined.pixels.shape == (64, 64, 3)
    assert joined.heads == [Box(1, 2, 3, 4), Box(33, 2, 35, 4), Box(1, 34, 3, 36), Box(33, 34, 35, 36)]


def test_damage_keeps_shape_and_boxes() -> None:
    rng = np.random.default_rng(2)
    view = View(np.full((32, 32, 3), 100, np.uint8), [Box(1, 2, 3, 4)], [])
    for _ in range(30):
        damaged = damage(rng, view)
        assert damaged.pixels.shape == (32, 32, 3) and damaged.pixels.dtype == np.uint8
        assert damaged.heads == view.heads


def test_the_pool_replaces_its_oldest_and_stops_with_its_source() -> None:
    image = Image.new("RGB", (8, 8))
    pool = ScenePool(((image, [Box(i, 0, i + 1, 1)]) for i in range(5)), size=3)
    pool.refresh(4)
    assert sorted(boxes[0].x0 for _, boxes in pool.held) == [1, 2, 3]
    pool.refresh(10)
    assert sorted(boxes[0].x0 for _, boxes in pool.held) == [2, 3, 4]
