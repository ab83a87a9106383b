"""Read and write boxes: figment's boxes.json, COCO, and folders of YOLO labels.

{"relative/path.png": [[x0, y0, x1, y1, score], ...], ...}        boxes.json; the score is optional
boxes.coco.json                                                   COCO: boxes are [x, y, width, height]
labels/relative/path.txt                                          YOLO: class, center and size, relative to the image
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import list_files, need_folder, read_json, write_json, write_text
from figment.base.pixels import open_image

Boxes = Mapping[str, Sequence[Sequence[float]]]
"""Boxes [x0, y0, x1, y1] or [x0, y0, x1, y1, score] in pixels by the relative path of the image."""
Sizes = Mapping[str, tuple[int, int]]
"""Width and height by the relative path of the image."""


def read_boxes(
    path: Path,  # a boxes.json, a COCO file or a folder of YOLO labels
    pictures: Path | None = None,  # folder of the images, whose sizes YOLO labels need
) -> dict[str, list[list[float]]]:
    """Return the boxes of every image in `path`, in any of the formats; raises FigmentError that names the file."""
    if path.is_dir():
        if pictures is None:
            raise FigmentError(
                f"{path}: a folder of YOLO labels needs --pictures, since they are relative to the image's size"
            )
        return from_yolo(path, pictures)
    value = read_json(path)
    try:
        boxes = from_coco(value) if isinstance(value, dict) and "annotations" in value else value
        checked = {str(name): [[float(x) for x in box] for box in found] for name, found in boxes.items()}
        if any(len(box) not in (4, 5) for found in checked.values() for box in found):
            raise ValueError("a box must be [x0, y0, x1, y1] or [x0, y0, x1, y1, score]")
        if any(box[2] <= box[0] or box[3] <= box[1] for found in checked.values() for box in found):
            raise ValueError("a box must have x0 < x1 and y0 < y1")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise FigmentError(f"{path}: neither a boxes.json nor a COCO file ({type(error).__name__}: {error})") from None
    return checked


def write_boxes(
    path: Path,  # COCO for x.coco.json, boxes.json for another .json, else a folder of YOLO labels
    boxes: Boxes,
    sizes: Sizes,
) -> None:
    """Write boxes in the format that the name implies; raises FigmentError for another ending."""
    if path.name.endswith(".coco.json"):
        write_json(path, to_coco(boxes, sizes))
    elif path.suffix == ".json":
        write_json(path, {name: [list(box) for box in found] for name, found in boxes.items()})
    elif path.suffix:
        raise FigmentError(f"--output {path}: must end in .json or .coco.json, or be a folder for YOLO labels")
    else:
        to_yolo(path, boxes, sizes)


# ---------------------------------------------------------------------- COCO


def to_coco(boxes: Boxes, sizes: Sizes) -> dict[str, Any]:
    """Return a COCO data set with the category `head`: boxes are [x, y, width, height], known scores are kept."""
    images = [
        {"id": i, "file_name": name, "width": sizes[name][0], "height": sizes[name][1]}
        for i, name in enumerate(boxes, 1)
    ]
    flat = [(i, box) for i, found in enumerate(boxes.values(), 1) for box in found]
    annotations = []
    for k, (i, (x0, y0, x1, y1, *score)) in enumerate(flat, 1):
        row = {
            "id": k,
            "image_id": i,
            "category_id": 1,
            "bbox": [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)],
            "area": round((x1 - x0) * (y1 - y0), 2),
            "iscrowd": 0,
        }
        annotations.append(row | {"score": score[0]} if score else row)
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "head"}]}


def from_coco(value: dict[str, Any]) -> dict[str, list[list[float]]]:
    """Return the boxes of a COCO file: those of the category `head`, or all boxes if it has no such category."""
    names = {image["id"]: image["file_name"] for image in value["images"]}
    wanted = {category["id"] for category in value.get("categories", ()) if category["name"].lower() == "head"}
    boxes: dict[str, list[list[float]]] = {name: [] for name in names.values()}
    for row in value["annotations"]:
        if wanted and row["category_id"] not in wanted:
            continue
        x, y, width, height = row["bbox"]
        boxes[names[row["image_id"]]].append([x, y, x + width, y + height, *([row["score"]] if "score" in row else [])])
    return boxes


# ---------------------------------------------------------------------- YOLO


def to_yolo(folder: Path, boxes: Boxes, sizes: Sizes) -> None:
    """Write one text file per image, one line per box: class 0, center x and y, width, height, and any score."""
    for name, found in boxes.items():
        width, height = sizes[name]
        lines = []
        for x0, y0, x1, y1, *score in found:
            shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height, *score)
            lines.append("0 " + " ".join(f"{share:.6f}" for share in shares) + "\n")
        write_text(folder / Path(name).with_suffix(".txt"), "".join(lines))
    write_text(folder / "classes.txt", "head\n")


def from_yolo(
    folder: Path,  # x.txt for each image x.png
    pictures: Path,  # folder of the images
) -> dict[str, list[list[float]]]:
    """Return the boxes of all classes in a folder of YOLO labels; images without a label file are left out.

    Raises FigmentError for damaged lines, or if no image has a label file.
    """
    need_folder(pictures, "--pictures")
    boxes: dict[str, list[list[float]]] = {}
    for picture in list_files(pictures):
        name = picture.relative_to(pictures)
        labels = folder / name.with_suffix(".txt")
        if not labels.is_file() or labels == picture:
            continue
        try:
            width, height = open_image(picture).size
        except UnreadableImage:
            continue
        found = []
        for number, line in enumerate(labels.read_text(errors="replace").splitlines(), 1):
            try:
                _, x, y, across, down, *score = (float(word) for word in line.split())
            except ValueError:
                raise FigmentError(f"{labels}, line {number}: {line[:60]!r} is not `class x y width height`") from None
            found.append(
                [
                    (x - across / 2) * width,
                    (y - down / 2) * height,
                    (x + across / 2) * width,
                    (y + down / 2) * height,
                    *score[:1],
                ]
            )
        boxes[name.as_posix()] = found
    if not boxes:
        raise FigmentError(f"{folder}: holds no label file of a picture below {pictures}")
    return boxes
