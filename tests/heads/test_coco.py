"""COCO files: which boxes count, which are reported and left out, and what is refused."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from figment.base.errors import FigmentError
from figment.heads.boxes import read_boxes
from figment.heads.coco import turn

GOOD = {"id": 1, "image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]}


@pytest.fixture
def read(tmp_path):
    """Return the boxes of a COCO file with one image and these annotations; keywords replace parts of the file."""

    def read_value(*annotations, pictures=None, encoding="utf-8", **parts):
        value = {
            "images": [{"id": 7, "file_name": "a.png", "width": 100, "height": 60}],
            "categories": [{"id": 3, "name": "head"}],
            "annotations": list(annotations),
        } | parts
        text = json.dumps({key: part for key, part in value.items() if part is not None})
        (tmp_path / "x.json").write_bytes(text.encode(encoding))
        return read_boxes(tmp_path / "x.json", pictures)

    return read_value


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_any_encoding_of_json(read, encoding):
    assert read(GOOD, encoding=encoding) == {"a.png": [[1, 2, 4, 6]]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bbox": None}, "no bbox"),
        ({"bbox": []}, "no bbox"),
        ({"bbox": [1, 2, 3]}, "bbox must be 4 numbers"),
        ({"bbox": [1, 2, "3", 4]}, "bbox must be numbers"),
        ({"bbox": [1, 2, True, 4]}, "bbox must be numbers"),
        ({"bbox": {"x": 1}}, "bbox must be 4 numbers"),
        ({"bbox": [1, 2, math.nan, 4]}, "bbox must be finite"),
        ({"bbox": [math.inf, 2, 3, 4]}, "bbox must be finite"),
        ({"bbox": [10**400, 2, 3, 4]}, "bbox must be finite"),
        ({"bbox": [1, 2, 0, 4]}, "bbox is empty"),
        ({"bbox": [1, 2, 3, -4]}, "bbox is empty"),
        ({"bbox": [200, 2, 3, 4]}, "lies outside of the picture of 100x60"),
        ({"bbox": [-9, 2, 3, 4]}, "lies outside"),
        ({"iscrowd": 1}, "a crowd"),
        ({"image_id": 8}, "unknown image_id"),
        ({"image_id": None}, "unknown image_id"),
        ({"image_id": "7"}, "unknown image_id"),
        ({"image_id": [7]}, "damaged id"),
        ({"category_id": 9}, "unknown category_id"),
        ({"category_id": {}}, "damaged id"),
        ({"score": 87}, "has a score of 87"),
        ({"score": "high"}, "must be numbers"),
        ({"bbox": None, "segmentation": {"counts": "a1", "size": [60, 100]}}, r"a mask \(RLE\) without bbox"),
        ({"bbox": None, "segmentation": [[1, 2, 3]]}, "no bbox, and a damaged polygon"),
        ({"bbox": None, "segmentation": []}, "no bbox"),
    ],
)
def test_damaged_annotations_are_named_and_left_out(read, capsys, change, reason):
    assert read(GOOD, GOOD | {"id": 55} | change) == {"a.png": [[1, 2, 4, 6]]}
    out = capsys.readouterr().out
    assert f"annotations left out, {reason}".replace("\\", "") in out
    assert out.endswith("(1): 55\n") and out.count("\n") == 1

    with pytest.raises(FigmentError, match=rf"x\.json: annotations left out, .*{reason}.*nothing is left"):
        read(GOOD | change)


def test_what_is_no_annotation_is_named_by_its_place(read, capsys):
    assert read(GOOD, None, 5, [1]) == {"a.png": [[1, 2, 4, 6]]}
    assert capsys.readouterr().out.endswith("unknown image_id (3): annotations[1], annotations[2], annotations[3]\n")


def test_polygons_without_bbox_give_their_bounding_box(read):
    polygons = [[10, 20, 30, 20, 30, 50], [5, 25, 15, 25, 15, 30, 5, 30]]
    assert read(GOOD | {"bbox": None, "segmentation": polygons}) == {"a.png": [[5, 20, 30, 50]]}


def test_boxes_are_cut_at_the_edge_with_a_word(read, capsys):
    assert read(GOOD | {"bbox": [-0.5, 2, 90, 4]}) == {"a.png": [[0, 2, 89.5, 6]]}
    assert capsys.readouterr().out == ""
    assert read(GOOD | {"bbox": [-5, 2, 300, 4]}) == {"a.png": [[0, 2, 100, 6]]}
    assert "cut off at its edge (1): 1\n" in capsys.readouterr().out


def test_the_category_called_head_counts_else_all_are_listed(read, capsys):
    rows = GOOD, GOOD | {"category_id": 4, "bbox": [5, 5, 5, 5]}
    for name in ("Head", "anime-face", "heads"):
        categories = [{"id": 3, "name": name}, {"id": 4, "name": "hand"}]
        assert read(*rows, categories=categories) == {"a.png": [[1, 2, 4, 6]]}
        assert "boxes of other classes left out (1): 'hand'" in capsys.readouterr().out
    with pytest.raises(FigmentError, match=r"x\.json: its classes are 'body', 'hand'"):
        read(*rows, categories=[{"id": 3, "name": "body"}, {"id": 4, "name": "hand"}])
    assert len(read(*rows, categories=None)["a.png"]) == 2
    assert "nothing names the classes" in capsys.readouterr().out
    assert read(GOOD, categories=[{"id": 0, "name": "heads"}, {"id": 3, "name": "Face"}]) == {"a.png": [[1, 2, 4, 6]]}


@pytest.mark.parametrize(
    ("parts", "rule"),
    [
        ({"images": None}, "'images' must be a list"),
        ({"annotations": None}, "'annotations' must be a list"),
        ({"categories": 3}, "'categories' must be a list"),
        ({"images": [{"id": 7}]}, r"images\[0\]: must have an id and a file_name"),
        ({"images": [3]}, r"images\[0\]"),
        ({"images": [{"id": 7, "file_name": "a\0b"}]}, r"images\[0\]: .* not the name"),
        (
            {"images": [{"id": 7, "file_name": "a"}, {"id": 7, "file_name": "b"}]},
            r"images\[1\]: id 7 is also that of 'a'",
        ),
        ({"categories": [{"id": 3}]}, r"categories\[0\]: must have an id and a name"),
    ],
)
def test_damaged_lists_are_refused_by_place(read, parts, rule):
    with pytest.raises(FigmentError, match=rf"x\.json: .*{rule}") as caught:
        read(GOOD, **parts)
    assert "\n" not in str(caught.value)


def test_results_without_images_are_refused(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps([GOOD]))
    with pytest.raises(FigmentError, match="neither a boxes.json nor a COCO file"):
        read_boxes(tmp_path / "x.json")


# --- Sizes and EXIF


def draw(folder, size, orientation=1, name="a.png"):
    exif = Image.Exif()
    exif[274] = orientation
    folder.mkdir(exist_ok=True)
    Image.new("RGB", size).save(folder / name, exif=exif)
    return folder


def test_another_size_than_the_pictures_is_named(read, tmp_path, capsys):
    pictures = draw(tmp_path / "pictures", (200, 120))
    with pytest.raises(FigmentError, match=r"pictures left out, their size isn't the one in the file \(1\)"):
        read(GOOD, pictures=pictures)
    images = [{"id": 7, "file_name": "a.png"}, {"id": 8, "file_name": "a.png", "width": 100, "height": 60}]
    assert read(GOOD, GOOD | {"image_id": 8}, pictures=pictures, images=images) == {"a.png": [[1, 2, 4, 6]]}
    assert "pictures left out, their size isn't the one in the file (1): a.png" in capsys.readouterr().out
    assert read(GOOD, pictures=draw(pictures, (100, 60))) == {"a.png": [[1, 2, 4, 6]]}
    assert read(GOOD, pictures=tmp_path) == {"a.png": [[1, 2, 4, 6]]}, "no such picture: nothing to compare"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_of_turned_photos_lie_on_the_upright_one(read, tmp_path, capsys, orientation):
    """A white rectangle in the stored photo must be under the box, wherever EXIF turns it."""
    from figment.base.pixels import open_image

    stored = np.zeros((60, 100, 3), np.uint8)
    stored[10:20, 30:70] = 255
    exif = Image.Exif()
    exif[274] = orientation
    (tmp_path / "p").mkdir()
    Image.fromarray(stored).save(tmp_path / "p" / "a.png", exif=exif)
    upright = np.asarray(open_image(tmp_path / "p" / "a.png"))[:, :, 0]
    rows, columns = np.nonzero(upright)
    x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1

    # Labeled on the upright photo, as its size says.
    images = [{"id": 7, "file_name": "a.png", "width": upright.shape[1], "height": upright.shape[0]}]
    box = [int(n) for n in (x0, y0, x1 - x0, y1 - y0)]
    assert read(GOOD | {"bbox": box}, images=images, pictures=tmp_path / "p") == {"a.png": [[x0, y0, x1, y1]]}
    assert capsys.readouterr().out == ""

    # Labeled on the stored one, as its size says if the sides change places.
    if orientation >= 5:
        found = read(GOOD | {"bbox": [30, 10, 40, 10], "score": 0.5}, pictures=tmp_path / "p")
        assert found == {"a.png": [[x0, y0, x1, y1, 0.5]]}
        assert "their boxes are turned (1): a.png" in capsys.readouterr().out


def test_a_turn_keeps_the_size():
    assert turn([1, 2, 4, 8], (10, 20), 6) == [12, 1, 18, 4]
    assert turn([1, 2, 4, 8], (10, 20), 8) == [2, 6, 8, 9]
