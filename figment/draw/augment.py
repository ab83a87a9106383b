"""Generate training data for other vision models: many images with a manifest, without near-copies of real ones.

figment augment runs/00000-heads -o more --images 1000 --data heads-64.zip
figment augment runs/00000-heads -o one --images 200 --hold 17 --vary fine        # one character, other colors
figment augment runs/00000-heads -o boxed --images 500 --format coco
"""

from __future__ import annotations

import functools
import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import DAMAGED_ZIP, LONGEST_NAME, need_file, read_json, write_bytes, write_json, write_text
from figment.base.formats import has_picture_name, is_hidden
from figment.base.pictures import list_pictures, relative_name
from figment.base.pixels import decode_image, open_image
from figment.base.progress import say, track
from figment.draw.latents import mix_styles, seeds_to_w
from figment.draw.render import load_generator, picture_png, render
from figment.nets.base import Bands

FORMATS = ("imagefolder", "coco")
TOO_LIKE = 0.97
"""Cosine similarity of two embeddings from which a fake counts as a copy of a training image."""
BLOCK = 16
"""Images that are drawn, embedded and written together."""
MANIFEST = "manifest.jsonl"


def augment(
    model: Path,  # a model file or a run
    out: Path,  # folder for the images, manifest.jsonl, and annotations.json with coco
    *,
    images: int = 1000,  # characters to draw; near-copies are left out and not replaced
    seed: int = 0,  # first seed; the following ones are drawn in order
    psi: float = 0.8,  # truncation
    hold: int | None = None,  # seed of the character that gives the bands that don't vary; None if all vary
    vary: str | None = None,  # bands of layers that follow each picture's own seed; None means all of the family's
    data: Path | None = None,  # training images, zip or folder, to check for near-copies; None for no check
    form: str = "imagefolder",  # "imagefolder", or "coco" with a box around each head
    label: str = "generated",  # name of the class folder or of the COCO category
) -> tuple[int, int]:
    """Draw images and a manifest row for each; return how many were kept and how many left out.

    An interrupted call continues where it stopped. Raises FigmentError for options that don't fit, or an output folder
    of other settings.
    """
    g, _ = load_generator(model)
    known_bands = g.family.bands
    vary = ",".join(known_bands) if vary is None else vary
    bands = _check(images, seed, hold, vary, form, label, known_bands)
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
        raise FigmentError(f"--output {out}: holds images of other settings; choose another folder")
    rows = _read_rows(out / MANIFEST)
    known = embed_all(_pictures(data)) if data else None
    write_json(out / "augment.json", settings)

    # Block by block: images first, then their rows, so that an interrupted call can continue.
    base = seeds_to_w(g, [hold], psi)[0] if hold is not None else None
    left = range(seed + len(rows), seed + images)
    for start in track(range(left.start, left.stop, BLOCK), "drawing", -(-len(left) // BLOCK)):
        seeds = list(range(start, min(start + BLOCK, left.stop)))
        ws = seeds_to_w(g, seeds, psi)
        if base is not None:
            ws = torch.stack([_varied(base, w, [known_bands[band] for band in bands]) for w in ws])
        pictures = np.ascontiguousarray(render(g, ws).transpose(0, 2, 3, 1))  # [n, H, W, C]
        nearest = _nearest(pictures, known) if known else [None] * len(seeds)
        for one, picture, near in zip(seeds, pictures, nearest, strict=True):
            row: dict[str, object] = {
                "seed": one,
                "hold": hold,
                "vary": vary,
                "psi": psi,
                "file": None,
                "left_out": None,
            }
            row |= {"nearest": near[0] if near else None, "likeness": round(near[1], 4) if near else None}
            if near and near[1] >= TOO_LIKE:
                row["left_out"] = f"near-copy of the training image {near[0]}"
            else:
                row["file"] = f"{label if form == 'imagefolder' else 'images'}/{one:08d}.png"
                write_bytes(out / str(row["file"]), picture_png(picture))
            rows.append(row)
        write_text(out / MANIFEST, "".join(json.dumps(row) + "\n" for row in rows))
    if form == "coco":
        write_json(out / "annotations.json", to_coco(out, rows, label))
    kept = sum(row["file"] is not None for row in rows)
    return kept, len(rows) - kept


def _varied(base: Tensor, w: Tensor, bands: list[tuple[int, int]]) -> Tensor:
    """Return `base` [L, D] with some bands of layers of `w` [L, D]."""
    for band in bands:
        base = mix_styles(base, w, band)
    return base


def _check(images: int, seed: int, hold: int | None, vary: str, form: str, label: str, known: Bands) -> list[str]:
    """Return the bands to vary; raises FigmentError that names the flags with wrong values."""
    bands = [band.strip() for band in vary.split(",")]
    wrong = []
    if images < 1:
        wrong.append(f"--images {images}: must be 1 or more")
    if not set(bands) <= set(known):
        wrong.append(f"--vary {vary}: must be some of {', '.join(known)}")
    if seed + images > 2**32:
        wrong.append(f"--seed {seed} with --images {images}: seeds must be below {2**32}")
    if form not in FORMATS:
        wrong.append(f"--format {form}: must be {' or '.join(FORMATS)}")
    if form == "imagefolder" and not _is_folder_name(label):
        wrong.append(f"--label {label}: must be the name of a folder that is no path and not hidden")
    if hold is None and set(bands) != set(known):
        wrong.append(f"--vary {vary}: the other bands need a character: give its seed as --hold")
    if wrong:
        raise FigmentError("; ".join(wrong))
    return bands


def _is_folder_name(text: str) -> bool:
    return Path(text).name == text not in ("", "..") and not is_hidden(text) and len(text.encode()) <= LONGEST_NAME


def _read_rows(manifest: Path) -> list[dict[str, object]]:
    """Return the rows of an interrupted call; raises FigmentError with the line of a damaged row."""
    rows = []
    for number, line in enumerate(manifest.read_bytes().splitlines() if manifest.exists() else [], 1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict) or not {"seed", "file"} <= row.keys():
            raise FigmentError(f"{manifest} line {number}: not a row of a manifest; delete this line and those below")
        rows.append(row)
    return rows


def _pictures(data: Path) -> Iterator[tuple[str, Image.Image]]:
    """Yield the readable images of a zip or folder with their names; print a line for each of the others.

    Raises FigmentError if `data` is neither, or holds no readable image.
    """
    readable = 0
    for name, read in _folder(data) if data.is_dir() else _zip(data):
        try:
            image = read()
        except UnreadableImage as error:
            say(f"left out of the check for near-copies: {error}")
        else:
            readable += 1
            yield name, image
    if not readable:
        raise FigmentError(f"--data {data}: holds no readable images")


def _folder(folder: Path) -> Iterator[tuple[str, Callable[[], Image.Image]]]:
    for path in list_pictures(folder, "--data"):
        yield relative_name(path, folder), functools.partial(open_image, path)


def _zip(path: Path) -> Iterator[tuple[str, Callable[[], Image.Image]]]:
    try:
        archive = zipfile.ZipFile(need_file(path, "--data"))
    except DAMAGED_ZIP:
        raise FigmentError(f"--data {path}: must be a zip or a folder of images, and this is neither") from None

    def read(name: str) -> Image.Image:
        try:
            data = archive.read(name)
        except DAMAGED_ZIP as error:
            raise UnreadableImage("truncated", f"{path}:{name}: damaged zip entry ({error})") from None
        return decode_image(data, f"{path}:{name}")

    with archive:
        for name in sorted(filter(has_picture_name, archive.namelist())):
            yield name, functools.partial(read, name)


def embed_all(pictures: Iterator[tuple[str, Image.Image]]) -> tuple[list[str], np.ndarray]:
    """Return the names and unit embeddings of one or more images, float32 [N, 128]."""
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
    return names, np.concatenate(parts)


def _nearest(pictures: np.ndarray, known: tuple[list[str], np.ndarray]) -> list[tuple[str, float] | None]:
    """Return for each image the most similar known one, mirrored or not, and the cosine of their embeddings."""
    names, table = known
    found: list[tuple[str, float] | None] = []
    _, plain = embed_all(("", Image.fromarray(picture.squeeze()).convert("RGB")) for picture in pictures)
    _, mirrored = embed_all(("", Image.fromarray(picture[:, ::-1].squeeze()).convert("RGB")) for picture in pictures)
    likeness = torch.maximum(torch.from_numpy(plain @ table.T), torch.from_numpy(mirrored @ table.T))
    for value, place in zip(*likeness.max(1), strict=True):
        found.append((names[int(place)], float(value)))
    return found


def to_coco(out: Path, rows: list[dict[str, object]], label: str) -> dict[str, object]:
    """Return a COCO data set of the kept images, a box around each head; the whole image if no head is found."""
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
