"""Winograd convolutions against PyTorch's own, in value and first and second derivatives; and their transforms."""

import pytest
import torch
import torch.nn.functional as F

from figment.nets.ops import Backend, conv2d, conv2d_reference, conv_transpose2d, use_backend, winograd
from figment.nets.ops.winograd import input_transform, output_transform, scheme_for

FAST = Backend(channels_last=True, winograd=True)

# The operation, PyTorch's own, height of the example, then stride, padding and whether it is transposed.
CASES = {
    "same": (lambda x, w: conv2d(x, w, padding=1), lambda x, w: F.conv2d(x, w, padding=1), 16, (1, 1, False)),
    "half": (lambda x, w: conv2d(x, w, stride=2), lambda x, w: F.conv2d(x, w, stride=2), 17, (2, 0, False)),
    "double": (
        lambda x, w: conv_transpose2d(x, w.transpose(0, 1)),
        lambda x, w: F.conv_transpose2d(x, w.transpose(0, 1), stride=2),
        8,
        (2, 0, True),
    ),
}


def example(side, seed=0):
    randomness = torch.Generator().manual_seed(seed)
    x = torch.randn(16, 48, side, side + (4 if side % 4 == 0 else 8), generator=randomness)
    w = torch.randn(56, 48, 3, 3, generator=randomness) / 20
    return x.contiguous(memory_format=torch.channels_last).requires_grad_(), w.requires_grad_()


def close(a, b, bound=3e-5):
    return (a - b).abs().max() <= bound * b.abs().max()


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives_agree_with_the_plain_convolution(name):
    fast, plain, side, shape = CASES[name]
    x, w = example(side)
    expected = plain(x, w)
    with use_backend(FAST):
        assert scheme_for(x, w.transpose(0, 1) if name == "double" else w, *shape) is not None
        found = fast(x, w)
    assert found.shape == expected.shape
    assert not torch.equal(found, expected)  # Winograd did run
    assert close(found, expected)

    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    for mine, theirs in zip(
        torch.autograd.grad(found, (x, w), weights), torch.autograd.grad(expected, (x, w), weights), strict=True
    ):
        assert close(mine, theirs)


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_as_r1_needs_them(name):
    fast, plain, side, _ = CASES[name]
    x, w = example(side)
    penalties = []
    with use_backend(FAST):
        for convolution in (fast, plain):
            (slope,) = torch.autograd.grad(convolution(x, w).square().sum(), x, create_graph=True)
            penalties.append(torch.autograd.grad(slope.square().sum(), w)[0])
    assert close(*penalties, bound=1e-4)


@pytest.mark.parametrize(("amx", "compiled"), [(False, True), (True, True), (False, False)])
def test_in_bfloat16_small_tiles_hardly_round_more_than_the_plain_way(monkeypatch, amx, compiled):
    """They are used with Numba on processors without AMX; otherwise the plain convolution is."""
    if compiled:
        pytest.importorskip("numba")
    monkeypatch.setattr(winograd, "cpu_has", lambda feature: amx and feature == "amx_bf16")
    monkeypatch.setattr(winograd, "numba_installed", lambda: compiled)
    randomness = torch.Generator().manual_seed(0)
    x = torch.randn(4, 256, 12, 24, generator=randomness).to(memory_format=torch.channels_last).requires_grad_()
    w, bias = torch.randn(264, 256, 3, 3, generator=randomness).requires_grad_(), torch.randn(264)
    direction = torch.randn(4, 264, 12, 24, generator=randomness)

    def results(convolution):
        y = convolution(x, w, bias, padding=1).float()
        slopes = torch.autograd.grad(y, (x, w), direction, create_graph=True)
        return [y, *slopes, torch.autograd.grad(slopes[0].square().sum(), w)[0]]

    exact = results(F.conv2d)
    with use_backend(Backend(torch.bfloat16, channels_last=True, winograd=True)):
        assert conv2d(x, w, bias, padding=1).dtype == torch.bfloat16
        errors = {
            name: [
                ((found - right).norm() / right.norm()).item() for found, right in zip(results(way), exact, strict=True)
            ]
            for name, way in {"fast": conv2d, "plain": F.conv2d}.items()
        }
    if amx or not compiled:
        assert errors["fast"] == errors["plain"]
    else:
        assert errors["fast"] != errors["plain"] and max(errors["fast"]) < 0.01, errors
        assert errors["fast"][0] < 2.2 * errors["plain"][0], errors


def test_the_bias_is_added():
    x, w = example(16)
    bias = torch.arange(56.0)
    with use_backend(FAST):
        assert close(conv2d(x, w, bias, padding=1), F.conv2d(x, w, bias, padding=1))


def test_outside_of_the_context_nothing_changes():
    x, w = example(16)
    assert torch.equal(conv2d(x, w, padding=1), F.conv2d(x, w, padding=1))


def test_a_scheme_first_used_without_gradients_can_be_trained_with():
    winograd.scheme_4x4.cache_clear()
    x, w = example(16)
    with use_backend(FAST):
        with torch.inference_mode():
            conv2d(x, w, padding=1)
        conv2d(x, w, padding=1).sum().backward()
    assert w.grad is not None


@pytest.mark.parametrize("shape", [(8, 48, 15, 16), (8, 8, 16, 16), (1, 48, 8, 8)])
def test_odd_sizes_few_channels_and_few_tiles_take_the_plain_way(shape):
    x, w = torch.randn(shape), torch.randn(56, shape[1], 3, 3)
    with use_backend(FAST):
        assert torch.equal(conv2d(x, w, padding=1), conv2d_reference(x, w, padding=1))


# ---------------------------------------------------------------------- transforms of tiles

# Samples, height, width, channels; the matrix' outputs and inputs; step and padding.
TILES = {
    "overlapping, padded": ((2, 8, 12, 48), (6, 6), 4, 1),
    "side by side": ((2, 8, 12, 48), (6, 4), 4, 0),
    "odd images": ((3, 17, 9, 5), (9, 9), 8, 0),
    "more channels than a pass takes": ((1, 8, 8, 300), (4, 4), 4, 0),
}


@pytest.fixture(params=["torch", "numba"])
def transforms(request, monkeypatch):
    """Run a test with the transforms as PyTorch operations, and compiled."""
    if request.param == "numba":
        pytest.importorskip("numba")
    monkeypatch.setattr(winograd, "numba_installed", lambda: request.param == "numba")


def tiled(name):
    size, shape, step, padding = TILES[name]
    randomness = torch.Generator().manual_seed(0)
    matrix = torch.randn(shape, generator=randomness)
    matrix[0, 1] = 0
    return torch.randn(size, generator=randomness), matrix, step, padding


@pytest.mark.usefixtures("transforms")
@pytest.mark.parametrize("name", TILES)
def test_tiles_are_mapped_along_both_axes(name):
    x, matrix, step, padding = tiled(name)
    padded = F.pad(x, (0, 0, padding, padding, padding, padding))
    tile = matrix.shape[1]
    expected = []
    for image in padded:
        for top in range(0, padded.shape[1] - tile + 1, step):
            for left in range(0, padded.shape[2] - tile + 1, step):
                square = image[top : top + tile, left : left + tile]
                expected.append(torch.einsum("ji,lk,ikc->jlc", matrix, matrix, square).flatten(0, 1))
    found = input_transform(x, matrix, step, padding)
    torch.testing.assert_close(found, torch.stack(expected, 1), atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("transforms")
@pytest.mark.parametrize("name", TILES)
def test_the_output_transform_is_the_adjoint_of_the_input_transform(name):
    x, matrix, step, padding = tiled(name)
    tiles = input_transform(x, matrix, step, padding)
    other = torch.randn(tiles.shape, generator=torch.Generator().manual_seed(1))
    back = output_transform(other, matrix.t(), tuple(x.shape), step, padding)
    assert back.shape == x.shape
    torch.testing.assert_close((tiles * other).sum(), (x * back).sum(), atol=1e-2, rtol=1e-4)


@pytest.mark.usefixtures("transforms")
@pytest.mark.parametrize("name", TILES)
def test_gradients_are_the_adjoints_any_number_of_times(name):
    x, matrix, step, padding = tiled(name)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(input_transform(x, matrix, step, padding).square().sum() / 2, x, create_graph=True)
    plain = output_transform(input_transform(x, matrix, step, padding), matrix.t(), tuple(x.shape), step, padding)
    torch.testing.assert_close(slope, plain)
    (again,) = torch.autograd.grad((slope * x).sum() / 2, x)  # of a quadratic form: the slope once more
    torch.testing.assert_close(again, slope, atol=1e-3, rtol=1e-4)


@pytest.mark.usefixtures("transforms")
@pytest.mark.parametrize("name", TILES)
def test_bfloat16_is_computed_in_float32_and_rounded_at_the_end(name):
    x, matrix, step, padding = tiled(name)
    x = x.bfloat16()
    tiles = input_transform(x, matrix, step, padding)
    torch.testing.assert_close(tiles, input_transform(x.float(), matrix, step, padding).bfloat16())
    back = output_transform(tiles, matrix.t(), tuple(x.shape), step, padding)
    exact = output_transform(tiles.float(), matrix.t(), tuple(x.shape), step, padding)
    torch.testing.assert_close(back, exact.bfloat16())
    assert tiles.dtype == back.dtype == torch.bfloat16


@pytest.mark.usefixtures("transforms")
def test_the_number_of_threads_changes_nothing():
    x, matrix, step, padding = tiled("overlapping, padded")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        several = input_transform(x, matrix, step, padding)
        torch.set_num_threads(1)
        assert torch.equal(input_transform(x, matrix, step, padding), several)
    finally:
        torch.set_num_threads(before)
