"""Crops of drawn heads, their copies, and a heads folder to curate."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from figment.base.catalog import Catalog
from figment.base.pixels import write_png
from figment.base.records import Box, Head, Picture
from figment.demo.styles import draw

STYLES = ("adventurer", "avataaars", "micah", "lorelei")


def picture(style: str, seed: int, side: int = 200, ground: tuple[int, int, int] = (255, 255, 255)) -> Image.Image:
    """A character in the middle of a plain ground."""
    figure = draw(style, seed, side)
    image = Image.new("RGB", (side * 7 // 5, side * 7 // 5), ground)
    image.paste(figure, (side // 5, side // 5), figure)
    return image


def crop(image: Image.Image, rng: np.random.RandomState, jitter: float = 0.0) -> Image.Image:
    """The square around the character, off by up to `jitter` of its side."""
    side = image.width * 1.1 / 1.4
    x, y, more = rng.uniform(-jitter, jitter, 3) * side
    middle, half = image.width / 2, side / 2 + more / 2
    return image.crop(
        tuple(round(at) for at in (middle + x - half, middle + y - half, middle + x + half, middle + y + half))
    )


def jpeg(image: Image.Image, quality: int = 60) -> Image.Image:
    """The picture after a JPEG file."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": jpeg,
    "small": lambda image: image.resize((image.width * 3 // 5,) * 2, Image.Resampling.LANCZOS),
    "mirror": ImageOps.mirror,
}


def add_head(catalog: Catalog, name: str, image: Image.Image | None, *, size: float = 100, score: float = 0.9) -> None:
    """A row for a crop, and its file unless `image` is None."""
    if image is not None:
        write_png(catalog.folder / f"{name}.png", image)
    head = Head(f"{name}.png", Box(0, 0, size, size * 0.9), score, (0, 0, 150, 150))
    catalog.put_picture(Picture(f"{name}.jpg", "1", 300, 300, "heads"), [head])


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    """Two good heads, a larger mirrored copy of one, and one of everything that is to be rejected."""
    rng = np.random.RandomState(0)
    good, other = (crop(picture("adventurer", seed), rng) for seed in (1, 2))
    with Catalog(tmp_path, create=True) as catalog:
        add_head(catalog, "good", good)
        add_head(catalog, "other", other)
        add_head(catalog, "twin", ImageOps.mirror(jpeg(good)), size=140)
        add_head(catalog, "tiny", crop(picture("micah", 3), rng), size=20)
        add_head(catalog, "soft", crop(picture("micah", 4), rng).filter(ImageFilter.GaussianBlur(6)))
        add_head(catalog, "flat", Image.new("RGB", (64, 64), (200, 180, 160)))
        add_head(catalog, "armour", crop(picture("micah", 5), rng), score=0.2)
        add_head(catalog, "gone", None)
        add_head(catalog, "damaged", good)
        (tmp_path / "damaged.png").write_bytes((tmp_path / "damaged.png").read_bytes()[:500])
    return tmp_path
