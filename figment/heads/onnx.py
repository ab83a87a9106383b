"""Third-party detectors: YOLO-style ONNX exports, run by onnxruntime (extra `onnx`).

    figment crop pictures/ -o heads/ --detector anime-head-yolov8s.onnx

Both common kinds of export work: raw predictions [1, 4 + classes, N] with center and size in pixels of the input, and
end-to-end exports [1, N, 6] with corners, score and class. Images are letterboxed: scaled to fit, the rest gray.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.files import need_file
from figment.base.records import Box
from figment.heads.detect import THRESHOLD, Detection, suppress

GRAY = 114
"""Value of the border of a letterboxed image, as in YOLO's training."""
SIDE = 640
"""Side of the input for models that don't fix it."""
HEADS = ("head", "face")
"""Words in the names of the classes that count as heads; all classes count if no name has one."""


class OnnxDetector:
    """A detector from an ONNX file, with the same `detect` as figment's own; threads may share it."""

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise FigmentError(f"--detector {path}: needs the extra `onnx`: pip install 'figment-gan[onnx]'") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(
                str(need_file(path, "--detector")), options, providers=["CPUExecutionProvider"]
            )
        except FigmentError:
            raise
        except Exception as error:
            raise FigmentError(f"--detector {path}: not a readable ONNX model ({str(error).splitlines()[0]})") from None
        entry = self.session.get_inputs()[0]
        if len(entry.shape) != 4 or entry.shape[1] != 3:
            raise FigmentError(
                f"--detector {path}: its input is {entry.shape}; must be [1, 3, H, W] as in YOLO exports"
            )
        self.path, self.input = path, entry.name
        self.half = "float16" in entry.type
        self.height, self.width = (side if isinstance(side, int) else SIDE for side in entry.shape[2:])
        self.classes = _head_classes(self.session.get_modelmeta().custom_metadata_map.get("names", ""))

    def detect(
        self,
        image: Image.Image,  # RGB, any size
        threshold: float = THRESHOLD,
    ) -> list[Detection]:
        """Return the heads in `image`, best first, in its pixels."""
        pixels, scale, (left, top) = letterbox(image, self.width, self.height)
        batch = (pixels.transpose(2, 0, 1)[None] / 255).astype(np.float16 if self.half else np.float32)  # [1, 3, H, W]
        rows = self._rows(self.session.run(None, {self.input: batch})[0])

        found = []
        for x0, y0, x1, y1, score, kind in rows[rows[:, 4] >= threshold].tolist():
            if self.classes and int(kind) not in self.classes:
                continue
            box = Box(
                max((x0 - left) / scale, 0.0),
                max((y0 - top) / scale, 0.0),
                min((x1 - left) / scale, float(image.width)),
                min((y1 - top) / scale, float(image.height)),
            )
            if box.width >= 1 and box.height >= 1:
                found.append(Detection(box, min(score, 1.0)))
        return suppress(found)

    def _rows(self, output: Any) -> np.ndarray:
        """Return the model's output as [N, 6]: corners, score, class; raises FigmentError for other shapes."""
        answer: np.ndarray = np.asarray(output, np.float32)
        if answer.ndim == 3 and answer.shape[0] == 1 and answer.shape[2] == 6:
            end_to_end: np.ndarray = answer[0]
            return end_to_end
        if answer.ndim != 3 or answer.shape[0] != 1 or answer.shape[1] < 5:
            raise FigmentError(
                f"--detector {self.path}: its output has shape {answer.shape}; must be YOLO's "
                "[1, 4 + classes, N] or [1, N, 6]"
            )
        x, y, across, down = answer[0, :4]  # each [N]
        scores = answer[0, 4:]  # [classes, N]
        if self.classes:
            scores = scores[[kind for kind in sorted(self.classes) if kind < len(scores)]]
            kinds = np.array(sorted(self.classes))[scores.argmax(0)]
        else:
            kinds = scores.argmax(0)
        return np.stack([x - across / 2, y - down / 2, x + across / 2, y + down / 2, scores.max(0), kinds], 1)


def letterbox(
    image: Image.Image,
    width: int,
    height: int,
) -> tuple[np.ndarray, float, tuple[int, int]]:
    """Return the image scaled to fit into [height, width, 3], the scale, and the position of its upper left corner."""
    scale = min(width / image.width, height / image.height)
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    pixels = np.full((height, width, 3), GRAY, np.uint8)
    small = image.convert("RGB").resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    pixels[top : top + size[1], left : left + size[0]] = np.asarray(small)
    return pixels, scale, (left, top)


def _head_classes(names: str) -> set[int]:
    """Return the classes of heads, from the metadata that YOLO's exporter writes: "{0: 'head', 1: 'body'}"."""
    try:
        table = ast.literal_eval(names)
        return {int(kind) for kind, name in table.items() if any(word in str(name).lower() for word in HEADS)}
    except (ValueError, SyntaxError, AttributeError):
        return set()
