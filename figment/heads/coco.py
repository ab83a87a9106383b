"""Read and write COCO files: `images`, `annotations` with bbox [x, y, width, height], `categories`.

Boxes are in pixels of the upright image, as detectron2 and ultralytics read them. Where width and height of an image
in the file say that its boxes are in pixels of the stored image, they are turned with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.pixels import read_size
from figment.heads.labels import (
    SLACK,
    Boxes,
    Report,
    Sizes,
    check_name,
    check_numbers,
    check_score,
    choose_classes,
    clip,
    need_pixels,
)


@dataclass(frozen=True)
class CocoImage:
    """An entry of `images`."""

    name: str
    """Path of the image relative to the folder of images."""
    size: tuple[int, int] | None
    """Width and height in the file; None if it doesn't say."""
    upright: tuple[int, int] | None = None
    """Width and height of the upright image; None if they are unknown."""
    orientation: int = 1
    """EXIF orientation by which boxes must be turned; 1: not at all."""
    reason: str = ""
    """Why the image is left out; empty if it isn't."""


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


def from_coco(
    value: dict[str, Any],  # content of the file
    file: Path,  # for messages
    pictures: Path | None = None,  # folder of the images, to check their sizes
) -> dict[str, list[list[float]]]:
    """Return the boxes of heads in a COCO file by the name of the image.

    Heads are the boxes of the category called head, else face; a single category counts whatever its name. Damaged
    annotations and images of another size are reported and left out, as are crowds. Raises FigmentError for a damaged
    list of images or categories, for several categories without heads, and if nothing is left.
    """
    report = Report(file)
    images = {key: check_size(image, pictures) for key, image in read_images(value, file).items()}
    names = read_categories(value, file)
    for image in images.values():
        if image.reason:
            report.add(image.reason, image.name)
        elif image.orientation > 1:
            report.add(
                "pictures labeled in pixels of the stored image, turned by EXIF; their boxes are turned", image.name
            )

    # Read all annotations first, since the categories that are used decide which ones are heads.
    rows: list[tuple[Any, CocoImage, list[float]]] = []
    annotations = need_list(value, "annotations", file)
    for index, row in enumerate(annotations):
        label = (
            row["id"] if isinstance(row, dict) and isinstance(row.get("id"), (int, str)) else f"annotations[{index}]"
        )
        try:
            if not isinstance(row, dict) or row.get("image_id") is None or key_of(row["image_id"]) not in images:
                raise ValueError("unknown image_id")
            image = images[row["image_id"]]
            if image.reason:
                continue
            kind = None if row.get("category_id") is None else key_of(row["category_id"])
            if names and kind not in names:
                raise ValueError("unknown category_id")
            box, outside = read_box(row, image)
            if outside > SLACK:
                report.add("boxes that reach out of the picture, cut off at its edge", label)
            rows.append((kind, image, box))
        except ValueError as error:
            report.add(f"annotations left out, {error}", label)
    report.tell()
    if (annotations and not rows) or (images and all(image.reason for image in images.values())):
        raise FigmentError(f"{file}: {report.worst()}, so nothing is left")

    need_pixels(file, (box for _, _, box in rows))
    boxes: dict[str, list[list[float]]] = {image.name: [] for image in images.values() if not image.reason}
    kinds = {kind: number for number, kind in enumerate(dict.fromkeys([*names, *(kind for kind, _, _ in rows)]))}
    counts = Counter(kinds[kind] for kind, _, _ in rows)
    heads = choose_classes(file, {kinds[kind]: name for kind, name in names.items()}, counts)
    for kind, image, box in rows:
        if kinds[kind] in heads:
            boxes[image.name].append(box)
    return boxes


def need_list(
    value: dict[str, Any],
    key: str,
    file: Path,
) -> list[Any]:
    """Return a list of the file; raises FigmentError for anything else."""
    if not isinstance(value.get(key), list):
        raise FigmentError(f"{file}: its {key!r} must be a list, as in a COCO file")
    found: list[Any] = value[key]
    return found


def key_of(value: object) -> Hashable:
    """Return an id as it is; raises ValueError if it is neither a number nor a text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("damaged id")
    return value


def read_images(
    value: dict[str, Any],
    file: Path,
) -> dict[Hashable, CocoImage]:
    """Return the images by id; raises FigmentError for damaged entries and ids that occur twice."""
    images: dict[Hashable, CocoImage] = {}
    for index, row in enumerate(need_list(value, "images", file)):
        try:
            key, name = key_of(row["id"]), check_name(row["file_name"])
        except (KeyError, TypeError, ValueError) as error:
            what = str(error) if isinstance(error, ValueError) else "must have an id and a file_name"
            raise FigmentError(f"{file}: images[{index}]: {what}") from None
        sides = row.get("width"), row.get("height")
        known = all(isinstance(side, (int, float)) and side > 0 for side in sides)
        if key in images and images[key].name != name:
            raise FigmentError(f"{file}: images[{index}]: id {key!r} is also that of {images[key].name!r}")
        images[key] = CocoImage(name, sides if known else None)
    return images


def read_categories(
    value: dict[str, Any],
    file: Path,
) -> dict[Hashable, str]:
    """Return the names of the categories by id; empty if the file has none. Raises FigmentError for damaged entries."""
    names: dict[Hashable, str] = {}
    for index, row in enumerate(need_list(value, "categories", file) if value.get("categories") is not None else []):
        try:
            names[key_of(row["id"])] = str(row["name"])
        except (KeyError, TypeError, ValueError):
            raise FigmentError(f"{file}: categories[{index}]: must have an id and a name") from None
    return names


def check_size(
    image: CocoImage,
    pictures: Path | None,
) -> CocoImage:
    """Return the image with its true size, its orientation if boxes must be turned, or the reason to leave it out."""
    if pictures is None:
        return CocoImage(image.name, image.size, image.size)
    try:
        upright, orientation = read_size(pictures / image.name)
    except UnreadableImage:
        return CocoImage(image.name, image.size, image.size)
    if image.size is None or image.size == upright:
        return CocoImage(image.name, image.size, upright)
    if orientation >= 5 and image.size == upright[::-1]:
        return CocoImage(image.name, image.size, upright, orientation)
    return CocoImage(image.name, image.size, upright, reason="pictures left out, their size isn't the one in the file")


def read_box(
    row: dict[str, Any],  # an annotation
    image: CocoImage,
) -> tuple[list[float], float]:
    """Return the box of an annotation within the upright image, with any score, and how far it reached out.

    Without a bbox, polygons give their bounding box. Raises ValueError with the reason for a damaged annotation.
    """
    if row.get("iscrowd") not in (None, 0, False):
        raise ValueError("a crowd instead of one head")
    if row.get("bbox"):
        try:
            x, y, width, height = check_numbers(row["bbox"], (4,))
        except ValueError as error:
            raise ValueError(f"bbox {error}") from None
        if width <= 0 or height <= 0:
            raise ValueError("bbox is empty; width and height must be above 0")
        box = [x, y, x + width, y + height]
    else:
        box = bounds(row.get("segmentation"))
    if row.get("score") is not None:
        box += [check_score(*check_numbers([row["score"]], (1,)))]
    if image.orientation > 1:
        clipped, outside = clip(box, image.size)
        return turn(clipped, image.size or (0, 0), image.orientation), outside
    return clip(box, image.upright)


def bounds(polygons: object) -> list[float]:
    """Return the bounding box of the polygons [[x, y, x, y, ...], ...]; raises ValueError for masks and others."""
    if isinstance(polygons, dict):
        raise ValueError("a mask (RLE) without bbox")
    if not polygons or not isinstance(polygons, list):
        raise ValueError("no bbox")
    try:
        points = [check_numbers(polygon, (len(polygon) // 2 * 2,)) for polygon in polygons]
        if min(map(len, points)) < 6:
            raise ValueError("must be three points or more")
    except (TypeError, ValueError):
        raise ValueError("no bbox, and a damaged polygon") from None
    xs, ys = ([value for polygon in points for value in polygon[start::2]] for start in (0, 1))
    return [min(xs), min(ys), max(xs), max(ys)]


def turn(
    box: list[float],  # x0, y0, x1, y1, and perhaps a score
    size: tuple[float, float],  # width and height of the stored image
    orientation: int,  # 5 to 8, as EXIF counts
) -> list[float]:
    """Return a box of the stored image in pixels of the upright one."""
    x0, y0, x1, y1, *score = box
    width, height = size
    down = (width - x1, width - x0) if orientation in (7, 8) else (x0, x1)
    across = (height - y1, height - y0) if orientation in (6, 7) else (y0, y1)
    return [across[0], down[0], across[1], down[1], *score]
