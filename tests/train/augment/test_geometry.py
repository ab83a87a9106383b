"""Flips, turns and resampling, compared with plain numpy and scipy."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from figment.nets.ops import filters_lines
from figment.train.augment import geometry
from figment.train.augment.geometry import flip, resample, rotate, scale, shift, turn

DOUBLE = torch.float64


def tensor(*values):
    return torch.tensor(values, dtype=DOUBLE)


def some_move(angle=0.4, size=1.2):
    """Return a rotation, scale, stretch and shift as one matrix [1, 3, 3]."""
    return shift(tensor(1.3), tensor(-0.7)) @ rotate(tensor(angle)) @ scale(tensor(1 / size), tensor(0.9 / size))


def reference(image, matrix, pad=40):
    """One channel [H, W] seen through `matrix`: pad, insert zeros, filter, look up, filter, keep every second."""
    taps = np.array(geometry.SYM6)
    height, width = image.shape
    padded = np.pad(image, pad, mode="reflect")
    large = np.zeros((2 * padded.shape[0], 2 * padded.shape[1]))
    large[::2, ::2] = padded
    large = np.apply_along_axis(lambda line: np.convolve(line, taps), 0, large)
    large = np.apply_along_axis(lambda line: np.convolve(line, taps), 1, large)

    # Pixel i of the picture lies at 2 (i + pad) + 5 of the large one.
    y, x = np.mgrid[0 : 2 * height + 10, 0 : 2 * width + 10]
    places = np.stack([(x - 5) / 2 - (width - 1) / 2, (y - 5) / 2 - (height - 1) / 2, np.ones(x.shape)])
    places = np.einsum("ij,jyx->iyx", matrix, places)
    across, down = places[0] + (width - 1) / 2, places[1] + (height - 1) / 2
    seen = map_coordinates(large, [2 * (down + pad) + 5, 2 * (across + pad) + 5], order=1)
    seen = np.apply_along_axis(lambda line: np.correlate(line, taps, "valid")[::2], 0, seen)
    return np.apply_along_axis(lambda line: np.correlate(line, taps, "valid")[::2], 1, seen)


def test_flips_and_turns_are_numpys_pixel_for_pixel():
    images = torch.rand(8, 3, 6, 6)
    chosen, turns = torch.tensor([0, 1] * 4).bool(), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    for image, moved, mirrored, quarters in zip(images, turn(flip(images, chosen), turns), chosen, turns, strict=True):
        expected = np.rot90(image.numpy()[:, :, ::-1] if mirrored else image.numpy(), int(quarters), (1, 2))
        assert np.array_equal(moved.numpy(), expected)


def test_a_picture_that_is_not_square_turns_by_half():
    image = torch.rand(1, 3, 4, 8)
    moved = turn(flip(image, torch.tensor([False])), torch.tensor([2]))
    assert torch.equal(moved, image.flip(2, 3))


def test_the_filter_is_orthogonal_to_its_shifts_by_two():
    taps = np.array(geometry.SYM6)
    assert [np.dot(taps[2 * n :], taps[: 12 - 2 * n]) for n in range(6)] == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-11)
    assert taps.sum() == pytest.approx(2**0.5)
    delay = np.dot(np.arange(12), taps) / taps.sum()
    assert abs(delay - geometry.CENTER) < 0.1


def test_the_identity_comes_back_bit_for_bit_and_nearly_so_through_the_filters():
    images = torch.rand(2, 3, 16, 20) * 2 - 1
    eye = torch.eye(3).repeat(2, 1, 1)
    assert torch.equal(resample(images, eye), images)
    eye[:, 2, 0] = 1e-9  # is not looked at, but makes it not the identity
    assert (resample(images, eye) - images).abs().max() < 2e-5
    assert (resample(images.double(), eye.double()) - images).abs().max() < 1e-11


@pytest.mark.parametrize("size", [(16, 16), (12, 20), (9, 15)])
@pytest.mark.parametrize("angle", [0.0, 0.4, 2.5])
def test_resampling_against_scipy_in_float64(size, angle):
    image = np.random.default_rng(0).uniform(-1, 1, size)
    matrix = some_move(angle)
    seen = resample(torch.from_numpy(image)[None, None], matrix, margin=1.0)
    assert np.abs(seen[0, 0].numpy() - reference(image, matrix[0].numpy())).max() < 1e-9
    coarse = resample(torch.from_numpy(image)[None, None].float(), matrix.float(), margin=1.0)
    assert np.abs(coarse[0, 0].numpy() - seen[0, 0].numpy()).max() < 1e-4


@pytest.mark.parametrize("size", [(64, 32), (96, 64)])
def test_long_lines_are_filtered_block_by_block_alike(size, monkeypatch):
    images = torch.randn(2, 3, *size, dtype=DOUBLE, requires_grad=True)
    matrices = torch.cat([some_move(), some_move(1.0, 0.8)])
    seen, grads = [], []
    for longest in (256, 16):
        monkeypatch.setattr(geometry, "MAX_LINE", longest)
        seen.append(resample(images, matrices))
        grads += torch.autograd.grad(seen[-1].square().sum(), images)
    assert [geometry.block_length(n) for n in size] == [{64: 64, 32: 32, 96: 48}[n] for n in size]
    assert (seen[0] - seen[1]).abs().max() < 1e-12
    assert (grads[0] - grads[1]).abs().max() < 1e-11


def test_without_asking_the_device_the_outcome_is_the_same(monkeypatch):
    images = torch.rand(3, 3, 16, 16)
    matrices = torch.cat([some_move(), torch.eye(3, dtype=DOUBLE)[None], some_move(1.0)]).float()
    asked = resample(images, matrices)
    monkeypatch.setattr(geometry, "reads_values", lambda images: False)
    unasked = resample(images, matrices)
    assert torch.equal(asked[1], unasked[1]) and torch.allclose(asked, unasked, atol=1e-6)


def test_beyond_the_margin_pictures_are_mirrored_too():
    # Far places are mirrored in the doubled grid: the same picture but for the filter's phase.
    y, x = np.mgrid[0:64, 0:64] / 64
    image = torch.from_numpy(np.sin(9 * x + 4 * y) * np.cos(7 * y))[None, None]
    far = rotate(tensor(0.5)) @ scale(tensor(2.2), tensor(2.2))
    near, wide = resample(image, far, margin=0.125), resample(image, far, margin=1.5)
    assert (near - wide).abs().max() < 0.1
    assert (near - wide).abs().mean() < 0.02 * image.std()


def test_a_shift_by_whole_pixels_moves_and_reflects():
    images = torch.rand(1, 3, 16, 16, dtype=DOUBLE)
    moved = resample(images, shift(tensor(-2.0), tensor(1.0)), margin=0.125)
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="reflect")
    assert np.abs(moved.numpy() - padded[:, :, 3:19, 0:16]).max() < 1e-11


def test_a_turned_smooth_picture_is_the_turned_function():
    def blob(x, y):
        return np.exp(-((x - 4) ** 2 + (y + 2) ** 2) / 20) - 0.5 * np.exp(-((x + 5) ** 2 + y**2) / 12)

    y, x = np.mgrid[0:32, 0:32] - 15.5
    angle = 0.6
    seen = resample(torch.from_numpy(blob(x, y))[None, None], rotate(tensor(angle)))
    cos, sin = np.cos(angle), np.sin(angle)
    expected = blob(cos * x - sin * y, sin * x + cos * y)
    assert np.abs(seen[0, 0].numpy() - expected)[4:-4, 4:-4].max() < 0.02


def test_shrinking_does_not_alias():
    # Stripes of two pixels' period, at half the size, are above what the grid can hold: they must turn grey.
    stripes = torch.tensor([1.0, -1.0], dtype=DOUBLE).repeat(16).expand(1, 1, 32, 32)
    assert resample(stripes, scale(tensor(2.0), tensor(2.0)))[:, :, 12:20, 12:20].abs().max() < 0.1
    # And enlarged they keep their contrast.
    assert resample(stripes, scale(tensor(0.5), tensor(0.5))).abs().max() > 0.8


def test_gradients_of_the_first_and_second_order():
    torch.manual_seed(0)
    images = torch.randn(2, 1, 5, 6, dtype=DOUBLE, requires_grad=True)
    matrices = torch.cat([some_move(), torch.eye(3, dtype=DOUBLE)[None]])
    assert torch.autograd.gradcheck(lambda x: resample(x, matrices), images)
    assert torch.autograd.gradgradcheck(lambda x: resample(x, matrices).square(), images)


def test_the_line_kernels_resample_the_same_with_derivatives(monkeypatch):
    device, exact = torch.device("cuda"), 1e-2
    if not torch.cuda.is_available():
        pytest.importorskip("triton")
        monkeypatch.setenv("FIGMENT_INTERPRET_KERNELS", "1")
        device, exact = torch.device("cpu"), 1e-5
    images = torch.randn(2, 1, 8, 10).to(device).requires_grad_()
    matrix = torch.cat([rotate(torch.tensor([0.4])), scale(*torch.ones(2, 1) * 0.7)]).to(device)
    assert filters_lines(images) and not filters_lines(images.double())

    def derivatives(images):
        seen = resample(images, matrix.to(images.dtype), 0.125)
        (first,) = torch.autograd.grad(seen.square().sum(), images, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), images)
        return seen.detach(), first.detach(), second

    with_kernels = derivatives(images)
    without = derivatives(images.detach().double().requires_grad_())  # the kernels take float32 only
    for ours, plain in zip(with_kernels, without, strict=True):
        assert (ours - plain).norm() <= exact * plain.norm()
