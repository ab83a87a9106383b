"""The table of measured runs, and the rows that a plan picks from it."""

import json

import pytest

from figment.base.errors import FigmentError
from figment.train.cost.measured import Measured, nearest, read_measured


def row(**changes):
    values = {
        "data": "drawn heads",
        "pictures": 2000,
        "resolution": 64,
        "recipe": "--preset cpu",
        "start": "random weights",
        "kimg": 95,
        "minutes": 10,
        "machine": "two CPU cores",
        "score": "FD-ResNet 34.7",
        "by_eye": "features are melted",
        "source": "a page",
    }
    return Measured(**values | changes)


def test_the_shipped_table_is_complete():
    rows = read_measured()
    assert len(rows) >= 5
    for each in rows:
        assert min(each.pictures, each.resolution, each.kimg, each.minutes) > 0
        assert all(text for name, text in each._asdict().items() if name != "score"), each


def test_a_run_is_one_line():
    assert row().line() == (
        "Measured: 2,000 drawn heads at 64 px, 95 kimg from random weights with --preset cpu: features are melted "
        "(10 minutes on two CPU cores, FD-ResNet 34.7; a page)"
    )
    assert row(score="").line().endswith("(10 minutes on two CPU cores; a page)")


def test_the_nearest_resolution_counts_first_then_pictures_and_kimg():
    far = row(resolution=256, pictures=300, kimg=20)
    few = row(pictures=200, kimg=20)
    many = row(pictures=2000, kimg=100)
    long = row(pictures=200, kimg=2000)
    runs = [far, few, many, long]
    assert nearest(runs, 64, 300, 20) == [few, many, long]
    assert nearest(runs, 128, 2500, 90, count=1) == [many]  # 64 and 256 are equally far: the pictures decide
    assert nearest(runs, 256, 300, 2500, count=2) == [far, long]


def test_a_row_with_a_missing_column_is_refused(tmp_path):
    path = tmp_path / "measured.json"
    path.write_text(json.dumps({"columns": Measured._fields, "rows": [row()[:-1]]}))
    with pytest.raises(FigmentError, match="every row needs the columns data, pictures"):
        read_measured(path)
