"""Draw what the network of `figment.score.parts` learns from, once, into a folder of .npy files.

Heads of `adventurer` are drawn whole and without each part, so that faults can be composed; other styles only whole.
"""

from __future__ import annotations

import functools
import json
import multiprocessing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from figment.demo.styles import HEADS, definition, draw, parts
from figment.score.parts import PARTS, SIZE

TRAIN, HELD_OUT, OTHERS = 600_000, 700_000, 800_000
"""First seeds of the heads to train on, of the held-out heads, and of the other styles."""
FORMS = ("eyes", "mouth", "hair", "top", "head", "eyebrows", "expression", "nose")
"""Components of other styles whose variants the trunk learns, where a style has them."""
INKS = ("skin", "hair", "base", "top")
"""Colors of other styles that the trunk learns."""
STYLE = "adventurer"
"""Style of the heads to judge."""
CHUNK = 50


class Drawings(NamedTuple):
    """Everything that is drawn once."""

    heads: np.ndarray
    """Heads to train on, uint8 [N, 5, 3, 64, 64]: whole, then without each of PARTS."""
    kinds: np.ndarray
    """Index of each head's kind in each of `attributes`, int64 [N, 6]."""
    held_out: np.ndarray
    held_out_kinds: np.ndarray
    """The same for held-out heads."""
    others: np.ndarray
    """Heads of other styles, RGBA, uint8 [M, 4, 64, 64]."""
    styles: np.ndarray
    """Index of the style of each of `others`, int64 [M]."""
    other_kinds: np.ndarray
    """Index of the kind of each of `others` in each of `questions`, int64 [M, Q]; -1 where it does not apply."""
    questions: list[tuple[str, str, list[str]]]
    """Style, option and kinds of every attribute of the other styles."""


def other_questions() -> list[tuple[str, str, list[str]]]:
    """Return style, option and kinds of every attribute that the trunk learns besides those of the main style."""
    found = []
    for style in (name for name in HEADS if name != STYLE):
        known = definition(style)
        asked = [(f"{name}Variant", sorted(known["components"].get(name, {}).get("variants", ()))) for name in FORMS]
        asked += [(f"{name}Color", known["colors"].get(name, {}).get("values", [])) for name in INKS]
        found += [(style, option, list(kinds)) for option, kinds in asked if len(kinds) > 1]
    return found


@functools.cache
def attributes() -> dict[str, list[str]]:
    """Return the kinds of each attribute of the heads to judge, by DiceBear's names of options."""
    known = definition(STYLE)
    found = {f"{part}Variant": sorted(known["components"][part]["variants"]) for part in PARTS}
    return found | {f"{name}Color": list(known["colors"][name]["values"]) for name in ("hair", "skin")}


def kind_of(chosen: dict[str, Any], option: str, kinds: list[str]) -> int:
    """Return the index of the kind that DiceBear chose for an option; -1 if the drawing has no such part."""
    value = chosen.get(option)
    value = value[0] if isinstance(value, list) and value else value
    return kinds.index(value) if value in kinds else -1


def on_white(drawing: Image.Image) -> np.ndarray:
    """Return a drawing over white, uint8 [3, H, W]."""
    ground = Image.new("RGBA", drawing.size, "white")
    return np.asarray(Image.alpha_composite(ground, drawing).convert("RGB")).transpose(2, 0, 1)


def draw_layers(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one head whole and without each part, uint8 [5, 3, 64, 64], and its kinds, int64 [6]."""
    layers = np.stack([on_white(draw(STYLE, seed, SIZE, without=part)) for part in ("", *PARTS)])
    chosen = parts(STYLE, seed)
    return layers, np.array([kind_of(chosen, option, kinds) for option, kinds in attributes().items()])


def draw_other(seed: int, questions: list[tuple[str, str, list[str]]]) -> tuple[np.ndarray, int, np.ndarray]:
    """Return one head of another style as RGBA uint8 [4, 64, 64], the index of its style, and its kinds."""
    names = list(HEADS)
    style = [name for name in names if name != STYLE][seed % (len(names) - 1)]
    chosen = parts(style, seed)
    kinds = np.array([kind_of(chosen, option, known) if name == style else -1 for name, option, known in questions])
    return np.asarray(draw(style, seed, SIZE).convert("RGBA")).transpose(2, 0, 1), names.index(style), kinds


def draw_all(
    folder: Path,
    heads: int,  # heads of the main style to train on
    held_out: int,
    others: int,
    processes: int = 2,
) -> Drawings:
    """Return the drawings, from `folder` if they are there."""
    questions = other_questions()
    names = ("heads", "kinds", "held_out", "held_out_kinds", "others", "styles", "other_kinds")
    files = [folder / f"{name}.npy" for name in names]
    record = json.dumps([heads, held_out, others, questions])
    if not (folder / "done.json").is_file() or (folder / "done.json").read_text() != record:
        folder.mkdir(parents=True, exist_ok=True)
        ask = functools.partial(draw_other, questions=questions)
        found: list[np.ndarray] = []
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            for job, first, count in (
                (draw_layers, TRAIN, heads),
                (draw_layers, HELD_OUT, held_out),
                (ask, OTHERS, others),
            ):
                rows = pool.map(job, range(first, first + count), CHUNK)
                found += [np.stack(part) for part in zip(*rows, strict=True)]
        for file, array in zip(files, found, strict=True):
            np.save(file, array)
        (folder / "done.json").write_text(record)
    return Drawings(*(np.load(file) for file in files), questions)
