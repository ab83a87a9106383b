import math

import pytest
import torch

from figment.nets.registry import build_discriminator, build_generator
from figment.train.losses import (
    critic_generator_loss,
    critic_loss,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    hinge_loss,
    mean_over_scales,
    path_length,
    r1_penalty,
)


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
    d = build_discriminator(
        {"family": "stylegan2", "resolution": 16, "channels": 3, "channel_base": 64, "channel_max": 8, "mbstd_group": 1}
    ).double()
    images = torch.randn(3, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    penalty = r1_penalty(images, d(images))
    for image, value in zip(images.detach(), penalty, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x: d(x[None]).squeeze(), image)
        assert value.item() == pytest.approx(jacobian.square().sum().item(), rel=1e-9)

    # Its own gradient with respect to the weights must exist: the penalty trains D.
    (grad,) = torch.autograd.grad(penalty.mean(), [next(d.parameters())])
    assert grad.abs().sum() > 0


def test_r1_against_finite_differences_of_the_score():
    torch.manual_seed(0)
    d = build_discriminator(
        {"family": "stylegan2", "resolution": 8, "channels": 1, "channel_base": 32, "channel_max": 4, "mbstd_group": 1}
    ).double()
    image = torch.randn(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    value = r1_penalty(image, d(image)).item()
    total, step = 0.0, 1e-6
    with torch.no_grad():
        for i in range(64):
            move = torch.zeros(64, dtype=torch.float64)
            move[i] = step
            move = move.view(1, 1, 8, 8)
            total += ((d(image + move) - d(image - move)).item() / (2 * step)) ** 2
    assert value == pytest.approx(total, rel=1e-6)


class TinySynthesis(torch.nn.Module):
    """w [N, L, D] to pictures [N, 2, 3, 3], curved, so that its Jacobian depends on w."""

    def __init__(self, layers=3, dim=4):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(layers * dim, 18, dtype=torch.float64) * 0.5)

    def forward(self, w):
        return torch.tanh(w.flatten(1) @ self.weight).view(-1, 2, 3, 3) * 2


def test_path_length_against_an_explicit_jacobian():
    torch.manual_seed(0)
    g = TinySynthesis()
    w = torch.randn(5, 3, 4, dtype=torch.float64, requires_grad=True)
    noise, before = torch.randn(5, 2, 3, 3, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)
    found = path_length(g(w), w, before, noise)

    # Equation 4 the long way: the Jacobian of each picture, transposed, times y.
    lengths = []
    for one, y in zip(w.detach(), noise, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda v: g(v[None])[0].flatten(), one).reshape(18, 3, 4)
        product = torch.einsum("pld,p->ld", jacobian, y.flatten() / math.sqrt(9))
        lengths.append(math.sqrt(sum(float(product[layer] @ product[layer]) for layer in range(3)) / 3))
    mean = 0.7 + 0.01 * (sum(lengths) / 5 - 0.7)
    assert found.lengths.tolist() == pytest.approx(lengths, rel=1e-12)
    assert found.mean.item() == pytest.approx(mean, rel=1e-12) and not found.mean.requires_grad
    assert found.penalty.item() == pytest.approx(2 * sum((x - mean) ** 2 for x in lengths) / 5, rel=1e-12)


def test_lagged_path_lengths_of_parts_add_up_to_the_whole():
    torch.manual_seed(2)
    g, before = TinySynthesis(), torch.tensor(0.4, dtype=torch.float64)
    w, noise = torch.randn(6, 3, 4, dtype=torch.float64), torch.randn(6, 2, 3, 3, dtype=torch.float64)

    def look(part, lagged):
        styles = w[part].requires_grad_()
        found = path_length(g(styles), styles, before, noise[part], lagged=lagged)
        return torch.autograd.grad(found.penalty, g.weight)[0], found.mean

    for lagged in (True, False):
        grad, mean = look(slice(None), lagged)
        parts = [look(slice(0, 2), lagged), look(slice(2, 6), lagged)]
        assert torch.allclose(parts[0][1] / 3 + parts[1][1] * 2 / 3, mean)
        assert torch.allclose(parts[0][0] / 3 + parts[1][0] * 2 / 3, grad, rtol=1e-12) == lagged


def test_the_gradient_of_the_path_length_against_finite_differences():
    torch.manual_seed(1)
    g, noise = TinySynthesis(), torch.randn(3, 2, 3, 3, dtype=torch.float64)
    w = torch.randn(3, 3, 4, dtype=torch.float64, requires_grad=True)
    before = torch.tensor(0.3, dtype=torch.float64)
    found = path_length(g(w), w, before, noise)
    (grad,) = torch.autograd.grad(found.penalty, g.weight)

    # The average is held still: training does not differentiate it.
    values = []
    for step in (1e-6, -2e-6):
        with torch.no_grad():
            g.weight[2, 5] += step
        lengths = path_length(g(w), w, before, noise).lengths
        values.append(2 * (lengths - found.mean).square().mean().item())
    assert grad[2, 5].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5)


def test_path_length_of_the_real_generator_with_its_mean_over_ranks():
    torch.manual_seed(0)
    g = build_generator(
        {
            "family": "stylegan2",
            "resolution": 16,
            "z_dim": 8,
            "w_dim": 8,
            "map_depth": 2,
            "channel_base": 64,
            "channel_max": 8,
        }
    )
    w = g.mapping(torch.randn(2, 8))
    images = g.synthesis(w, noise="none")
    found = path_length(images, w, torch.zeros([]), torch.randn_like(images), reduce=lambda value: value * 0 + 3)
    assert found.mean.item() == pytest.approx(0.03)
    found.penalty.backward()
    assert sum(float(p.grad.abs().sum()) for p in g.parameters() if p.grad is not None) > 0


def test_wgan_gp_against_an_explicit_jacobian():
    torch.manual_seed(0)
    d = build_discriminator(
        {"family": "progan", "resolution": 8, "channels": 3, "channel_base": 32, "channel_max": 4, "mbstd_group": 1}
    ).double()
    real, fake = torch.randn(2, 4, 3, 8, 8, dtype=torch.float64)
    place = torch.rand(4, dtype=torch.float64)
    penalty = gradient_penalty(d, real, fake, place)
    for i in range(4):
        between = (1 - place[i]) * real[i] + place[i] * fake[i]
        jacobian = torch.autograd.functional.jacobian(lambda x: d(x[None]).squeeze(), between)
        expected = 10 * (math.sqrt(float((jacobian**2).sum())) - 1) ** 2
        assert penalty[i].item() == pytest.approx(expected, rel=1e-9)
    (grad,) = torch.autograd.grad(penalty.mean(), [d.conv.weight])
    assert grad.abs().sum() > 0


def test_wgan_gp_of_a_linear_critic():
    weight = torch.zeros(3, 4, 4, dtype=torch.float64)
    weight[0, 0, :2] = torch.tensor([3.0, 4.0])  # slope 5 everywhere
    real, fake = torch.randn(2, 2, 3, 4, 4, dtype=torch.float64)
    penalty = gradient_penalty(lambda x: (x * weight).sum([1, 2, 3])[:, None], real, fake, torch.rand(2))
    assert penalty.tolist() == pytest.approx([160.0, 160.0])
    scaled = gradient_penalty(lambda x: (x * weight).sum([1, 2, 3])[:, None], real, fake, torch.rand(2), 10.0, 2.0)
    assert scaled.tolist() == pytest.approx([22.5, 22.5])


def test_the_critics_losses_against_their_formula():
    real, fake = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.5], [1.0]])
    assert critic_loss(real, fake).item() == pytest.approx(0.75 - 0.5 + 0.001 * 2.5)
    assert critic_generator_loss(fake).item() == pytest.approx(-0.75)


def test_the_hinge_loss_against_its_formula():
    real, fake = torch.tensor([[2.0, 0.5]]), torch.tensor([[-3.0, 0.25]])
    assert hinge_loss(real, fake).item() == pytest.approx((0 + 0.5) / 2 + (0 + 1.25) / 2)


def test_scales_count_alike():
    values = [torch.tensor(1.0), torch.tensor(4.0)]
    assert mean_over_scales(values).item() == 2.5 and mean_over_scales(values[:1]) is values[0]
