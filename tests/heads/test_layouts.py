"""Output layouts of the YOLO family: the same head out of each, or a refusal."""

import numpy as np
import pytest

from figment.heads.layouts import read_output

SIZE = (640, 480)  # width, height
CORNERS = [200, 140, 440, 340]
HEAD = [320, 240, 240, 200]
"""The same as center and size."""
GRID = 80 * 60 + 40 * 30 + 20 * 15
"""Predictions of YOLOv8 for this size."""


def raw(count, classes, *, objectness=False, kind=0, more=0, shares=False):
    """Predictions [1, N, columns] of which the last one is a head of class `kind` with score 0.9 (0.9 * 0.5)."""
    rng = np.random.default_rng(0)
    rows = np.empty((count, 4 + objectness + classes + more), np.float32)
    rows[:, :2] = rng.uniform(0, 1, (count, 2)) * SIZE
    rows[:, 2:4] = rng.uniform(4, 300, (count, 2))
    rows[:, 4:] = rng.uniform(1e-5, 0.04, (count, rows.shape[1] - 4))
    rows[:, 4 + objectness + classes :] = rng.uniform(-50, 600, (count, more))
    rows[-1, :4] = HEAD
    rows[-1, 4 + objectness + kind] = 0.9
    if objectness:
        rows[-1, 4] = 0.5
    if shares:
        rows[:, :4] /= [*SIZE, *SIZE]
    return rows[None]


def corners(count, kind=0, more=0, shares=False):
    """Corners, score, class [1, N, 6]: a head and then nothing."""
    rows = np.zeros((count, 6 + more), np.float32)
    rows[0, :6] = [*CORNERS, 0.9, kind]
    rows[1, :6] = [20, 30, 60, 80, 0.02, 0]
    if shares:
        rows[:, :4] /= [*SIZE, *SIZE]
    return rows[None]


def turned(answer):
    return answer.transpose(0, 2, 1)


def find(answer, classes=None, **options):
    """Return the boxes with a score above 0.2."""
    rows, _ = read_output(answer, SIZE, classes=classes, **options)
    assert rows.dtype == np.float32
    return rows[rows[:, 4] > 0.2]


@pytest.mark.parametrize("count", [9, 21, 300, GRID])
@pytest.mark.parametrize("classes", [1, 2, 3, 80])
@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("flip", [turned, np.asarray])
def test_scores_per_class_as_of_yolov8_and_rt_detr(count, classes, shares, flip):
    kind = classes - 1
    (row,) = find(flip(raw(count, classes, kind=kind, shares=shares)), classes)
    assert np.allclose(row, [*CORNERS, 0.9, kind], atol=1e-3)


@pytest.mark.parametrize("count", [21, GRID, 3 * GRID])
@pytest.mark.parametrize("classes", [1, 2, 80])
@pytest.mark.parametrize("flip", [turned, np.asarray])
def test_objectness_as_of_yolov5_and_v7(count, classes, flip):
    kind = classes - 1
    (row,) = find(flip(raw(count, classes, objectness=True, kind=kind)), classes)
    assert np.allclose(row, [*CORNERS, 0.45, kind], atol=1e-3)


@pytest.mark.parametrize("count", [2, 100, 300])
@pytest.mark.parametrize(("classes", "kind"), [(None, 0), (1, 0), (2, 1), (80, 79)])
@pytest.mark.parametrize("shares", [False, True])
def test_corners_as_of_yolov10_and_exports_with_nms(count, classes, kind, shares):
    (row,) = find(corners(count, kind, shares=shares), classes)
    assert np.allclose(row, [*CORNERS, 0.9, kind], atol=1e-3)


def test_corners_may_be_as_many_as_the_cells_of_a_grid():
    rows, _ = read_output(corners(300), (320, 192), classes=1)  # 20 * 12 + 10 * 6 cells
    assert np.allclose(rows[0], [*CORNERS, 0.9, 0])


def test_corners_turned_around():
    (row,) = find(turned(corners(300, 79)), 80)
    assert np.allclose(row, [*CORNERS, 0.9, 79])


def test_nms_of_yolov7_has_an_index_and_swaps_class_and_score():
    answer = np.array([[0, *CORNERS, 1, 0.9], [0, 20, 30, 60, 80, 0, 0.02]], np.float32)
    (row,) = find(answer, 2)
    assert np.allclose(row, [*CORNERS, 0.9, 1])
    assert find(np.zeros((0, 7), np.float32)).shape == (0, 6)


def test_nothing_found_is_no_error():
    for shape in ((1, 0, 6), (1, 300, 6), (1, 5, 21)):
        assert find(np.zeros(shape, np.float32), 1).shape == (0, 6)


@pytest.mark.parametrize("more", [15, 32])
def test_keypoints_and_masks_are_skipped(more):
    for answer in (turned(raw(GRID, 1, more=more)), corners(300, more=more)):
        (row,) = find(answer, 1, more=more)
        assert np.allclose(row, [*CORNERS, 0.9, 0])


def test_without_names_the_number_of_predictions_decides():
    for classes in (1, 2, 80):
        assert np.allclose(find(turned(raw(GRID, classes))), [[*CORNERS, 0.9, 0]])
    assert np.allclose(find(raw(3 * GRID, 80, objectness=True)), [[*CORNERS, 0.45, 0]])
    assert np.allclose(find(raw(21, 1)), [[*CORNERS, 0.9, 0]]), "five columns have one meaning"


def test_the_objectness_of_a_single_nameless_class_is_its_score():
    assert np.allclose(find(raw(3 * GRID, 1, objectness=True)), [[*CORNERS, 0.5, 0]])


def test_only_classes_of_heads_compete():
    answer = raw(GRID, 3)
    answer[0, -1, 4:] = [0.95, 0.3, 0.6]
    assert np.allclose(find(turned(answer), 3, heads={1, 2}), [[*CORNERS, 0.6, 2]])
    assert find(corners(300, 1), 3, heads={2}).shape == (0, 6)
    assert len(find(corners(300, 1), 3, heads={1})) == 1


@pytest.mark.parametrize(
    ("answer", "classes", "rule"),
    [
        (raw(21, 80, objectness=True), 1, "names 1 class; must be"),
        (turned(raw(GRID, 4)), 2, "names 2 classes; must be"),
        (turned(raw(GRID, 1, more=32)), 1, "names 1 class; must be"),
        (raw(GRID, 80, objectness=True), None, "could be"),
        (raw(21, 2), None, "could be"),
        (raw(300, 80, shares=True), None, "could be"),
        (turned(raw(GRID, 2)) * 10, 2, "values are not"),
        (-raw(GRID, 2), 2, "values are not"),
        (turned(raw(GRID, 2)) * np.float32(np.nan), 2, "not finite"),
        (np.zeros((2, 6, 300), np.float32), 1, "must be YOLO's"),
        (np.zeros((1, 3), np.float32), None, "must be YOLO's"),
        (np.zeros((1, 3, 80, 80, 85), np.float32), 80, "must be YOLO's"),
        (np.ones((3, 7), np.float32), 1, "must be YOLO's"),
        (corners(300, 5), 2, "values are not|could be"),
    ],
)
def test_what_has_no_or_several_meanings_is_refused(answer, classes, rule):
    with pytest.raises(ValueError, match=rf"its output has shape \[.*{rule}") as caught:
        read_output(answer, SIZE, classes=classes)
    assert "\n" not in str(caught.value)


def test_predictions_that_are_not_decoded_are_refused():
    """YOLOX leaves offsets in a cell and logarithms of sizes."""
    rng = np.random.default_rng(1)
    answer = np.concatenate([rng.normal(0.5, 1, (GRID, 4)), rng.uniform(0, 1, (GRID, 2))], 1, dtype=np.float32)[None]
    with pytest.raises(ValueError, match="values are not"):
        read_output(answer, SIZE, classes=1)
