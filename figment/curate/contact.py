"""The contact sheet: every reason's rejected crops side by side on one picture, to see at a glance if a rule errs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from figment.base.errors import UnreadableImage
from figment.base.pixels import open_image, write_png
from figment.base.records import Head, Verdict

COLUMNS = 10
MOST = 40
"""Crops shown for a reason; the caption counts the rest."""
TILE, GAP, LABEL, TITLE = 112, 10, 18, 44
PAPER, INK, FAINT, HOLLOW = (250, 249, 246), (32, 33, 36), (120, 120, 124), (228, 226, 220)


def write_contact_sheet(
    path: Path,  # the PNG
    folder: Path,  # the heads folder that the crops lie in
    rejects: Sequence[tuple[Head, Verdict]],
) -> None:
    """Write the sheet of `rejects`, by reason, the most frequent first, each crop with the detail of its verdict."""
    groups: dict[str, list[tuple[Head, Verdict]]] = {}
    for head, verdict in rejects:
        groups.setdefault(verdict.reason, []).append((head, verdict))
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))

    # As high as its groups, each a title and rows of tiles.
    rows = [-(-min(len(group), MOST) // COLUMNS) for _, group in ordered]
    height = GAP + sum(TITLE + count * (TILE + LABEL + GAP) for count in rows) + (0 if rows else TITLE)
    sheet = Image.new("RGB", (GAP + COLUMNS * (TILE + GAP), height), PAPER)
    draw = ImageDraw.Draw(sheet)
    if not rows:
        draw.text((GAP, GAP), "Nothing was rejected.", INK, ImageFont.load_default(20))

    top = GAP
    for (reason, group), count in zip(ordered, rows, strict=True):
        more = f", {MOST} of them shown" if len(group) > MOST else ""
        draw.text((GAP, top + 8), f"{reason}: {len(group)}{more}", INK, ImageFont.load_default(20))
        top += TITLE
        for index, (head, verdict) in enumerate(group[:MOST]):
            row, column = divmod(index, COLUMNS)
            corner = (GAP + column * (TILE + GAP), top + row * (TILE + LABEL + GAP))
            sheet.paste(_tile(folder / head.file), corner)
            _label(draw, (corner[0], corner[1] + TILE + 2), verdict.detail)
        top += count * (TILE + LABEL + GAP)
    write_png(path, sheet)


def _tile(path: Path) -> Image.Image:
    """A crop at the tile's size, or a crossed-out tile where it can't be read."""
    try:
        return open_image(path).resize((TILE, TILE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    except UnreadableImage:
        tile = Image.new("RGB", (TILE, TILE), HOLLOW)
        draw = ImageDraw.Draw(tile)
        draw.line((0, 0, TILE, TILE), FAINT, 2)
        draw.line((0, TILE, TILE, 0), FAINT, 2)
        return tile


def _label(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str) -> None:
    """A line of small print, cut off at the tile's width; of a file's path the name alone."""
    if text.startswith("of "):
        text = f"of {Path(text[3:]).name}"
    font = ImageFont.load_default(12)
    shown = text
    while shown and draw.textlength(shown, font) > TILE:
        shown = f"{shown[:-2].rstrip('…')}…" if len(shown) > 2 else ""
    draw.text(corner, shown, FAINT, font)
