"""YOLO-style ONNX exports, stood for by models whose answer is fixed."""

import numpy as np
import pytest
from PIL import Image

from figment.base.errors import FigmentError
from figment.heads.detect import open_detector
from figment.heads.onnx import letterbox

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def write_model(path, *answers, side=64, shape=None, names=None, **metadata):
    """A model that takes [1, 3, side, side], or `shape`, and always answers `answers`."""
    from onnx import TensorProto, helper, numpy_helper

    entry = helper.make_tensor_value_info("images", TensorProto.FLOAT, shape or [1, 3, side, side])
    outs, constants, nodes = [], [numpy_helper.from_array(np.zeros(1, np.float32), "zero")], []
    nodes.append(helper.make_node("ReduceSum", ["images"], ["sum"], keepdims=0))
    nodes.append(helper.make_node("Mul", ["sum", "zero"], ["nothing"]))
    for k, answer in enumerate(answers):
        outs.append(helper.make_tensor_value_info(f"output{k}", TensorProto.FLOAT, list(answer.shape)))
        constants.append(numpy_helper.from_array(answer.astype(np.float32), f"answer{k}"))
        nodes.append(helper.make_node("Add", [f"answer{k}", "nothing"], [f"output{k}"]))
    model = helper.make_model(
        helper.make_graph(nodes, "fixed", [entry], outs, constants),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    helper.set_model_props(model, metadata | ({"names": names} if names else {}))
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


HEAD = np.array([[[32, 32, 16, 16, 0.9]] + [[10, 9, 30, 28, 0.01]] * 20])  # [1, 21, 5]
IMAGE = Image.new("RGB", (64, 64))


def find(path):
    return [tuple(round(x) for x in found.box) for found in open_detector(path).detect(IMAGE, 0.5)]


def test_the_metadata_decides_between_layouts(tmp_path):
    v5 = np.insert(HEAD, 5, 0.95, 2)  # [1, 21, 6]: objectness and one class, or two classes
    assert find(write_model(tmp_path / "a.onnx", v5, names="{0: 'head'}")) == [(24, 24, 40, 40)]
    assert find(write_model(tmp_path / "a.onnx", v5, names="['head', 'face']")) == [(24, 24, 40, 40)]
    with pytest.raises(FigmentError, match=r"--detector .*a\.onnx: its output has shape \[1, 21, 6\], could be"):
        find(write_model(tmp_path / "a.onnx", v5))
    with pytest.raises(FigmentError, match="values are not"):
        find(write_model(tmp_path / "a.onnx", v5, names="{0: 'a', 1: 'b', 2: 'head'}"))


def test_masks_and_keypoints_are_skipped(tmp_path):
    points = np.concatenate([HEAD, np.full((1, 21, 15), 30.5)], 2).transpose(0, 2, 1)
    names = "{0: 'face'}"
    path = write_model(tmp_path / "a.onnx", points, names=names, task="pose", kpt_shape="[5, 3]")
    assert find(path) == [(24, 24, 40, 40)]
    masks = np.concatenate([HEAD, np.full((1, 21, 8), -3.5)], 2)
    path = write_model(tmp_path / "a.onnx", masks, np.zeros((1, 8, 16, 16)), names=names, task="segment")
    assert find(path) == [(24, 24, 40, 40)]


def test_of_two_branches_as_of_yolov9_the_last_counts(tmp_path):
    other = HEAD + np.array([4, 0, 0, 0, 0])
    assert find(write_model(tmp_path / "a.onnx", other, HEAD, names="{0: 'head'}")) == [(24, 24, 40, 40)]


def test_boxes_and_scores_in_two_outputs_are_refused(tmp_path):
    with pytest.raises(FigmentError, match="must be one table of boxes with their scores"):
        find(write_model(tmp_path / "a.onnx", HEAD[:, :, :4], HEAD[:, :, 4:], names="{0: 'head'}"))
    with pytest.raises(FigmentError, match="must be one table"):
        find(write_model(tmp_path / "a.onnx", np.zeros((1, 3, 8, 8, 6)), np.zeros((1, 3, 4, 4, 6))))


def test_without_a_class_called_head_all_count_with_a_word(tmp_path, capsys):
    two = np.insert(HEAD, 4, 0.02, 2).transpose(0, 2, 1)
    detector = open_detector(write_model(tmp_path / "a.onnx", two, names="{0: 'naruto', 1: 'sakura'}"))
    for _ in range(2):
        assert len(detector.detect(IMAGE, 0.5)) == 1
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "none of its 2 classes is called head or face" in out and "'sakura'" in out
    assert find(write_model(tmp_path / "a.onnx", two, names="{0: 'head', 1: 'body'}")) == []
    assert find(write_model(tmp_path / "a.onnx", HEAD, names="{0: 'naruto'}")) == [(24, 24, 40, 40)]
    assert capsys.readouterr().out == ""


def test_the_size_of_a_free_input_is_in_the_metadata(tmp_path):
    shape = [1, 3, "height", "width"]
    detector = open_detector(
        write_model(tmp_path / "a.onnx", HEAD, shape=shape, names="{0: 'head'}", imgsz="[96, 128]")
    )
    assert (detector.height, detector.width) == (96, 128)
    for imgsz in ("x", "[1]", "[0, 64]", "64"):
        detector = open_detector(write_model(tmp_path / "a.onnx", HEAD, shape=shape, names="{0: 'head'}", imgsz=imgsz))
        assert (detector.height, detector.width) == (640, 640)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"shape": [4, 3, 64, 64]}, "a batch of 1"),
        ({"shape": [1, 64, 64, 3]}, r"must be \[1, 3, H, W\]"),
        ({"task": "obb"}, "its task is 'obb'"),
        ({"task": "classify"}, "its task is 'classify'"),
    ],
)
def test_models_of_another_kind_are_refused_before_the_first_picture(tmp_path, options, rule):
    with pytest.raises(FigmentError, match=rf"--detector .*a\.onnx: .*{rule}") as caught:
        open_detector(write_model(tmp_path / "a.onnx", HEAD, names="{0: 'head'}", **options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", ["{0: 'head'", "{'x': 1}", "7", "[]", "__import__('os')"])
def test_damaged_names_count_as_missing(tmp_path, names):
    assert find(write_model(tmp_path / "a.onnx", HEAD, names=names)) == [(24, 24, 40, 40)]
