import json

import pytest

from figment.base.errors import FigmentError
from figment.pack.about import about_name, read_labels

NAMES = ["00000/a.png", "00000/é.png", "b.png"]


def read(labels, about="dataset.json", **more):
    return read_labels("a.zip", about, json.dumps({"labels": labels, **more}).encode(), NAMES)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, 0, 3], [3, 0, 3]),
        ([3.0, 0, True], [3, 0, 1]),
        (["elf", "orc", "elf"], [0, 1, 0]),
        (["10", "9", "10"], [10, 9, 10]),
        (["10.0", "9.0", "10.0"], [10, 9, 10]),
        ([[0, 0, 1], [1, 0, 0], [0, 1, 0]], [2, 0, 1]),
        ([[0.5, 1], [0, 2], [1, 0]], [[0.5, 1], [0, 2], [1, 0]]),
        ([[2], [1], [0]], [[2], [1], [0]]),
        ([0.5, 1, 2], [[0.5], [1], [2]]),
    ],
)
def test_labels_have_one_form_whatever_wrote_them(values, expected):
    pairs = [[name, value] for name, value in zip(NAMES, values, strict=True)]
    assert read(pairs) == read(dict(pairs)) == dict(zip(NAMES, expected, strict=True))


def test_names_are_compared_in_a_plain_form():
    expected = dict(zip(NAMES, (1, 2, 3), strict=True))
    assert read([["./00000/a.png", 1], ["00000\\e\u0301.png", 2], ["b.png", 3], ["gone.png", 7]]) == expected
    inside = read_labels("a.zip", "x/dataset.json", b'{"labels": {"a.png": 1, "x/b.png": 2}}', ["x/a.png", "x/b.png"])
    assert inside == {"x/a.png": 1, "x/b.png": 2}


def test_classes_of_the_file_number_the_names():
    pairs = [[name, "elf"] for name in NAMES]
    assert set(read(pairs, classes=["orc", "elf"]).values()) == {1}


@pytest.mark.parametrize(
    ("classes", "says"),
    [(["orc"], "the label 'elf' is not among its `classes`"), (["elf", "orc", "elf"], "name a class twice")],
)
def test_classes_that_contradict_the_labels_are_one_line(classes, says):
    with pytest.raises(FigmentError, match=says):
        read([[name, "elf"] for name in NAMES], classes=classes)


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("cafe\u0301.png", "utf-8"), ("\u685c\u8868.png", "cp932"), ("\u6625\u5929\u6765.png", "gb18030")],
)
def test_names_in_the_encoding_of_older_programs_are_understood(name, encoding):
    entry = name.encode(encoding).decode("cp437")  # as zipfile reads it
    data = json.dumps({"labels": [[name, 5], ["b.png", 1]]}).encode()
    assert read_labels("a.zip", "dataset.json", data, [entry, "b.png"]) == {entry: 5, "b.png": 1}


@pytest.mark.parametrize("key", ["00000/a.png", "label", "Labels"])
def test_labels_at_another_place_are_not_overlooked(key):
    with pytest.raises(FigmentError, match=f"has '{key}', but no `labels`"):
        read_labels("a.zip", "dataset.json", json.dumps({key: 1}).encode(), NAMES)


@pytest.mark.parametrize("labels", [None, [], {}])
def test_no_labels_are_none(labels):
    assert read(labels) is None and read_labels("a.zip", "dataset.json", b"\xef\xbb\xbf{}", NAMES) is None


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ([["b.png", 1]], "no label for 00000/a.png and 1 others"),
        ([[name, None if name == "b.png" else 1] for name in NAMES], "no label for b.png$"),
        ([["b.png", 1], ["./b.png", 2]], "two labels for b.png: 1 and 2"),
        ([["b.png"]], "pairs of name and label"),
        ([1, 2, 3], "pairs of name and label"),
        ("b.png", "pairs of name and label"),
        (dict.fromkeys(NAMES, 10**400), "labels must be all names"),
        ({name: [1.5, 10**400] for name in NAMES}, "labels must be all names"),
        (dict.fromkeys(NAMES, "9" * 5000), "labels must be all names"),
        (dict.fromkeys(NAMES, "-1"), "class -1.0; must be from 0"),
        (dict.fromkeys(NAMES, -1), "class -1; must be from 0 to 9999"),
        (dict.fromkeys(NAMES, 1000000000.0), "class 1000000000.0; must be from 0"),
        ({name: float("nan") for name in NAMES}, "labels must be all names"),
        ({name: [float("inf")] for name in NAMES}, "labels must be all names"),
        ({name: [[0, 1]] for name in NAMES}, "labels must be all names"),
        ({name: [] for name in NAMES}, "labels must be all names"),
        (dict(zip(NAMES, (1, "elf", 2), strict=True)), "labels must be all names"),
        (dict(zip(NAMES, ([1, 2], [1], [2, 2]), strict=True)), "labels must be all names"),
    ],
)
def test_mistakes_are_one_line(labels, says):
    with pytest.raises(FigmentError, match=says) as raised:
        read(labels)
    assert "\n" not in str(raised.value) and "a.zip: its dataset.json" in str(raised.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        (b"[" * 100_000, "is damaged"),
        (b"[]", "must hold an object"),
        (b'{"labels": {"b.png": 1, "b.png": 2}}', "two values for b.png: 1 and 2"),
    ],
)
def test_damaged_files_are_one_line(data, says):
    with pytest.raises(FigmentError, match=says):
        read_labels("a.zip", "dataset.json", data, NAMES)


def test_the_file_is_found_wherever_it_is():
    assert about_name("a.zip", ["x/dataset.json", "__MACOSX/x/._dataset.json", "x/a.png"]) == "x/dataset.json"
    assert about_name("a.zip", ["x/a.png", "mydataset.json"]) is None
    with pytest.raises(FigmentError, match=r"holds several dataset.json \(dataset.json, x/dataset.json\); keep one"):
        about_name("a.zip", ["x/dataset.json", "dataset.json"])
