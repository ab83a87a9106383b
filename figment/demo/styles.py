"""DiceBear's drawn heads: which styles show one, where in the drawing it lies, who drew it."""

from __future__ import annotations

import functools
import io
import json
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.records import Box

# How far down the drawing the head reaches, as a share of its height; below lie neck and shoulders.
# Read off 40 drawings a style.
HEADS = {
    "adventurer": 0.84,
    "avataaars": 0.69,
    "toon-head": 0.77,
    "micah": 0.74,
    "big-ears": 0.90,
    "big-smile": 1.0,
    "open-peeps": 0.79,
    "personas": 0.74,
    "lorelei": 0.74,
    "miniavs": 0.87,
    "notionists": 0.60,
    "croodles": 1.0,
    "pixel-art": 0.78,
}

# Drawn without neck and shoulders.
BARE = ("adventurer", "big-ears", "big-smile", "croodles")

# Drawings without anything that could pass for a head: backgrounds and clutter.
# Tiles that are smooth or slow to render are rendered small.
TILE_PX = {"glass": 32, "waves": 128, "disco": 128, "stripes": 128}
TILES = ("landscape", "waves", "triangles", "stripes", "loops", "patchwork", "shapes", "weave", "disco", "glass")
THINGS = ("icons", "planets", "squircles", "stack", "slice", "rings", "shape-grid", "constellation", "blobs")


@functools.cache
def definition(style: str) -> dict[str, Any]:
    """The style's definition as its package ships it; raises FigmentError where the `demo` extra is missing."""
    try:
        text = files("dicebear_styles").joinpath(f"{style}.json").read_text("utf-8")
    except ModuleNotFoundError:
        raise FigmentError("demo-art needs the extra `demo`: pip install 'figment-gan[demo]'") from None
    value: dict[str, Any] = json.loads(text)
    return value


@functools.cache
def _style(name: str) -> Any:
    """The style, made without checking its definition: the package's own were checked, and it takes a second each."""
    from dicebear import Style
    from dicebear.validator import StyleValidator

    check = StyleValidator.validate
    try:
        StyleValidator.validate = staticmethod(lambda data: None)  # type: ignore[method-assign]
        return Style(definition(name))
    finally:
        StyleValidator.validate = staticmethod(check)  # type: ignore[method-assign]


@functools.cache
def drawing_options(name: str) -> dict[str, Any]:
    """What to leave out: hands raised beside the face, and icons that are faces themselves."""
    if name == "notionists":
        return {"gestureProbability": 0}
    if name == "icons":
        variants = definition(name)["components"]["icon"]["variants"]
        plain = [variant for variant in variants if not variant.startswith("emoji")]
        return {"iconVariant": plain[:128]}  # the option takes no more
    return {}


@functools.lru_cache(maxsize=2000)
def draw(style: str, seed: int, size: int) -> Image.Image:
    """The drawing of `style` with `seed`: RGBA, size x size; treat it as read-only."""
    import resvg_py
    from dicebear import Avatar

    svg = Avatar(_style(style), {"seed": str(seed), "size": size, **drawing_options(style)}).to_string()
    return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=svg)))).convert("RGBA")


def parts(style: str, seed: int) -> dict[str, Any]:
    """What DiceBear chose for `seed`: `{"hairVariant": "long03", "skinColor": ["#9e5622"], ...}`."""
    from dicebear import Avatar

    chosen: dict[str, Any] = Avatar(_style(style), {"seed": str(seed), **drawing_options(style)}).to_json()["options"]
    return chosen


def head_mask(style: str, drawing: Image.Image) -> Image.Image:
    """Where the head is in a drawing of `style`: its alpha above the chin line, mode L."""
    alpha = np.asarray(drawing.getchannel("A")).copy()
    alpha[round(HEADS[style] * drawing.height) :] = 0
    return Image.fromarray(alpha)


def mask_box(mask: Image.Image) -> Box:
    """The box around a mask's pixels that are more than half opaque."""
    box = mask.point([0] * 128 + [255] * 128).getbbox()
    return Box(*map(float, box)) if box else Box(0, 0, 0, 0)


def draw_head(style: str, seed: int, size: int) -> tuple[Image.Image, Box]:
    """The drawing of `style` with `seed` (RGBA, size x size) and the box of its head, hair included."""
    drawing = draw(style, seed, size)
    return drawing, mask_box(head_mask(style, drawing))


def credit_lines(styles: list[str]) -> list[str]:
    """One Markdown line a style: its author, source and licence."""
    lines = []
    for style in sorted(styles):
        meta = definition(style)["meta"]
        licence, creator = meta.get("license", {}), meta.get("creator", {})
        source = meta.get("source", {})
        terms = f"{licence.get('name', 'unknown licence')} (<{licence.get('url', '')}>)"
        lines.append(
            f"- **{style}**: {source.get('name', style)} by {creator.get('name', 'unknown')}, {terms}, "
            f"from <{source.get('url', '')}>"
        )
    return lines
