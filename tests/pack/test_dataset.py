import zipfile

import numpy as np
import pytest
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.pixels import png_bytes
from figment.pack.dataset import ImageDataset, free_memory


def write_zip(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def picture(size=(16, 16), mode="RGB"):
    return png_bytes(Image.new(mode, size, "red"))


def picture_of(value):
    return png_bytes(Image.new("RGB", (16, 16), (value, value, value)))


def test_a_damaged_entry_is_named_and_the_rest_is_read(tmp_path):
    data = ImageDataset(
        write_zip(
            tmp_path / "a.zip", {"0.png": picture(), "1.png": b"oops", "2.png": picture((32, 16)), "3.png": picture()}
        )
    )
    assert len(data) == 2
    assert [line.split(":")[0] for line in data.damaged] == ["1.png", "2.png"]


def test_alpha_is_kept(tmp_path):
    assert ImageDataset(write_zip(tmp_path / "a.zip", {"0.png": picture(mode="RGBA")})).channels == 4


def test_the_digest_follows_names_and_checksums_not_the_zip(tmp_path):
    first = ImageDataset(write_zip(tmp_path / "a.zip", {"0.png": picture(), "1.png": picture((8, 8))}))
    second = ImageDataset(write_zip(tmp_path / "b.zip", {"1.png": picture((8, 8)), "0.png": picture()}))
    third = ImageDataset(write_zip(tmp_path / "c.zip", {"0.png": picture(), "1.png": picture()}))
    assert first.digest == second.digest != third.digest
    assert ImageDataset(tmp_path / "a.zip", hold=False).digest == first.digest


def test_data_on_disk_give_the_same_pictures(tmp_path):
    entries = {f"{i}.png": picture_of(i) for i in range(5)}
    path = write_zip(tmp_path / "a.zip", entries)
    held, on_disk = ImageDataset(path), ImageDataset(path, hold=False)
    assert on_disk.held is None and on_disk.shape == held.shape == (5, 3, 16, 16)
    assert np.array_equal(on_disk.take([3, 0]), held.take([3, 0]))
    assert held.take([3])[0, 0, 0, 0] == 3


def test_a_damaged_picture_on_disk_is_named_once_and_the_next_one_replaces_it(tmp_path, capsys):
    path = write_zip(tmp_path / "a.zip", {"0.png": picture_of(0), "1.png": b"oops", "2.png": picture_of(2)})
    data = ImageDataset(path, hold=False)
    assert data.read(1)[0, 0, 0] == 2 and data.read(1)[0, 0, 0] == 2
    assert len(data.damaged) == 1 and capsys.readouterr().out.count("left out") == 1


def test_memory_decides_what_is_held(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "a.zip", {"0.png": picture()})
    monkeypatch.setattr("figment.pack.dataset.free_memory", lambda: 1000)
    assert ImageDataset(path).held is None
    assert free_memory() > 0


def test_mistakes_are_one_line(tmp_path):
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(FigmentError, match="not a zip"):
        ImageDataset(tmp_path / "text.zip")
    with pytest.raises(FigmentError, match="no such file"):
        ImageDataset(tmp_path / "none.zip")
    with pytest.raises(FigmentError, match="no pictures"):
        ImageDataset(write_zip(tmp_path / "a.zip", {"a.txt": b""}))
    with pytest.raises(FigmentError, match="none of its 1"):
        ImageDataset(write_zip(tmp_path / "b.zip", {"a.png": b""}))
    with pytest.raises(FigmentError, match="48x48"):
        _ = ImageDataset(write_zip(tmp_path / "c.zip", {"a.png": picture((48, 48))})).resolution
