import numpy as np

from figment.draw.latents import seeds_to_w
from figment.draw.render import load_generator, render


def test_a_picture_is_the_same_whatever_is_drawn_beside_it(model):
    g, config = load_generator(model)
    ws = seeds_to_w(g, [0, 1, 2])
    assert np.array_equal(render(g, ws)[1:2], render(g, ws[1:2]))
    assert render(g, ws).shape == (3, 3, 16, 16) and render(g, ws).dtype == np.uint8
    assert config["kimg"] == 1.5
