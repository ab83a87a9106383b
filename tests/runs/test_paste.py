"""Scenes composed of cut-outs."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from paste import Cutout, alone, compose, family, held_out, read_cutouts, recolor, scenes, vary
from PIL import Image, ImageDraw

from figment.base.records import Box


def figure() -> Cutout:
    """A green head on a blue body, on nothing."""
    image = Image.new("RGBA", (80, 120))
    pen = ImageDraw.Draw(image)
    pen.rectangle((20, 50, 59, 119), fill=(0, 0, 255, 255))
    pen.ellipse((20, 10, 59, 49), fill=(0, 255, 0, 255))
    return Cutout("people/figure.png", image, (Box(20, 10, 60, 50),))


def grey(rng: np.random.Generator) -> Image.Image:
    return Image.new("RGB", (200, 160), (90, 90, 90))


def green_box(image: Image.Image) -> Box:
    pixels = np.asarray(image).astype(int)
    box = Image.fromarray((pixels[..., 1] - pixels[..., 2] > 90).astype(np.uint8)).getbbox()
    assert box
    return Box(*map(float, box))


def test_variants_of_a_character_are_one_family() -> None:
    assert family("humans/mage-red+female-2.png") == family("elves/mage.png") == "mage"
    assert held_out("a/troll-hero.png") == held_out("b/troll.png")
    kept = sum(held_out(f"{one}{two}.png") for one in "abcdefgh" for two in "abcdefgh")
    assert 4 <= kept <= 24  # about one in five of 64


def test_a_cut_out_is_read_with_its_alpha(tmp_path: Path) -> None:
    figure().image.save(tmp_path / "one.png")
    [cutout] = read_cutouts(tmp_path, {"one.png": [[20, 10, 60, 50]]})
    assert cutout.image.mode == "RGBA" and cutout.image.getpixel((0, 0))[3] == 0
    assert cutout.boxes == (Box(20, 10, 60, 50),)


@pytest.mark.parametrize("seed", range(12))
def test_boxes_follow_what_happens_to_the_picture(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cutout = figure()
    image, [box] = vary(np.random.default_rng(seed), cutout.image, cutout.boxes)
    if not np.array_equal(np.unique(np.asarray(image)[..., 2]), [0]) and green_visible(image):
        assert green_box(image.convert("RGB")).iou(box) > 0.8
    scene, boxes = alone(rng, cutout, grey)
    assert scene.mode == "RGB" and len(boxes) == 1


def green_visible(image: Image.Image) -> bool:
    """Whether the hue was left as it was."""
    pixels = np.asarray(image.convert("RGB")).astype(int)
    return bool((pixels[..., 1] - np.maximum(pixels[..., 0], pixels[..., 2]) > 120).sum() > 500)


def test_composed_heads_lie_where_they_are_said_to() -> None:
    found = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        picture, boxes = compose(rng, [figure()], grey, [])
        assert max(picture.size) <= 720 and len(boxes) <= 1
        if boxes and green_visible(picture):
            assert green_box(picture).iou(boxes[0]) > 0.7
            found += 1
    assert found >= 2


def test_recoloring_keeps_the_alpha() -> None:
    image = recolor(np.random.default_rng(0), figure().image)
    assert np.array_equal(np.asarray(image)[..., 3], np.asarray(figure().image)[..., 3])
    assert not np.array_equal(np.asarray(image)[..., :3], np.asarray(figure().image)[..., :3])


def test_scenes_repeat_with_their_seed_and_some_are_empty() -> None:
    def first(seed: int) -> list[tuple[bytes, int]]:
        endless = scenes([figure()], grey, [], seed, empty=0.3)
        return [(image.tobytes(), len(boxes)) for image, boxes in itertools.islice(endless, 8)]

    assert first(1) == first(1) != first(2)
    assert {count for _, count in first(1)} >= {0, 1}
