"""Fused layers against plain ones: on a GPU as they are, elsewhere in Triton's interpreter."""

import pytest
import torch
import torch.nn.functional as F

from figment.nets import ops
from figment.nets.ops import FIR_1331, Backend, filtered_lrelu, use_backend
from figment.nets.ops.triton_launch import kernels_run, reads
from figment.nets.stylegan2 import FAMILY

LAST = torch.channels_last
EXACT, CLOSE = (1e-2, 1e-2) if torch.cuda.is_available() else (1e-5, 1e-4)
"""Tolerances of values and gradients: plain convolutions on a GPU are in TensorFloat-32, of ten bits."""

ONCE = Backend(channels_last=True, winograd=True, fused=True)
TWICE = Backend(channels_last=True, winograd=True, fused=True, double_backward=True)


def both_ways(monkeypatch, backend, work):
    """Return what `work` gives on this backend, and on the plain one without kernels."""
    with_kernels = work(backend)
    monkeypatch.delenv("FIGMENT_INTERPRET_KERNELS", raising=False)
    return with_kernels, work(Backend())


def example(device, noisy=True):
    """Return the arguments of `filtered_lrelu`, of which all but the noise have gradients."""
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 7).to(device).contiguous(memory_format=LAST)
    tensors = {"bias": torch.randn(6), "scale": torch.rand(2, 6) + 0.5}
    if noisy:
        tensors |= {"noise": torch.randn(1, 1, 4, 6), "noise_strength": torch.tensor(0.3)}
    tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
    learned = [x.requires_grad_(), *(tensor.requires_grad_() for name, tensor in tensors.items() if name != "noise")]
    return x, tensors, learned


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("backend", [ONCE, TWICE])
def test_filtered_lrelu_is_its_formula_with_gradients(kernel_device, backend, noisy):
    x, tensors, learned = example(kernel_device, noisy)
    fir = {"taps": FIR_1331, "padding": 1, "gain": 4.0}
    assert reads(x)
    with use_backend(backend, kernel_device.type):
        ours = filtered_lrelu(x, **tensors, **fir)
    plain = ops.filtered_lrelu_reference(x, **tensors, **fir)
    assert torch.allclose(ours, plain, atol=EXACT)
    direction = torch.randn_like(plain)
    gradients = [torch.autograd.grad(y, learned, direction) for y in (ours, plain)]
    for mine, theirs in zip(*gradients, strict=True):
        assert (mine - theirs).norm() <= CLOSE * theirs.norm()


def test_operations_without_kernels_are_their_references():
    x, tensors, _ = example("cpu")
    rgb, style = torch.randn(3, 6, 1, 1), torch.randn(2, 6)
    weight, bias = torch.randn(4, 6, 3, 3), torch.randn(4)
    with torch.no_grad():
        for clamp in (None, 0.4):
            for taps, padding, gain in ((1, 0, 1.0), (FIR_1331, 1, 4.0)):
                settings = {"taps": taps, "padding": padding, "gain": gain, "clamp": clamp}
                given = tensors if taps > 1 else {"bias": tensors["bias"]}
                y = filtered_lrelu(x, **given, **settings)
                assert torch.equal(y, ops.filtered_lrelu_reference(x, **given, **settings))
            y = ops.to_rgb(x, rgb, style, torch.ones(3), clamp)
            assert torch.equal(y, ops.to_rgb_reference(x, rgb, style, torch.ones(3), clamp))
            y = ops.conv2d_lrelu(x, weight, bias, 2, 1, clamp)
            assert torch.equal(y, ops.conv2d_lrelu_reference(x, weight, bias, 2, 1, clamp))
            assert clamp is None or y.abs().max() <= clamp
        assert torch.equal(ops.modulate(x, style), ops.modulate_reference(x, style))


@pytest.mark.parametrize("backend", [Backend(), ONCE])
def test_without_noise_its_strength_has_no_effect(kernel_device, backend):
    x, tensors, _ = example(kernel_device, noisy=False)
    with use_backend(backend, kernel_device.type):
        strong = filtered_lrelu(x, **tensors, noise_strength=torch.tensor(9.0).to(kernel_device))
        assert torch.equal(strong, filtered_lrelu(x, **tensors))


@pytest.mark.parametrize("backend", [ONCE, TWICE])
def test_modulation_rgb_and_convolutions_are_their_references(kernel_device, backend):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 7).to(kernel_device).contiguous(memory_format=LAST).requires_grad_()
    image = torch.randn(2, 3, 5, 7).to(kernel_device).contiguous(memory_format=LAST).requires_grad_()
    style, rgb = (torch.randn(*shape).to(kernel_device).requires_grad_() for shape in ((2, 6), (3, 6, 1, 1)))
    weight, first = (torch.randn(*shape).to(kernel_device).requires_grad_() for shape in ((4, 6, 3, 3), (6, 3, 1, 1)))
    bias = torch.randn(6).to(kernel_device).requires_grad_()
    cases = [
        (ops.modulate, ops.modulate_reference, (x, style)),
        (ops.to_rgb, ops.to_rgb_reference, (x, rgb, style, bias[:3])),
        (ops.conv2d_lrelu, ops.conv2d_lrelu_reference, (image, first, bias)),
        (ops.conv2d_lrelu, ops.conv2d_lrelu_reference, (x, weight, bias[:4], 2, 1)),
    ]
    for fast, reference, arguments in cases:
        with use_backend(backend, kernel_device.type):
            ours = fast(*arguments)
        plain = reference(*arguments)
        assert ours.shape == plain.shape and (ours - plain).norm() <= EXACT * plain.norm()
        direction, learned = torch.randn_like(plain), [a for a in arguments if isinstance(a, torch.Tensor)]
        gradients = [torch.autograd.grad(y, learned, direction) for y in (ours, plain)]
        for mine, theirs in zip(*gradients, strict=True):
            assert (mine - theirs).norm() <= CLOSE * theirs.norm()


def test_noise_needs_a_strength():
    x, tensors, _ = example("cpu")
    with pytest.raises(ValueError, match="noise needs noise_strength"):
        filtered_lrelu(x, tensors["bias"], noise=tensors["noise"])


# ---------------------------------------------------------------------- whole networks


def networks(device):
    """Return a small pair whose biases and noise strengths matter."""
    torch.manual_seed(0)
    shape = {"resolution": 8, "channel_base": 64, "channel_max": 12}
    g = FAMILY.build_generator({"z_dim": 8, "w_dim": 8} | shape).to(device)
    d = FAMILY.build_discriminator(shape).to(device)
    for parameter in [*g.parameters(), *d.parameters()]:
        if parameter.ndim < 2:
            parameter.data += torch.randn_like(parameter) * 0.3
    return g, d


def gradients(network):
    """Return gradients by name, and clear them in the network."""
    found = {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}
    network.zero_grad(set_to_none=True)
    return found


def assert_same(ours, plain):
    assert ours.keys() == plain.keys() and len(ours) > 8
    for name, grad in ours.items():
        assert (grad - plain[name]).norm() <= CLOSE * plain[name].norm() + 1e-7, name


def test_a_generator_learns_the_same_from_a_discriminator(kernel_device, monkeypatch):
    g, d = networks(kernel_device)
    z = torch.randn(2, 8).to(kernel_device)

    def work(backend):
        with use_backend(backend, kernel_device.type):
            noise = torch.Generator(kernel_device).manual_seed(1)
            images = g.synthesis(g.mapping(z), noise="random", generator=noise)
            F.softplus(-d(images)).mean().backward()
        return images.detach(), gradients(g), gradients(d)

    (images, *ours), (plain_images, *plain) = both_ways(monkeypatch, ONCE, work)
    assert not torch.equal(images, plain_images)  # the kernels did run
    assert (images - plain_images).norm() <= EXACT * plain_images.norm()
    for mine, theirs in zip(ours, plain, strict=True):
        assert_same(mine, theirs)


def test_the_path_length_has_the_same_gradient(kernel_device, monkeypatch):
    g, _ = networks(kernel_device)
    z, y = torch.randn(2, 8).to(kernel_device), torch.randn(2, 3, 8, 8).to(kernel_device)

    def work(backend):
        with use_backend(backend, kernel_device.type):
            styles = g.mapping(z).clone()
            images = g.synthesis(styles, noise="random", generator=torch.Generator(kernel_device).manual_seed(1))
        (slope,) = torch.autograd.grad((images * y).sum(), styles, create_graph=True)
        lengths = slope.square().sum(2).mean(1).sqrt()
        (lengths - 1).square().mean().backward()
        return lengths.detach(), gradients(g)

    (lengths, ours), (plain_lengths, plain) = both_ways(monkeypatch, TWICE, work)
    assert torch.allclose(lengths, plain_lengths, rtol=CLOSE)
    assert_same(ours, plain)


def test_r1_has_the_same_gradient(kernel_device, monkeypatch):
    _, d = networks(kernel_device)
    real = torch.randn(2, 3, 8, 8).to(kernel_device).requires_grad_()

    def work(backend):
        with use_backend(backend, kernel_device.type):
            logits = d(real)
        (slope,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        penalty = slope.square().sum([1, 2, 3])
        (penalty.mean() + F.softplus(-logits).mean()).backward()
        real.grad = None
        return penalty.detach(), gradients(d)

    (penalty, ours), (plain_penalty, plain) = both_ways(monkeypatch, TWICE, work)
    assert torch.allclose(penalty, plain_penalty, rtol=CLOSE)
    assert_same(ours, plain)


# ---------------------------------------------------------------------- what must fail


@pytest.mark.parametrize("taps", [1, FIR_1331])
def test_what_is_kept_for_one_derivative_gives_no_second(kernel_device, taps):
    x, tensors, _ = example(kernel_device, noisy=False)
    with use_backend(ONCE, kernel_device.type):
        y = filtered_lrelu(x, **tensors, taps=taps, padding=taps // 2)
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"run it with Backend\(double_backward=True\)"):
        slope.square().sum().backward()


def test_kernels_need_a_gpu_or_the_interpreter(monkeypatch):
    monkeypatch.delenv("FIGMENT_INTERPRET_KERNELS", raising=False)
    x = torch.randn(1, 3, 2, 2).contiguous(memory_format=LAST)
    assert not kernels_run(x)
    monkeypatch.setenv("FIGMENT_INTERPRET_KERNELS", "1")
    assert kernels_run(x) and reads(x) and not kernels_run(x.double()) and not reads(x.contiguous())
