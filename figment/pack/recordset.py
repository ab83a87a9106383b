"""A folder of TFRecords, a file per resolution, as StyleGAN's dataset_tool writes it: there when it is whole."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from figment.base.errors import FigmentError
from figment.pack.labels import Item, Labels
from figment.pack.writer import read_parts


def need_new_folder(out: Path) -> None:
    """Raise FigmentError where `out` holds something already: nobody's files are replaced."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FigmentError(f"--output {out}: must be a new or empty folder for --format tfrecord")


def write_records(
    items: list[Item],  # what the parts were made of
    labels: Labels | None,
    parts: Path,  # folder of the parts
    out: Path,  # NAME; its files are NAME/NAME-r02.tfrecords and so on
) -> tuple[int, list[str], int]:
    """Put the parts together; returns how many, why others are left out, and how many were enlarged.

    NAME-rxx.labels is written where there are labels; dataset.json tells their names and what was enlarged, and the
    original programs don't look at it.
    """
    failed: list[str] = []
    packed: list[int] = []
    enlarged: list[tuple[int, str, float]] = []
    folder = out.with_name(f".{out.name}.partial")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        files = {}
        for picture in read_parts(parts):
            if picture.reason:
                failed.append(picture.reason)
                continue
            for level, data in picture.files.items():
                if level not in files:
                    path = folder / f"{out.name}-{level}.tfrecords"
                    files[level] = stack.enter_context(path.open("wb"))
                files[level].write(data)
            if picture.enlarged:
                enlarged.append((len(packed), items[picture.index].name, round(picture.enlarged, 3)))
            packed.append(picture.index)

    # Beside the records: labels as a numpy file, and what figment alone reads.
    if labels and packed:
        with (folder / f"{out.name}-rxx.labels").open("wb") as file:
            np.save(file, labels.one_hot(packed))
    about = ({"classes": labels.classes} if labels and labels.classes else {}) | (
        {"enlarged": enlarged} if enlarged else {}
    )
    if about:
        (folder / "dataset.json").write_text(json.dumps(about))
    if not packed:
        shutil.rmtree(folder)
        shutil.rmtree(parts)
        raise FigmentError(f"HEADS: none of the {len(items)} pictures could be used ({failed[0]})")
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    os.replace(folder, out)
    return len(packed), failed, len(enlarged)
