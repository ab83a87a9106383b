"""The fast convolutions against torch's own, in value and in first and second derivatives."""

import pytest
import torch
import torch.nn.functional as F

from figment.nets import fastconv
from figment.nets.fastconv import conv_double, conv_half, conv_same, fast_convolutions, lay_out

CASES = {
    "same": (conv_same, lambda x, w: F.conv2d(x, w, padding=1), 16),
    "half": (conv_half, lambda x, w: F.conv2d(x, w, stride=2), 17),
    "double": (conv_double, lambda x, w: F.conv_transpose2d(x, w.transpose(0, 1), stride=2), 8),
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
    fast, plain, side = CASES[name]
    x, w = example(side)
    expected = plain(x, w)
    with fast_convolutions():
        assert fastconv._pays(x, w, fastconv._same() if name == "same" else fastconv._half(), 16, 16)
        found = fast(x, w)
    assert found.shape == expected.shape
    assert not torch.equal(found, expected)  # it did take another way
    assert close(found, expected)

    weights = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    for mine, theirs in zip(
        torch.autograd.grad(found, (x, w), weights), torch.autograd.grad(expected, (x, w), weights), strict=True
    ):
        assert close(mine, theirs)


@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_as_r1_needs_them(name):
    fast, plain, side = CASES[name]
    x, w = example(side)
    penalties = []
    with fast_convolutions():
        for convolution in (fast, plain):
            (slope,) = torch.autograd.grad(convolution(x, w).square().sum(), x, create_graph=True)
            penalties.append(torch.autograd.grad(slope.square().sum(), w)[0])
    assert close(*penalties, bound=1e-4)


@pytest.mark.parametrize(("amx", "compiled"), [(False, True), (True, True), (False, False)])
def test_in_bfloat16_small_tiles_hardly_round_more_than_the_plain_way(monkeypatch, amx, compiled):
    """Where the processor has no AMX, and Numba is there; else the plain way is taken."""
    if compiled:
        pytest.importorskip("numba")
    monkeypatch.setattr(fastconv, "cpu_has", lambda feature: amx and feature == "amx_bf16")
    monkeypatch.setattr(fastconv, "compiles", lambda: compiled)
    randomness = torch.Generator().manual_seed(0)
    x = torch.randn(4, 256, 12, 24, generator=randomness).to(memory_format=torch.channels_last).requires_grad_()
    w, bias = torch.randn(264, 256, 3, 3, generator=randomness).requires_grad_(), torch.randn(264)
    direction = torch.randn(4, 264, 12, 24, generator=randomness)

    def results(convolution):
        y = convolution(x, w, bias).float()
        slopes = torch.autograd.grad(y, (x, w), direction, create_graph=True)
        return [y, *slopes, torch.autograd.grad(slopes[0].square().sum(), w)[0]]

    exact = results(plain := lambda x, w, bias: F.conv2d(x, w, bias, padding=1))
    with torch.autocast("cpu", torch.bfloat16), fast_convolutions():
        assert conv_same(x, w, bias).dtype == torch.bfloat16
        errors = {
            name: [
                ((found - right).norm() / right.norm()).item() for found, right in zip(results(way), exact, strict=True)
            ]
            for name, way in {"fast": conv_same, "plain": plain}.items()
        }
    if amx or not compiled:
        assert errors["fast"] == errors["plain"]
    else:
        assert errors["fast"] != errors["plain"] and max(errors["fast"]) < 0.01, errors
        assert errors["fast"][0] < 2.2 * errors["plain"][0], errors


def test_the_bias_is_added():
    x, w = example(16)
    bias = torch.arange(56.0)
    with fast_convolutions():
        assert close(conv_same(x, w, bias), F.conv2d(x, w, bias, padding=1))


def test_outside_of_the_context_nothing_changes():
    x, w = example(16)
    assert torch.equal(conv_same(x, w), F.conv2d(x, w, padding=1))
    assert lay_out(x.contiguous()).is_contiguous()


@pytest.mark.parametrize("shape", [(8, 48, 15, 16), (8, 8, 16, 16), (1, 48, 8, 8)])
def test_odd_sizes_few_channels_and_few_tiles_take_the_plain_way(shape):
    x, w = torch.randn(shape), torch.randn(56, shape[1], 3, 3)
    with fast_convolutions():
        assert torch.equal(conv_same(x, w), F.conv2d(x, w, padding=1))


def test_the_context_ends_with_an_error_too():
    with pytest.raises(ValueError, match="stop"), fast_convolutions():
        raise ValueError("stop")
    assert not fastconv._on
