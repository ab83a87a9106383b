"""The kernels beside the layers' ordinary ways: on a GPU as they are, elsewhere in Triton's interpreter."""

import pytest
import torch
import torch.nn.functional as F

from figment.nets import fused, ops
from figment.nets.fastconv import fast_convolutions
from figment.nets.fused import fused_layers
from figment.nets.stylegan2 import FAMILY
from figment.train import augment_geometry

LAST = torch.channels_last
EXACT, CLOSE = (1e-2, 1e-2) if torch.cuda.is_available() else (1e-5, 1e-4)
"""How near values and gradients must be: plain convolutions on a GPU are in TensorFloat-32, of ten bits."""


@pytest.fixture
def place(monkeypatch):
    """Where the kernels run."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    pytest.importorskip("triton")
    monkeypatch.setattr(fused, "fits", lambda x: x.is_contiguous(memory_format=LAST))
    monkeypatch.setattr(fused, "fits_lines", lambda x: True)
    return torch.device("cpu")


def both_ways(monkeypatch, work):
    """What `work` gives with the kernels, and without."""
    with_kernels = work()
    monkeypatch.setattr(fused, "fits", lambda x: False)
    monkeypatch.setattr(fused, "fits_lines", lambda x: False)
    return with_kernels, work()


@pytest.mark.parametrize(
    ("channels", "taps", "pad", "down"), [(3, 4, 1, 1), (3, 4, 1, 2), (66, 4, 2, 1), (3, 3, 1, 1), (3, 3, 1, 2)]
)
def test_filters(place, monkeypatch, channels, taps, pad, down):
    x = torch.randn(2, channels, 6, 9).to(place).contiguous(memory_format=LAST)
    ours, plain = both_ways(monkeypatch, lambda: ops._fir(x, taps, pad, down, 2.0))
    assert ours.shape == plain.shape and torch.allclose(ours, plain, atol=EXACT)


@pytest.mark.parametrize(("taps", "odd"), [(4, (0, 0)), (4, (1, 0)), (3, (1, 1))])
def test_filters_that_enlarge(place, monkeypatch, taps, odd):
    x = torch.randn(2, 5, 6, 9).to(place).contiguous(memory_format=LAST)
    ours, plain = both_ways(monkeypatch, lambda: ops._fir_adjoint(x, taps, 1, 2, 4.0, odd))
    assert ours.shape == plain.shape and torch.allclose(ours, plain, atol=EXACT)


def networks(place):
    """A small pair whose biases and noise strengths matter."""
    torch.manual_seed(0)
    shape = {"resolution": 8, "channel_base": 64, "channel_max": 12}
    g, d = (
        FAMILY.build_generator({"z_dim": 8, "w_dim": 8} | shape).to(place),
        FAMILY.build_discriminator(shape).to(place),
    )
    for parameter in [*g.parameters(), *d.parameters()]:
        if parameter.ndim < 2:
            parameter.data += torch.randn_like(parameter) * 0.3
    return g, d


def gradients(network):
    """Gradients by name, which are forgotten in the network."""
    found = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    network.zero_grad(set_to_none=True)
    return found


def assert_same(ours, plain):
    assert ours.keys() == plain.keys() and len(ours) > 8
    for name, grad in ours.items():
        assert (grad - plain[name]).norm() <= CLOSE * plain[name].norm() + 1e-7, name


def test_a_generator_learns_the_same_from_a_discriminator(place, monkeypatch):
    g, d = networks(place)
    z = torch.randn(2, 8).to(place)

    def work():
        with fast_convolutions(), fused_layers():
            noise = torch.Generator(place).manual_seed(1)
            pictures = g.synthesis(g.mapping(z), noise="random", generator=noise)
            F.softplus(-d(pictures)).mean().backward()
        return pictures.detach(), gradients(g), gradients(d)

    (pictures, *ours), (as_they_were, *plain) = both_ways(monkeypatch, work)
    assert (pictures - as_they_were).norm() <= EXACT * as_they_were.norm()
    for mine, theirs in zip(ours, plain, strict=True):
        assert_same(mine, theirs)


def test_the_path_length_has_the_same_gradient(place, monkeypatch):
    g, _ = networks(place)
    z, y = torch.randn(2, 8).to(place), torch.randn(2, 3, 8, 8).to(place)

    def work():
        with fast_convolutions(), fused_layers(twice=True):
            styles = g.mapping(z).clone()
            pictures = g.synthesis(styles, noise="random", generator=torch.Generator(place).manual_seed(1))
        (slope,) = torch.autograd.grad((pictures * y).sum(), styles, create_graph=True)
        lengths = slope.square().sum(2).mean(1).sqrt()
        (lengths - 1).square().mean().backward()
        return lengths.detach(), gradients(g)

    (lengths, ours), (as_they_were, plain) = both_ways(monkeypatch, work)
    assert torch.allclose(lengths, as_they_were, rtol=CLOSE)
    assert_same(ours, plain)


def test_r1_has_the_same_gradient(place, monkeypatch):
    _, d = networks(place)
    real = torch.randn(2, 3, 8, 8).to(place).requires_grad_()

    def work():
        with fast_convolutions(), fused_layers(twice=True):
            logits = d(real)
        (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        penalty = slope.square().sum([1, 2, 3])
        (penalty.mean() + F.softplus(-logits).mean()).backward()
        real.grad = None
        return penalty.detach(), gradients(d)

    (penalty, ours), (as_it_was, plain) = both_ways(monkeypatch, work)
    assert torch.allclose(penalty, as_it_was, rtol=CLOSE)
    assert_same(ours, plain)


def test_what_is_kept_for_one_derivative_gives_no_second(place):
    x = torch.randn(1, 3, 2, 2).to(place).contiguous(memory_format=LAST).requires_grad_()
    scale, bias = torch.ones(1, 3).to(place), torch.zeros(3).to(place)
    with fused_layers():
        (slope,) = torch.autograd.grad(fused.filter_act(x, bias, scale).sum(), x, create_graph=True)
    with pytest.raises(AssertionError, match="not differentiable twice"):
        slope.square().sum().backward()


def test_pictures_are_resampled_the_same_with_derivatives(place, monkeypatch):
    images = torch.randn(2, 1, 8, 10).to(place).requires_grad_()
    matrix = torch.cat([augment_geometry.rotate(torch.tensor([0.4])), augment_geometry.scale(*torch.ones(2, 1) * 0.7)])

    def work():
        seen = augment_geometry._resample(images, matrix.to(place), 0.125)
        (first,) = torch.autograd.grad(seen.square().sum(), images, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), images)
        return seen.detach(), first.detach(), second

    for ours, plain in zip(*both_ways(monkeypatch, work), strict=True):
        assert (ours - plain).norm() <= EXACT * plain.norm()
