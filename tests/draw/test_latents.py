import numpy as np
import pytest
import torch

from figment.base.errors import FigmentError
from figment.draw.latents import closed_spline, mix_styles, parse_layers, seeds_to_w
from figment.draw.render import load_generator


def test_a_seed_does_not_depend_on_its_company(model):
    g, _ = load_generator(model)
    together, alone = seeds_to_w(g, [3, 4, 5]), seeds_to_w(g, [4])
    assert torch.equal(together[1:2], alone)
    z = torch.from_numpy(np.random.RandomState(4).randn(8)).float()[None]
    assert torch.equal(alone, g.mapping(z, truncation_psi=0.7))


def test_the_spline_passes_its_keys_and_closes():
    keys = torch.randn(4, 2, 3)
    points = closed_spline(keys, np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert torch.allclose(points[:4], keys, atol=1e-6) and torch.allclose(points[4], keys[0], atol=1e-6)
    # Smooth across the seam: the step into the first key is nearly the step out of it.
    near = closed_spline(keys, np.array([1 - 1e-3, 0.0, 1e-3]))
    assert torch.allclose(near[1] - near[0], near[2] - near[1], atol=1e-3)
    assert (near[1] - near[0]).abs().max() > 1e-3


def test_mixing_takes_only_the_named_layers():
    mixed = mix_styles(torch.zeros(6, 2), torch.ones(6, 2), (2, 4))
    assert mixed[:, 0].tolist() == [0, 0, 1, 1, 0, 0]


def test_layers_by_name_and_range():
    assert parse_layers("coarse", 10) == (0, 4)
    assert parse_layers("fine", 10) == (8, 10)
    assert parse_layers("4-9", 8) == (4, 8)
    for text in ("fine", "7-3", "x", "9-12"):
        with pytest.raises(FigmentError, match="--layers"):
            parse_layers(text, 6)
