"""Generate a folder of practice images with the faults of real collections, and list what is in them.

figment demo-art pictures --pictures 400 --seed 0
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from figment.base.errors import FigmentError
from figment.base.files import read_json, write_bytes, write_json, write_text
from figment.base.progress import track
from figment.base.records import Box
from figment.demo.faults import COPIES, DAMAGED, ODD, copy_file, encode
from figment.demo.scenes import Cast, Scene, compose
from figment.demo.styles import HEADS, THINGS, TILES, credit_lines

TOO_SMALL = 32.0
"""Heads below this height, in pixels, are marked as too small."""

MIX = {"avataaars": 45.0, "adventurer": 20.0, "toon-head": 12.0, "micah": 8.0} | {
    name: 1.7 for name in HEADS if name not in ("avataaars", "adventurer", "toon-head", "micah")
}
"""Weight of each style. It is uneven, as in real collections."""

PEOPLE = Cast(MIX, heads=(1, 4), head_px=(72.0, 300.0), mirror=0.1)
NOBODY = Cast(MIX, heads=(0, 0))
FAR_AWAY = Cast(MIX, heads=(1, 4), head_px=(14.0, 28.0), mirror=0.1)
CUT_OUT = Cast(MIX, heads=(1, 2), head_px=(90.0, 300.0), mirror=0.1, background=False)

SHARES = {
    "no-head": 0.06,
    "small-heads": 0.05,
    "copy": 0.04,
    "reencoded": 0.05,
    "resized": 0.04,
    "mirrored": 0.04,
    "truncated": 0.015,
    "text": 0.005,
    "empty": 0.005,
    "cmyk": 0.02,
    "sixteen-bit": 0.01,
    "palette": 0.02,
    "alpha": 0.02,
    "exif-rotated": 0.02,
    "animated": 0.01,
}
"""Share of each special kind among the images, at least one image each; all other images are plain scenes."""

FOLDERS = ("fan-art", "screens", "wallpapers")


def make_demo_art(out: Path, *, pictures: int = 400, seed: int = 0) -> None:
    """Write `pictures` images, truth.json and CREDITS.md to the folder `out`; equal seeds give equal bytes.

    truth.json lists kind, head boxes and styles of each image. After an interruption, the same call completes the
    folder; a complete folder is not changed. Raises FigmentError if `pictures` is too small, or if `out` is a file or
    holds another collection.
    """
    fewest = 2 * len(SHARES)
    if pictures < fewest:
        raise FigmentError(f"--pictures {pictures}: must be {fewest} or more, so that every kind of fault occurs")
    if out.exists() and not out.is_dir():
        raise FigmentError(f"OUT {out}: must be a folder, but is a file")
    if _is_done(out, pictures, seed):
        return

    truth: dict[str, dict[str, Any]] = {}
    for index, kind in enumerate(track(_kinds(pictures), "drawing")):
        name, entry = _write_one(out, index, kind, np.random.default_rng([seed, index]), truth)
        truth[name] = {"kind": kind, **entry}

    # truth.json is written last: if it exists, all images are complete.
    used = [*HEADS, *TILES, *THINGS]
    write_text(
        out / "CREDITS.md",
        "# Credits\n\nThe pictures are composed of drawings in DiceBear's styles, "
        "each under its own license:\n\n" + "\n".join(credit_lines(used)) + "\n",
    )
    write_json(out / "truth.json", {"seed": seed, "count": pictures, "pictures": truth})


def _is_done(out: Path, pictures: int, seed: int) -> bool:
    """Return whether `out` holds exactly this collection. Raises FigmentError if it holds another one."""
    if not (out / "truth.json").exists():
        return False
    truth = read_json(out / "truth.json")
    if (truth.get("seed"), truth.get("count")) != (seed, pictures):
        raise FigmentError(
            f"OUT {out}: holds demo art of seed {truth.get('seed')} with {truth.get('count')} pictures; "
            "choose another folder"
        )
    return all((out / name).exists() for name in truth["pictures"])


def _kinds(pictures: int) -> list[str]:
    """Return the kind of each image. Plain scenes come first, since copies need an original."""
    special = [kind for kind, share in SHARES.items() for _ in range(max(1, round(share * pictures)))]
    return ["scene"] * (pictures - len(special)) + special


def _write_one(
    out: Path,
    index: int,
    kind: str,
    rng: np.random.Generator,  # used for this image only
    truth: dict[str, dict[str, Any]],  # entries of the previous images
) -> tuple[str, dict[str, Any]]:
    """Write image `index`; return its path relative to `out` and its entry in truth.json."""
    stem = f"{FOLDERS[int(rng.integers(len(FOLDERS)))]}/{index:05d}"
    if kind in COPIES:
        originals = [name for name, entry in truth.items() if entry["kind"] == "scene"]
        original = originals[int(rng.integers(len(originals)))]
        name = f"{stem}.{COPIES[kind] or original.rpartition('.')[2]}"
        boxes = tuple(Box(*box) for box in truth[original]["boxes"])
        boxes = copy_file(out / original, out / name, kind, boxes, float(rng.random()))
        return name, _entry(boxes, truth[original]["styles"], of=original)

    cast = {"no-head": NOBODY, "small-heads": FAR_AWAY, "alpha": CUT_OUT}.get(kind, PEOPLE)
    scene = compose(rng, cast, (int(rng.integers(320, 801)), int(rng.integers(320, 801))))
    if kind in ODD or kind in DAMAGED:
        write, suffix = (ODD | DAMAGED)[kind]
        write_bytes(out / f"{stem}.{suffix}", write(scene.image))
        seen = Scene(scene.image, (), ()) if kind in DAMAGED else scene
        return f"{stem}.{suffix}", _entry(seen.boxes, seen.styles, usable=kind not in DAMAGED)
    if rng.random() < 0.6:
        write_bytes(out / f"{stem}.png", encode(scene.image, "PNG"))
        return f"{stem}.png", _entry(scene.boxes, scene.styles)
    write_bytes(out / f"{stem}.jpg", encode(scene.image, "JPEG", quality=92))
    return f"{stem}.jpg", _entry(scene.boxes, scene.styles)


def _entry(
    boxes: tuple[Box, ...],  # of the heads, in pixels
    styles: tuple[str, ...] | list[str],  # of the heads
    *,
    usable: bool = True,  # False: the file is damaged
    of: str | None = None,  # name of the original; None: not a copy
) -> dict[str, Any]:
    """Return the entry of one image in truth.json."""
    return {
        "usable": usable,
        "of": of,
        "styles": list(styles),
        "boxes": [[round(side, 1) for side in box] for box in boxes],
        "too_small": [box.height < TOO_SMALL for box in boxes],
    }
