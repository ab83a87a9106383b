"""Labels in other programs' formats, in and out."""

import json

import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.heads.boxes import check_format, read_boxes, write_boxes

BOXES = {"a/x.png": [[10, 20, 30, 50, 0.5], [0, 0, 8, 8, 0.25]], "b.png": []}
SIZES = {"a/x.png": (100, 80), "b.png": (64, 32)}


def draw(folder):
    for name, (width, height) in SIZES.items():
        write_png(folder / name, np.zeros((height, width, 3), np.uint8))
    return folder


@pytest.mark.parametrize("name", ["boxes.json", "boxes.coco.json", "labels"])
def test_a_round_trip_keeps_every_box_and_score(tmp_path, name):
    write_boxes(tmp_path / name, BOXES, SIZES)
    read = read_boxes(tmp_path / name, draw(tmp_path / "pictures"))
    assert read.keys() == BOXES.keys()
    for picture, found in BOXES.items():
        assert np.allclose(read[picture], found, atol=1e-4) if found else read[picture] == []


def test_coco_is_as_its_specification_says(tmp_path):
    write_boxes(tmp_path / "x.coco.json", BOXES, SIZES)
    value = json.loads((tmp_path / "x.coco.json").read_text())
    assert value["images"][0] == {"id": 1, "file_name": "a/x.png", "width": 100, "height": 80}
    assert value["annotations"][0] == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [10, 20, 20, 30],
        "area": 600,
        "iscrowd": 0,
        "score": 0.5,
    }
    assert value["categories"] == [{"id": 1, "name": "head"}]


def test_of_a_coco_file_with_other_categories_the_heads_count(tmp_path):
    (tmp_path / "x.json").write_text(
        json.dumps(
            {
                "images": [{"id": 7, "file_name": "a.png"}],
                "categories": [{"id": 3, "name": "Head"}, {"id": 4, "name": "hand"}],
                "annotations": [
                    {"image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]},
                    {"image_id": 7, "category_id": 4, "bbox": [5, 5, 5, 5]},
                ],
            }
        )
    )
    assert read_boxes(tmp_path / "x.json") == {"a.png": [[1, 2, 4, 6]]}


def test_yolo_lines_are_shares_of_the_picture(tmp_path):
    write_boxes(tmp_path / "labels", {"a/x.png": [[10, 20, 30, 60]]}, SIZES)
    assert (tmp_path / "labels" / "a" / "x.txt").read_text() == "0 0.200000 0.500000 0.200000 0.500000\n"


def test_mistakes_are_one_line(tmp_path):
    with pytest.raises(FigmentError, match="--pictures"):
        read_boxes(tmp_path)
    (tmp_path / "a.json").write_text('{"a.png": [[1, 2]]}')
    with pytest.raises(FigmentError, match=r"a\.json"):
        read_boxes(tmp_path / "a.json")
    (tmp_path / "b.json").write_text('{"a.png": [[9, 2, 3, 4]]}')
    with pytest.raises(FigmentError, match="x0 < x1"):
        read_boxes(tmp_path / "b.json")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "b.txt").write_text("0 0.5 oops 0.1 0.1\n")
    with pytest.raises(FigmentError, match=r"b\.txt, line 1"):
        read_boxes(tmp_path / "labels", draw(tmp_path / "pictures"))
    with pytest.raises(FigmentError, match=r"must end in \.json"):
        write_boxes(tmp_path / "x.xml", BOXES, SIZES)


@pytest.mark.parametrize(
    ("box", "rule"),
    [
        ("[1, 2, 3]", "must be 4 or 5 numbers"),
        ("[1, 2, 3, 4, 0.5, 6]", "must be 4 or 5 numbers"),
        ("7", "must be 4 or 5 numbers"),
        ('[1, 2, "3", 4]', "must be numbers"),
        ("[1, 2, null, 4]", "must be numbers"),
        ("[1, 2, NaN, 4]", "must be finite"),
        ("[1, 2, 3, Infinity]", "must be finite"),
        ("[1, 2, 1, 4]", "x0 < x1"),
        ("[1, 2, 3, 4, 87]", "score of 87"),
        ("[64, 2, 90, 4]", "outside of the picture of 64x32"),
        ("[-9, 2, -1, 4]", "outside of the picture"),
    ],
)
def test_damaged_boxes_are_refused_by_picture_and_number(tmp_path, box, rule):
    (tmp_path / "x.json").write_text(f'{{"b.png": [[1, 2, 3, 4], {box}]}}')
    with pytest.raises(FigmentError, match=rf"x\.json: 'b\.png', box 2: .*{rule}") as caught:
        read_boxes(tmp_path / "x.json", draw(tmp_path / "pictures"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[]", "has a list"),
        ("3", "has a int"),
        ('{"a.png": 3}', "'a.png' has no list of boxes"),
        ('{"a.png": [], "a.png": [[1, 2, 3, 4]]}', "'a.png' twice"),
        ('{"a\\u0000b": []}', "not the name of a picture"),
        ("[" * 100_000, "not a readable JSON file"),
        ('{"a.png": [[1, 2, 3, ' + "9" * 5000 + "]]}", "not a readable JSON file"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path, text, rule):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(FigmentError, match=rf"x\.json: .*{rule}") as caught:
        read_boxes(tmp_path / "x.json")
    assert "\n" not in str(caught.value)


def test_boxes_that_reach_out_are_cut_off_with_a_word(tmp_path, capsys):
    (tmp_path / "x.json").write_text(
        '{"b.png": [[-0.5, 2, 64.3, 4], [1, -20, 90, 4, 0.5]], "gone.png": [[1, 2, 999, 4]]}'
    )
    pictures = draw(tmp_path / "pictures")
    assert read_boxes(tmp_path / "x.json", pictures) == {
        "b.png": [[0, 2, 64, 4], [1, 0, 64, 4, 0.5]],
        "gone.png": [[1, 2, 999, 4]],
    }
    assert capsys.readouterr().out.endswith("cut off at its edge (1): b.png, box 2\n")


def test_a_format_that_mixes_pictures_up_is_refused_before_detection(tmp_path):
    names = ["a.jpg", "a.png"]
    check_format(tmp_path / "x.json", names)
    check_format(tmp_path / "x.coco.json", names)
    with pytest.raises(FigmentError, match=r"--output .*: a\.txt would hold the boxes of a\.png and of a\.jpg"):
        check_format(tmp_path / "labels", names)


@pytest.mark.parametrize(
    "content",
    [
        {"a.png": [[0.1, 0.1, 0.5, 0.6]]},
        {
            "images": [{"id": 1, "file_name": "a.png"}],
            "annotations": [{"image_id": 1, "bbox": [0.1, 0.1, 0.4, 0.5]}],
        },
    ],
)
def test_shares_instead_of_pixels_are_refused(tmp_path, content):
    (tmp_path / "b.json").write_text(json.dumps(content))
    with pytest.raises(FigmentError, match="must be pixels, not shares"):
        read_boxes(tmp_path / "b.json")
