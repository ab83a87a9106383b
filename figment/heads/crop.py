"""The crop stage: every picture of a folder read, its heads found and cut out, and a catalog row for each.

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
from typing import Any

import torch
from PIL import Image

from figment.base.catalog import Catalog
from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import need_folder
from figment.base.parallel import check_engine, run_on_ray
from figment.base.pixels import open_image, write_png
from figment.base.progress import track
from figment.base.records import Head, Picture
from figment.heads.describe import Describer, open_describer
from figment.heads.detect import SHIPPED, THRESHOLD, Finder, list_pictures, open_detector
from figment.heads.squares import cut_square, square_around

_Rows = tuple[Picture, list[Head], list[dict[str, float | str]]]
"""A picture's row, its heads' and their measures."""
MARGIN = 0.25
"""Room around a head on each side, as a share of its longer side."""
LARGEST = 1024
"""Crops larger than this side are scaled down to it."""


@dataclass(frozen=True)
class CropSummary:
    """What the crop stage found."""

    pictures: int
    """Files below the pictures folder."""
    unchanged: int
    """Of these, the ones that an earlier run with the same settings had done."""
    heads: int
    """Heads cut out of these pictures, now or earlier."""
    empty: int
    """Pictures without a head."""
    bad: dict[str, int] = field(default_factory=dict)
    """Files that are no usable picture, by reason."""

    def line(self) -> str:
        """One line for people."""
        bad = ", ".join(f"{count} {reason}" for reason, count in sorted(self.bad.items())) or "none"
        return f"{self.heads} heads in {self.pictures} files; {self.empty} without a head; not usable: {bad}"


@dataclass(frozen=True)
class _Job:
    """What a worker needs to know of the run."""

    pictures: Path
    heads: Path
    detector: Finder
    describer: Describer | None
    threshold: float
    margin: float
    largest: int


def crop_pictures(
    pictures: Path,  # every file below this folder
    heads: Path,  # crops and catalog.db go here
    *,
    detector: Path | None = None,  # weights of the head detector; None: the shipped ones
    threshold: float = THRESHOLD,  # lowest score of a head, 0 to 1
    margin: float = MARGIN,  # room around a head, as a share of its longer side
    largest: int = LARGEST,  # crops larger than this side, in pixels, are scaled down to it
    workers: int | None = None,  # threads; None: as many as torch would use
    engine: str = "local",  # or ray: a cluster that sees the same folders
) -> CropSummary:
    """Cut the heads out of a folder of pictures, with a row in heads/catalog.db for each picture and head.

    A picture's row is written after its crops, so a run that was killed goes on where it stopped. Pictures whose
    file and settings are as they were are not read again.
    """
    _check(pictures, heads, threshold, margin, largest)
    check_engine(engine)
    files = list_pictures(pictures, leave_out=heads)
    weights = detector or SHIPPED
    job = _open_job(pictures, heads, detector, threshold, margin, largest)
    settings = _settings_mark(weights, threshold, margin, largest)

    with Catalog(heads, create=True) as catalog:
        stamps = catalog.stamps()
        crops: dict[str, list[str]] = {}
        for head in catalog.heads():
            crops.setdefault(head.picture, []).append(head.file)

        # What is left to do: files that are new or changed, or whose crops someone removed.
        names = {path: relative_name(path, pictures) for path in files}
        marks = {path: f"{_stamp(path)}-{settings}" for path in files}
        todo = [
            path
            for path in files
            if stamps.get(names[path]) != marks[path]
            or not all((heads / file).is_file() for file in crops.get(names[path], ()))
        ]

        # Workers find and write crops; this thread alone writes rows, in the order of the files.
        threads = torch.get_num_threads()
        pool = ThreadPoolExecutor(workers or threads, initializer=torch.set_num_threads, initargs=(1,))
        try:
            tasks = [(path, names[path], marks[path]) for path in todo]
            if engine == "ray":
                wishes = (pictures.resolve(), heads.resolve(), detector, threshold, margin, largest)
                tasks = [(path.absolute(), name, mark) for path, name, mark in tasks]
                done = run_on_ray(functools.partial(_crop_elsewhere, wishes), tasks)
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


def _open_job(
    pictures: Path,
    heads: Path,
    detector: Path | None,
    threshold: float,
    margin: float,
    largest: int,
) -> _Job:
    """The run's settings with its networks loaded."""
    return _Job(pictures, heads, open_detector(detector), open_describer(), threshold, margin, largest)


_job_elsewhere = functools.lru_cache(maxsize=1)(_open_job)
"""In another process the networks are loaded once."""


def _crop_elsewhere(wishes: tuple[Any, ...], task: tuple[Path, str, str]) -> _Rows:
    """`crop_picture` in a process that has nothing but the run's settings."""
    return crop_picture(_job_elsewhere(*wishes), *task)


def crop_picture(
    job: _Job,
    path: Path,
    name: str,  # its path as the catalog has it
    mark: str,  # its stamp
) -> _Rows:
    """Read one picture, find its heads, write their crops; its rows, and each head's headness and embedding.

    A bad picture gives a row, never an error.
    """
    try:
        if not path.is_file():
            raise UnreadableImage("unreadable", f"{path}: not a regular file")
        image = open_image(path)
        found = job.detector.detect(image, job.threshold)
        squares = [square_around(detection.box, image.size, job.margin) for detection in found]
        crops = [cut_square(image, square, job.largest) for square in squares]
        measures = describe_crops(job.describer, crops)
    except UnreadableImage as error:
        return Picture(name, mark, None, None, "bad", error.reason, str(error)), [], []
    except Exception as error:  # whatever else one picture in a million does, the others go on
        message = f"{path}: {type(error).__name__}: {error}".splitlines()[0]
        return Picture(name, mark, None, None, "bad", "unreadable", message), [], []

    if not found:
        return Picture(name, mark, *image.size, "empty", "no-head", f"{path}: no head found"), [], []
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
    """For each crop its `headness`, and its `embedding` as hex text of float16 numbers; nothing without a describer."""
    if describer is None:
        return [{} for _ in crops]
    headness, embedding = describer.describe(crops)
    return [
        {"headness": round(float(sure), 4), "embedding": vector.astype("<f2").tobytes().hex()}
        for sure, vector in zip(headness, embedding, strict=True)
    ]


def crop_name(
    name: str,  # the picture's path relative to the pictures folder
    k: int,  # which of its heads, the surest is 0
) -> str:
    """The crop's file, relative to the heads folder: a shard of 256, the picture's stem, a hash of its path, k."""
    digest = hashlib.sha1(name.encode()).hexdigest()
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(name).stem).strip("._")[:60] or "picture"
    return f"{digest[:2]}/{stem}-{digest[:8]}-{k}.png"


def relative_name(
    path: Path,
    folder: Path,
) -> str:
    """`path` relative to `folder` with forward slashes; bytes that are no UTF-8 are spelled out."""
    return path.relative_to(folder).as_posix().encode("utf-8", "backslashreplace").decode()


def _check(
    pictures: Path,
    heads: Path,
    threshold: float,
    margin: float,
    largest: int,
) -> None:
    """Raise FigmentError, once and for all that is wrong with the settings."""
    wrong = []
    if not 0 < threshold < 1:
        wrong.append(f"--threshold {threshold}: must lie between 0 and 1")
    if not 0 <= margin <= 2:
        wrong.append(f"--margin {margin}: must be 0 to 2")
    if largest < 16:
        wrong.append(f"--largest {largest}: must be 16 or more")
    if wrong:
        raise FigmentError("; ".join(wrong))
    need_folder(pictures, "PICTURES")
    if heads.exists():
        need_folder(heads, "--output")
    if heads.resolve() == pictures.resolve():
        raise FigmentError(f"--output {heads}: must not be the pictures folder itself")


def _stamp(path: Path) -> str:
    """The size and modification time of a file; of a broken link, a mark of its own."""
    try:
        status = path.stat()
    except OSError:
        return "gone"
    return f"{status.st_size}-{status.st_mtime_ns}"


def _settings_mark(
    weights: Path,
    threshold: float,
    margin: float,
    largest: int,
) -> str:
    """A short hash of all that decides what is cut: a run with other settings reads every picture again."""
    digest = hashlib.sha1(weights.read_bytes())
    digest.update(f"{threshold} {margin} {largest}".encode())
    return digest.hexdigest()[:8]


def _summary(
    catalog: Catalog,
    names: set[str],  # the pictures of this run
    unchanged: int,
) -> CropSummary:
    """The figures of the catalog's rows for `names`."""
    rows = [picture for picture in catalog.pictures() if picture.path in names]
    heads = sum(head.picture in names for head in catalog.heads())
    bad = Counter(picture.reason for picture in rows if picture.status == "bad")
    return CropSummary(len(rows), unchanged, heads, sum(picture.status == "empty" for picture in rows), dict(bad))
