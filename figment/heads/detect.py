"""Detect heads in an image, or in a folder of images."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image, ImageOps

from figment.base.errors import UnreadableImage
from figment.base.files import need_output
from figment.base.pictures import list_pictures, relative_name
from figment.base.pixels import open_image, read_size, to_unit
from figment.base.progress import track
from figment.base.records import Box
from figment.heads.boxes import check_format, write_boxes
from figment.heads.fuse import fuse, mirror_box
from figment.heads.network import SHIPPED, HeadNet, Level, channels_last, fold_norms, load_net
from figment.heads.views import FILL

THRESHOLD = 0.45
"""Default score below which detections are dropped."""
LISTED = 0.3
"""Default threshold of `heads detect`: the list has scores, so that readers can filter further."""
LONG_SIDES = (320, 640)
"""Lengths of the longer side at which images are processed, if they are large enough."""
AGAIN = 0.7
"""Scale of a second pass at the first size: it is fused with a mirrored pass at full scale, for stable scores."""
LEAST = 0.04
"""Scores below this are noise."""
FINE = 96
"""The pass at the larger size is for small heads: those above this side, in pixels of its input, are dropped."""
DOUBT = 0.93
"""Factor of the scores at the larger size, where false positives are more frequent."""
AHEAD = 4
"""Images of a folder that are decoded before the detector needs them."""
MULTIPLE = 32
"""Sides of the network's input are multiples of this."""


@dataclass(frozen=True)
class Detection:
    """A head in an image."""

    box: Box
    score: float
    """Confidence from 0 to 1."""


class Finder(Protocol):
    """Any head detector: figment's own, or an ONNX export of another."""

    def detect(self, image: Image.Image, threshold: float = ...) -> list[Detection]:
        """Return the heads in an RGB image, best first, in its pixels."""


class Detector:
    """figment's head detector, ready for use; threads may share it."""

    def __init__(
        self,
        net: HeadNet,
        long_sides: Sequence[int] = LONG_SIDES,  # lengths of the longer side, rising
        again: float | None = AGAIN,  # scale of the second pass at the first size; None for a single pass
    ) -> None:
        self.net = channels_last(fold_norms(net))
        self.long_sides = tuple(long_sides)
        self.again = again

    @classmethod
    def load(
        cls,
        path: Path | None = None,  # a file of `figment heads train`; None means the shipped weights
    ) -> Detector:
        """Return the detector in `path`; raises FigmentError that names a file that isn't a detector."""
        return cls(load_net(path or SHIPPED))

    def detect(
        self,
        image: Image.Image,  # RGB, any size
        threshold: float = THRESHOLD,
    ) -> list[Detection]:
        """Return the heads in `image`, best first, in its pixels."""
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
        """Return the sizes to process: the first one, and each larger one for which the image has enough pixels."""
        return [side for smaller, side in pairwise((0, *self.long_sides)) if smaller == 0 or longest > smaller * 1.3]

    def _look_twice(
        self,
        image: Image.Image,
        scale: float,
        threshold: float,
    ) -> list[Detection]:
        """Return the fused detections of a mirrored pass at `scale` and a coarser pass, or of a single plain pass."""
        if self.again is None:
            return self._look(image, scale, threshold)
        least = min(threshold, max(2 * threshold - 1, LEAST))  # the mean of two scores may still reach the threshold
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
        """Return the raw detections in `image` at one scale."""
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
    """Round a side up to a multiple of MULTIPLE."""
    return -(-side // MULTIPLE) * MULTIPLE


def _peaks(
    level: Level,  # of a single image
    threshold: float,
) -> list[list[float]]:
    """Return [x0, y0, x1, y1, score] in pixels of the input for each local maximum of the heat map.

    Zhou et al. (2019, arXiv 1904.07850, section 4).
    """
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
    iou: float = 0.45,  # of two boxes with a larger intersection over union, the weaker one is dropped
    inside: float = 0.8,  # the same for boxes of similar size of which one lies in the other to this share
) -> list[Detection]:
    """Apply non-maximum suppression over strides and scales; return the rest, best first."""
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
    """Return whether two boxes show the same head."""
    both = max(0.0, min(a.x1, b.x1) - max(a.x0, b.x0)) * max(0.0, min(a.y1, b.y1) - max(a.y0, b.y0))
    smaller = min(a.width * a.height, b.width * b.height)
    larger = max(a.width * a.height, b.width * b.height)
    return a.iou(b) > iou or (both > inside * smaller and smaller > 0.25 * larger)


def detect_folder(
    pictures: Path,  # folder of images; subfolders are included
    out: Path | None = None,  # boxes.json, x.coco.json or a folder for YOLO labels; None for no file
    *,
    detector: Finder | None = None,  # None means the shipped one
    threshold: float = LISTED,  # lowest score of a head
    tell: Callable[[str], None] = lambda line: None,  # called with a line for each picture that can't be read
) -> dict[str, list[list[float]]]:
    """Detect the heads of a folder; return {"relative/path.png": [[x0, y0, x1, y1, score], ...]}.

    Beside a boxes.json, the same boxes are written as COCO. Files that are no pictures are summed up in one line, and
    pictures that can't be read are reported and left out.
    """
    detector = detector or Detector.load()
    files = list_pictures(pictures, leave_out=out, tell=tell)
    yolo = out is not None and not out.suffix  # the label files are called as the pictures are, whatever their bytes
    if out is not None:
        check_format(out, (path.relative_to(pictures).as_posix() for path in files if _is_image(path)))
        need_output(out, "--output", folder=yolo)
    boxes: dict[str, list[list[float]]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    for path, image in track(_opened(files), "detecting", len(files)):
        if isinstance(image, UnreadableImage):
            tell(f"left out: {image}")
            continue
        name = path.relative_to(pictures).as_posix() if yolo else relative_name(path, pictures)
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


def _opened(files: Sequence[Path]) -> Iterator[tuple[Path, Image.Image | UnreadableImage]]:
    """Yield every file with its image or error, in order. Threads read ahead, but only by AHEAD images."""
    with ThreadPoolExecutor(2) as pool:
        waiting: deque[tuple[Path, Future[Image.Image | UnreadableImage]]] = deque()
        for path in files:
            waiting.append((path, pool.submit(_open, path)))
            if len(waiting) > AHEAD:
                first, image = waiting.popleft()
                yield first, image.result()
        for first, image in waiting:
            yield first, image.result()


def _open(path: Path) -> Image.Image | UnreadableImage:
    """Return the image, or the error."""
    try:
        return open_image(path)
    except UnreadableImage as error:
        return error


def _is_image(path: Path) -> bool:
    """Return whether a file has the header of an image."""
    try:
        read_size(path)
    except UnreadableImage:
        return False
    return True


def open_detector(path: Path | None) -> Finder:
    """Return the detector in a file of figment's or an ONNX export; None means the shipped one."""
    if path is not None and path.suffix.lower() == ".onnx":
        from figment.heads.onnx import OnnxDetector

        return OnnxDetector(path)
    return Detector.load(path)
