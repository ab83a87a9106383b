import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.pixels import png_bytes
from figment.info import describe
from figment.pack.dataset import ImageDataset
from figment.pack.stores import RecordStore, ZipStore, read_header
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


def test_what_macos_adds_to_a_zip_is_no_picture(tmp_path):
    path = write_zip(tmp_path / "a.zip", {"labels": [["0.png", 0], ["1.png", 1]]})
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("__MACOSX/._0.png", "__MACOSX/._dataset.json", "x/._1.png", ".thumbs/2.png", "x/"):
            archive.writestr(name, b"\0\5\x16\7")
    data = ImageDataset(path)
    assert data.names == ["0.png", "1.png"] == open_source(path, "DATA").names
    assert data.damaged == [] and data.labels.tolist() == [0, 1]
    assert not any(name in ("damaged", "note") for name, _ in describe(path))


def test_unusable_labels_do_not_hide_the_pictures(tmp_path):
    rows = dict(describe(write_zip(tmp_path / "a.zip", {"labels": [["0.png", 1]]})))
    assert rows["pictures"] == "2 of 16x16, 3 channels" and "no label for 1.png" in rows["labels"]


def test_an_entry_that_is_there_twice_counts_once(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        for color in ("red", "blue"):
            archive.writestr("0.png", png_bytes(Image.new("RGB", (16, 16), color)))
    data = ImageDataset(tmp_path / "a.zip")
    assert data.held[:, :, 0, 0].tolist() == [[0, 0, 255]] and "0.png: the zip has several" in data.damaged[0]


def image_bytes(mode, form, **options):
    buffer = io.BytesIO()
    Image.new(mode, (20, 12)).save(buffer, form, **options)
    return buffer.getvalue()


TURNED = Image.Exif()
TURNED[0x0112] = 6


@pytest.mark.parametrize(
    ("data", "look"),
    [
        (image_bytes("RGB", "PNG"), (12, 20, 3)),
        (image_bytes("L", "PNG"), (12, 20, 3)),
        (image_bytes("LA", "PNG"), (12, 20, 4)),
        (image_bytes("P", "PNG", transparency=0), (12, 20, 4)),
        (image_bytes("RGB", "PNG", exif=TURNED), None),
        (image_bytes("RGB", "JPEG"), (12, 20, 3)),
        (image_bytes("RGB", "JPEG", progressive=True, icc_profile=b"x" * 70_000), (12, 20, 3)),
        (image_bytes("RGB", "JPEG", exif=TURNED), None),
        (image_bytes("RGB", "WEBP"), None),
        (image_bytes("RGB", "PNG")[:30], None),
        (image_bytes("RGB", "JPEG")[:30], None),
        (b"", None),
    ],
)
def test_headers_say_what_decoding_gives(data, look):
    assert read_header(io.BytesIO(data)) == look


@pytest.mark.parametrize(("form", "exif"), [("PNG", TURNED), ("JPEG", TURNED), ("WEBP", Image.Exif())])
def test_what_headers_cannot_say_is_decoded(tmp_path, form, exif):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"0.{form.lower()}", image_bytes("RGB", form, exif=exif))
    store = ZipStore(tmp_path / "a.zip")
    assert store.look(store.names[0]) == ((20, 12, 3) if exif is TURNED else (12, 20, 3))
    assert store.decode(store.names[0], 4).shape == ((4, 20, 12) if exif is TURNED else (4, 12, 20))


def test_a_folder_holds_one_set_of_records(tmp_path):
    folder = write_records(tmp_path / "b", pictures(2), np.eye(2))
    assert RecordStore(folder).name == "b"
    other = write_records(tmp_path / "a", pictures(3, 32))
    for path in other.iterdir():
        path.rename(folder / path.name)
    with pytest.raises(FigmentError, match=r"several data sets \(a, b\); give each a folder of its own"):
        ImageDataset(folder)


def test_labels_of_records_are_found_or_named(tmp_path):
    folder = write_records(tmp_path / "a", pictures(2), np.eye(2))
    labels = folder / "a-rxx.labels"
    other = labels.rename(folder / "other.labels")
    assert ImageDataset(folder).labels.tolist() == [0, 1]
    labels.write_bytes(other.read_bytes())
    assert ImageDataset(folder).labels.tolist() == [0, 1]
    labels.rename(folder / "more.labels")
    with pytest.raises(FigmentError, match=r"several files of labels \(more.labels, other.labels\); keep one"):
        _ = ImageDataset(folder).labels
    (folder / "more.labels").unlink()
    (folder / "sub").mkdir()
    other.rename(folder / "sub" / "a-rxx.labels")
    with pytest.raises(FigmentError, match=r"sub/a-rxx.labels: labels must lie beside a-r04.tfrecords"):
        _ = ImageDataset(folder).labels


@pytest.mark.parametrize(
    ("rows", "says"),
    [(np.eye(3), r"shape \(3, 3\) for 2 records"), (np.full((2, 1), np.nan), "must be finite numbers")],
)
def test_labels_that_do_not_fit_the_records_are_one_line(tmp_path, rows, says):
    with pytest.raises(FigmentError, match=says):
        _ = ImageDataset(write_records(tmp_path / "a", pictures(2), rows)).labels


def test_gray_records_become_rgb_among_others(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    some = [np.full((channels, 16, 16), channels, np.uint8) for channels in (1, 3)]
    path = folder / "a-r04.tfrecords"
    path.write_bytes(b"".join(frame(encode_picture(each)) for each in some))
    for hold in (True, False):
        data = ImageDataset(folder, hold=hold)
        assert data.shape == (2, 3, 16, 16) and data.take([0, 1])[:, :, 0, 0].tolist() == [[1] * 3, [3] * 3]
    path.write_bytes(frame(encode_picture(some[0])))
    assert ImageDataset(folder).shape == (1, 1, 16, 16)


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


def test_what_macos_adds_to_a_folder_of_records_is_no_data_set(tmp_path):
    folder = write_records(tmp_path / "set", pictures(), np.eye(4))
    for path in list(folder.iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    (folder / "x-r09.tfrecords").mkdir()
    data = ImageDataset(folder)
    assert data.shape == (4, 3, 16, 16) and data.labels.tolist() == [0, 1, 2, 3]


def test_a_letter_with_a_backslash_in_it_hides_no_picture(tmp_path):
    entry = "\u8868.png".encode("cp932").decode("cp437")  # as zipfile reads it
    assert "\\" in entry
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(entry, png_bytes(Image.new("RGB", (16, 16))))
    assert ZipStore(tmp_path / "a.zip").names == [entry]
