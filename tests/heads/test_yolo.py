"""Folders of YOLO labels: what a line may be, and what is refused by file and line."""

import numpy as np
import pytest
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.heads.yolo import from_yolo, need_own_files

SIZE = (200, 100)  # width, height


@pytest.fixture
def read(tmp_path):
    """Return the boxes of one image that has this label file."""

    def read_text(text):
        write_png(tmp_path / "pictures" / "a.png", np.zeros((SIZE[1], SIZE[0], 3), np.uint8))
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / "labels" / "a.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
        return from_yolo(tmp_path / "labels", tmp_path / "pictures")["a.png"]

    return read_text


BOX = [60, 30, 140, 70]


@pytest.mark.parametrize(
    "text",
    [
        "0 .5 .5 .4 .4",
        "0 .5 .5 .4 .4\n",
        "\n0 .5 .5 .4 .4\n\n\n",
        "  0\t.5   .5 .4 .4  \r\n \t \r\n",
        "0 .5 .5 .4 .4\r",
        "\ufeff0 .5 .5 .4 .4\n",
        "0 .5 .5 .4 .4\n".encode("utf-16"),
        "0.000000e+00 5e-1 5.0E-1 +.4 4.e-1\n",
        "7 .5 .5 .4 .4\n",
        "0 .3 .3 .7 .3 .7 .7 .3 .7\n",
        "0 .5 .3 .7 .5 .5 .7 .3 .5\n",
        "0 .3 .3 .7 .3 .5 .7\n",
    ],
)
def test_one_head_in_any_spelling(read, text):
    (box,) = read(text)
    assert np.allclose(box, BOX)


def test_a_sixth_number_is_the_confidence(read):
    (box,) = read("0 .5 .5 .4 .4 .75\n")
    assert np.allclose(box, [*BOX, 0.75])


@pytest.mark.parametrize("text", ["", "\n", " \r\n\r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_a_picture_without_heads(read, text):
    assert read(text) == []


def test_boxes_end_at_the_edge_of_the_picture(read):
    assert np.allclose(read("0 .9 .5 .6 1\n0 .5 .5 1.000002 1\n"), [[120, 0, 200, 100], [0, 0, 200, 100]])


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("0 100 100 80 80", "above 1"),
        ("0 .5 .5 1.2 .4", "above 1"),
        ("0 .5 .5 .4 .4 87", "above 1"),
        ("0 .1 .1 .5 .1 5 6", "above 1"),
        ("0 -.1 .5 .4 .4", "below 0"),
        ("0 .5 .5 -.4 .4", "below 0"),
        ("0 .5 .5 0 .4", "empty box"),
        ("0 .5 .5 .4 0.0", "empty box"),
        ("0 .5 .1 .5 .5 .5 .9", "empty box"),
        ("0 nan .5 .4 .4", "must be numbers"),
        ("0 .5 inf .4 .4", "must be numbers"),
        ("0 1e999 .5 .4 .4", "above 1"),
        ("head .5 .5 .4 .4", "must be numbers"),
        ("0 .5 .5 .4 1_0", "must be numbers"),
        ("0,.5,.5,.4,.4", "must be numbers"),
        ("0 0,5 0,5 0,4 0,4", "must be numbers"),
        ("0 .5 .5 .4", "has 4 numbers"),
        ("0", "has 1 numbers"),
        ("0 .1 .1 .5 .1 .5 .6 .1", "has 8 numbers"),
        ("-1 .5 .5 .4 .4", "class"),
        ("0.5 .5 .5 .4 .4", "class"),
        ("1e999 .5 .5 .4 .4", "class"),
    ],
)
def test_other_lines_are_refused_by_file_and_line(read, line, rule):
    with pytest.raises(FigmentError, match=rf"a\.txt, line 3: .*{rule}") as caught:
        read(f"0 .5 .5 .4 .4\n\n{line}\n")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("track", ["1", "12"])
def test_a_seventh_number_is_that_of_a_track(read, track):
    (box,) = read(f"0 .5 .5 .4 .4 .9 {track}\n")
    assert np.allclose(box, [*BOX, 0.9])
    (triangle,) = read("0 .1 .1 .5 .1 .3 1\n")  # as a box it would reach out of the picture
    assert np.allclose(triangle, [20, 10, 100, 100])


@pytest.mark.parametrize("name", ["classes.txt", "obj.names"])
def test_names_of_classes_may_lie_above_the_labels(read, tmp_path, name):
    (tmp_path / name).write_text("body\nhead\n")
    (box,) = read("0 .5 .5 .8 .8\n1 .5 .5 .4 .4\n")
    assert np.allclose(box, BOX)


def test_a_file_that_is_no_text_is_refused_by_file_and_line(read):
    with pytest.raises(FigmentError, match=r"a\.txt, line 2: not a text"):
        read(b"0 .5 .5 .4 .4\n\xff\xd8\n")


def test_of_several_classes_those_called_head_count(read, tmp_path, capsys):
    text = "0 .5 .5 .8 .8\n1 .5 .5 .4 .4\n"
    assert len(read(text)) == 2
    assert "classes 0, 1, so all count as heads" in capsys.readouterr().out

    (tmp_path / "labels" / "classes.txt").write_text("body\r\nAnime head\r\n")
    (box,) = read(text)
    assert np.allclose(box, BOX)
    assert "other classes left out (1): 'body'" in capsys.readouterr().out

    (tmp_path / "labels" / "classes.txt").write_text("body\nhand\n")
    with pytest.raises(FigmentError, match=r"classes are 'body', 'hand'"):
        read(text)
    (tmp_path / "labels" / "classes.txt").write_text("head\n")
    with pytest.raises(FigmentError, match=r"class 1, but classes\.txt names only 1"):
        read(text)


def test_labels_of_a_turned_photo_are_shares_of_the_upright_one(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (100, 60)).save(tmp_path / "pictures" / "a.jpg", exif=exif)  # 60 x 100 upright
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 .25 .5 .5 .1\n")
    assert np.allclose(from_yolo(tmp_path / "labels", tmp_path / "pictures")["a.jpg"], [[0, 45, 30, 55]])


def test_labels_without_a_picture_are_reported(read, tmp_path, capsys):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "b.txt").write_text("0 .5 .5 .4 .4\n")
    (tmp_path / "labels" / "c.txt").write_text("0 .5 .5 .4 .4\n")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "c.png").write_bytes(b"no picture")
    read("0 .5 .5 .4 .4\n")
    out = capsys.readouterr().out
    assert "no picture below" in out and "(1): b.txt" in out and "unreadable picture" in out and "(1): c.txt" in out


def test_two_pictures_need_two_label_files(tmp_path):
    need_own_files(tmp_path, ["a.png", "b/a.png", "b.png"])
    with pytest.raises(FigmentError, match=r"a\.txt would hold the boxes of a\.png and of a\.jpg"):
        need_own_files(tmp_path, ["a.jpg", "a.png"])
    with pytest.raises(FigmentError, match=r"classes\.png"):
        need_own_files(tmp_path, ["classes.png"])


POSE = "0 .5 .5 .4 .4 .4 .4 .6 .4\n0 .5 .5 .4 .4 .45 .4 0 0\n"  # two keypoints, the last one not visible


@pytest.mark.parametrize(
    ("about", "text"),
    [
        ("names: [head]\nkpt_shape: [2, 2]\n", POSE),
        ("names: {0: head}\nkpt_shape: [2, 3]\n", "0 .5 .5 .4 .4 .4 .4 2 .6 .4 1\n0 .5 .5 .4 .4 0 0 0 .6 .4 2\n"),
        ("kpt_shape: [2, 2]\n", "0 .5 .5 .4 .4 .4 .4 .6 .4 .9\n0 .5 .5 .4 .4 .4 .4 .6 .4 .9\n"),
    ],
)
def test_keypoints_that_data_yaml_describes_are_skipped(tmp_path, read, about, text):
    (tmp_path / "data.yaml").write_text(about)
    boxes = read(text)
    assert len(boxes) == 2 and np.allclose([box[:4] for box in boxes], BOX)
    assert all(box[4:] == ([0.9] if ".9" in text else []) for box in boxes)


def test_keypoints_without_data_yaml_are_not_taken_for_polygons(tmp_path, read):
    with pytest.raises(FigmentError, match="each line has 9 numbers, which could be a polygon or a box with keypoints"):
        read(POSE)
    (tmp_path / "data.yaml").write_text("names: [head]\n")  # without kpt_shape, they are polygons
    assert np.allclose(read(POSE)[0], [80, 40, 120, 50])


def test_data_yaml_names_the_classes(tmp_path, read):
    (tmp_path / "data.yaml").write_text("train: images\nnc: 2\nnames:\n  - body\n  - head\n")
    (box,) = read("0 .5 .5 .9 .9\n1 .5 .5 .4 .4\n")
    assert np.allclose(box, BOX)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ("names: [head\n", "data.yaml: not a readable YAML file"),
        ("- head\n", "data.yaml: must have entries such as `names`"),
        ("names: {head: 0}\n", "data.yaml: its `names` must be a list of names, or a name for each number"),
        ("kpt_shape: [17]\n", r"data.yaml: its `kpt_shape` \[17\] must be \[keypoints, 2 or 3\]"),
        ("kpt_shape: [1, 2]\n", "a.txt, line 1: .* has 5 numbers, must be class, box and 2 of keypoints"),
        ("names: [a, b]\n", r"has boxes of class 7, but data.yaml names only 2 classes"),
    ],
)
def test_a_data_yaml_that_does_not_fit_is_one_line(tmp_path, read, about, message):
    (tmp_path / "data.yaml").write_text(about)
    with pytest.raises(FigmentError, match=message) as caught:
        read("7 .5 .5 .4 .4\n")
    assert "\n" not in str(caught.value)
