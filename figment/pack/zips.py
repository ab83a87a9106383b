"""Write a data set: a stored zip of square PNGs with dataset.json, as StyleGAN2 and StyleGAN3 read and write it, or
StyleGAN1's TFRecords.

    figment pack heads/ -o heads-64.zip --resolution 64
    figment pack heads/ -o heads-512 --format tfrecord --resolution 512
"""

from __future__ import annotations

import json
import shutil
import statistics
import zipfile
from dataclasses import dataclass
from pathlib import Path

from figment.base.catalog import Catalog
from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import atomic, list_files, need_folder
from figment.base.pixels import open_image
from figment.pack.fitting import Fit
from figment.pack.labels import Item, Label, Labels, find_labels
from figment.pack.recordset import need_new_folder, write_records
from figment.pack.tfrecords import original_order
from figment.pack.writer import read_parts, write_parts

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
    """One line for each picture that could not be read or enlarged."""
    enlarged: int = 0
    """Pictures that were smaller than the resolution."""


def pack(
    heads: Path,  # a heads folder with its catalog, or any folder of pictures
    out: Path,  # the zip to write, or the folder of TFRecords
    *,
    resolution: int | None = None,  # side in pixels; None: the largest power of two below the median crop
    form: str = "zip",  # zip or tfrecord
    labels: str | None = None,  # `folders`, or a CSV file; None: no labels
    alpha: str = "white",  # keep, or the colour that transparent pixels are laid over
    upscale: str = "lanczos",  # what enlarges small heads: lanczos, none, or a command with {in} and {out}
    shuffle: bool = True,  # TFRecords in the order of the original tool, which shuffles
    workers: int | None = None,  # processes; None: one a core
) -> PackSummary:
    """Pack the kept heads of `heads` as sRGB pictures, resampled by Lanczos, into `out`.

    A folder without a catalog is packed whole, each picture cropped to its central square. Killed at any moment, the
    same call goes on; `out` appears when it is whole.
    """
    if form == "zip" and out.suffix != ".zip":
        raise FigmentError(f"--output {out}: must end in .zip, or ask for --format tfrecord")
    if resolution is not None and resolution not in RESOLUTIONS:
        raise FigmentError(f"--resolution {resolution}: must be a power of two from 16 to 1024")
    if workers is not None and workers < 1:
        raise FigmentError(f"--workers {workers}: must be 1 or more")
    Fit(16, alpha, upscale, form).check()
    if form == "tfrecord":
        need_new_folder(out)
    items = [item for item in _chosen(need_folder(heads, "HEADS")) if item.path != Path(labels or "")]
    if form == "tfrecord" and shuffle:
        items = [items[index] for index in original_order(len(items))]
    found = find_labels(labels, items) if labels else None
    items, missing = (found.items, found.missing) if found else (items, [])

    # Parts first; they are put together in order, and go when the data set is whole.
    fit = Fit(resolution or _natural_resolution(sorted(item.path for item in items)), alpha, upscale, form)
    parts = write_parts([item.path for item in items], fit, out, workers)
    if form == "zip":
        count, failed, larger = _write_zip(items, found, parts, out)
    else:
        count, failed, larger = write_records(items, found, parts, out)
    shutil.rmtree(parts)
    return PackSummary(count, fit.resolution, (*missing, *failed), larger)


def _write_zip(
    items: list[Item],  # what the parts were made of
    labels: Labels | None,
    parts: Path,  # folder of the parts
    out: Path,
) -> tuple[int, list[str], int]:
    """Put the parts together; returns how many, why others are left out, and how many were enlarged.

    Entries are stored, not compressed again, under the names that the field's readers expect.
    """
    failed: list[str] = []
    rows: list[tuple[str, Label]] = []
    enlarged: list[tuple[str, str, float]] = []
    count = 0
    with atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for picture in read_parts(parts):
            if picture.reason:
                failed.append(picture.reason)
                continue
            name = f"{count // 1000:05d}/img{count:08d}.png"
            archive.writestr(zipfile.ZipInfo(name, EPOCH), picture.files["png"])
            count += 1
            if labels:
                rows.append((name, labels.values[picture.index]))
            if picture.enlarged:
                enlarged.append((name, items[picture.index].name, round(picture.enlarged, 3)))

        if not count:
            shutil.rmtree(parts)
            raise FigmentError(f"HEADS: none of the {len(items)} pictures could be used ({failed[0]})")

        # `labels` is what StyleGAN2 and StyleGAN3 read; the rest is for people.
        about: dict[str, object] = {"labels": rows or None}
        if labels and labels.classes:
            about["classes"] = labels.classes
        if enlarged:
            about["enlarged"] = enlarged
        archive.writestr(zipfile.ZipInfo("dataset.json", EPOCH), json.dumps(about))
    return count, failed, len(enlarged)


def _chosen(heads: Path) -> list[Item]:
    """The kept crops of a catalog, or every file of a plain folder."""
    if not (heads / "catalog.db").exists():
        files = list_files(heads)
        if not files:
            raise FigmentError(f"HEADS {heads}: holds no files")
        return [Item(path, path.relative_to(heads).as_posix()) for path in files]
    with Catalog(heads) as catalog:
        if not catalog.verdicts():
            raise FigmentError(f"HEADS {heads}: no verdicts yet; run `figment curate {heads}` first")
        kept = [Item(heads / head.file, head.file, head.picture) for head in catalog.kept()]
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
