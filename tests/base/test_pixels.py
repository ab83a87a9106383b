import io
import os
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, TiffImagePlugin

from figment.base import formats, pixels
from figment.base.errors import UnreadableImage
from figment.base.formats import enable
from figment.base.pixels import (
    MAX_BYTES,
    UNUSED,
    decode_image,
    open_image,
    read_size,
    resize_square,
    to_uint8,
    to_unit,
    write_png,
)


def saved(path, image, **options):
    image.save(path, **options)
    return path


def reason(path, **options):
    with pytest.raises(UnreadableImage) as caught:
        open_image(path, **options)
    return caught.value.reason


def test_uint8_to_unit_and_back_is_exact():
    values = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert to_unit(values).min() == -1 and to_unit(values).max() == 1
    assert torch.equal(to_uint8(to_unit(values)), values)
    assert to_uint8(torch.tensor([-9.0, 9.0])).tolist() == [0, 255]


def test_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (40, 20), "red")
    exif = image.getexif()
    exif[0x0112] = 6
    assert open_image(saved(tmp_path / "a.jpg", image, exif=exif)).size == (20, 40)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
@pytest.mark.parametrize("orientation", [None, 0, 1, 3, 6, 8, 9])
def test_the_size_is_that_of_the_opened_image(tmp_path, name, orientation):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    path = saved(tmp_path / name, Image.new("RGB", (40, 20), "red"), exif=exif)
    size, found = read_size(path)
    assert size == open_image(path).size == ((20, 40) if orientation in (6, 8) else (40, 20))
    assert found == (orientation if orientation in (3, 6, 8) else 1)


def test_the_size_of_no_image_is_an_error(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    for name in ("a.png", "missing.png"):
        with pytest.raises(UnreadableImage):
            read_size(tmp_path / name)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.full((8, 8), 32768, np.uint16)
    pixel = open_image(saved(tmp_path / "a.png", Image.fromarray(values))).getpixel((0, 0))
    assert pixel == (128, 128, 128)


@pytest.mark.parametrize(
    ("values", "gray"),
    [
        (np.array([[0, 51, 255]], np.int32), [0, 51, 255]),
        (np.array([[0, 256, 65535]], np.int32), [0, 1, 255]),
        (np.array([[0, 51000, 255000]], np.int32), [0, 51, 255]),
        (np.array([[0, 0.2, 0.5]], np.float32), [0, 51, 128]),
        (np.array([[0, 51, 200]], np.float32), [0, 51, 200]),
        (np.array([[0, 256, 6553.5]], np.float32), [0, 1, 26]),
    ],
)
def test_gray_of_32_bits_keeps_its_brightness(tmp_path, values, gray):
    image = open_image(saved(tmp_path / "a.tif", Image.fromarray(values)))
    assert [image.getpixel((x, 0))[0] for x in range(3)] == gray


def test_a_transparent_gray_of_16_bits_stays_transparent(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 32768, 65535]], np.uint16)).save(path, transparency=32768)
    assert [open_image(path, keep_alpha=True).getpixel((x, 0)) for x in range(3)] == [
        (0, 0, 0, 255),
        (128, 128, 128, 0),
        (255, 255, 255, 255),
    ]
    assert open_image(path).getpixel((1, 0)) == (255, 255, 255)


def test_alpha_is_composited_or_kept(tmp_path):
    path = saved(tmp_path / "a.png", Image.new("RGBA", (8, 8), (255, 0, 0, 0)))
    assert open_image(path).getpixel((0, 0)) == (255, 255, 255)
    assert open_image(path, background=(0, 0, 9)).getpixel((0, 0)) == (0, 0, 9)
    assert open_image(path, keep_alpha=True).getpixel((0, 0)) == (255, 0, 0, 0)


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", "jpg"), ("P", "png"), ("L", "png"), ("1", "png"), ("LA", "png")])
def test_every_mode_becomes_rgb(tmp_path, mode, suffix):
    image = open_image(saved(tmp_path / f"a.{suffix}", Image.new("RGB", (8, 8), "white").convert(mode)))
    assert image.mode == "RGB"
    assert min(image.getpixel((3, 3))) > 240


def test_an_embedded_profile_is_converted(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    lab = Image.new("LAB", (8, 8), (128, 128, 128))
    buffer = io.BytesIO()
    lab.save(buffer, format="TIFF", icc_profile=profile.tobytes())
    (tmp_path / "a.tif").write_bytes(buffer.getvalue())
    pixel = open_image(tmp_path / "a.tif").getpixel((0, 0))
    assert max(pixel) - min(pixel) < 12 and 90 < pixel[0] < 150


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert open_image(tmp_path / "a.gif").getpixel((0, 0)) == (255, 0, 0)


def test_bad_files_have_a_reason(tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "empty.png").write_text("")
    whole = saved(tmp_path / "whole.jpg", Image.effect_noise((200, 200), 50)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    assert reason(tmp_path / "text.png") == "not-an-image"
    assert reason(tmp_path / "empty.png") == "empty-file"
    assert reason(tmp_path / "cut.jpg") == "truncated"
    assert reason(tmp_path / "none.jpg") == "unreadable"
    assert reason(tmp_path / "whole.jpg", max_pixels=1000) == "too-large"


def test_a_written_png_reads_back_the_same(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    write_png(tmp_path / "a.png", pixels)
    assert np.array_equal(np.asarray(open_image(tmp_path / "a.png")), pixels)
    assert resize_square(open_image(tmp_path / "a.png"), 16).size == (16, 16)


WRITTEN = {
    "AVIF": 24,
    "BLP": 0,
    "BMP": 0,
    "DDS": 0,
    "DIB": 0,
    "GIF": 0,
    "ICNS": 0,
    "ICO": 0,
    "IM": 0,
    "JPEG": 24,
    "JPEG2000": 24,
    "MPO": 24,
    "MSP": 0,
    "PCX": 0,
    "PNG": 0,
    "PPM": 0,
    "QOI": 0,
    "SGI": 0,
    "SPIDER": 2,
    "TGA": 0,
    "TIFF": 0,
    "WEBP": 24,
    "XBM": 0,
}
"""Formats that Pillow writes and reads -> the largest difference of a level."""
MODES = {"BLP": "P", "MSP": "1", "SPIDER": "F", "XBM": "1", "GIF": "P"}


def write(image, target, form):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Pillow will drop IM
        image.convert(MODES.get(form, "RGB")).save(target, form)


@pytest.mark.parametrize("form", WRITTEN)
def test_every_still_format_that_pillow_writes_is_read(tmp_path, form):
    values = np.zeros((32, 32, 3), np.uint8)
    values[:, 16:] = 255
    buffer = io.BytesIO()
    write(Image.fromarray(values), buffer, form)
    (tmp_path / "a").write_bytes(buffer.getvalue())
    found = np.asarray(open_image(tmp_path / "a")).astype(int)
    if form == "ICNS":  # its smallest size is 16
        found = found[:: found.shape[0] // 32, :: found.shape[1] // 32]
    assert found.shape == (32, 32, 3)
    assert np.abs(found[:, [2, -3]] - values[:, [2, -3]]).max() <= WRITTEN[form]


def test_no_other_format_that_pillow_writes_holds_a_still_picture_that_it_reads():
    Image.init()
    assert {form for form in Image.SAVE if form in Image.OPEN or form == "MPO"} - WRITTEN.keys() - UNUSED == (
        {"HEIF", "JXL"} & Image.SAVE.keys()
    )


@pytest.mark.parametrize("form", ["HEIF", "JXL"])
def test_phones_pictures_are_read_with_the_plug_ins(tmp_path, form):
    pytest.importorskip("pillow_heif")
    pytest.importorskip("pillow_jxl")
    assert enable("heic") and enable("jpeg-xl")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), "red").save(tmp_path / "a.jpg", form, exif=exif.tobytes())
    image = open_image(tmp_path / "a.jpg")
    assert image.size == (20, 40)
    assert image.getpixel((9, 9))[0] > 240 and max(image.getpixel((9, 9))[1:]) < 16


@pytest.mark.parametrize("installed", [False, True])
def test_phones_pictures_that_cannot_be_read_have_a_reason_of_their_own(tmp_path, monkeypatch, installed):
    if installed:
        pytest.importorskip("pillow_heif")
        pytest.importorskip("pillow_jxl")
    else:
        monkeypatch.setattr(pixels, "enable", lambda kind: False)
        monkeypatch.setattr(formats, "enable", lambda kind: False)
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 400)
    (tmp_path / "b.png").write_bytes(b"\xff\x0a" + b"\0" * 400)
    assert reason(tmp_path / "a.jpg") == "heic"
    assert reason(tmp_path / "b.png") == "jpeg-xl"
    with pytest.raises(UnreadableImage, match="may be damaged" if installed else "figment-gan\\[formats\\]"):
        open_image(tmp_path / "a.jpg")


def test_a_program_a_preview_and_a_pointer_are_not_read(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", "EPS")
    (tmp_path / "lfs.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    directory = TiffImagePlugin.ImageFileDirectory_v2()
    directory[254], directory[330] = 1, 8
    Image.new("RGB", (8, 8)).save(tmp_path / "raw.nef", "TIFF", tiffinfo=directory)
    assert reason(tmp_path / "a.png") == "vector"
    assert reason(tmp_path / "lfs.png") == "git-lfs"
    assert reason(tmp_path / "raw.nef") == "camera-raw"


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "dead.png").symlink_to("nowhere")
    (tmp_path / "loop.png").symlink_to("loop.png")
    for path in ("pipe.png", "dead.png", "loop.png", "/dev/zero", "."):
        assert reason(tmp_path / path) == "unreadable"
        with pytest.raises(UnreadableImage):
            read_size(tmp_path / path)
    with pytest.raises(UnreadableImage, match="link to nothing"):
        open_image(tmp_path / "dead.png")
    with pytest.raises(UnreadableImage, match="name too long"):
        read_size(tmp_path / ("x" * 300))


def test_large_files_are_not_read(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(MAX_BYTES + 1)
    assert reason(tmp_path / "a.png") == "too-large"


def test_messages_are_one_line_whatever_the_name(tmp_path):
    path = tmp_path / os.fsdecode(b"a\nb\xff.png")
    path.write_text("text")
    with pytest.raises(UnreadableImage) as caught:
        open_image(path)
    assert "a\\nb\\udcff.png" in str(caught.value) and str(caught.value).encode()


def test_float_pixels_that_are_no_numbers_are_black(tmp_path):
    values = np.full((8, 8), 0.5, np.float32)
    values[0, 0], values[0, 1] = np.nan, np.inf
    image = open_image(saved(tmp_path / "a.tif", Image.fromarray(values)))
    assert [image.getpixel(place)[0] for place in ((0, 0), (1, 0), (2, 0))] == [0, 0, 128]


def encoded_pictures():
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (12, 10, 3), np.uint8))
    for form in WRITTEN:
        buffer = io.BytesIO()
        write(image, buffer, form)
        yield buffer.getvalue()


ENCODED = list(encoded_pictures())


def gives_an_image_or_a_reason(data):
    try:
        image = decode_image(data, "picture", max_pixels=100_000)
    except UnreadableImage as error:
        assert error.reason and "\n" not in str(error)
    else:
        assert image.mode == "RGB" and 0 < image.width * image.height <= 100_000


@settings(max_examples=150)
@given(st.sampled_from([b"", *(data[:16] for data in ENCODED)]), st.binary(max_size=300))
def test_any_bytes_give_an_image_or_a_reason(start, data):
    gives_an_image_or_a_reason(start + data)


@settings(max_examples=150)
@given(st.sampled_from(ENCODED), st.data())
def test_damaged_pictures_give_an_image_or_a_reason(data, draw):
    changed = bytearray(data[: draw.draw(st.integers(1, len(data)))])
    changes = st.lists(st.tuples(st.integers(0, len(changed) - 1), st.integers(0, 255)), max_size=6)
    for place, value in draw.draw(changes):
        changed[place] = value
    gives_an_image_or_a_reason(bytes(changed))
