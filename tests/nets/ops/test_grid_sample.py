"""Bilinear sampling against PyTorch's own, to the second derivative."""

import torch
import torch.nn.functional as F

from figment.nets.ops import grid_sample, grid_sample_reference


def example():
    randomness = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, 6, generator=randomness, dtype=torch.float64)
    grid = torch.rand(2, 4, 7, 2, generator=randomness, dtype=torch.float64) * 2.6 - 1.3  # some places lie outside
    return x.requires_grad_(), grid


def test_values_and_gradients_are_torchs_own():
    x, grid = example()
    found, expected = grid_sample(x, grid), grid_sample_reference(x, grid)
    assert found.shape == (2, 3, 4, 7) and torch.equal(found, expected)
    assert torch.equal(expected, F.grid_sample(x, grid, padding_mode="border", align_corners=True))
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (mine,), (theirs,) = (torch.autograd.grad(y, x, direction) for y in (found, expected))
    torch.testing.assert_close(mine, theirs)


def test_sampling_differentiates_twice():
    x, grid = example()
    assert torch.autograd.gradcheck(lambda x: grid_sample(x, grid).square(), x)
    assert torch.autograd.gradgradcheck(lambda x: grid_sample(x, grid).square(), x)


def test_the_corners_of_the_grid_are_the_centers_of_the_corner_pixels():
    x = torch.arange(12.0).view(1, 1, 3, 4)
    corners = torch.tensor([[[[-1.0, -1.0], [1.0, 1.0], [5.0, -1.0]]]])
    assert grid_sample(x, corners).flatten().tolist() == [0, 11, 3]
