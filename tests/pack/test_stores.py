import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.pixels import png_bytes
from figment.info import describe
from figment.pack.dataset import ImageDataset
from figment.pack.tfrecords import encode_picture, frame, levels
from figment.score.sources import open_source


def write_records(folder, pictures, labels=None):
    folder.mkdir()
    for i, level in enumerate(range(int(np.log2(pictures.shape[-1])), 1, -1)):
        data = b"".join(frame(encode_picture(levels(picture)[i])) for picture in pictures)
        (folder / f"{folder.name}-r{level:02d}.tfrecords").write_bytes(data)
    if labels is not None:
        with (folder / f"{folder.name}-rxx.labels").open("wb") as file:
            np.save(file, labels.astype(np.float32))
    return folder


def pictures(count=4, side=16):
    return np.random.RandomState(0).randint(0, 256, (count, 3, side, side), np.uint8)


def write_zip(path, about, count=2):
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(count):
            archive.writestr(f"{i}.png", png_bytes(Image.new("RGB", (16, 16))))
        archive.writestr("dataset.json", about if isinstance(about, str) else json.dumps(about))
    return path


def test_a_folder_of_records_is_a_data_set(tmp_path):
    folder = write_records(tmp_path / "set", pictures())
    for hold in (True, False):
        data = ImageDataset(folder, hold=hold)
        assert data.shape == (4, 3, 16, 16) and (data.resolution, data.name, data.damaged) == (16, "set", [])
        assert np.array_equal(data.take([3, 1]), pictures()[[3, 1]])
        assert data.labels is None and not data.labelled
    assert len(data.digest) == 16 and data.digest == ImageDataset(folder).digest
    assert ("pictures", "4 of 16x16, 3 channels") in describe(folder)
    source = open_source(folder, "DATA")
    assert [name for name, _ in source] == data.names and np.array_equal(next(iter(source))[1], pictures()[0])


def test_a_damaged_record_is_named_and_the_rest_is_read(tmp_path, capsys):
    folder = write_records(tmp_path / "set", pictures())
    path = folder / "set-r04.tfrecords"
    data = bytearray(path.read_bytes())
    digest = ImageDataset(folder).digest
    data[len(data) // 4 + 100] ^= 255
    path.write_bytes(data)
    held = ImageDataset(folder)
    assert len(held) == 3 and "set-r04.tfrecords: record 1: the checksum" in held.damaged[0]
    assert np.array_equal(held.take([1]), pictures()[[2]]) and held.digest == digest
    loose = ImageDataset(folder, hold=False)
    assert np.array_equal(loose.read(1), pictures()[2]) and "record 1" in capsys.readouterr().out

    path.write_bytes(data[:-7])
    cut = ImageDataset(folder)
    assert len(cut) == 2 and "record 3" in cut.damaged[0] and "is cut off" in cut.damaged[0]


def test_labels_come_with_the_pictures(tmp_path):
    classes = write_records(tmp_path / "a", pictures(), np.eye(3)[[2, 0, 1, 2]])
    assert ImageDataset(classes).labels.tolist() == [2, 0, 1, 2]
    rows = np.array([[0.5, 1], [2, 3], [1, 0], [0, 1]])
    numbers = ImageDataset(write_records(tmp_path / "b", pictures(), rows)).labels
    assert numbers.dtype == np.float32 and numbers.tolist() == rows.tolist()
    assert ("labels", "3 classes") in describe(classes)

    zipped = ImageDataset(write_zip(tmp_path / "a.zip", {"labels": [["1.png", 5], ["0.png", 7]]}))
    assert zipped.labels.tolist() == [7, 5] and zipped.labels.dtype == np.int64 and zipped.labelled
    assert ImageDataset(write_zip(tmp_path / "b.zip", {"labels": None})).labels is None


@pytest.mark.parametrize(
    ("about", "says"),
    [
        ("{", "its dataset.json is damaged"),
        ("[]", "must hold an object"),
        ({"labels": [["0.png", 1]]}, "no label for 1.png"),
        ({"labels": [5]}, "pairs of name and label"),
        ({"labels": [["0.png", 1], ["1.png", [1.0]]]}, "whole numbers, or all rows"),
    ],
)
def test_wrong_labels_are_one_line_and_the_pictures_are_read(tmp_path, about, says):
    data = ImageDataset(write_zip(tmp_path / "a.zip", about))
    assert len(data) == 2 and data.labelled
    with pytest.raises(FigmentError, match=says):
        _ = data.labels


def test_mistakes_are_one_line(tmp_path):
    with pytest.raises(FigmentError, match="a folder without .tfrecords"):
        ImageDataset(tmp_path)
    folder = write_records(tmp_path / "set", pictures(2), np.eye(1))
    with pytest.raises(FigmentError, match=r"labels of shape \(1, 1\) for 2 records"):
        _ = ImageDataset(folder).labels
    (folder / "set-rxx.labels").write_text("no numpy")
    with pytest.raises(FigmentError, match="not a readable labels file"):
        _ = ImageDataset(folder).labels
    (folder / "set-r04.tfrecords").write_bytes(b"nonsense that is no record")
    with pytest.raises(FigmentError, match="record 0 at byte 0: the checksum of its length"):
        ImageDataset(folder)
    (folder / "set-r04.tfrecords").write_bytes(b"")
    with pytest.raises(FigmentError, match="empty"):
        ImageDataset(folder)
