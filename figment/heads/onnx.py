"""Third-party detectors: YOLO-style ONNX exports, run by onnxruntime (extra `onnx`).

    figment crop pictures/ -o heads/ --detector anime-head-yolov8s.onnx

Exports of YOLOv5 to v12 and RT-DETR work, raw or with NMS; layouts.py lists their outputs. The metadata that exporters
write (names of classes, task, input size) decide what an output means. Images are letterboxed: scaled to fit, the rest
gray.
"""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.files import need_file
from figment.base.progress import say
from figment.base.records import Box
from figment.heads.detect import THRESHOLD, Detection, suppress
from figment.heads.labels import head_classes, list_names
from figment.heads.layouts import EXPORT, read_output

GRAY = 114
"""Value of the border of a letterboxed image, as in YOLO's training."""
SIDE = 640
"""Side of the input for models that neither fix nor name it."""
TASKS = ("detect", "segment", "pose")
"""Tasks whose models give upright boxes."""
TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
"""Types of the input."""


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
            raise FigmentError(f"--detector {path}: not a readable ONNX model ({_first_line(error)})") from None
        self.path = path
        data = {key: _literal(text) for key, text in self.session.get_modelmeta().custom_metadata_map.items()}

        # The input: one RGB image, of a size that the model fixes or its metadata names.
        entries = self.session.get_inputs()
        if len(entries) != 1:
            raise self._error(f"it has {len(entries)} inputs, must have one, the image: {EXPORT}")
        self.input, shape = entries[0].name, entries[0].shape
        if len(shape) != 4 or shape[1] != 3:
            raise self._error(f"its input is {shape}; must be [1, 3, H, W] as in YOLO exports")
        if isinstance(shape[0], int) and shape[0] != 1:
            raise self._error(f"its input is {shape}; must be [1, 3, H, W]: export it with a batch of 1")
        if entries[0].type not in TYPES:
            raise self._error(f"its input is of type {entries[0].type}; must be float or float16")
        self.type = TYPES[entries[0].type]
        named = data.get("imgsz")
        if not (
            isinstance(named, (list, tuple)) and len(named) == 2 and all(isinstance(n, int) and n > 0 for n in named)
        ):
            named = (SIDE, SIDE)
        self.height, self.width = (
            side if isinstance(side, int) else n for side, n in zip(shape[2:], named, strict=True)
        )

        # The classes, and what else a row of the output holds.
        task = data.get("task", "detect")
        if task not in TASKS:
            raise self._error(f"its task is {task!r}; must be {', '.join(TASKS)}")
        points = data.get("kpt_shape")
        self.more = math.prod(points) if task == "pose" and isinstance(points, (list, tuple)) else 0
        self.names = _names(data.get("names"))
        self.heads = head_classes(self.names)
        self.classes = max(self.names) + 1 if self.names else None
        self.reported = False

    def detect(
        self,
        image: Image.Image,  # RGB, any size
        threshold: float = THRESHOLD,
    ) -> list[Detection]:
        """Return the heads in `image`, best first, in its pixels.

        Raises FigmentError that names the file if its output is in no known layout, or could be in several.
        """
        pixels, scale, (left, top) = letterbox(image, self.width, self.height)
        batch = (pixels.transpose(2, 0, 1)[None] / 255).astype(self.type)  # [1, 3, H, W]
        try:
            outputs = self.session.run(None, {self.input: batch})
        except Exception as error:
            raise self._error(f"it can't be run on a {self.width}x{self.height} image ({_first_line(error)})") from None
        rows = self._rows([np.asarray(output) for output in outputs])

        found = []
        for x0, y0, x1, y1, score, _ in rows[rows[:, 4] >= threshold].tolist():
            box = Box(
                max((x0 - left) / scale, 0.0),
                max((y0 - top) / scale, 0.0),
                min((x1 - left) / scale, float(image.width)),
                min((y1 - top) / scale, float(image.height)),
            )
            if box.width >= 1 and box.height >= 1:
                found.append(Detection(box, min(score, 1.0)))
        return suppress(found)

    def _rows(self, outputs: list[np.ndarray]) -> np.ndarray:
        """Return the model's output as float32 [N, 6]: corners, score, class; raises FigmentError for others."""
        # Masks and raw grids, which some exports add, have four or five dimensions. YOLOv9 in two branches has its
        # main one last, in the same shape.
        tables = [output for output in outputs if output.ndim < 4]
        shapes = [list(output.shape) for output in outputs]
        if not tables or any(table.shape != tables[0].shape for table in tables):
            raise self._error(
                f"its outputs have shapes {shapes}; must be one table of boxes with their scores: {EXPORT}"
            )
        masks = [output.shape[1] for output in outputs if output.ndim == 4]
        more = masks[0] if len(masks) == 1 else self.more
        try:
            rows, classes = read_output(
                tables[-1].astype(np.float32),
                (self.width, self.height),
                classes=self.classes,
                more=more,
                heads=self.heads,
            )
        except ValueError as error:
            raise self._error(str(error)) from None
        if not self.heads and classes and classes > 1 and not self.reported:
            self.reported = True
            names = f": {list_names(self.names, self.names)}" if self.names else ""
            say(f"--detector {self.path}: none of its {classes} classes is called head or face, so all count{names}")
        return rows

    def _error(self, rule: str) -> FigmentError:
        """Return an error that names the file."""
        return FigmentError(f"--detector {self.path}: {rule}")


def _first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _literal(text: str) -> Any:
    """Return the Python value that an exporter wrote as text, or the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text


def _names(value: Any) -> dict[int, str]:
    """Return the names of the classes by number, from metadata {0: 'head', 1: 'body'} or ['head', 'body']."""
    table = dict(enumerate(value)) if isinstance(value, (list, tuple)) else value
    try:
        return {int(kind): str(name) for kind, name in table.items()}
    except (AttributeError, ValueError, TypeError):
        return {}


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
