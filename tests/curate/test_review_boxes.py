"""The pictures to draw boxes on: any names, behind links, and nothing outside of the folder."""

import json
import os

import pytest
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.pictures import named
from figment.curate.review_boxes import Boxes


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.new("RGB", (50, 40)).save(folder / "a.png")
    (folder / "a.png").rename(folder / os.fsdecode(b"\xff.png"))
    (tmp_path / "store").mkdir()
    Image.new("RGB", (30, 20)).save(tmp_path / "store" / "b.JPG")
    (folder / "more").symlink_to(tmp_path / "store")
    (folder / "notes.txt").write_text("1girl")
    return folder


def test_boxes_are_drawn_on_pictures_of_any_name(pictures, tmp_path):
    boxes = Boxes(pictures, tmp_path / "boxes.json")
    assert {name: boxes.picture(name)["width"] for name in boxes.names} == {"\\udcff.png": 50, "more/b.JPG": 30}
    boxes.save("\\udcff.png", [[1, 1, 20, 20]])
    saved = json.loads((tmp_path / "boxes.json").read_text())
    assert saved == {"\\udcff.png": [[1, 1, 20, 20]]}
    assert all(named(pictures, name).is_file() for name in saved)


def test_no_other_file_is_shown(pictures, tmp_path):
    outside = "../store/b.JPG"
    boxes = Boxes(pictures, tmp_path / "boxes.json", {outside: [], "/etc/hostname": []})
    for name in (outside, "/etc/hostname", "notes.txt"):
        with pytest.raises(FigmentError, match="outside|not one of"):
            boxes.picture(name)
