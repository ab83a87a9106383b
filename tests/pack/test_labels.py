import csv
import io
import json
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.pack.dataset import ImageDataset
from figment.pack.labels import Item, find_labels, plain_name
from figment.pack.zips import pack

ITEMS = [Item(Path("x/b/1.png"), "b/1.png"), Item(Path("x/a/2.png"), "a/2.png"), Item(Path("x/b/c/3.png"), "b/c/3.png")]


def table(path, text):
    path.write_text(text)
    return str(path)


def test_folders_are_classes_in_the_order_of_their_names():
    labels = find_labels("folders", ITEMS)
    assert labels.values == [1, 0, 1] and labels.classes == ["a", "b"]
    assert labels.one_hot([0, 1]).tolist() == [[0, 1], [1, 0]]
    crops = find_labels("folders", [Item(Path("h/1.png"), "1.png", "hero/1.jpg")])
    assert crops.classes == ["hero"]
    some = find_labels("folders", [*ITEMS, Item(Path("h/1.png"), "1.png")])
    assert some.items == ITEMS and some.missing == ["1.png: not in a sub-folder"] and some.values == labels.values
    with pytest.raises(FigmentError, match=r"no picture has a label; 1\.png: not in a sub-folder"):
        find_labels("folders", [Item(Path("h/1.png"), "1.png")])


def test_tables_of_numbers_names_and_vectors(tmp_path):
    path = tmp_path / "l.csv"
    text = "file,label\nb/1.png,4\na/2.png, 0\nb/c/3.png,4\nother.png,x\n"
    assert find_labels(table(path, text), ITEMS).values == [4, 0, 4]
    named = find_labels(table(path, "b/1.png,elf\na/2.png,orc\nb\\c\\3.png,elf\n"), ITEMS)
    assert named.values == [0, 1, 0] and named.classes == ["elf", "orc"]
    rows = find_labels(table(path, "b/1.png,0.5,1\na/2.png,0,2\nb/c/3.png,1,1\n"), ITEMS)
    assert rows.values == [[0.5, 1], [0, 2], [1, 1]] and rows.one_hot([2]).dtype == np.float32


def test_folders_of_numbers_keep_the_order_of_the_numbers():
    items = [Item(Path(f"x/{number}/a.png"), f"{number}/a.png") for number in (10, 2, 0)]
    labels = find_labels("folders", items)
    assert labels.values == [2, 1, 0] and labels.classes == ["0", "2", "10"]
    assert labels.notes == ("classes: 0 0, 1 2, 2 10",)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("file;label\nb/1.png;4\na/2.png;0\nb/c/3.png;4\n", [4, 0, 4]),
        ("b/1.png\t4\na/2.png\t0\nb/c/3.png\t4", [4, 0, 4]),
        ("sep=;\r\nfile;label\r\nb/1.png;4\r\n\r\na/2.png;0\r\nb/c/3.png;4\r\n", [4, 0, 4]),
        ('"b/1.png","elf, dark"\n"./a/2.png", "orc"\nb\\c\\3.png,orc\n', [0, 1, 1]),
        ('"b/1.png";"elf"\n"a/2.png";"orc"\n"b/c/3.png";"orc"\n', [0, 1, 1]),
        ("b/1.png,4,,\na/2.png,0,,\nb/c/3.png,4,,\n", [4, 0, 4]),
        ("b/1.png,4\na/2.png,0,\nb/c/3.png,4\n", [4, 0, 4]),
        ("file,width,label,note\nb/1.png,64,4,x\na/2.png,64,0,\nb/c/3.png,64,4,y\n", [4, 0, 4]),
        ("b/1.png,4.0\na/2.png,0.0\nb/c/3.png,4.0\n", [4, 0, 4]),
        ("b/1.png,0.5\na/2.png,1\nb/c/3.png,-2e1\n", [[0.5], [1.0], [-20.0]]),
        ("b/1.png,4\na/2.png,0\nb/c/3.png,4\nb/1.png,4\n", [4, 0, 4]),
        ("b/1.png,1\na/2.png,x\nb/c/3.png,nan\n", [0, 2, 1]),
        ("b/1.png;0,5\na/2.png;1\nb/c/3.png;-1,25\n", [[0.5], [1.0], [-1.25]]),
        ("b/1.png\t4,0\na/2.png\t0,0\nb/c/3.png\t4,0\n", [4, 0, 4]),
        ('b/1.png,"1,2"\na/2.png,"1,5"\nb/c/3.png,"1,2"\n', [0, 1, 0]),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_of_spreadsheets_are_understood(tmp_path, text, values, encoding):
    (tmp_path / "l.csv").write_bytes(text.encode(encoding))
    assert find_labels(str(tmp_path / "l.csv"), ITEMS).values == values


def test_a_column_of_labels_is_chosen_by_its_header_and_said(tmp_path):
    path = table(tmp_path / "l.csv", "file,width,Label\nb/1.png,64,4\na/2.png,64,0\nb/c/3.png,64,4\n")
    assert find_labels(path, ITEMS).notes == (f"--labels {path}: only its column 'label' is used",)


def test_other_columns_of_labels_are_said(tmp_path):
    path = table(tmp_path / "l.csv", "file,target,split\nb/1.png,1,0\na/2.png,0,3\nb/c/3.png,1,1\n")
    found = find_labels(path, ITEMS)
    assert found.values == [[1, 0], [0, 3], [1, 1]] and "columns 'target', 'split' are the labels" in found.notes[0]


@pytest.mark.parametrize("gap", ["", "nan", "NA", "null"])
def test_a_number_that_is_missing_is_no_label(tmp_path, gap):
    found = find_labels(table(tmp_path / "l.csv", f"b/1.png,1.0\na/2.png,{gap}\nb/c/3.png,0.0\n"), ITEMS)
    assert found.values == [1, 0] and found.missing[0].startswith("a/2.png: has no line")


def test_folders_in_two_unicode_forms_are_one_class():
    found = find_labels("folders", [Item(Path("x"), "caf\u00e9/1.png"), Item(Path("y"), "cafe\u0301/2.png")])
    assert found.values == [0, 0] and found.classes == ["caf\u00e9"]


def test_names_are_compared_in_one_unicode_form(tmp_path):
    items = [Item(Path("x"), unicodedata.normalize("NFD", "é.png")), Item(Path("x"), "h.png", "ü.png")]
    path = table(tmp_path / "l.csv", "é.png,1\n" + unicodedata.normalize("NFD", "ü.png") + ",2\n")
    assert find_labels(path, items).values == [1, 2]


def test_a_picture_without_a_label_is_named(tmp_path):
    labels = find_labels(table(tmp_path / "l.csv", "b/1.png,elf\na/2.png,\nb/c/3.png,orc\n"), ITEMS)
    assert labels.values == [0, 1] and labels.missing[0].startswith("a/2.png: has no line in")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("z/1.png,1\n", "no picture has a label; b/1.png: has no line in .*; it begins with 'z/1.png'"),
        ("b/1.png,1\na/2.png,1,2\n", "line 1 has 2 columns"),
        ("b/1.png,1,x\na/2.png,1,2\nb/c/3.png,1,1\n", "must be numbers"),
        ("b/1.png\n", "line 1 has 1 columns"),
        ("b/1.png,10000\na/2.png,1\nb/c/3.png,1\n", "class 10000"),
        ("b/1.png,-1\na/2.png,1\nb/c/3.png,1\n", "class -1; must be from 0 to 9999"),
        ("b/1.png 1\na/2.png 1\n", "must be a comma, semicolon or tab"),
        ("b/1.png,1\na/2.png,1\nb/1.png,2\n", "line 3 gives b/1.png the label '2', an earlier line '1'"),
        ("b/1.png,1,nan\na/2.png,1,2\nb/c/3.png,1,1\n", "must be numbers, not 'nan'"),
        ("b/1.png,1,1e999\na/2.png,1,2\nb/c/3.png,1,1\n", "must be numbers, not '1e999'"),
        ('b/1.png,"1\n', "line 1: not a readable table"),
        ("\n", "the table is empty"),
        ("b/1.png,1\0\n", "it has zero bytes"),
    ],
)
def test_mistakes_in_a_table_are_one_line(tmp_path, text, says):
    with pytest.raises(FigmentError, match=says):
        find_labels(table(tmp_path / "l.csv", text), ITEMS)
    with pytest.raises(FigmentError, match="--labels .*no such file"):
        find_labels(str(tmp_path / "none.csv"), ITEMS)


def test_other_encodings_are_one_line(tmp_path):
    (tmp_path / "l.csv").write_bytes("é.png,1\n".encode("latin-1"))
    with pytest.raises(FigmentError, match="save it as CSV in UTF-8"):
        find_labels(str(tmp_path / "l.csv"), ITEMS)


def test_labels_make_the_round_trip_through_a_zip(tmp_path):
    for i in range(4):
        write_png(tmp_path / "in" / f"{'ba'[i // 2]}" / f"{i}.png", np.full((16, 16, 3), i, np.uint8))
    (tmp_path / "in" / "a" / "2.png").write_text("no picture")
    pack(tmp_path / "in", tmp_path / "a.zip", labels="folders", workers=1)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        about = json.loads(archive.read("dataset.json"))
    assert about["classes"] == ["a", "b"]
    assert about["labels"] == [[f"00000/img{i:08d}.png", label] for i, label in enumerate([0, 1, 1])]
    data = ImageDataset(tmp_path / "a.zip")
    assert data.labels.tolist() == [0, 1, 1] and data.held[:, 0, 0, 0].tolist() == [3, 0, 1]

    csv = table(tmp_path / "in" / "labels.csv", "a/2.png,0,0\na/3.png,0.25,3\nb/0.png,0.5,2\n")
    summary = pack(tmp_path / "in", tmp_path / "b.zip", labels=csv, workers=1)
    assert ImageDataset(tmp_path / "b.zip").labels.tolist() == [[0.25, 3], [0.5, 2]]
    assert [line.split(": ")[0].split("/")[-1] for line in summary.failed] == ["1.png", "2.png"]


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="/\\"))
FILES = st.lists(NAMES.map(lambda name: plain_name(f"{name.strip()}.png")), min_size=2, max_size=6, unique_by=str.lower)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=FILES,
    separator=st.sampled_from(",;\t"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    end=st.sampled_from(["\n", "\r\n"]),
    header=st.booleans(),
    form=st.sampled_from(["NFC", "NFD"]),
)
def test_written_tables_are_read_back(tmp_path, files, separator, encoding, end, header, form):
    text = io.StringIO(newline="")
    rows = [[unicodedata.normalize(form, name), str(number)] for number, name in enumerate(files)]
    writer = csv.writer(text, delimiter=separator, lineterminator=end)
    writer.writerows([["file", "label"], *rows] if header else rows)
    (tmp_path / "l.csv").write_bytes(text.getvalue().encode(encoding))
    labels = find_labels(str(tmp_path / "l.csv"), [Item(Path(name), name) for name in files])
    assert labels.values == list(range(len(files))) and labels.missing == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.text('b/1.pngac,;\t"\n\r 0123.e-', max_size=60).map(str.encode))
def test_any_bytes_are_a_table_or_one_line(tmp_path, data):
    (tmp_path / "l.csv").write_bytes(b"b/1.png," + data)
    try:
        labels = find_labels(str(tmp_path / "l.csv"), ITEMS)
    except FigmentError as error:
        assert str(error).startswith("--labels ") and len(str(error).split("\n")) == 1
    else:
        assert len(labels.items) == len(labels.values) and len(labels.items) + len(labels.missing) == len(ITEMS)
        assert all(
            0 <= value < 10000 if isinstance(value, int) else np.isfinite(value).all() for value in labels.values
        )
