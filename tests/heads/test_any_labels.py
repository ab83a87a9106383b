"""Any label file gives finite boxes within the picture, or an error of one line that names file and line."""

import json
import math
import re

import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.heads.boxes import read_boxes, write_boxes
from figment.heads.yolo import parse_line, read_labels

pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

SIZE = (120, 80)  # width, height
pytestmark = pytest.mark.filterwarnings("error")
quick = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the image pictures/a.png."""
    folder = tmp_path_factory.mktemp("any")
    write_png(folder / "pictures" / "a.png", np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
    (folder / "labels").mkdir()
    return folder


def expect_boxes(found):
    """Check that boxes are finite, not empty, and within the image."""
    for box in found:
        x0, y0, x1, y1, *score = box
        assert all(map(math.isfinite, box))
        assert 0 <= x0 < x1 <= SIZE[0] and 0 <= y0 < y1 <= SIZE[1]
        assert len(score) <= 1 and all(0 <= value <= 1 for value in score)


shares = st.floats(0, 1)
odd_words = ["0", "1", ".5", "1e-3", "-1", "100", "nan", "inf", "1e999", "-0", "x", "0,5", "\ufeff", "\u0661", "\x0b"]
words = st.one_of(st.sampled_from(odd_words), shares.map(repr))
lines = st.one_of(
    st.lists(words, max_size=9).map(" ".join),
    st.lists(shares.map(repr), min_size=4, max_size=8).map(lambda numbers: " ".join(["0", *numbers])),
    st.text(max_size=8),
)


@settings(quick, max_examples=300)
@given(lines)
def test_any_line_gives_a_box_or_a_rule(line):
    try:
        kind, box = parse_line(line, SIZE)
    except ValueError as error:
        assert re.match("must|has|is an empty box", str(error))
    else:
        assert kind >= 0
        expect_boxes([box])


@quick
@given(
    st.lists(lines, max_size=3), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["utf-8", "utf-16", "latin-1"])
)
def test_any_yolo_file_gives_boxes_or_names_the_line(folder, rows, end, encoding):
    path = folder / "labels" / "a.txt"
    path.write_bytes(end.join(rows).encode(encoding, "replace"))
    try:
        found = read_labels(path, SIZE)
    except FigmentError as error:
        assert re.match(rf"{re.escape(str(path))}, line [1-9]", str(error))
        assert len(str(error).splitlines()) == 1
    else:
        expect_boxes([box for _, box in found])


@quick
@given(st.lists(st.tuples(shares, shares), min_size=3, max_size=12))
def test_a_polygon_is_its_bounding_box(points):
    xs, ys = zip(*points, strict=True)
    line = "0 " + " ".join(f"{x!r} {y!r}" for x, y in points)
    wanted = [min(xs) * SIZE[0], min(ys) * SIZE[1], max(xs) * SIZE[0], max(ys) * SIZE[1]]
    if wanted[0] < wanted[2] and wanted[1] < wanted[3]:
        assert parse_line(line, SIZE) == (0, wanted)
    else:
        with pytest.raises(ValueError, match="empty box"):
            parse_line(line, SIZE)


values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=5), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
number = st.one_of(st.integers(-20, 150), st.floats(-20, 150), st.just(math.nan), st.just(1e308), st.just(10**400))
rows = st.fixed_dictionaries(
    {"image_id": st.one_of(st.just(1), values), "bbox": st.one_of(st.lists(number, min_size=4, max_size=4), values)},
    optional={
        "id": values,
        "category_id": st.one_of(st.just(1), values),
        "iscrowd": values,
        "score": st.one_of(st.floats(0, 1), values),
        "segmentation": st.one_of(st.lists(st.lists(number, max_size=8), max_size=2), values),
    },
)
coco = st.fixed_dictionaries(
    {
        "images": st.one_of(st.just([{"id": 1, "file_name": "a.png"}]), st.lists(values, max_size=2)),
        "annotations": st.lists(st.one_of(rows, values), max_size=4),
    },
    optional={"categories": st.one_of(values, st.just([{"id": 1, "name": "head"}, {"id": 2, "name": "hand"}]))},
)
own = st.dictionaries(
    st.one_of(st.just("a.png"), st.text(max_size=5)),
    st.one_of(values, st.lists(st.lists(number, min_size=3, max_size=6), max_size=3)),
    max_size=3,
)


@quick
@given(st.one_of(coco, own, values), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_any_json_gives_boxes_or_names_the_file(folder, value, encoding):
    path = folder / "boxes.json"
    path.write_bytes(json.dumps(value).encode(encoding))
    try:
        found = read_boxes(path, folder / "pictures")
    except FigmentError as error:
        assert str(error).startswith(f"{path}: ") and len(str(error).splitlines()) == 1
    else:
        expect_boxes(found.get("a.png", []))


@quick
@given(st.binary(max_size=60))
def test_any_bytes_as_json_are_refused_in_one_line(folder, data):
    path = folder / "bytes.json"
    path.write_bytes(data)
    try:
        assert read_boxes(path) is not None
    except FigmentError as error:
        assert str(error).startswith(f"{path}: ") and len(str(error).splitlines()) == 1


corner = st.tuples(
    st.integers(0, 100), st.integers(0, 60), st.integers(2, 20), st.integers(2, 20)
)  # pixels, not shares
box = st.builds(
    lambda at, tail: [at[0], at[1], at[0] + at[2], at[1] + at[3], *tail], corner, st.lists(shares, max_size=1)
)


@settings(quick, max_examples=20)
@given(st.lists(box, max_size=4), st.sampled_from(["round.json", "round.coco.json", "round"]))
def test_boxes_survive_every_format(folder, found, name):
    write_boxes(folder / name, {"a.png": found}, {"a.png": SIZE})
    read = read_boxes(folder / name, folder / "pictures")["a.png"]
    assert [len(box) for box in read] == [len(box) for box in found]
    for back, there in zip(read, found, strict=True):
        assert np.allclose(back, there, atol=1e-3)
