"""YOLO-style ONNX exports, stood for by models whose answer is fixed."""

import numpy as np
import pytest
from PIL import Image

from figment.base.errors import FigmentError
from figment.heads.detect import open_detector
from figment.heads.onnx import letterbox

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def write_model(path, answer, side=64, names=None):
    """A model that takes [1, 3, side, side] and always answers `answer`."""
    from onnx import TensorProto, helper, numpy_helper

    entry = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, side, side])
    out = helper.make_tensor_value_info("output0", TensorProto.FLOAT, list(answer.shape))
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    constant = numpy_helper.from_array(answer.astype(np.float32), "answer")
    nodes = [
        helper.make_node("ReduceSum", ["images"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["answer", "nothing"], ["output0"]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "fixed", [entry], [out], [zero, constant]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    if names:
        helper.set_model_props(model, {"names": names})
    onnx.save(model, str(path))
    return path


def test_raw_predictions_become_boxes_in_the_picture(tmp_path):
    # Two classes, three predictions: a sure head, an unsure one, a sure body. Centre and size in the input's pixels.
    answer = np.array([[[32, 20, 10], [32, 40, 40], [16, 8, 8], [16, 8, 8], [0.9, 0.3, 0.1], [0.0, 0.1, 0.95]]])
    detector = open_detector(write_model(tmp_path / "a.onnx", answer, names="{0: 'head', 1: 'body'}"))
    (head,) = detector.detect(Image.new("RGB", (128, 64)), 0.5)  # scaled by a half, 16 rows of grey above
    assert np.allclose(head.box, (48, 16, 80, 48)) and head.score == pytest.approx(0.9)


def test_end_to_end_answers_are_read_too(tmp_path):
    answer = np.array([[[8, 8, 24, 24, 0.8, 0], [0, 0, 0, 0, 0, 0]]])
    detector = open_detector(write_model(tmp_path / "a.onnx", answer))
    (head,) = detector.detect(Image.new("RGB", (64, 64)), 0.5)
    assert np.allclose(head.box, (8, 8, 24, 24))


def test_what_is_no_detector_is_told_in_one_line(tmp_path):
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(FigmentError, match="not a readable ONNX model"):
        open_detector(tmp_path / "text.onnx")
    detector = open_detector(write_model(tmp_path / "a.onnx", np.zeros((1, 3))))
    with pytest.raises(FigmentError, match="its output has shape"):
        detector.detect(Image.new("RGB", (64, 64)), 0.5)


def test_a_letterboxed_picture_is_whole_and_centred():
    pixels, scale, (left, top) = letterbox(Image.new("RGB", (100, 50), "white"), 64, 64)
    assert (scale, left, top) == (0.64, 0, 16)
    assert (pixels[16:48] == 255).all() and (pixels[:16] == 114).all() and (pixels[48:] == 114).all()
