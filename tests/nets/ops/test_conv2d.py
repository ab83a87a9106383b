"""Convolutions against PyTorch's own, to the second derivative."""

import pytest
import torch
import torch.nn.functional as F

from figment.nets.ops import conv2d, conv2d_reference, conv_transpose2d, conv_transpose2d_reference
from figment.nets.ops.conv2d import ConvShape, convolution

SHAPES = {
    ConvShape(1, 1, False): (4, 3, 3, 3),
    ConvShape(2, 0, False): (4, 3, 3, 3),
    ConvShape(2, 0, True): (3, 4, 3, 3),
    ConvShape(): (4, 3, 1, 1),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_convolutions_and_their_first_and_second_derivatives(shape):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(SHAPES[shape], dtype=torch.float64, requires_grad=True)
    reference = conv_transpose2d_reference if shape.transposed else conv2d_reference
    assert torch.allclose(
        convolution(x, weight, shape), reference(x, weight, stride=shape.stride, padding=shape.padding)
    )
    assert torch.autograd.gradcheck(lambda x, weight: convolution(x, weight, shape), (x, weight))
    assert torch.autograd.gradgradcheck(lambda x, weight: convolution(x, weight, shape), (x, weight))


def test_only_what_needs_a_gradient_gets_one():
    x, weight = torch.randn(1, 3, 4, 4), torch.randn(2, 3, 3, 3, requires_grad=True)
    convolution(x, weight, ConvShape(padding=1)).sum().backward()
    assert x.grad is None and weight.grad is not None


def test_on_a_cpu_convolutions_are_torchs_own():
    x, weight, bias = torch.randn(1, 3, 4, 4), torch.randn(2, 3, 3, 3), torch.randn(2)
    assert torch.equal(conv2d(x, weight, bias, padding=1), F.conv2d(x, weight, bias, padding=1))
    turned = weight.transpose(0, 1).contiguous()
    assert torch.equal(conv_transpose2d(x, turned), F.conv_transpose2d(x, turned, stride=2))


@pytest.mark.gpu
def test_on_a_gpu_second_derivatives_are_those_of_a_cpu():
    x, weight = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.randn(4, 3, 3, 3, dtype=torch.float64)

    def second(device):
        inputs = [tensor.to(device).requires_grad_() for tensor in (x, weight)]
        (slope,) = torch.autograd.grad(conv2d(*inputs, padding=1).square().sum(), inputs[0], create_graph=True)
        return torch.autograd.grad(slope.square().sum(), inputs[1])[0].cpu()

    torch.testing.assert_close(second("cuda"), second("cpu"))
