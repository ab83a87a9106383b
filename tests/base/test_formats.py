import io
import os

import pytest
from PIL import Image

from figment.base.formats import ENDINGS, enable, has_picture_name, is_picture, jpeg_xl_size, kind_of
from figment.base.pixels import UNUSED


def encoded(form, **options):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, form, **options)
    return buffer.getvalue()


def boxes(brand, *others):
    names = brand + b"\0\0\0\0" + b"".join(others)
    return (len(names) + 8).to_bytes(4, "big") + b"ftyp" + names + b"\0" * 100


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("PNG", "png"),
        ("JPEG", "jpeg"),
        ("MPO", "jpeg"),
        ("GIF", "gif"),
        ("TIFF", "tiff"),
        ("WEBP", "webp"),
        ("BMP", "bmp"),
        ("AVIF", "avif"),
        ("JPEG2000", "jpeg-2000"),
        ("QOI", "qoi"),
        ("DDS", "dds"),
        ("ICNS", "icns"),
        ("EPS", "vector"),
    ],
)
def test_kinds_are_known_by_content(form, kind):
    assert kind_of(encoded(form)) == kind


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (boxes(b"heic", b"mif1", b"heic"), "heic"),
        (boxes(b"mif1", b"mif1", b"heic"), "heic"),
        (boxes(b"heix"), "heic"),
        (boxes(b"msf1", b"hevc"), "heic"),
        (boxes(b"avif", b"mif1"), "avif"),
        (boxes(b"mif1", b"avif", b"mif1"), "avif"),
        (boxes(b"crx ", b"isom"), "camera-raw"),
        (boxes(b"isom", b"mp42"), ""),
        (boxes(b"qt  "), ""),
        (b"\xff\x0a" + b"\0" * 400, "jpeg-xl"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 40, "jpeg-xl"),
        (b"II*\0\x10\0\0\0CR\x02\0", "camera-raw"),
        (b"<?xml version='1.0'?>\n<!-- made by hand -->\n<svg xmlns='...'>", "vector"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git-lfs"),
        (b"BMW on a road, 1girl", ""),
        (b"P1 is the first of two", ""),
        (b"PK\3\4", ""),
        (b"\0\5\x16\7" + b"\0" * 100, ""),
        (b"", ""),
        (b"\0\0\0\x08ftyp", ""),
    ],
)
def test_kinds_of_phones_cameras_and_texts(head, kind):
    assert kind_of(head) == kind


def test_every_ending_that_pillow_reads_is_a_picture():
    Image.init()
    readable = {
        ending for ending, form in Image.registered_extensions().items() if form in Image.OPEN and form not in UNUSED
    }
    assert readable - ENDINGS - {".iim"} == set()  # IPTC records hold pictures of wire services only by exception


def test_names_of_pictures_do_not_depend_on_case_and_hidden_ones_are_none():
    assert all(map(has_picture_name, ("a.PNG", "b/IMG_1.Jpeg", "c/d.HEIC")))
    wrong = ("a.txt", "png", "__MACOSX/a.png", "b/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "b/._a.png", ".git/a.png")
    assert not any(map(has_picture_name, wrong))


def test_a_file_is_a_picture_by_its_name_or_its_content(tmp_path):
    (tmp_path / "claims.png").write_text("text")
    (tmp_path / "none").write_bytes(encoded("PNG"))
    (tmp_path / "wrong.txt").write_bytes(encoded("WEBP"))
    (tmp_path / "caption.txt").write_text("BMW, 1girl")
    (tmp_path / "empty").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.jpg")
    os.mkfifo(tmp_path / "pipe.sock")
    (tmp_path / "dead.png").symlink_to("nowhere")
    (tmp_path / "dead.json").symlink_to("nowhere")
    (tmp_path / "dead").symlink_to("nowhere")
    found = {path.name for path in tmp_path.iterdir() if is_picture(path)}
    assert found == {"claims.png", "none", "wrong.txt", "pipe.jpg", "dead.png", "dead"}


@pytest.mark.parametrize("size", [(8, 8), (256, 256), (300, 200), (1000, 10), (3000, 1), (640, 480), (513, 1025)])
@pytest.mark.parametrize("container", [False, True])
def test_the_size_of_a_jpeg_xl_is_read_before_decoding(size, container):
    pytest.importorskip("pillow_jxl")
    assert enable("jpeg-xl")
    buffer = io.BytesIO()
    Image.new("RGB", size).save(buffer, "JXL", use_container=container)
    assert jpeg_xl_size(buffer.getvalue()) == size


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"\xff\x0a" + (1 | 3 << 1 | 1 << 6).to_bytes(8, "little"), (32, 32)),
        (b"\xff\x0a" + (0 | 1 << 1 | 999 << 3 | 7 << 16).to_bytes(8, "little"), (2000, 1000)),
        (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x10jxlp\0\0\0\0\xff\x0a" + (1 | 1 << 6).to_bytes(8, "little"), (8, 8)),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0" * 50, None),
        (b"\xff\x0b" + b"\0" * 50, None),
        (b"", None),
    ],
)
def test_the_size_of_a_jpeg_xl_needs_no_plug_in(data, size):
    assert jpeg_xl_size(data) == size
