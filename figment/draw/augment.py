"""Characters as training data for other vision models: many pictures with a manifest, near-copies left out.

figment augment runs/00000-heads -o more --images 1000 --data heads-64.zip
figment augment runs/00000-heads -o one --images 200 --hold 17 --vary fine        # one character, other colours
figment augment runs/00000-heads -o boxed --images 500 --format coco
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import list_files, need_file, read_json, write_bytes, write_json, write_text
from figment.base.pixels import decode_image, open_image
from figment.base.progress import track
from figment.draw.latents import mix_styles, seeds_to_w
from figment.draw.render import load_generator, picture_png, render
from figment.nets.base import Bands

FORMATS = ("imagefolder", "coco")
TOO_LIKE = 0.97
"""Cosine of two embeddings from which a picture is taken for a copy of a training picture."""
BLOCK = 16
MANIFEST = "manifest.jsonl"


def augment(
    model: Path,  # a model file or a run
    out: Path,  # pictures, manifest.jsonl, and annotations.json with coco
    *,
    images: int = 1000,  # characters to draw; those left out are not replaced
    seed: int = 0,  # seeds `seed` and on are drawn
    psi: float = 0.8,
    hold: int | None = None,  # the seed of a character that gives what is not varied; None: all is varied
    vary: str | None = None,  # bands of layers that follow each picture's own seed; None means all of the family's
    data: Path | None = None,  # training pictures, zip or folder, of which no copies are wanted; None: no check
    form: str = "imagefolder",  # or coco, with the box of the head
    label: str = "generated",  # the class's folder, or the category's name
) -> tuple[int, int]:
    """Draw pictures with a manifest row each; returns how many were kept and left out. What is done is not redone."""
    g, _ = load_generator(model)
    known_bands = g.family.bands
    vary = ",".join(known_bands) if vary is None else vary
    bands = _check(images, hold, vary, form, known_bands)
    settings = {
        "model": str(model),
        "psi": psi,
        "hold": hold,
        "vary": vary,
        "data": str(data) if data else None,
        "format": form,
        "label": label,
        "images": images,
        "seed": seed,
    }
    if (out / "augment.json").exists() and read_json(out / "augment.json") != settings:
        raise FigmentError(f"--output {out}: holds pictures of other settings; take another folder")
    write_json(out / "augment.json", settings)
    known = embed_all(_pictures(data)) if data else None
    rows = [json.loads(line) for line in (out / MANIFEST).read_text().splitlines()] if (out / MANIFEST).exists() else []

    # Blocks of seeds: their pictures, then their rows, so that a run which was stopped goes on.
    base = seeds_to_w(g, [hold], psi)[0] if hold is not None else None
    left = range(seed + len(rows), seed + images)
    for start in track(range(left.start, left.stop, BLOCK), "drawing", -(-len(left) // BLOCK)):
        seeds = list(range(start, min(start + BLOCK, left.stop)))
        ws = seeds_to_w(g, seeds, psi).clone()
        if base is not None:
            for i, w in enumerate(ws):
                mixed = base
                for band in bands:
                    mixed = mix_styles(mixed, w, known_bands[band])
                ws[i] = mixed
        pictures = np.ascontiguousarray(render(g, ws).transpose(0, 2, 3, 1))  # [n, H, W, C]
        nearest = _nearest(pictures, known) if known else [None] * len(seeds)
        for one, picture, near in zip(seeds, pictures, nearest, strict=True):
            row = {
                "seed": one,
                "hold": hold,
                "vary": vary,
                "psi": psi,
                "file": None,
                "left_out": None,
                "nearest": near[0] if near else None,
                "likeness": round(near[1], 4) if near else None,
            }
            if near and near[1] >= TOO_LIKE:
                row["left_out"] = f"like the training picture {near[0]}"
            else:
                row["file"] = f"{label}/{one:08d}.png" if form == "imagefolder" else f"images/{one:08d}.png"
                write_bytes(out / str(row["file"]), picture_png(picture))
            rows.append(row)
        write_text(out / MANIFEST, "".join(json.dumps(row) + "\n" for row in rows))
    if form == "coco":
        write_json(out / "annotations.json", to_coco(out, rows, label))
    kept = sum(row["file"] is not None for row in rows)
    return kept, len(rows) - kept


def _check(images: int, hold: int | None, vary: str, form: str, known: Bands) -> list[str]:
    """Return the bands to vary; raises FigmentError that names the flags with wrong values."""
    bands = [band.strip() for band in vary.split(",")]
    wrong = []
    if images < 1:
        wrong.append(f"--images {images}: must be 1 or more")
    if not set(bands) <= set(known):
        wrong.append(f"--vary {vary}: must be some of {', '.join(known)}")
    if form not in FORMATS:
        wrong.append(f"--format {form}: must be {' or '.join(FORMATS)}")
    if hold is None and set(bands) != set(known):
        wrong.append(f"--vary {vary}: what is not varied must be held: give the character's seed as --hold")
    if wrong:
        raise FigmentError("; ".join(wrong))
    return bands


def _pictures(data: Path) -> Iterator[tuple[str, Image.Image]]:
    """The readable pictures of a zip or a folder, with their names."""
    if data.is_dir():
        for path in list_files(data):
            try:
                yield path.relative_to(data).as_posix(), open_image(path)
            except UnreadableImage:
                continue
        return
    with zipfile.ZipFile(need_file(data, "--data")) as archive:
        for name in sorted(archive.namelist()):
            try:
                yield name, decode_image(archive.read(name), name)
            except UnreadableImage:
                continue


def embed_all(pictures: Iterator[tuple[str, Image.Image]]) -> tuple[list[str], np.ndarray]:
    """Names, and unit embeddings float32 [N, 128] of the head backbone; raises FigmentError where there are none."""
    from figment.heads.describe import Describer

    describer, names, parts, block = Describer.load(), [], [], []
    for name, picture in pictures:
        names.append(name)
        block.append(picture)
        if len(block) == BLOCK:
            parts.append(describer.describe(block)[1])
            block = []
    if block:
        parts.append(describer.describe(block)[1])
    if not parts:
        raise FigmentError("--data: holds no pictures")
    return names, np.concatenate(parts)


def _nearest(pictures: np.ndarray, known: tuple[list[str], np.ndarray]) -> list[tuple[str, float] | None]:
    """For each picture the likest of the known ones, mirrored or not, and the cosine of their embeddings."""
    names, table = known
    found: list[tuple[str, float] | None] = []
    _, plain = embed_all(("", Image.fromarray(picture.squeeze()).convert("RGB")) for picture in pictures)
    _, mirrored = embed_all(("", Image.fromarray(picture[:, ::-1].squeeze()).convert("RGB")) for picture in pictures)
    likeness = torch.maximum(torch.from_numpy(plain @ table.T), torch.from_numpy(mirrored @ table.T))
    for value, place in zip(*likeness.max(1), strict=True):
        found.append((names[int(place)], float(value)))
    return found


def to_coco(out: Path, rows: list[dict[str, object]], label: str) -> dict[str, object]:
    """The pictures with the boxes of their heads; the whole picture where the detector finds none."""
    from figment.heads.detect import Detector

    detector = Detector.load()
    pictures, annotations = [], []
    for i, row in enumerate((row for row in rows if row["file"]), 1):
        image = open_image(out / str(row["file"]))
        found = detector.detect(image)
        x0, y0, x1, y1 = found[0].box if found else (0.0, 0.0, float(image.width), float(image.height))
        pictures.append({"id": i, "file_name": row["file"], "width": image.width, "height": image.height})
        annotations.append(
            {
                "id": i,
                "image_id": i,
                "category_id": 1,
                "iscrowd": 0,
                "area": (x1 - x0) * (y1 - y0),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "found": bool(found),
            }
        )
    return {"images": pictures, "annotations": annotations, "categories": [{"id": 1, "name": label}]}
