import math

import pytest
import torch

from figment.nets.registry import build_discriminator
from figment.train.losses import discriminator_loss, generator_loss, r1_penalty


def test_logistic_losses_against_their_formula():
    real, fake = torch.tensor([[0.3], [-2.0]]), torch.tensor([[1.5], [-0.2]])
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    expected_g = -sum(math.log(sigmoid(x)) for x in (1.5, -0.2)) / 2
    expected_d = -sum(math.log(sigmoid(x)) for x in (0.3, -2.0, -1.5, 0.2)) / 2
    assert generator_loss(fake).item() == pytest.approx(expected_g, rel=1e-6)
    assert discriminator_loss(real, fake).item() == pytest.approx(expected_d, rel=1e-6)


def test_r1_of_a_linear_discriminator_is_its_squared_weight():
    weight = torch.randn(3, 4, 4, dtype=torch.float64)
    images = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    penalty = r1_penalty(images, (images * weight).sum([1, 2, 3])[:, None])
    assert torch.allclose(penalty, weight.square().sum().expand(2))


def test_r1_of_the_real_discriminator_against_autograd_image_by_image():
    torch.manual_seed(0)
    d = build_discriminator({"family": "stylegan2", "resolution": 16, "channels": 3, "channel_base": 64,
                             "channel_max": 8, "mbstd_group": 1}).double()
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    penalty = r1_penalty(images, d(images))
    for image, value in zip(images.detach(), penalty, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x: d(x[None]).squeeze(), image)
        assert value.item() == pytest.approx(jacobian.square().sum().item(), rel=1e-9)

    # Its own gradient with respect to the weights must exist: the penalty trains D.
    (grad,) = torch.autograd.grad(penalty.mean(), [next(d.parameters())])
    assert grad.abs().sum() > 0
