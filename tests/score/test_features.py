import numpy as np
import pytest
import torch
from PIL import Image

from figment.score.features import FeatureNetwork, resize_clean, to_rgb


class Means(FeatureNetwork):
    """Three means of colour; memory is out above `most` pictures at once."""

    name, label, size, dim, scale = "means", "means", 8, 3, 128.0

    def __init__(self, most=99):
        self.most, self.sizes = most, []

    def compute(self, pixels):
        self.sizes.append(len(pixels))
        if len(pixels) > self.most:
            raise torch.OutOfMemoryError("out of memory")
        return pixels.mean((2, 3)).numpy()


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (3, 8, 8), np.uint8) for _ in range(19)]


def test_every_block_has_the_same_size(images):
    net = Means()
    found = net(images)
    assert net.sizes == [8, 8, 8] and found.shape == (19, 3)
    assert np.allclose(found, [image.mean((1, 2)) for image in images])
    assert net([]).shape == (0, 3)


def test_blocks_shrink_when_memory_runs_out(images):
    net = Means(most=3)
    assert np.allclose(net(images), Means()(images))
    assert net.block == 2


def test_one_picture_too_many_is_an_error(images):
    with pytest.raises(torch.OutOfMemoryError):
        Means(most=0)(images)


def test_other_errors_come_through(images):
    net = Means()
    net.compute = lambda pixels: (_ for _ in ()).throw(RuntimeError("broken"))
    with pytest.raises(RuntimeError, match="broken"):
        net(images)


def test_labels_of_other_networks_are_never_fid():
    net = Means()
    assert net.labels == ("FD-means", "KD-means")
    net.label = ""
    assert net.labels == ("FID", "KID")


def test_resizing_is_antialiased_and_keeps_fractions():
    stripes = np.zeros((3, 64, 64), np.uint8)
    stripes[:, ::2] = 255
    small = resize_clean(stripes, 8)
    assert small.dtype == np.float32 and small.shape == (3, 8, 8)
    assert np.abs(small[:, 2:6] - 127.5).max() < 2  # every second line would be 0 or 255
    assert (small != small.round()).any() and small.min() >= 0 and small.max() <= 255


def test_resizing_agrees_with_torchs_antialiased_bicubic():
    image = np.random.default_rng(1).integers(0, 256, (3, 50, 70), np.uint8)
    other = torch.nn.functional.interpolate(
        torch.from_numpy(image).float()[None], (32, 32), mode="bicubic", antialias=True
    )[0].clamp(0, 255)
    assert np.abs(resize_clean(image, 32) - other.numpy()).max() < 0.01


def test_the_right_size_is_not_touched():
    image = np.random.default_rng(2).integers(0, 256, (3, 16, 16), np.uint8)
    assert np.array_equal(resize_clean(image, 16), image)


def test_grey_and_transparent_pictures_become_rgb():
    grey = np.full((1, 4, 4), 7, np.uint8)
    assert to_rgb(grey).shape == (3, 4, 4)
    clear = np.concatenate([np.zeros((3, 2, 2), np.uint8), np.array([[[0, 255], [128, 255]]], np.uint8)])
    white = Image.new("RGBA", (2, 2), "white")
    white.alpha_composite(Image.fromarray(clear.transpose(1, 2, 0).copy()))
    assert np.abs(to_rgb(clear).transpose(1, 2, 0).astype(int) - np.asarray(white)[:, :, :3]).max() <= 1
    with pytest.raises(ValueError, match="uint8"):
        to_rgb(np.zeros((3, 4, 4)))
