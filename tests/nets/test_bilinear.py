import pytest
import torch
import torch.nn.functional as F

from figment.nets.bilinear import Shape, convolve, differentiable

SHAPES = {
    Shape(1, 1, False): (4, 3, 3, 3),
    Shape(2, 0, False): (4, 3, 3, 3),
    Shape(2, 0, True): (3, 4, 3, 3),
    Shape(): (4, 3, 1, 1),
}


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_convolutions_and_their_first_and_second_derivatives(shape):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 5, 7, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(SHAPES[shape], dtype=torch.float64, requires_grad=True)
    reference = F.conv_transpose2d if shape.transposed else F.conv2d
    assert torch.allclose(
        differentiable(x, weight, shape), reference(x, weight, stride=shape.stride, padding=shape.padding)
    )
    assert torch.autograd.gradcheck(lambda x, weight: differentiable(x, weight, shape), (x, weight))
    assert torch.autograd.gradgradcheck(lambda x, weight: differentiable(x, weight, shape), (x, weight))


def test_only_what_needs_a_gradient_gets_one():
    x, weight = torch.randn(1, 3, 4, 4), torch.randn(2, 3, 3, 3, requires_grad=True)
    differentiable(x, weight, Shape(padding=1)).sum().backward()
    assert x.grad is None and weight.grad is not None


def test_on_a_cpu_convolve_is_torchs_own():
    x, weight, bias = torch.randn(1, 3, 4, 4), torch.randn(2, 3, 3, 3), torch.randn(2)
    assert torch.equal(convolve(x, weight, bias, padding=1), F.conv2d(x, weight, bias, padding=1))
    turned = weight.transpose(0, 1).contiguous()
    assert torch.equal(convolve(x, turned, stride=2, transposed=True), F.conv_transpose2d(x, turned, stride=2))
