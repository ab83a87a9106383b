import numpy as np
import pytest
import torch

from figment.base.errors import FigmentError
from figment.draw.characters import Characters, characters
from figment.draw.paths import KINDS, circle, closed_path, draw_path, slerp
from figment.draw.render import load_generator, render


@pytest.mark.parametrize("kind", KINDS)
def test_every_path_starts_at_its_first_key_and_closes(model, kind):
    g, _ = load_generator(model)
    keys = characters(g, [3, 5])
    curve = closed_path(g, keys, kind)
    ends = curve(np.array([0.0, 1.0]))
    assert torch.allclose(ends[0], keys.w[0], atol=1e-5) and torch.allclose(ends[1], keys.w[0], atol=1e-5)
    if kind != "circle":
        assert torch.allclose(curve(np.array([0.5]))[0], keys.w[1], atol=1e-5)
    assert not torch.allclose(curve(np.array([0.25]))[0], keys.w[0], atol=1e-2)
    at = np.array([0.1, 0.6])
    assert np.array_equal(np.stack(list(draw_path(g, curve, at))), render(g, curve(at)))


def test_great_circles_keep_their_radius():
    a, b = torch.tensor([3.0, 0, 0]), torch.tensor([0, 3.0, 0])
    middle = slerp(a[None], b[None], torch.tensor([[0.5]]))[0]
    assert middle.tolist() == pytest.approx([3 / 2**0.5, 3 / 2**0.5, 0], abs=1e-5)
    around = circle(a, torch.tensor([1.0, 1.0, 0]), np.array([0, 0.25, 0.5]))
    assert np.allclose(around, [[3, 0, 0], [0, 3, 0], [-3, 0, 0]], atol=1e-5)
    same = slerp(a[None], a[None], torch.tensor([[0.5]]))
    assert torch.equal(same[0], a)


def test_mistakes_name_the_flag(model):
    g, _ = load_generator(model)
    saved = Characters(("a", "b"), (None, None), torch.zeros(2, g.num_layers, g.w_dim))
    for keys, kind in (
        (saved, "spherical"),
        (characters(g, [1, 2, 3]), "circle"),
        (saved, "zigzag"),
        (characters(g, [1]), "spline"),
    ):
        with pytest.raises(FigmentError, match="--path"):
            closed_path(g, keys, kind)
