"""Other people's detectors: YOLO-style ONNX exports through onnxruntime (extra `onnx`).

    figment crop pictures/ -o heads/ --detector anime-head-yolov8s.onnx

Both common exports are read: raw predictions [1, 4 + classes, N], boxes as centre and size in pixels of the input, and
end-to-end ones [1, N, 6] with corners, score and class. Pictures are letterboxed: scaled to fit, the rest grey.
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

GREY = 114
"""What a letterboxed picture is surrounded with, as YOLO was trained."""
SIDE = 640
"""The input's side where the model leaves it open."""
HEADS = ("head", "face")
"""Of a model with several classes, those with such a word in their names count; all where none has one."""


class OnnxDetector:
    """A detector from an ONNX file, with the same `detect` as figment's own; safe to share between threads."""

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
            raise FigmentError(f"--detector {path}: takes {entry.shape}, not [1, 3, H, W] as YOLO exports do")
        self.path, self.input = path, entry.name
        self.half = "float16" in entry.type
        self.height, self.width = (side if isinstance(side, int) else SIDE for side in entry.shape[2:])
        self.classes = _head_classes(self.session.get_modelmeta().custom_metadata_map.get("names", ""))

    def detect(
        self,
        image: Image.Image,  # RGB, any size
        threshold: float = THRESHOLD,
    ) -> list[Detection]:
        """The heads in `image`, best first, in its own pixels."""
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
        """The model's answer as [N, 6]: corners, score, class."""
        answer: np.ndarray = np.asarray(output, np.float32)
        if answer.ndim == 3 and answer.shape[0] == 1 and answer.shape[2] == 6:
            end_to_end: np.ndarray = answer[0]
            return end_to_end
        if answer.ndim != 3 or answer.shape[0] != 1 or answer.shape[1] < 5:
            raise FigmentError(
                f"--detector {self.path}: answers of shape {answer.shape}; figment reads YOLO's "
                "[1, 4 + classes, N] and [1, N, 6]"
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
    """The picture scaled into [height, width, 3], its scale, and where its left upper corner lies."""
    scale = min(width / image.width, height / image.height)
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    pixels = np.full((height, width, 3), GREY, np.uint8)
    small = image.convert("RGB").resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    pixels[top : top + size[1], left : left + size[0]] = np.asarray(small)
    return pixels, scale, (left, top)


def _head_classes(names: str) -> set[int]:
    """The classes that mean heads, from the metadata that YOLO's exporter writes: "{0: 'head', 1: 'body'}"."""
    try:
        table = ast.literal_eval(names)
        return {int(kind) for kind, name in table.items() if any(word in str(name).lower() for word in HEADS)}
    except (ValueError, SyntaxError, AttributeError):
        return set()
