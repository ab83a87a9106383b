import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from figment.score.copies import CopyCheck, closeness, mirror, pair_sheet, thumbnail


def picture(seed):
    """A few soft blobs of colour."""
    cells = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), np.uint8)
    return np.asarray(Image.fromarray(cells).resize((32, 32), Image.Resampling.BICUBIC)).transpose(2, 0, 1)


def changed(image, change):
    return np.asarray(change(Image.fromarray(image.transpose(1, 2, 0).copy()))).transpose(2, 0, 1)


def as_jpeg(image):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return Image.open(buffer).convert("RGB")


@pytest.fixture(scope="module")
def check():
    thumbs = np.stack([thumbnail(picture(i)) for i in range(300)])
    return lambda: CopyCheck(thumbs, [f"real {i}" for i in range(300)], closeness(thumbs))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        as_jpeg,
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: image.resize((24, 24), Image.Resampling.LANCZOS),
        lambda image: image.point(lambda v: v * 0.8 + 10),
        lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    ],
    ids=["exact", "jpeg", "mirrored", "smaller", "darker", "blurred"],
)
def test_every_planted_copy_is_found(check, change):
    one = check()
    for i in range(40):
        one.add([f"fresh {i}", f"copy {i}"], [picture(1000 + i), changed(picture(i * 7), change)])
    found = one.result()
    assert {pair.fake: pair.real for pair in found.copies} == {f"copy {i}": f"real {i * 7}" for i in range(40)}
    assert len(found.nearest) == 80 and found.nearest[0].distance <= found.nearest[-1].distance


def test_fresh_pictures_are_close_as_seldom_as_real_ones(check):
    one = check()
    one.add([str(i) for i in range(300)], [picture(5000 + i) for i in range(300)])
    found = one.result()
    assert found.copies == () and found.share_close < 0.05


def test_a_mirrored_copy_says_so(check):
    one = check()
    one.add(["a", "b"], [picture(3)[:, :, ::-1], picture(4)])
    assert {pair.fake: pair.mirrored for pair in one.result().nearest} == {"a": True, "b": False}
    thumb = thumbnail(picture(3))[None]
    assert np.allclose(mirror(thumb)[0], thumbnail(np.ascontiguousarray(picture(3)[:, :, ::-1])), atol=1e-4)


def test_twins_in_the_data_do_not_hide_copies():
    pictures = [picture(i % 100) for i in range(200)]
    assert closeness(np.stack([thumbnail(image) for image in pictures])) > 0.05


def test_a_flat_picture_is_no_trouble():
    assert np.isfinite(thumbnail(np.full((3, 9, 9), 50, np.uint8))).all()


def test_pairs_stand_side_by_side(check):
    one = check()
    one.add(["a", "b"], [picture(3)[:, :, ::-1], picture(2000)])
    pairs = [(found, image, picture(int(found.real.split()[1]))) for found, image in one.kept()]
    sheet = np.asarray(pair_sheet(pairs, one.close, side=32)).astype(int)
    assert sheet.shape == (56, 4 * 76, 3)
    assert np.abs(sheet[:32, :32] - sheet[:32, 32:64]).max() == 0  # the mirrored original, beside its copy
    assert np.abs(sheet[:32, 76:108] - sheet[:32, 108:140]).max() > 50


def test_equal_pictures_have_a_threshold_at_which_only_copies_of_them_are_copies():
    assert closeness(np.stack([thumbnail(picture(1))] * 3)) == pytest.approx(0.1)
