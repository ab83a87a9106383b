"""Cutting and pasting against plain loops, and each as the other's adjoint, compiled or not."""

import pytest
import torch

from figment.nets import tiles
from figment.nets.tiles import cut, paste

# Samples, height, width, channels; the map's outputs and inputs; step and padding.
CASES = {
    "overlapping, padded": ((2, 8, 12, 48), (6, 6), 4, 1),
    "side by side": ((2, 8, 12, 48), (6, 4), 4, 0),
    "odd pictures": ((3, 17, 9, 5), (9, 9), 8, 0),
    "more channels than a pass takes": ((1, 8, 8, 300), (4, 4), 4, 0),
}


@pytest.fixture(params=["plain", "compiled"], autouse=True)
def way(request, monkeypatch):
    if request.param == "compiled":
        pytest.importorskip("numba")
    monkeypatch.setattr(tiles, "compiles", lambda: request.param == "compiled")


def example(name):
    size, shape, step, pad = CASES[name]
    randomness = torch.Generator().manual_seed(0)
    matrix = torch.randn(shape, generator=randomness)
    matrix[0, 1] = 0
    return torch.randn(size, generator=randomness), matrix, step, pad


@pytest.mark.parametrize("name", CASES)
def test_tiles_are_cut_and_mapped_along_both_axes(name):
    x, matrix, step, pad = example(name)
    padded = torch.nn.functional.pad(x, (0, 0, pad, pad, pad, pad))
    tile = matrix.shape[1]
    expected = []
    for picture in padded:
        for top in range(0, padded.shape[1] - tile + 1, step):
            for left in range(0, padded.shape[2] - tile + 1, step):
                square = picture[top : top + tile, left : left + tile]
                expected.append(torch.einsum("ji,lk,ikc->jlc", matrix, matrix, square).flatten(0, 1))
    torch.testing.assert_close(cut(x, matrix, step, pad), torch.stack(expected, 1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_pasting_is_the_adjoint_of_cutting(name):
    x, matrix, step, pad = example(name)
    cuts = cut(x, matrix, step, pad)
    other = torch.randn(cuts.shape, generator=torch.Generator().manual_seed(1))
    back = paste(other, matrix.t(), tuple(x.shape), step, pad)
    assert back.shape == x.shape
    torch.testing.assert_close((cuts * other).sum(), (x * back).sum(), atol=1e-2, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_the_adjoints_any_number_of_times(name):
    x, matrix, step, pad = example(name)
    x.requires_grad_()
    (slope,) = torch.autograd.grad(cut(x, matrix, step, pad).square().sum() / 2, x, create_graph=True)
    plain = paste(cut(x, matrix, step, pad), matrix.t(), tuple(x.shape), step, pad)
    torch.testing.assert_close(slope, plain)
    (again,) = torch.autograd.grad((slope * x).sum() / 2, x)  # of a quadratic form: the slope once more
    torch.testing.assert_close(again, slope, atol=1e-3, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_bfloat16_is_computed_in_float32_and_rounded_at_the_end(name):
    x, matrix, step, pad = example(name)
    x = x.bfloat16()
    cuts = cut(x, matrix, step, pad)
    torch.testing.assert_close(cuts, cut(x.float(), matrix, step, pad).bfloat16())
    back = paste(cuts, matrix.t(), tuple(x.shape), step, pad)
    torch.testing.assert_close(back, paste(cuts.float(), matrix.t(), tuple(x.shape), step, pad).bfloat16())
    assert cuts.dtype == back.dtype == torch.bfloat16


def test_the_number_of_threads_changes_nothing():
    x, matrix, step, pad = example("overlapping, padded")
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        several = cut(x, matrix, step, pad)
        torch.set_num_threads(1)
        assert torch.equal(cut(x, matrix, step, pad), several)
    finally:
        torch.set_num_threads(before)
