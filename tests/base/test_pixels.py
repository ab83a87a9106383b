import io

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from figment.base.errors import UnreadableImage
from figment.base.pixels import open_image, read_size, resize_square, to_uint8, to_unit, write_png


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
