"""Pictures made fit by many processes, a part of the data set each; what is done stays done when all is killed.

Parts lie in a hidden folder beside the result. Which pictures a part holds depends on nothing but their order, so any
number of workers makes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import atomic, write_text
from figment.base.parallel import start_workers
from figment.base.pixels import png_bytes
from figment.base.progress import track
from figment.pack.fitting import Fit, fit_picture
from figment.pack.tfrecords import encode_picture, frame, levels

PART = 64
"""Pictures in a part."""
FEW = 2
"""So many parts are not worth starting processes for."""
VERSION = 1
"""Parts of other versions are made anew."""


@dataclass(frozen=True)
class Packed:
    """One picture as a part holds it."""

    index: int
    """Its place among the pictures that were given."""
    files: dict[str, bytes]
    """A PNG as {"png": ...}, or its records as {"r06": ..., "r05": ...}; empty where it was left out."""
    reason: str
    """Why it was left out; empty where it was not."""
    enlarged: float
    """How many times it was enlarged; 0: not at all."""


def parts_folder(out: Path) -> Path:
    """Where the parts of the result `out` lie."""
    return out.with_name(f".{out.name}.parts")


def write_parts(
    files: list[Path],  # the pictures, in the data set's order
    fit: Fit,  # what they become
    out: Path,  # the result; parts lie beside it
    workers: int | None = None,  # processes; None: one a core
) -> Path:
    """Make all parts that are not there yet; returns their folder."""
    folder = parts_folder(out)
    stamp = _stamp(files, fit)
    mark = folder / "job.json"
    if folder.exists() and not (mark.is_file() and mark.read_text() == stamp):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(mark, stamp)

    # A part is there whole or not at all, so those that are there are done.
    jobs = [
        (files[start : start + PART], fit, folder / f"{start // PART:06d}.zip") for start in range(0, len(files), PART)
    ]
    todo = [job for job in jobs if not job[2].is_file()]
    done = len(files) - sum(len(job[0]) for job in todo)
    for _ in track(_run(todo, min(workers or os.cpu_count() or 1, len(todo)), done), "packing", len(files)):
        pass
    return folder


def read_parts(folder: Path) -> Iterator[Packed]:
    """Every picture in order, a part at a time."""
    index = 0
    for path in sorted(folder.glob("[0-9]*.zip")):
        with zipfile.ZipFile(path) as part:
            rows = json.loads(part.read("report.json"))
            entries = {
                name: [entry for entry in part.namelist() if entry.startswith(f"{name}.")]
                for name in map(str, range(len(rows)))
            }
            for row, names in zip(rows, entries.values(), strict=True):
                found = {name.split(".")[1]: part.read(name) for name in names}
                yield Packed(index, found, row["reason"], row["enlarged"])
                index += 1


def _stamp(files: list[Path], fit: Fit) -> str:
    """What the parts depend on: other pictures or settings begin anew."""
    digest = hashlib.sha256()
    for path in files:
        state = path.stat()
        digest.update(f"{path.absolute()}\0{state.st_size}\0{state.st_mtime_ns}\n".encode())
    return json.dumps({"version": VERSION, "part": PART, "files": digest.hexdigest(), **asdict(fit)})


def _run(jobs: list[tuple[list[Path], Fit, Path]], workers: int, done: int) -> Iterator[None]:
    """Make the parts; yields once for each picture that is done, `done` times at once."""
    yield from (None for _ in range(done))
    if workers <= 1 or len(jobs) <= FEW:
        for job in jobs:
            yield from (None for _ in range(make_part(job)))
        return
    pool = start_workers(workers)
    try:
        for future in as_completed([pool.submit(make_part, job) for job in jobs]):
            yield from (None for _ in range(future.result()))
    except BrokenProcessPool:
        raise FigmentError(
            "a worker was killed, perhaps for want of memory; the same command goes on, with fewer --workers if need be"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def make_part(job: tuple[list[Path], Fit, Path]) -> int:
    """Write one part; returns how many pictures it was made of."""
    files, fit, out = job
    rows = []
    with atomic(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as part:
        for number, path in enumerate(files):
            reason, enlarged = "", 0.0
            try:
                image, enlarged = fit_picture(path, fit)
            except UnreadableImage as error:
                reason = str(error)
            else:
                if fit.form == "zip":
                    part.writestr(f"{number}.png", png_bytes(image))
                else:
                    sheet = levels(np.asarray(image).transpose(2, 0, 1))  # [C, R, R] down to [C, 4, 4]
                    for array in sheet:
                        level = array.shape[1].bit_length() - 1
                        part.writestr(f"{number}.r{level:02d}", frame(encode_picture(array)))
            rows.append({"reason": reason, "enlarged": enlarged})
        part.writestr("report.json", json.dumps(rows))
    return len(files)
