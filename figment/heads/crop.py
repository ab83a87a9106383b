"""The crop stage: read every image of a folder, cut out its heads, and write a catalog row for each.

figment crop pictures/ -o heads/
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image

from figment.base.catalog import Catalog
from figment.base.errors import FigmentError, UnreadableImage, printable
from figment.base.files import need_folder
from figment.base.parallel import check_engine, run_on_ray
from figment.base.pictures import list_pictures, relative_name
from figment.base.pixels import open_image, write_png
from figment.base.progress import track
from figment.base.records import Head, Picture
from figment.heads.describe import Describer, open_describer
from figment.heads.detect import THRESHOLD, Finder, open_detector
from figment.heads.network import SHIPPED
from figment.heads.squares import cut_square, square_around

_Rows = tuple[Picture, list[Head], list[dict[str, float | str]]]
"""The rows of an image and its heads, and the measures of each head."""
MARGIN = 0.25
"""Room around a head on each side, as a share of its longer side."""
LARGEST = 1024
"""Largest side of a crop in pixels; larger ones are scaled down."""


@dataclass(frozen=True)
class CropSummary:
    """Result of the crop stage. Files that are no pictures, such as captions, are not counted."""

    pictures: int
    """Pictures below the folder, usable or not."""
    unchanged: int
    """Files that an earlier call with the same settings has processed."""
    heads: int
    """Heads cut out of these files, now or earlier."""
    empty: int
    """Images without a head."""
    bad: dict[str, int] = field(default_factory=dict)
    """Number of pictures that can't be used, by reason."""

    def line(self) -> str:
        """Return a summary in one line."""
        bad = ", ".join(f"{count} {reason}" for reason, count in sorted(self.bad.items())) or "none"
        return f"{self.heads} heads in {self.pictures} files; {self.empty} without a head; not usable: {bad}"


@dataclass(frozen=True)
class _Settings:
    """What decides which heads are cut out, and how."""

    detector: Path | None
    threshold: float
    margin: float
    largest: int


@dataclass(frozen=True)
class _Job:
    """What a worker needs."""

    heads: Path
    settings: _Settings
    detector: Finder
    describer: Describer | None


def crop_pictures(
    pictures: Path,  # folder of images; subfolders are included
    heads: Path,  # folder for the crops and catalog.db
    *,
    detector: Path | None = None,  # weights of the head detector; None means the shipped ones
    threshold: float = THRESHOLD,  # lowest score of a head, between 0 and 1
    margin: float = MARGIN,  # room on each side of a head, as a share of its longer side
    largest: int = LARGEST,  # largest side of a crop in pixels; larger ones are scaled down
    workers: int | None = None,  # threads; None means as many as torch uses
    engine: str = "local",  # "local", or "ray" for a cluster that sees the same folders
) -> CropSummary:
    """Cut the heads out of a folder of images, with a row in heads/catalog.db for each image and head.

    The row of an image is written after its crops, so an interrupted call continues where it stopped. Images whose file
    and settings have not changed are not read again. Raises FigmentError for settings that don't fit.
    """
    settings = _Settings(detector, threshold, margin, largest)
    _check(pictures, heads, settings)
    check_engine(engine)
    files = list_pictures(pictures, leave_out=heads)
    job = _open_job(heads, settings)
    settings_mark = _settings_mark(settings)

    with Catalog(heads, create=True) as catalog:
        stamps = catalog.stamps()
        crops: dict[str, list[str]] = {}
        for head in catalog.heads():
            crops.setdefault(head.picture, []).append(head.file)

        # Process files that are new or changed, or whose crops were removed.
        names = {path: relative_name(path, pictures) for path in files}
        marks = {path: f"{_stamp(path)}-{settings_mark}" for path in files}
        todo = [
            path
            for path in files
            if stamps.get(names[path]) != marks[path]
            or not all((heads / file).is_file() for file in crops.get(names[path], ()))
        ]

        # Workers write crops; only this thread writes rows, in the order of the files.
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(workers or threads, initializer=torch.set_num_threads, initargs=(1,))
        try:
            tasks = [(path, names[path], marks[path]) for path in todo]
            if engine == "ray":
                tasks = [(path.absolute(), name, mark) for path, name, mark in tasks]
                done = run_on_ray(functools.partial(_crop_remotely, heads.resolve(), settings), tasks)
            else:
                done = pool.map(lambda task: crop_picture(job, *task), tasks)
            for picture, found, measures in track(done, "cropping", len(todo)):
                new = {head.file for head in found}
                for file in crops.get(picture.path, ()):
                    if file not in new:
                        (heads / file).unlink(missing_ok=True)
                catalog.put_picture(picture, found, measures)
        finally:
            pool.shutdown(cancel_futures=True)
            torch.set_num_threads(threads)
        return _summary(catalog, set(names.values()), len(files) - len(todo))


def _open_job(heads: Path, settings: _Settings) -> _Job:
    """Return a job with its networks loaded."""
    return _Job(heads, settings, open_detector(settings.detector), open_describer())


_remote_job = functools.lru_cache(maxsize=1)(_open_job)
"""Loads the networks once in another process."""


def _crop_remotely(heads: Path, settings: _Settings, task: tuple[Path, str, str]) -> _Rows:
    """Call `crop_picture` in another process."""
    return crop_picture(_remote_job(heads, settings), *task)


def crop_picture(
    job: _Job,
    path: Path,
    name: str,  # its path in the catalog
    mark: str,  # stamp of its file and the settings
) -> _Rows:
    """Read one image, find its heads and write their crops; return its rows.

    An image that can't be used gives a row, never an error. Raises FigmentError if a crop can't be written.
    """
    try:
        image = open_image(path)
        found = job.detector.detect(image, job.settings.threshold)
        squares = [square_around(detection.box, image.size, job.settings.margin) for detection in found]
        crops = [cut_square(image, square, job.settings.largest) for square in squares]
        measures = describe_crops(job.describer, crops)
    except UnreadableImage as error:
        return Picture(name, mark, None, None, "bad", error.reason, str(error)), [], []
    except Exception as error:  # whatever goes wrong with one image, the others continue
        message = printable(f"{path}: {type(error).__name__}: {error}")
        return Picture(name, mark, None, None, "bad", "unreadable", message), [], []

    if not found:
        return Picture(name, mark, *image.size, "empty", "no-head", printable(f"{path}: no head found")), [], []
    heads = []
    for k, (detection, square, crop) in enumerate(zip(found, squares, crops, strict=True)):
        head = Head(crop_name(name, k), detection.box, detection.score, square)
        try:
            write_png(job.heads / head.file, crop)
        except OSError as error:
            raise FigmentError(f"--output {job.heads}: can't write {head.file} ({error.strerror})") from None
        heads.append(head)
    return Picture(name, mark, *image.size, "heads"), heads, measures


def describe_crops(describer: Describer | None, crops: list[Image.Image]) -> list[dict[str, float | str]]:
    """Return `headness` and `embedding` (float16 numbers as hex text) of each crop; empty without a describer."""
    if describer is None:
        return [{} for _ in crops]
    headness, embedding = describer.describe(crops)
    return [
        {"headness": round(float(sure), 4), "embedding": vector.astype("<f2").tobytes().hex()}
        for sure, vector in zip(headness, embedding, strict=True)
    ]


def crop_name(
    name: str,  # the image's path relative to the folder of images
    k: int,  # index of the head; 0 has the highest score
) -> str:
    """Return the crop's file relative to the heads folder: one of 256 subfolders, stem and hash of the image, k."""
    digest = hashlib.sha1(name.encode()).hexdigest()
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name).stem).strip("._")[:60] or "picture"
    return f"{digest[:2]}/{stem}-{digest[:8]}-{k}.png"


def _check(pictures: Path, heads: Path, settings: _Settings) -> None:
    """Raise FigmentError that lists all wrong settings."""
    wrong = []
    if not 0 < settings.threshold < 1:
        wrong.append(f"--threshold {settings.threshold}: must be between 0 and 1")
    if not 0 <= settings.margin <= 2:
        wrong.append(f"--margin {settings.margin}: must be from 0 to 2")
    if settings.largest < 16:
        wrong.append(f"--largest {settings.largest}: must be 16 or more")
    if wrong:
        raise FigmentError("; ".join(wrong))
    need_folder(pictures, "PICTURES")
    if heads.exists():
        need_folder(heads, "--output")
    if heads.resolve() == pictures.resolve():
        raise FigmentError(f"--output {heads}: must not be the folder of the pictures")


def _stamp(path: Path) -> str:
    """Return the size and modification time of a file; "gone" for a broken link."""
    try:
        status = path.stat()
    except OSError:
        return "gone"
    return f"{status.st_size}-{status.st_mtime_ns}"


def _settings_mark(settings: _Settings) -> str:
    """Return a short hash of the settings; other settings process every image again."""
    digest = hashlib.sha1((settings.detector or SHIPPED).read_bytes())
    digest.update(f"{settings.threshold} {settings.margin} {settings.largest}".encode())
    return digest.hexdigest()[:8]


def _summary(
    catalog: Catalog,
    names: set[str],  # images of this call
    unchanged: int,
) -> CropSummary:
    """Return the summary of the catalog's rows for `names`."""
    rows = [picture for picture in catalog.pictures() if picture.path in names]
    heads = sum(head.picture in names for head in catalog.heads())
    bad = Counter(picture.reason for picture in rows if picture.status == "bad")
    return CropSummary(len(rows), unchanged, heads, sum(picture.status == "empty" for picture in rows), dict(bad))
