"""Evaluate a detector on labeled images.

figment heads score pictures/ truth.json --detector mine.safetensors
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from figment.base.errors import FigmentError
from figment.base.files import is_folder, list_files, need_folder, read_json
from figment.base.formats import is_picture
from figment.base.progress import say
from figment.base.records import Box
from figment.heads.boxes import Boxes, read_boxes
from figment.heads.detect import detect_folder, open_detector
from figment.heads.metrics import Scores, Truth, read_truth, score_boxes
from figment.heads.tune import LEAST_SCORE

Rows = list[tuple[str, str]]


def evaluate(
    found: Path,  # boxes in any format, or a folder of images to detect them in
    truth: Path,  # true boxes in any format, or demo art's truth.json
    *,
    pictures: Path | None = None,  # folder of the images, for YOLO labels; None means `found` if that is a folder
    detector: Path | None = None,  # None means the shipped one
) -> Rows:
    """Return the scores for all images, and for each folder if there are several, as rows of a name and a text.

    Raises FigmentError for boxes that can't be read, or if both name no common image.
    """
    holds_pictures = is_folder(found) and not _holds_labels(found)
    if pictures is not None:
        need_folder(pictures, "--pictures")
    if detector is not None and not holds_pictures:
        raise FigmentError(f"--detector {detector}: only of use with a folder of pictures, but {found} holds boxes")
    pictures = pictures or (found if holds_pictures else None)
    true = open_truth(truth, pictures)
    if holds_pictures:
        boxes: Boxes = detect_folder(found, detector=open_detector(detector), threshold=LEAST_SCORE, tell=say)
    else:
        boxes = read_boxes(found, pictures)
    if not set(boxes) & set(true.heads):
        raise FigmentError(f"{found}: none of its pictures is named in {truth}; both must be relative to one folder")

    rows = rows_of("all", score_boxes(boxes, true))
    folders = sorted({str(PurePosixPath(name).parent) for name in true.heads})
    for folder in folders if len(folders) > 1 else []:
        heads = {name: found for name, found in true.heads.items() if str(PurePosixPath(name).parent) == folder}
        rows += rows_of(folder, score_boxes(boxes, Truth(heads, true.ignored)))[:1]
    return rows


def _holds_labels(folder: Path) -> bool:
    """Return whether a folder holds YOLO labels; text files beside pictures may be captions instead."""
    files = list_files(folder)
    texts = [path for path in files if path.suffix == ".txt" and path.is_file()]
    return bool(texts) and (any(map(_is_label, texts)) or not any(map(is_picture, files)))


def _is_label(path: Path) -> bool:
    """Return whether a text file begins with the five numbers of a YOLO label."""
    with path.open(errors="replace") as file:
        words = file.read(200).split()[:5]
    try:
        return len([float(word) for word in words]) == 5
    except ValueError:
        return False


def open_truth(path: Path, pictures: Path | None) -> Truth:
    """Return true boxes of any format."""
    value = read_json(path) if path.is_file() else None
    if isinstance(value, dict) and isinstance(value.get("pictures"), dict):
        return read_truth(path)
    return Truth({name: [Box(*box[:4]) for box in found] for name, found in read_boxes(path, pictures).items()})


def rows_of(name: str, scores: Scores) -> Rows:
    """Return the rows of one set of images."""
    return [
        (f"{name}: AP50", f"{scores.ap50:.3f}   {scores.heads} heads, {scores.boxes} boxes"),
        ("recall at precision 0.9", f"{scores.recall_at_90:.3f}"),
        ("recall, all boxes", f"{scores.recall:.3f}"),
        ("precision, all boxes", f"{scores.precision:.3f}"),
    ]
