"""From z to w, and truncation."""

import torch

from figment.nets.mapping import Mapping, truncate


def test_truncation_draws_the_layers_below_the_cutoff_towards_the_mean():
    w, mean = torch.randn(2, 5, 3, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    found = truncate(w, mean, 0.3, 2)
    torch.testing.assert_close(found[:, :2], mean + 0.3 * (w[:, :2] - mean))
    assert torch.equal(found[:, 2:], w[:, 2:])
    torch.testing.assert_close(truncate(w, mean, 0.0), mean.expand(2, 5, 3))
    assert truncate(w, mean, 1.0) is w


def test_a_missing_label_is_the_zero_vector():
    torch.manual_seed(0)
    for norm in ("each", "joint"):
        mapping = Mapping(8, 3, 8, 2, norm=norm)
        z = torch.randn(2, 8)
        assert torch.equal(mapping(z, None), mapping(z, torch.zeros(2, 3)))
        assert not torch.equal(mapping(z, None), mapping(z, torch.eye(3)[:2]))


def test_the_length_of_z_does_not_matter():
    mapping = Mapping(8, 0, 8, 3)
    z = torch.randn(2, 8)
    torch.testing.assert_close(mapping(z, None), mapping(z * 5, None))


def test_without_normalization_of_z_its_length_matters():
    z, c = torch.randn(2, 8), torch.eye(3)[:2]
    for norm in ("each", "joint"):
        mapping = Mapping(8, 3, 8, 2, norm=norm, normalize_z=False)
        assert not torch.allclose(mapping(z, c), mapping(z * 5, c))
    # The label is normalized still where it is normalized apart.
    mapping = Mapping(8, 3, 8, 2, normalize_z=False)
    before = mapping(z, c)
    mapping.embed.weight.data *= 7
    torch.testing.assert_close(mapping(z, c), before)


def test_no_layers_leave_the_normalized_embedding():
    mapping = Mapping(0, 3, 8, 0)
    found = mapping(None, torch.eye(3))
    torch.testing.assert_close(found.square().mean(1), torch.ones(3))
    torch.testing.assert_close(found, mapping.embed.weight.t() / mapping.embed.weight.square().mean(0)[:, None].sqrt())
