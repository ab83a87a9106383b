"""Draw heads, backgrounds and objects in DiceBear's styles, and find the head in a drawing.

DiceBear generates drawings from a seed in the styles of several artists; `credit_lines` names them.
"""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.pixels import decode_image
from figment.base.records import Box

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
"""Style -> chin height, as a share of the drawing's height from the top; measured on 40 drawings per style."""

BARE = ("adventurer", "big-ears", "big-smile", "croodles")
"""Styles of HEADS without neck and shoulders."""

TILE_PX = {"glass": 32, "waves": 128, "disco": 128, "stripes": 128}
"""Size in pixels of tiles that are smooth or slow to render; all others are rendered at 256."""
TILES = ("landscape", "waves", "triangles", "stripes", "loops", "patchwork", "shapes", "weave", "disco", "glass")
"""Styles of backgrounds, without anything like a head."""
THINGS = ("icons", "planets", "squircles", "stack", "slice", "rings", "shape-grid", "constellation", "blobs")
"""Styles of clutter, without anything like a head."""


@functools.cache
def definition(style: str) -> dict[str, Any]:
    """Return the definition of a style from its package. Raises FigmentError if the extra `demo` is not installed."""
    try:
        text = files("dicebear_styles").joinpath(f"{style}.json").read_text("utf-8")
    except ModuleNotFoundError:
        raise FigmentError("demo-art needs the extra `demo`: pip install 'figment-gan[demo]'") from None
    value: dict[str, Any] = json.loads(text)
    return value


@functools.cache
def _style(name: str) -> Any:
    """Return a DiceBear style; skip the validation of its definition, which takes a second and is not needed here."""
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
    """Return the options of a style that exclude hands raised next to the face, and icons of faces."""
    if name == "notionists":
        return {"gestureProbability": 0}
    if name == "icons":
        variants = definition(name)["components"]["icon"]["variants"]
        plain = [variant for variant in variants if not variant.startswith("emoji")]
        return {"iconVariant": plain[:128]}  # the option accepts at most 128 values
    return {}


@functools.lru_cache(maxsize=2000)
def draw(
    style: str,
    seed: int,
    size: int,
    without: str = "",  # component to leave out: "eyes", "mouth", ...
) -> Image.Image:
    """Return the drawing of `style` with `seed`, RGBA of `size` x `size` pixels. It is cached: do not modify it."""
    import resvg_py
    from dicebear import Avatar

    left_out = {f"{without}Probability": 0} if without else {}
    svg = Avatar(_style(style), {"seed": str(seed), "size": size, **drawing_options(style), **left_out}).to_string()
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg))
    return decode_image(png, f"the drawing of {style}", keep_alpha=True)


def parts(style: str, seed: int) -> dict[str, Any]:
    """Return the options that DiceBear chose for `seed`: `{"hairVariant": "long03", "skinColor": ["#9e5622"], ...}`."""
    from dicebear import Avatar

    chosen: dict[str, Any] = Avatar(_style(style), {"seed": str(seed), **drawing_options(style)}).to_json()["options"]
    return chosen


def head_mask(style: str, drawing: Image.Image) -> Image.Image:
    """Return the mask of the head in a drawing of `style`: its alpha above the chin, mode L."""
    alpha = np.asarray(drawing.getchannel("A")).copy()
    alpha[round(HEADS[style] * drawing.height) :] = 0
    return Image.fromarray(alpha)


def mask_box(mask: Image.Image) -> Box:
    """Return the box around the pixels of a mask above 127, or an empty box at the origin without any."""
    box = mask.point([0] * 128 + [255] * 128).getbbox()
    return Box(*map(float, box)) if box else Box(0, 0, 0, 0)


def draw_head(style: str, seed: int, size: int) -> tuple[Image.Image, Box]:
    """Return the drawing of `style` with `seed`, RGBA of `size` x `size` pixels, and its head's box, hair included."""
    drawing = draw(style, seed, size)
    return drawing, mask_box(head_mask(style, drawing))


def credit_lines(styles: list[str]) -> list[str]:
    """Return one Markdown line per style with its author, source and license."""
    lines = []
    for style in sorted(styles):
        meta = definition(style)["meta"]
        license_, creator = meta.get("license", {}), meta.get("creator", {})
        source = meta.get("source", {})
        terms = f"{license_.get('name', 'unknown license')} (<{license_.get('url', '')}>)"
        lines.append(
            f"- **{style}**: {source.get('name', style)} by {creator.get('name', 'unknown')}, {terms}, "
            f"from <{source.get('url', '')}>"
        )
    return lines
