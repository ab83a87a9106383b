import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.pack.dataset import ImageDataset
from figment.pack.tfrecords import original_order
from figment.pack.zips import pack

DATA = Path(__file__).parents[1] / "data"
R06 = "df09d22ef3dc0be094117bb6d23d1f5f1dc060854e684778c0cb7c1cd18b105d"


def test_a_folder_of_40_pictures_makes_the_original_program_s_files(tmp_path):
    out = tmp_path / "rgb64"
    assert pack(DATA / "rgb64_png", out, resolution=64, form="tfrecord", shuffle=False, workers=1).packed == 40
    assert [path.name for path in sorted(out.iterdir())] == [f"rgb64-r{level:02d}.tfrecords" for level in range(2, 7)]
    for path in sorted((DATA / "rgb64").iterdir()):
        assert (out / path.name).read_bytes() == path.read_bytes()
    assert hashlib.sha256((out / "rgb64-r06.tfrecords").read_bytes()).hexdigest() == R06


def test_shuffled_as_the_original_shuffles_with_labels_in_the_same_order(tmp_path):
    for i in range(10):
        write_png(tmp_path / "in" / f"{'ab'[i % 2]}" / f"{i}.png", np.full((16, 16, 3), i, np.uint8))
    pack(tmp_path / "in", tmp_path / "set", resolution=16, form="tfrecord", labels="folders", workers=1)
    data = ImageDataset(tmp_path / "set")
    files = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]  # sorted by path: a/0, a/2, ..., b/9
    assert data.held[:, 0, 0, 0].tolist() == [files[place] for place in original_order(10)]
    assert data.labels.tolist() == [value % 2 for value in data.held[:, 0, 0, 0]]
    rows = np.load(tmp_path / "set" / "set-rxx.labels")
    assert rows.dtype == np.float32 and rows.shape == (10, 2) and np.array_equal(rows.argmax(1), data.labels)


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").write_text("x")
    with pytest.raises(FigmentError, match="--output .*new or empty folder"):
        pack(DATA / "rgb64_png", tmp_path / "set", form="tfrecord")
    (tmp_path / "set" / "mine.txt").unlink()
    shutil.copytree(DATA / "rgb64_png", tmp_path / "in", ignore=lambda _, names: sorted(names)[2:])
    assert pack(tmp_path / "in", tmp_path / "set", resolution=16, form="tfrecord", workers=1).packed == 2
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_text("x")
    with pytest.raises(FigmentError, match="none of the 1 pictures"):
        pack(tmp_path / "bad", tmp_path / "none", resolution=16, form="tfrecord")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "in", "set"]
