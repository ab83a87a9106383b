import hashlib
import json
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


def clear(value=0):
    """Return a PNG whose left half is transparent."""
    pixels = np.full((16, 16, 4), (value, value, value, 255), np.uint8)
    pixels[:, :8, 3] = 0
    return png_bytes(Image.fromarray(pixels))


@pytest.mark.parametrize("hold", [True, False])
@pytest.mark.parametrize(
    ("entries", "channels", "note"),
    [
        ({"0.png": picture(mode="RGBA")}, 3, "no picture has transparent parts, so their alpha is left out"),
        ({"0.png": picture(mode="RGBA"), "1.png": picture()}, 3, None),
        ({"0.png": clear()}, 4, None),
        ({"0.png": clear(), "1.png": picture(mode="RGBA"), "2.png": picture(mode="RGBA")}, 4, None),
        ({"0.png": clear(), "1.png": picture()}, 4, "1 of 2 pictures have no alpha; they are opaque"),
        (
            {"0.png": clear(), "1.png": picture(), "2.png": picture(mode="L")},
            3,
            "1 of 3 pictures have transparent parts, which lie over white, since most have none",
        ),
        ({f"{i}.png": picture(mode=mode) for i, mode in enumerate(("L", "LA", "P", "RGB", "1"))}, 3, None),
    ],
)
def test_all_pictures_have_the_channels_that_most_need(tmp_path, hold, entries, channels, note):
    data = ImageDataset(write_zip(tmp_path / "a.zip", entries), hold=hold)
    assert data.shape == (len(entries), channels, 16, 16) and data.damaged == []
    assert data.notes == ([] if note is None else [note])
    first = data.take(range(len(entries)))[0, :, 0, 0].tolist()
    if "0.png" in entries and entries["0.png"] == clear():
        assert first == ([255, 255, 255] if channels == 3 else [0, 0, 0, 0])


@pytest.mark.parametrize("hold", [True, False])
def test_a_run_gets_the_channels_that_it_was_started_with(tmp_path, hold):
    path = write_zip(tmp_path / "a.zip", {"0.png": picture(mode="RGBA"), "1.png": picture()})
    assert ImageDataset(path, hold=hold, channels=4).take([1])[0, :, 0, 0].tolist() == [255, 0, 0, 255]
    assert ImageDataset(write_zip(path, {"0.png": clear()}), hold=hold, channels=3).shape == (1, 3, 16, 16)


@pytest.mark.parametrize("hold", [True, False])
def test_the_most_common_size_decides_wherever_the_pictures_are(tmp_path, hold):
    entries = {"0.png": picture((32, 32))} | {f"{i}.png": picture_of(i) for i in range(1, 10)}
    data = ImageDataset(write_zip(tmp_path / "a.zip", entries), hold=hold)
    assert data.shape == (9, 3, 16, 16) and data.damaged == ["0.png: 32x32 pixels, but most have 16x16"]
    assert data.take(range(9))[:, 0, 0, 0].tolist() == list(range(1, 10))


def test_the_digest_follows_names_and_checksums_not_the_zip(tmp_path):
    first = ImageDataset(write_zip(tmp_path / "a.zip", {"0.png": picture(), "1.png": picture((8, 8))}))
    second = ImageDataset(write_zip(tmp_path / "b.zip", {"1.png": picture((8, 8)), "0.png": picture()}))
    third = ImageDataset(write_zip(tmp_path / "c.zip", {"0.png": picture(), "1.png": picture()}))
    again = write_zip(tmp_path / "d.zip", {"x/": b"", "x/0.png": picture(), "x/1.png": picture((8, 8)), "a.txt": b"a"})
    about = {"0.png": picture(), "1.png": picture((8, 8)), "dataset.json": b'{"labels": null}'}
    assert ImageDataset(again).digest == ImageDataset(write_zip(tmp_path / "e.zip", about)).digest == first.digest
    labels = ([["0.png", 1], ["1.png", 2]], {".\\1.png": 2.0, "./0.png": 1}, [["0.png", 2], ["1.png", 1]])
    written = [about | {"dataset.json": json.dumps({"labels": each})} for each in labels]
    digests = [ImageDataset(write_zip(tmp_path / "f.zip", entries)).digest for entries in written]
    assert digests[0] == digests[1] and len({first.digest, *digests}) == 3
    assert first.digest == second.digest != third.digest
    assert ImageDataset(tmp_path / "a.zip", hold=False).digest == first.digest


def test_digests_of_older_versions_are_known(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"0.png": picture(), "dataset.json": b"{}"})
    with zipfile.ZipFile(path) as archive:
        rows = sorted((info.filename, info.CRC, info.file_size) for info in archive.infolist())
    older = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
    data = ImageDataset(path)
    assert data.is_known_as(older) and data.is_known_as(data.digest) and not data.is_known_as("0" * 16)
    folders = write_zip(tmp_path / "b.zip", {"x/": b"", "0.png": picture(), "dataset.json": b"{}"})
    assert ImageDataset(folders).is_known_as(older)


def test_data_on_disk_give_the_same_pictures(tmp_path):
    entries = {f"{i}.png": picture_of(i) for i in range(5)}
    path = write_zip(tmp_path / "a.zip", entries)
    held, on_disk = ImageDataset(path), ImageDataset(path, hold=False)
    assert on_disk.held is None and on_disk.shape == held.shape == (5, 3, 16, 16)
    assert np.array_equal(on_disk.take([3, 0]), held.take([3, 0]))
    assert held.take([3])[0, 0, 0, 0] == 3


def test_a_damaged_picture_on_disk_is_named_once_and_the_next_one_replaces_it(tmp_path, capsys):
    path = write_zip(tmp_path / "a.zip", {"0.png": picture_of(0), "1.png": picture()[:-30], "2.png": picture_of(2)})
    data = ImageDataset(path, hold=False)
    assert data.read(1)[0, 0, 0] == 2 and data.read(1)[0, 0, 0] == 2
    assert len(data.damaged) == 1 and capsys.readouterr().out.count("left out") == 1


def test_memory_decides_what_is_held(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "a.zip", {"0.png": picture()})
    monkeypatch.setattr("figment.pack.dataset.free_memory", lambda: 1000)
    assert ImageDataset(path).held is None
    monkeypatch.setattr("figment.pack.dataset.free_memory", lambda: 2000)
    assert ImageDataset(path).held is not None
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
