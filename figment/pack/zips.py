"""The pack stage: write square images to a zip file of PNGs for StyleGAN2 and 3, or to TFRecords for StyleGAN1.

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
from figment.base.files import atomic, need_folder, need_output
from figment.base.pictures import list_pictures, relative_name
from figment.base.pixels import open_image
from figment.pack.fitting import Fit
from figment.pack.labels import Item, Label, Labels, find_labels
from figment.pack.recordset import need_new_folder, write_records
from figment.pack.tfrecords import original_order
from figment.pack.writer import read_parts, write_parts

RESOLUTIONS = (16, 32, 64, 128, 256, 512, 1024)
"""Resolutions that training supports."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""Timestamp of every zip entry; it is fixed, so that equal images give equal files."""


@dataclass(frozen=True)
class PackSummary:
    """Result of the pack stage."""

    packed: int
    """Images in the data set."""
    resolution: int
    """Side of the images in pixels."""
    failed: tuple[str, ...]
    """One line for each image left out: without a label, not readable, or not enlarged."""
    enlarged: int = 0
    """Images of the data set that were smaller than the resolution."""
    notes: tuple[str, ...] = ()
    """Lines on how the labels were understood."""


def pack(
    heads: Path,  # a heads folder with its catalog, or any folder of images
    out: Path,  # the zip file to write, or the new folder of TFRecords
    *,
    resolution: int | None = None,  # side in pixels; None: the largest supported one that the median image reaches
    form: str = "zip",  # zip or tfrecord
    labels: str | None = None,  # `folders`, or the path of a table; None: no labels
    alpha: str = "white",  # `keep`, or the color behind transparent pixels
    upscale: str = "lanczos",  # how to enlarge small images: lanczos, a command with {in} and {out}, or none
    shuffle: bool = True,  # for TFRecords: shuffle in the same order as StyleGAN's own tool
    workers: int | None = None,  # processes; None: one per core
) -> PackSummary:
    """Pack the accepted heads of `heads` into `out` as square 8-bit sRGB images, resized with a Lanczos filter.

    If the folder has no catalog, all its images are packed. Each image is cropped to its central square. After an
    interruption, the same call continues; `out` appears when it is complete. Raises FigmentError for invalid options,
    or if no image can be used.
    """
    if form == "zip" and out.suffix != ".zip":
        raise FigmentError(f"--output {out}: must end in .zip, or ask for --format tfrecord")
    if form == "zip" and out.is_dir():
        raise FigmentError(f"--output {out}: must be a file, and this is a folder")
    if resolution is not None and resolution not in RESOLUTIONS:
        raise FigmentError(f"--resolution {resolution}: must be a power of two from 16 to 1024")
    if workers is not None and workers < 1:
        raise FigmentError(f"--workers {workers}: must be 1 or more")
    Fit(16, alpha, upscale, form).check()
    if form == "tfrecord":
        need_new_folder(out)
    items = [item for item in _chosen(need_folder(heads, "HEADS"), out) if item.path != Path(labels or "")]
    if form == "zip":
        need_output(out, "--output")
    elif shuffle:
        items = [items[index] for index in original_order(len(items))]
    found = find_labels(labels, items) if labels else None
    items, missing = (found.items, found.missing) if found else (items, [])

    # Write parts, join them in order, and delete them once the data set is complete.
    fit = Fit(resolution or _natural_resolution(sorted(item.path for item in items)), alpha, upscale, form)
    parts = write_parts([item.path for item in items], fit, out, workers)
    if form == "zip":
        count, failed, larger = _write_zip(items, found, parts, out)
    else:
        count, failed, larger = write_records(items, found, parts, out)
    shutil.rmtree(parts)
    return PackSummary(count, fit.resolution, (*missing, *failed), larger, found.notes if found else ())


def _write_zip(
    items: list[Item],  # images in the order of the parts
    labels: Labels | None,  # of `items`; None: no labels
    parts: Path,  # folder of the parts
    out: Path,
) -> tuple[int, list[str], int]:
    """Join the parts into `out`; return the number of images, the reasons for missing ones, and the number enlarged.

    Entries have the names that StyleGAN's tools expect, and are stored uncompressed since PNGs already are compressed.
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

        # StyleGAN2 and StyleGAN3 read only `labels`; the rest is for users.
        about: dict[str, object] = {"labels": rows or None}
        if labels and labels.classes:
            about["classes"] = labels.classes
        if enlarged:
            about["enlarged"] = enlarged
        archive.writestr(zipfile.ZipInfo("dataset.json", EPOCH), json.dumps(about))
    return count, failed, len(enlarged)


def _chosen(
    heads: Path,
    out: Path,  # the data set; a folder of this path is left out
) -> list[Item]:
    """Return the accepted heads of a catalog, or every picture of a folder without one."""
    if not (heads / "catalog.db").exists():
        return [Item(path, relative_name(path, heads)) for path in list_pictures(heads, "HEADS", leave_out=out)]
    with Catalog(heads) as catalog:
        if not catalog.verdicts():
            raise FigmentError(f"HEADS {heads}: no verdicts yet; run `figment curate {heads}` first")
        kept = [Item(heads / head.file, head.file, head.picture) for head in catalog.kept()]
    if not kept:
        raise FigmentError(f"HEADS {heads}: every head is rejected; loosen the thresholds of `figment curate`")
    return kept


def _natural_resolution(files: list[Path]) -> int:
    """Return the largest resolution at which the median image is not enlarged, from a sample of `files`."""
    sides = []
    for path in files[:: max(1, len(files) // 200)]:
        try:
            sides.append(min(open_image(path).size))
        except UnreadableImage:
            continue
    median = statistics.median(sides) if sides else RESOLUTIONS[0]
    return max((size for size in RESOLUTIONS if size <= median), default=RESOLUTIONS[0])
