"""FIR filters against scipy and plain PyTorch, to the second derivative, and the Triton kernels against both."""

import numpy as np
import pytest
import torch
from scipy import signal

from figment.nets.ops import (
    FIR_121,
    FIR_1331,
    filter_lines,
    filter_lines_reference,
    filters_lines,
    upfirdn2d,
    upfirdn2d_reference,
    upsample2d,
    upsample2d_reference,
)
from figment.nets.ops.triton_launch import reads

LAST = torch.channels_last
EXACT = 1e-2 if torch.cuda.is_available() else 1e-5
"""Tolerance of values: plain convolutions on a GPU are in TensorFloat-32, of ten bits."""
TAPS = {FIR_1331: np.array([1.0, 3, 3, 1]) / 8, FIR_121: np.array([1.0, 2, 1]) / 4}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("taps", [FIR_1331, FIR_121])
def test_the_filter_is_the_binomial_one(taps):
    x = noise(1, 2, 7, 6)
    kernel = np.outer(TAPS[taps], TAPS[taps])
    found = upfirdn2d(x, taps, padding=1, gain=2.0)
    for c in range(2):
        padded = np.pad(x[0, c].numpy(), 1)
        np.testing.assert_allclose(found[0, c].numpy(), 2 * signal.correlate2d(padded, kernel, "valid"), atol=1e-12)


@pytest.mark.parametrize("taps", [FIR_1331, FIR_121])
@pytest.mark.parametrize("padding", [0, 1])
def test_upsampling_inserts_zeros_and_pads_as_a_transposed_convolution_does(taps, padding):
    x = noise(1, 1, 5, 4)
    spaced = np.zeros((9, 7))
    spaced[::2, ::2] = x[0, 0].numpy()
    expected = signal.correlate2d(np.pad(spaced, taps - 1 - padding), np.outer(TAPS[taps], TAPS[taps]), "valid")
    found = upfirdn2d(x, taps, up=2, padding=padding)
    assert found.shape == (1, 1, 2 * 4 + taps - 2 * padding, 2 * 3 + taps - 2 * padding)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-12)


@pytest.mark.parametrize(("up", "down"), [(3, 1), (2, 2)])
def test_other_factors_are_refused(up, down):
    with pytest.raises(ValueError, match=f"up {up}, down {down}: up must be 1, or 2 with down 1"):
        upfirdn2d(noise(1, 1, 4, 4), FIR_1331, up=up, down=down)


def test_filters_differentiate_twice():
    x = noise(2, 2, 6, 6).requires_grad_(True)
    functions = (
        lambda x: upfirdn2d(x, FIR_1331, padding=1),
        lambda x: upfirdn2d(x, FIR_1331, padding=2, down=2),
        upsample2d,
    )
    for function in functions:
        square = lambda x, function=function: function(x).square()  # noqa: E731
        assert torch.autograd.gradcheck(square, x)
        assert torch.autograd.gradgradcheck(square, x)


def test_in_bfloat16_filters_and_their_derivatives_are_those_of_float32_rounded():
    x = noise(2, 8, 6, 6).bfloat16().contiguous(memory_format=LAST).requires_grad_(True)
    for padding, down in ((1, 1), (1, 2)):
        filtered = upfirdn2d(x, FIR_1331, padding=padding, down=down)
        direction = noise(*filtered.shape, seed=1).bfloat16()
        (grad,) = torch.autograd.grad(filtered, x, direction)
        whole = x.detach().float().requires_grad_(True)
        wanted = upfirdn2d(whole, FIR_1331, padding=padding, down=down)
        (grad_wanted,) = torch.autograd.grad(wanted, whole, direction.float())
        for found, full in ((filtered, wanted), (grad, grad_wanted)):
            assert found.dtype == torch.bfloat16
            torch.testing.assert_close(found.float(), full, rtol=2**-7, atol=1e-3)


def test_upsampling_keeps_a_flat_image_flat_within_its_borders():
    flat = upsample2d(torch.ones(1, 1, 8, 6))
    assert flat.shape == (1, 1, 16, 12)
    torch.testing.assert_close(flat[..., 1:-1, 1:-1], torch.ones(1, 1, 14, 10))


@pytest.mark.parametrize("learns", [False, True])
def test_an_image_is_upsampled_in_its_own_precision_under_autocast(learns):
    image = noise(2, 3, 8, 8).float().requires_grad_(learns)
    with torch.autocast("cpu", torch.bfloat16):
        found = upsample2d(image)
    torch.testing.assert_close(found, upsample2d(image.double()).float(), rtol=1e-6, atol=1e-6)
    assert torch.equal(found, upsample2d_reference(image))


# ---------------------------------------------------------------------- the kernels


@pytest.mark.parametrize(
    ("channels", "taps", "padding", "down"), [(3, 4, 1, 1), (3, 4, 1, 2), (66, 4, 2, 1), (3, 3, 1, 1), (3, 3, 1, 2)]
)
def test_kernels_filter(kernel_device, channels, taps, padding, down):
    x = torch.randn(2, channels, 6, 9).to(kernel_device).contiguous(memory_format=LAST)
    assert reads(x)
    ours = upfirdn2d(x, taps, padding=padding, down=down, gain=2.0)
    plain = upfirdn2d_reference(x, taps, padding=padding, down=down, gain=2.0)
    assert ours.shape == plain.shape and torch.allclose(ours, plain, atol=EXACT)


def test_kernels_upsample(kernel_device):
    x = torch.randn(2, 5, 6, 9).to(kernel_device).contiguous(memory_format=LAST)
    assert reads(x)
    ours, plain = upsample2d(x), upsample2d_reference(x)
    assert ours.shape == plain.shape and torch.allclose(ours, plain, atol=EXACT)


@pytest.mark.parametrize(("taps", "size"), [(4, (12, 18)), (4, (13, 18)), (3, (12, 18))])
def test_kernels_give_gradients_of_any_size(kernel_device, taps, size):
    """The gradient of a downsampling filter is an upsampling one, whose size the result's does not determine."""
    x = torch.randn(2, 5, *size).to(kernel_device).contiguous(memory_format=LAST).requires_grad_()
    direction = torch.randn(2, 5, 6, 9).to(kernel_device).contiguous(memory_format=LAST)
    gradients = [
        torch.autograd.grad(filtered(x, taps, down=2, padding=1, gain=4.0), x, direction)[0]
        for filtered in (upfirdn2d, upfirdn2d_reference)
    ]
    assert gradients[0].shape == x.shape and torch.allclose(*gradients, atol=EXACT)


# ---------------------------------------------------------------------- lines


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("up", [False, True])
def test_lines_are_filtered_as_the_formula_says(axis, up):
    x, taps = noise(1, 2, 7, 5), torch.tensor([0.5, 1.0, -2.0, 0.25])
    offset, length = (2, 9) if up else (1, 4)
    found = filter_lines(x, taps, axis, up, offset, length).movedim(axis, 0)
    lines = x.movedim(axis, 0)
    assert len(found) == length
    for o in range(length):
        total = torch.zeros_like(lines[0])
        for t in range(len(taps)):
            p = (o + offset - t) / 2 if up else 2 * o + t - offset
            if p == int(p) and 0 <= p < len(lines):
                total += taps[t] * lines[int(p)]
        torch.testing.assert_close(found[o], total)


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("up", [False, True])
def test_kernels_filter_lines_the_same_with_derivatives(kernel_device, axis, up):
    x = torch.randn(2, 1, 8, 10).to(kernel_device).requires_grad_()
    taps = torch.randn(6).to(kernel_device)
    assert filters_lines(x) and not filters_lines(x.double())
    ways = []
    for filtered in (filter_lines, filter_lines_reference):
        y = filtered(x, taps, axis, up, 2, 13 if up else 5)
        (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), x)
        ways.append((y.detach(), first.detach(), second))
    for ours, plain in zip(*ways, strict=True):
        assert ours.shape == plain.shape and (ours - plain).norm() <= EXACT * plain.norm()
