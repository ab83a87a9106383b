"""Write a folder of TFRecords, one file per resolution, like StyleGAN's dataset_tool; it appears when complete."""

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
    """Raise FigmentError unless `out` is missing or an empty folder, so that no files are overwritten."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise FigmentError(f"--output {out}: must be a new or empty folder for --format tfrecord")


def write_records(
    items: list[Item],  # images in the order of the parts
    labels: Labels | None,  # of `items`; None: no labels
    parts: Path,  # folder of the parts
    out: Path,  # folder NAME, for files NAME/NAME-r02.tfrecords and so on
) -> tuple[int, list[str], int]:
    """Join the parts into `out`; return the number of images, the reasons for missing ones, and the number enlarged.

    Labels go to NAME-rxx.labels. Class names and enlarged images go to dataset.json, which StyleGAN's own tools ignore.
    Raises FigmentError if no image could be used.
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

    # Write the labels as a numpy file, and what only figment reads as JSON.
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
