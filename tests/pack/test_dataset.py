import io
import zipfile

import pytest
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.pixels import png_bytes
from figment.pack.dataset import ImageDataset


def write_zip(path, entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def picture(size=(16, 16), mode="RGB"):
    return png_bytes(Image.new(mode, size, "red"))


def test_a_damaged_entry_is_named_and_the_rest_is_read(tmp_path):
    data = ImageDataset(write_zip(tmp_path / "a.zip", {"0.png": picture(), "1.png": b"oops", "2.png": picture((32, 16)),
                                                       "3.png": picture()}))
    assert len(data) == 2
    assert [line.split(":")[0] for line in data.damaged] == ["1.png", "2.png"]


def test_alpha_is_kept(tmp_path):
    assert ImageDataset(write_zip(tmp_path / "a.zip", {"0.png": picture(mode="RGBA")})).channels == 4


def test_the_digest_follows_the_pixels_not_the_file(tmp_path):
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(buffer, format="PNG", compress_level=0)
    first = ImageDataset(write_zip(tmp_path / "a.zip", {"0.png": picture()}))
    second = ImageDataset(write_zip(tmp_path / "b.zip", {"0.png": buffer.getvalue()}))
    third = ImageDataset(write_zip(tmp_path / "c.zip", {"0.png": picture(), "1.png": picture()}))
    assert first.digest == second.digest != third.digest


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
