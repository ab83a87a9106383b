"""Finding heads: from a picture, or a folder of pictures, to boxes with scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, ImageOps

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import list_files, need_folder
from figment.base.pixels import open_image, to_unit
from figment.base.progress import track
from figment.base.records import Box
from figment.heads.boxes import write_boxes
from figment.heads.fuse import fuse, mirror_box
from figment.heads.network import HeadNet, Level, channels_last, fold_norms, load_net
from figment.heads.views import FILL

SHIPPED = Path(__file__).parent / "weights" / "detector.safetensors"
"""The weights in the package; MODEL_CARD.md beside their folder says what they were trained on."""
THRESHOLD = 0.45
"""Detections below this score are dropped unless a caller asks for another threshold."""
LISTED = 0.3
"""What a list of boxes begins at: it tells scores, so a reader can choose; below this hardly anything is a head."""
LONG_SIDES = (320, 640)
"""Each picture is looked at at each of these sizes of its longer side, as far as it has the pixels."""
AGAIN = 0.7
"""The first look is taken mirrored, and once more at this share of its size; the two are fused, which steadies both."""
LEAST = 0.04
"""Scores below this are noise."""
FINE = 96
"""The second, finer look is there for small heads: in pixels of its input, larger ones are left to the first."""
DOUBT = 0.93
"""What the scores of the finer look are multiplied by: it sees far more things that are no heads."""
SIDECARS = frozenset({".json", ".md", ".txt", ".db", ".csv"})
"""Endings of files that lie beside pictures and are not meant as pictures."""
MULTIPLE = 32


@dataclass(frozen=True)
class Detection:
    """A head in a picture."""

    box: Box
    score: float
    """The detector's confidence, 0 to 1."""


class Finder(Protocol):
    """Whatever finds heads: figment's detector, or another's."""

    def detect(self, image: Image.Image, threshold: float = ...) -> list[Detection]:
        """The heads in an RGB picture, best first, in its own pixels."""


class Detector:
    """A head detector ready for use; safe to share between threads."""

    def __init__(
        self,
        net: HeadNet,
        long_sides: Sequence[int] = LONG_SIDES,  # the sizes at which to look at a picture, rising
        again: float | None = AGAIN,  # a share of the first size; None: no second look there
    ) -> None:
        self.net = channels_last(fold_norms(net))
        self.long_sides = tuple(long_sides)
        self.again = again

    @classmethod
    def load(
        cls,
        path: Path | None = None,  # a safetensors file of `figment heads train`; None: the shipped weights
    ) -> Detector:
        """The detector in `path`; raises FigmentError that names the file where it is no detector."""
        return cls(load_net(path or SHIPPED))

    def detect(
        self,
        image: Image.Image,  # RGB, any size
        threshold: float = THRESHOLD,
    ) -> list[Detection]:
        """The heads in `image`, best first, in its own pixels."""
        found: list[Detection] = []
        for i, side in enumerate(self._sides(max(image.size))):
            scale = side / max(image.size)
            if i == 0:
                found += self._look_twice(image, scale, threshold)
            else:
                fine = self._look(image, scale, threshold / DOUBT)
                found += [
                    Detection(head.box, head.score * DOUBT)
                    for head in fine
                    if max(head.box.width, head.box.height) < FINE / scale
                ]
        return suppress(found)

    def _sides(self, longest: int) -> list[int]:
        """The sizes worth looking at: the first always, a larger one where the picture has at least that detail."""
        return [side for smaller, side in pairwise((0, *self.long_sides)) if smaller == 0 or longest > smaller * 1.3]

    def _look_twice(
        self,
        image: Image.Image,
        scale: float,
        threshold: float,
    ) -> list[Detection]:
        """What a look at `scale`, mirrored, and a coarser one agree on; one look alone where there is no second."""
        if self.again is None:
            return self._look(image, scale, threshold)
        least = min(threshold, max(2 * threshold - 1, LEAST))  # what the mean of two scores can still lift
        plain = suppress(self._look(image, scale * self.again, least))
        other = suppress(self._look(ImageOps.mirror(image), scale, least))
        both = fuse(
            [
                [(head.box, head.score) for head in plain],
                [(mirror_box(head.box, image.width), head.score) for head in other],
            ]
        )
        return [Detection(box, score) for box, score in both if score >= threshold]

    @torch.no_grad()
    def _look(
        self,
        image: Image.Image,
        scale: float,
        threshold: float,
    ) -> list[Detection]:
        """The raw detections in `image` at one scale."""
        width, height = (max(1, round(side * scale)) for side in image.size)
        small = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
        padded = np.full((_round_up(height), _round_up(width), 3), FILL, np.uint8)
        padded[:height, :width] = np.asarray(small)
        pixels = to_unit(torch.from_numpy(padded).permute(2, 0, 1)[None])  # [1, 3, H, W]
        pixels = pixels.contiguous(memory_format=torch.channels_last)

        across, down = width / image.width, height / image.height
        found = []
        for level in self.net(pixels):
            for x0, y0, x1, y1, score in _peaks(level, threshold):
                box = Box(
                    max(x0 / across, 0.0),
                    max(y0 / down, 0.0),
                    min(x1 / across, float(image.width)),
                    min(y1 / down, float(image.height)),
                )
                if box.width >= 1 and box.height >= 1:
                    found.append(Detection(box, score))
        return found


def _round_up(side: int) -> int:
    """The next multiple of what the network halves its input by."""
    return -(-side // MULTIPLE) * MULTIPLE


def _peaks(
    level: Level,  # of a single picture
    threshold: float,
) -> list[list[float]]:
    """[x0, y0, x1, y1, score] in pixels of the input for each local maximum of the heat map (Zhou 2019, section 4)."""
    heat = level.heat.sigmoid()  # [1, h, w]
    peak = (heat == torch.nn.functional.max_pool2d(heat, 3, 1, 1)) & (heat >= threshold)
    _, rows, columns = peak.nonzero(as_tuple=True)  # each [K]
    score = heat[0, rows, columns]
    left, top, right, bottom = level.sides[0, :, rows, columns]  # each [K]
    x, y = (columns + 0.5) * level.stride, (rows + 0.5) * level.stride
    found: list[list[float]] = torch.stack([x - left, y - top, x + right, y + bottom, score], dim=1).tolist()
    return found


def suppress(
    found: Sequence[Detection],
    iou: float = 0.45,  # of two boxes that overlap more than this, the weaker goes
    inside: float = 0.8,  # so does a weaker box of like size when one of the two lies in the other to this share
) -> list[Detection]:
    """Non-maximum suppression over strides and scales, best first."""
    kept: list[Detection] = []
    for new in sorted(found, key=lambda detection: (-detection.score, detection.box)):
        if not any(_same(new.box, old.box, iou, inside) for old in kept):
            kept.append(new)
    return kept


def _same(
    a: Box,
    b: Box,
    iou: float,
    inside: float,
) -> bool:
    """Whether two boxes speak of one head."""
    both = max(0.0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0.0, min(a.y1, b.y1) - max(a.y0, b.y0))
    smaller = min(a.width * a.height, b.width * b.height)
    larger = max(a.width * a.height, b.width * b.height)
    return a.iou(b) > iou or (both > inside * smaller and smaller > 0.25 * larger)


def list_pictures(
    pictures: Path,
    leave_out: Path | None = None,  # a folder whose files are not pictures of the user: the output
) -> list[Path]:
    """Every file below `pictures` that may be a picture, sorted; raises FigmentError where there is none."""
    need_folder(pictures, "PICTURES")
    out = leave_out.resolve() if leave_out else None
    found = [
        path
        for path in list_files(pictures)
        if path.suffix.lower() not in SIDECARS
        and not (out and out in (path.parent.resolve(), *path.parent.resolve().parents))
    ]
    if not found:
        raise FigmentError(f"PICTURES {pictures}: holds no files")
    return found


def detect_folder(
    pictures: Path,  # every picture below this folder
    out: Path | None = None,  # boxes.json, x.coco.json or a folder for YOLO labels; None: no file
    *,
    detector: Finder | None = None,  # None: the shipped one
    threshold: float = LISTED,
    tell: Callable[[str], None] = lambda line: None,  # told of each file that can't be read
) -> dict[str, list[list[float]]]:
    """Find the heads of a folder; returns {"relative/path.png": [[x0, y0, x1, y1, score], ...]}.

    Beside a boxes.json the same boxes are written as COCO. Files that can't be read are told and left out.
    """
    detector = detector or Detector.load()
    files = list_pictures(pictures)
    boxes: dict[str, list[list[float]]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    with ThreadPoolExecutor(2) as pool:
        for path, image in zip(files, track(pool.map(_open, files), "detecting", len(files)), strict=True):
            if isinstance(image, UnreadableImage):
                tell(f"left out: {image}")
                continue
            name = path.relative_to(pictures).as_posix()
            sizes[name] = image.size
            boxes[name] = [
                [round(float(x), 2) for x in found.box] + [round(found.score, 4)]
                for found in detector.detect(image, threshold)
            ]
    if out is not None:
        write_boxes(out, boxes, sizes)
        if out.suffix == ".json" and not out.name.endswith(".coco.json"):
            write_boxes(out.with_suffix(".coco.json"), boxes, sizes)
    return boxes


def _open(path: Path) -> Image.Image | UnreadableImage:
    """The picture, or what is wrong with it."""
    try:
        return open_image(path)
    except UnreadableImage as error:
        return error


def open_detector(path: Path | None) -> Finder:
    """figment's own detector (None: the shipped one), or someone's ONNX export."""
    if path is not None and path.suffix.lower() == ".onnx":
        from figment.heads.onnx import OnnxDetector

        return OnnxDetector(path)
    return Detector.load(path)
