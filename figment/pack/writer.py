"""Prepare images in parallel processes and write them in parts, so that an interrupted run can continue.

The parts are zip files in a hidden folder next to the result. The images of a part depend only on the order of the
images, so the number of workers does not change the output.
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
from figment.base.files import LONGEST_NAME, atomic, write_text
from figment.base.parallel import start_workers
from figment.base.pixels import png_bytes
from figment.base.progress import track
from figment.pack.fitting import Fit, fit_picture
from figment.pack.tfrecords import encode_picture, frame, levels

PART = 64
"""Images per part."""
FEW = 2
"""Up to this number of parts, no worker processes are started."""
VERSION = 1
"""Version of the parts; parts of other versions are replaced."""


@dataclass(frozen=True)
class Packed:
    """One prepared image of a part."""

    index: int
    """Index of the image in the input files."""
    files: dict[str, bytes]
    """A PNG as {"png": ...}, or records as {"r06": ..., "r05": ...}; empty if the image was left out."""
    reason: str
    """Why the image was left out; empty if it was not."""
    enlarged: float
    """Enlargement factor; 0 if the image was not enlarged."""


def parts_folder(out: Path) -> Path:
    """Return the folder for the parts of the result `out`; for long names, its name is a hash."""
    name = f".{out.name}.parts"
    if len(os.fsencode(name)) > LONGEST_NAME:
        name = f".{hashlib.sha1(os.fsencode(out.name)).hexdigest()}.parts"
    return out.with_name(name)


def write_parts(
    files: list[Path],  # the images, in the order of the data set
    fit: Fit,
    out: Path,  # the result; the folder of the parts is next to it
    workers: int | None = None,  # processes; None: one per core
) -> Path:
    """Write all missing parts and return their folder.

    Parts of other images or settings are deleted first. Raises FigmentError if a worker process is killed.
    """
    folder = parts_folder(out)
    stamp = _stamp(files, fit)
    mark = folder / "job.json"
    if folder.exists() and not (mark.is_file() and mark.read_text() == stamp):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(mark, stamp)

    # Parts are written atomically, so existing ones are complete.
    jobs = [
        (files[start : start + PART], fit, folder / f"{start // PART:06d}.zip") for start in range(0, len(files), PART)
    ]
    todo = [job for job in jobs if not job[2].is_file()]
    done = len(files) - sum(len(job[0]) for job in todo)
    for _ in track(_run(todo, min(workers or os.cpu_count() or 1, len(todo)), done), "packing", len(files)):
        pass
    return folder


def read_parts(folder: Path) -> Iterator[Packed]:
    """Yield every image in order, reading one part at a time."""
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
    """Return a JSON text of everything that the parts depend on: version, part size, image files and settings."""
    digest = hashlib.sha256()
    for path in files:
        try:
            state = path.stat()
            row = f"{path.absolute()}\0{state.st_size}\0{state.st_mtime_ns}\n"
        except OSError:  # a link to nothing
            row = f"{path.absolute()}\0gone\n"
        digest.update(os.fsencode(row))
    return json.dumps({"version": VERSION, "part": PART, "files": digest.hexdigest(), **asdict(fit)})


def _run(jobs: list[tuple[list[Path], Fit, Path]], workers: int, done: int) -> Iterator[None]:
    """Write the parts; yield once per finished image, first for the `done` images of earlier runs."""
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
            "a worker was killed, perhaps out of memory; to continue, run the same command again, "
            "with fewer --workers if needed"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def make_part(job: tuple[list[Path], Fit, Path]) -> int:
    """Write one part: its image files, settings and path; return the number of its image files."""
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
