"""Characters for other models' training: manifest, resuming, held bands, copies left out, COCO."""

import json
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.pixels import open_image, write_png
from figment.draw.augment import augment


def rows_of(folder):
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def test_pictures_have_rows_and_a_second_run_goes_on(model, tmp_path):
    assert augment(model, tmp_path, images=5) == (5, 0)
    rows = rows_of(tmp_path)
    assert [row["seed"] for row in rows] == [0, 1, 2, 3, 4]
    before = {row["file"]: (tmp_path / row["file"]).read_bytes() for row in rows}

    # As if the run had been stopped after its third row.
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:3]))
    assert augment(model, tmp_path, images=5) == (5, 0)
    assert rows_of(tmp_path) == rows
    assert before == {row["file"]: (tmp_path / row["file"]).read_bytes() for row in rows}
    with pytest.raises(FigmentError, match="other settings"):
        augment(model, tmp_path, images=6)


def test_copies_of_training_pictures_are_left_out_with_their_reason(model, tmp_path):
    augment(model, tmp_path / "data", images=2)
    copied = tmp_path / "data" / "generated" / "00000001.png"
    write_png(copied, open_image(copied).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    (tmp_path / "data" / "generated" / "00000000.png").unlink()
    augment(model, tmp_path / "out", images=3, data=tmp_path / "data" / "generated")
    copy = rows_of(tmp_path / "out")[1]
    assert copy["file"] is None and copy["likeness"] >= 0.97 and "00000001.png" in copy["left_out"]


def test_held_bands_stay(model, tmp_path):
    augment(model, tmp_path / "a", images=2, hold=7, vary="coarse")
    augment(model, tmp_path / "b", images=2, hold=8, vary="coarse")
    one, other = (np.asarray(open_image(tmp_path / name / "generated" / "00000000.png")) for name in "ab")
    assert (one != other).any()
    with pytest.raises(FigmentError, match="--hold"):
        augment(model, tmp_path / "c", images=2, vary="fine")


def test_coco_has_a_box_for_each_picture(model, tmp_path):
    augment(model, tmp_path, images=2, form="coco", label="hero")
    value = json.loads((tmp_path / "annotations.json").read_text())
    assert [row["file_name"] for row in value["images"]] == ["images/00000000.png", "images/00000001.png"]
    assert len(value["annotations"]) == 2 and value["categories"] == [{"id": 1, "name": "hero"}]


def zipped(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def test_a_damaged_entry_of_the_data_is_named_and_the_others_count(model, tmp_path, capsys):
    augment(model, tmp_path / "one", images=1)
    image = (tmp_path / "one" / "generated" / "00000000.png").read_bytes()
    data = zipped(tmp_path / "data.zip", {"a.png": image, "b.png": image[::-1], "c.png": image + b"!", "d.json": b"{}"})
    data.write_bytes(data.read_bytes().replace(image + b"!", image + b"?"))  # the checksum of c.png is wrong now
    augment(model, tmp_path / "out", images=1, data=data)
    [row] = rows_of(tmp_path / "out")
    assert row["nearest"] == "a.png" and row["file"] is None
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("left out of the check")]
    assert len(lines) == 2 and "data.zip:b.png" in lines[0] and "data.zip:c.png: damaged zip entry" in lines[1]


@pytest.mark.parametrize("entries", [{}, {"a.png": b"no picture"}, {"dataset.json": b"{}"}, None])
def test_data_without_pictures_is_refused_before_anything_is_written(model, tmp_path, entries):
    data = tmp_path / "data.zip"
    data.write_bytes(b"no zip") if entries is None else zipped(data, entries)
    says = "must be a zip or a folder of images" if entries is None else "holds no readable images"
    with pytest.raises(FigmentError, match=f"--data .*data.zip: {says}"):
        augment(model, tmp_path / "out", images=1, data=data)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("label", ["..", ".", "", "a/b", "/tmp", ".hidden", "n" * 300])
def test_a_label_is_the_name_of_a_folder(model, tmp_path, label):
    with pytest.raises(FigmentError, match="--label .*: must be the name of a folder"):
        augment(model, tmp_path / "out", images=1, label=label)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("row", ["{", "[]", '{"seed": 1}', "\udc80"])
def test_a_damaged_row_of_the_manifest_is_named(model, tmp_path, row):
    augment(model, tmp_path, images=2)
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_bytes(manifest.read_bytes().splitlines(keepends=True)[0] + os.fsencode(row) + b"\n")
    with pytest.raises(FigmentError, match=r"manifest.jsonl line 2: not a row of a manifest"):
        augment(model, tmp_path, images=2)
