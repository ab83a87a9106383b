import dataclasses

import numpy as np
import pytest
import torch

from figment.base.errors import FigmentError
from figment.draw.latents import bands_of, closed_spline, mix_styles, parse_layers, seeds_to_w
from figment.draw.render import load_generator
from figment.nets.registry import build_generator
from tests.conftest import TINY_GENERATOR


def generator(resolution):
    return build_generator({**TINY_GENERATOR, "resolution": resolution})


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
    assert parse_layers("coarse", generator(64)) == (0, 4)
    assert parse_layers("fine", generator(64)) == (8, 10)
    assert parse_layers("4-9", generator(32)) == (4, 8)
    assert parse_layers("4", generator(32)) == (4, 5)
    for text in ("fine", "7-3", "x", "9-12", "6", "-2", "4-", ""):
        with pytest.raises(FigmentError, match="--layers"):
            parse_layers(text, generator(16))


def test_layers_of_weights_may_be_counted_apart():
    assert parse_layers("coarse", generator(16), num_layers=3) == (0, 3)
    with pytest.raises(FigmentError, match="layers 0 to 2"):
        parse_layers("3-4", generator(16), num_layers=3)


def test_bands_are_the_familys_own():
    g = generator(64)
    g.family = dataclasses.replace(g.family, bands={"pose": (0, 2), "rest": (2, 99), "none": (20, 99)})
    assert parse_layers("pose", g) == (0, 2) and parse_layers("rest", g) == (2, 10)
    assert bands_of(g) == ["pose", "rest"]
    with pytest.raises(FigmentError, match="--layers 'coarse': must be pose, rest, none, a layer"):
        parse_layers("coarse", g)


@pytest.mark.parametrize("text", ["", "-1", "²", "nan", "1e3", "9" * 5000])
def test_an_extreme_layer_is_one_line(text):
    with pytest.raises(FigmentError, match="--layers .*: must be coarse, "):
        parse_layers(text, generator(16))
