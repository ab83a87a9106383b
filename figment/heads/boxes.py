"""Read and write boxes: figment's boxes.json, COCO, and folders of YOLO labels.

{"relative/path.png": [[x0, y0, x1, y1, score], ...], ...}        boxes.json; the score is optional
boxes.coco.json                                                   COCO, see coco.py
labels/relative/path.txt                                          YOLO, see yolo.py

Boxes are in pixels of the upright image: EXIF orientation is applied, as everywhere in figment.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import read_json, write_json
from figment.base.pixels import read_size
from figment.heads.coco import from_coco, to_coco
from figment.heads.labels import SLACK, Boxes, Report, Sizes, check_name, check_numbers, check_score, clip, need_pixels
from figment.heads.yolo import from_yolo, need_own_files, to_yolo

__all__ = ["Boxes", "Sizes", "check_format", "read_boxes", "to_coco", "write_boxes"]


def read_boxes(
    path: Path,  # a boxes.json, a COCO file or a folder of YOLO labels
    pictures: Path | None = None,  # folder of the images, whose sizes YOLO labels need
) -> dict[str, list[list[float]]]:
    """Return the boxes of every image in `path`, in any of the formats: not empty, finite, within the image.

    Without `pictures`, the size of an image is known from COCO only. What is left out is reported. Raises FigmentError
    that names the file, and the line or image.
    """
    if path.is_dir():
        if pictures is None:
            raise FigmentError(
                f"{path}: a folder of YOLO labels needs --pictures, since they are relative to the image's size"
            )
        return from_yolo(path, pictures)
    value = read_json(path)
    if not isinstance(value, dict):
        raise FigmentError(f"{path}: neither a boxes.json nor a COCO file (it has a {type(value).__name__}, no object)")
    if "annotations" in value or "images" in value:
        return from_coco(value, path, pictures)
    return from_own(value, path, pictures)


def from_own(
    value: dict[str, Any],  # content of a boxes.json
    file: Path,  # for messages
    pictures: Path | None,
) -> dict[str, list[list[float]]]:
    """Return the boxes of a boxes.json within their images; raises FigmentError for a damaged box."""
    report = Report(file)
    boxes: dict[str, list[list[float]]] = {}
    for name, found in value.items():
        try:
            check_name(name)
        except ValueError as error:
            raise FigmentError(f"{file}: {error}") from None
        if not isinstance(found, list):
            raise FigmentError(f"{file}: neither a boxes.json nor a COCO file ({name[:60]!r} has no list of boxes)")
        size = None
        if pictures is not None and found:
            try:
                size, _ = read_size(pictures / name)
            except UnreadableImage:
                size = None
        boxes[name] = []
        for number, box in enumerate(found, 1):
            try:
                numbers = check_numbers(box, (4, 5))
                _ = [check_score(score) for score in numbers[4:]]
                inside, outside = clip(numbers, size)
            except ValueError as error:
                raise FigmentError(f"{file}: {name[:60]!r}, box {number}: {str(box)[:60]} {error}") from None
            if outside > SLACK:
                report.add("boxes that reach out of the picture, cut off at its edge", f"{name}, box {number}")
            boxes[name].append(inside)
    report.tell()
    need_pixels(file, (box for found in boxes.values() for box in found))
    return boxes


def check_format(
    path: Path,  # COCO for x.coco.json, boxes.json for another .json, else a folder of YOLO labels
    names: Iterable[str],  # relative paths of the images
) -> None:
    """Raise FigmentError for another ending, and if the format can't hold the boxes of each image apart."""
    if path.suffix == ".json":
        return
    if path.suffix:
        raise FigmentError(f"--output {path}: must end in .json or .coco.json, or be a folder for YOLO labels")
    need_own_files(path, names)


def write_boxes(
    path: Path,  # COCO for x.coco.json, boxes.json for another .json, else a folder of YOLO labels
    boxes: Boxes,
    sizes: Sizes,
) -> None:
    """Write boxes in the format that the name implies; raises FigmentError for another ending."""
    check_format(path, boxes)
    if path.name.endswith(".coco.json"):
        write_json(path, to_coco(boxes, sizes))
    elif path.suffix == ".json":
        write_json(path, {name: [list(box) for box in found] for name, found in boxes.items()})
    else:
        to_yolo(path, boxes, sizes)
