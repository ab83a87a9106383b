"""Write a data set: a stored zip of square PNGs with dataset.json, as StyleGAN2 and StyleGAN3 read and write it.

    figment pack heads/ -o heads-64.zip --resolution 64
"""

from __future__ import annotations

import json
import statistics
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from figment.base.catalog import Catalog
from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import atomic, list_files, need_folder
from figment.base.pixels import open_image, png_bytes, resize_square
from figment.base.progress import track

RESOLUTIONS = (16, 32, 64, 128, 256, 512, 1024)
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every entry, so that the same pictures make the same bytes."""


@dataclass(frozen=True)
class PackSummary:
    """What went into a data set."""

    packed: int
    """Pictures in the data set."""
    resolution: int
    """Their side in pixels."""
    failed: tuple[str, ...]
    """One line for each picture that could not be read."""


def pack(
    heads: Path,                       # a heads folder with its catalog, or any folder of pictures
    out: Path,                         # the zip to write
    *,
    resolution: int | None = None,     # side in pixels; None: the largest power of two below the median crop
) -> PackSummary:
    """Pack the kept heads of `heads` as sRGB PNGs, resampled by Lanczos, into the zip `out`.

    A folder without a catalog is packed whole, each picture cropped to its central square.
    """
    if out.suffix != ".zip":
        raise FigmentError(f"--output {out}: must end in .zip")
    if resolution is not None and resolution not in RESOLUTIONS:
        raise FigmentError(f"--resolution {resolution}: must be a power of two from 16 to 1024")
    files = _chosen_files(need_folder(heads, "HEADS"))
    resolution = resolution or _natural_resolution(files)

    # Entries are stored, not compressed again, under the names that the field's readers expect.
    failed: list[str] = []
    names: list[str] = []
    with atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for image in _squares(files, failed):
            name = f"{len(names) // 1000:05d}/img{len(names):08d}.png"
            archive.writestr(zipfile.ZipInfo(name, EPOCH), png_bytes(resize_square(image, resolution)))
            names.append(name)
        if not names:
            raise FigmentError(f"HEADS {heads}: none of its {len(files)} pictures could be read")
        archive.writestr(zipfile.ZipInfo("dataset.json", EPOCH), json.dumps({"labels": None}))
    return PackSummary(len(names), resolution, tuple(failed))


def _chosen_files(heads: Path) -> list[Path]:
    """The kept crops of a catalog, or every file of a plain folder."""
    if not (heads / "catalog.db").exists():
        files = list_files(heads)
        if not files:
            raise FigmentError(f"HEADS {heads}: holds no files")
        return files
    with Catalog(heads) as catalog:
        if not catalog.verdicts():
            raise FigmentError(f"HEADS {heads}: no verdicts yet; run `figment curate {heads}` first")
        kept = [heads / head.file for head in catalog.kept()]
    if not kept:
        raise FigmentError(f"HEADS {heads}: every head is rejected; loosen the thresholds of `figment curate`")
    return kept


def _natural_resolution(files: list[Path]) -> int:
    """The largest resolution at which the median picture is not enlarged."""
    sides = []
    for path in files[:: max(1, len(files) // 200)]:
        try:
            sides.append(min(open_image(path).size))
        except UnreadableImage:
            continue
    median = statistics.median(sides) if sides else RESOLUTIONS[0]
    return max((size for size in RESOLUTIONS if size <= median), default=RESOLUTIONS[0])


def _squares(files: list[Path], failed: list[str]) -> Iterator[Image.Image]:
    """The central squares of `files`; a file that can't be read is named in `failed`."""
    for path in track(files, "packing"):
        try:
            image = open_image(path)
        except UnreadableImage as error:
            failed.append(str(error))
            continue
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        yield image.crop((left, top, left + side, top + side))
