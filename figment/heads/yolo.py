"""Read and write folders of YOLO labels: a text file for each image, a line for each box.

    labels/relative/path.txt        class, center x and y, width, height, and perhaps a confidence: `0 .5 .5 .2 .3 .9`
                                    or a polygon, which is read as its bounding box: `0 .4 .4 .6 .4 .5 .6`
                                    or a box with confidence and the number of a track: `0 .5 .5 .2 .3 .9 12`
    labels/classes.txt              names of the classes, one a line; or obj.names (CVAT), or either one folder above
    data.yaml                       here or up to two folders above, as Ultralytics and Roboflow write it: `names`, and
                                    `kpt_shape` if keypoints follow each box, which are skipped

All but the class are shares of the size of the upright image, from 0 to 1: YOLO's own tools apply the EXIF orientation.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import list_files, need_folder, write_text
from figment.base.pictures import list_pictures, relative_name
from figment.base.pixels import read_size
from figment.heads.labels import Boxes, Report, Sizes, choose_classes

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
CLASSES = "classes.txt"
"""File of the names of the classes."""
CLASSES_ABOVE = ("classes.txt", "obj.names")
"""The same file, as Label Studio and CVAT write it above the folder of labels."""
DATA_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
"""Names of the file that describes a data set."""
ROUNDING = 1e-5
"""Shares below 0 or above 1 by no more than this are rounding of the program that wrote them."""


def to_yolo(folder: Path, boxes: Boxes, sizes: Sizes) -> None:
    """Write one text file per image, one line per box: class 0, center x and y, width, height, and any score."""
    for name, found in boxes.items():
        width, height = sizes[name]
        lines = []
        for x0, y0, x1, y1, *score in found:
            shares = ((x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height, *score)
            lines.append("0 " + " ".join(f"{share:.6f}" for share in shares) + "\n")
        write_text(folder / Path(name).with_suffix(".txt"), "".join(lines))
    write_text(folder / CLASSES, "head\n")


def need_own_files(folder: Path, names: Iterable[str]) -> None:
    """Raise FigmentError if two images would share a label file, such as a.jpg and a.png."""
    taken = {CLASSES: f"the file {CLASSES}"}
    for name in names:
        label = Path(name).with_suffix(".txt").as_posix()
        if label in taken:
            raise FigmentError(
                f"--output {folder}: {label} would hold the boxes of {name} and of {taken[label]}; "
                "rename one, or write NAME.json"
            )
        taken[label] = name


def from_yolo(
    folder: Path,  # x.txt for each image x.png
    pictures: Path,  # folder of the images
) -> dict[str, list[list[float]]]:
    """Return the boxes of heads in a folder of YOLO labels; images without a label file are left out.

    With several classes, those called head or face in classes.txt count. Raises FigmentError that names file and line
    for anything that isn't a label, and if no image has a label file.
    """
    need_folder(pictures, "--pictures")
    report = Report(folder)
    about, keypoints = read_data(folder)
    shapes: Counter[tuple[int, bool]] = Counter()
    rows: dict[str, list[tuple[int, list[float]]]] = {}
    used: set[Path] = set()
    unreadable: dict[Path, str] = {}
    for picture in list_pictures(pictures, "--pictures", tell=lambda line: None):
        name = relative_name(picture, pictures)
        labels = folder / picture.relative_to(pictures).with_suffix(".txt")
        if labels == folder / CLASSES or labels == picture or not labels.is_file():
            continue
        try:
            size, _ = read_size(picture)
        except UnreadableImage:
            unreadable[labels] = name
            continue
        rows[name] = read_labels(labels, size, keypoints, shapes)
        used.add(labels)

    # A file x.json beside x.png and x.txt is no loss, but a label without any image is one.
    for labels in list_files(folder):
        if labels.suffix == ".txt" and labels not in used and labels != folder / CLASSES:
            why = f"label files left out, {'unreadable' if labels in unreadable else 'no'} picture below {pictures}"
            report.add(why, labels.relative_to(folder).as_posix())
    report.tell()
    if not rows:
        raise FigmentError(f"{folder}: holds no label file of a picture below {pictures}")

    if len(shapes) == 1 and all(doubtful for _, doubtful in shapes):
        count = next(iter(shapes))[0]
        raise FigmentError(
            f"{folder}: each line has {count} numbers, which could be a polygon or a box with keypoints; write "
            f"{DATA_FILES[0]} beside them with `kpt_shape: [keypoints, 2 or 3]`, or `kpt_shape: null` for polygons"
        )

    counts = Counter(kind for found in rows.values() for kind, _ in found)
    file = find_classes(folder)
    names = read_classes(file) if file else about
    if names and counts and max(counts) > max(names):
        where = file.name if file else DATA_FILES[0]
        raise FigmentError(f"{folder}: has boxes of class {max(counts)}, but {where} names only {len(names)} classes")
    heads = choose_classes(folder, names, counts)
    return {name: [box for kind, box in found if kind in heads] for name, found in rows.items()}


def find_classes(folder: Path) -> Path | None:
    """Return the file of the names of the classes in a folder of labels, else above it; None without one."""
    places = [folder / name for name in CLASSES_ABOVE] + [folder.absolute().parent / name for name in CLASSES_ABOVE]
    return next((path for path in places if path.is_file()), None)


def read_classes(path: Path) -> dict[int, str]:
    """Return the names of the classes by number, the first line is class 0."""
    return {kind: line.strip() for kind, line in enumerate("\n".join(read_lines(path)).rstrip().split("\n")) if line}


def read_data(folder: Path) -> tuple[dict[int, str], int | None]:
    """Return the classes' names and the numbers of all keypoints of a box, from data.yaml.

    They are empty and None without such a file, and 0 if it says that there are no keypoints. Raises FigmentError for a
    damaged file.
    """
    places = [folder.absolute(), *folder.absolute().parents][:3]
    path = next((place / name for place in places for name in DATA_FILES if (place / name).is_file()), None)
    if path is None:
        return {}, None
    try:
        value = yaml.safe_load("\n".join(read_lines(path)))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise FigmentError(f"{path}: not a readable YAML file ({' '.join(str(error).split())[:120]})") from None
    if not isinstance(value, dict):
        raise FigmentError(f"{path}: must have entries such as `names`")
    return _names_in(value.get("names"), path), _keypoints_in(value, path)


def _names_in(value: Any, path: Path) -> dict[int, str]:
    """Return the names in data.yaml: a list, or a name by number."""
    pairs = enumerate(value) if isinstance(value, list) else value.items() if isinstance(value, dict) else ()
    names = {kind: str(name) for kind, name in pairs if isinstance(kind, int) and not isinstance(name, (list, dict))}
    if value and len(names) < len(value):
        raise FigmentError(f"{path}: its `names` must be a list of names, or a name for each number")
    return names


def _keypoints_in(value: dict[Any, Any], path: Path) -> int:
    """Return the numbers of all keypoints of a box by `kpt_shape` in data.yaml; 0 without that entry."""
    shape = value.get("kpt_shape")
    if shape is None:
        return 0
    whole = isinstance(shape, list) and len(shape) == 2 and all(type(number) is int for number in shape)
    if not whole or shape[0] < 1 or shape[1] not in (2, 3):
        raise FigmentError(f"{path}: its `kpt_shape` {str(shape)[:60]} must be [keypoints, 2 or 3]")
    return int(shape[0] * shape[1])


def read_labels(
    path: Path,
    size: tuple[int, int],  # width and height of the upright image
    keypoints: int | None = None,  # numbers of all keypoints after each box; None: unknown
    shapes: Counter[tuple[int, bool]] | None = None,  # counts polygons: by numbers, and whether they may be keypoints
) -> list[tuple[int, list[float]]]:
    """Return class and box of each line, in pixels and within the image; blank lines are skipped.

    Raises FigmentError that names file and line.
    """
    found = []
    for number, line in enumerate(read_lines(path), 1):
        if not line.strip():
            continue
        try:
            words = line.split()
            if keypoints:
                words = without_keypoints(words, keypoints)
            found.append(parse_line(" ".join(words), size))
        except ValueError as error:
            raise FigmentError(f"{path}, line {number}: {line.strip()[:60]!r} {error}") from None
        if shapes is not None and keypoints is None and len(words) >= 7 and len(words) % 2:
            shapes[len(words), may_be_keypoints(words)] += 1
    return found


def without_keypoints(words: list[str], keypoints: int) -> list[str]:
    """Return the words of a box without those of its keypoints; raises ValueError for another count."""
    if len(words) not in (5 + keypoints, 6 + keypoints):
        raise ValueError(f"has {len(words)} numbers, must be class, box and {keypoints} of keypoints")
    return words[:5] + words[5 + keypoints :]


def may_be_keypoints(words: list[str]) -> bool:
    """Return whether a line could also be a box with keypoints [x, y]: they all lie in it, and it in the picture."""
    x, y, across, down, *points = (float(word) for word in words[1:])
    near = all(
        abs(point - middle) <= side / 2 + ROUNDING or point == 0  # 0 marks a point that is not visible
        for middle, side, values in ((x, across, points[0::2]), (y, down, points[1::2]))
        for point in values
    )
    return near and is_inside(x, y, across, down)


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text in UTF-8, or in UTF-16 with a byte order mark; raises FigmentError for other files."""
    try:
        data = path.read_bytes()
        wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except OSError as error:
        raise FigmentError(f"{path}: can't be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise FigmentError(f"{path}, line {line}: not a text in UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def parse_line(
    line: str,
    size: tuple[int, int],  # width and height of the image
) -> tuple[int, list[float]]:
    """Return class and box of one line, in pixels; raises ValueError with the rule that the line breaks."""
    words = line.split()
    if not all(NUMBER.fullmatch(word) for word in words):
        raise ValueError("must be numbers: class, x, y, width, height")
    track = re.fullmatch("[0-9]+", words[-1]) if len(words) == 7 else None
    if track and is_inside(*(float(word) for word in words[1:5])):  # its last number is that of a track
        words = words[:6]
    polygon = len(words) >= 7 and len(words) % 2 == 1
    if not polygon and len(words) not in (5, 6):
        raise ValueError(
            f"has {len(words)} numbers, must be `class x y width height`, the same with a confidence, or a polygon"
        )
    kind, *shares = (float(word) for word in words)
    if kind < 0 or kind != int(min(kind, 1e9)):
        raise ValueError("must begin with a class: 0, 1, 2, ...")
    if max(shares) > 1 + ROUNDING:
        raise ValueError("has numbers above 1; must be shares of the picture's size, not pixels")
    if min(shares) < -ROUNDING:
        raise ValueError("has numbers below 0; must be shares of the picture's size")

    if polygon:
        xs, ys = shares[0::2], shares[1::2]
        edges, score = [min(xs), min(ys), max(xs), max(ys)], []
    else:
        x, y, across, down, *score = shares
        edges = [x - across / 2, y - down / 2, x + across / 2, y + down / 2]
    width, height = size
    inside = [min(max(edge, 0.0), 1.0) * side for edge, side in zip(edges, (width, height, width, height), strict=True)]
    if not (inside[0] < inside[2] and inside[1] < inside[3]):
        raise ValueError("is an empty box; width and height must be above 0")
    return int(kind), [*inside, *(min(max(value, 0.0), 1.0) for value in score)]


def is_inside(x: float, y: float, across: float, down: float) -> bool:
    """Return whether a box, given by center and size as shares of the picture, is not empty and lies in the picture."""
    edges = (x - across / 2, y - down / 2, x + across / 2, y + down / 2)
    return across > 0 and down > 0 and min(edges) >= -ROUNDING and max(edges) <= 1 + ROUNDING
