import pytest
import torch

from figment.nets.base import Generator, GeneratorConfig
from figment.score.backbones import Heads
from figment.score.path_length import great_circle, path_length, perceptual_distance


class Ramp(Generator):
    """A generator whose picture brightens along the first coordinate of w, `steepness` times as fast."""

    def __init__(self, steepness):
        super().__init__(GeneratorConfig(resolution=64, z_dim=4))
        self.steepness = torch.nn.Parameter(torch.tensor(float(steepness)))

    def mapping(self, z):
        return z[:, None]

    def synthesis(self, w, noise):
        ramp = torch.linspace(-0.5, 0.5, 64)[None, None, :, None].expand(len(w), 3, 64, 64)
        return ramp * (1 + self.steepness * torch.tanh(w[:, 0, 0]))[:, None, None, None]

    def layer_of(self, name):
        return 0

    def synthesis_parameters(self):
        return self.parameters()


@pytest.fixture(scope="module")
def heads():
    return Heads()


def test_it_grows_with_the_square_of_the_pace(heads):
    slow, fast = (path_length(Ramp(pace), heads, 12, seed=1).value for pace in (0.05, 0.1))
    assert fast / slow == pytest.approx(4, rel=0.25)


def test_it_is_the_same_each_time_and_zero_where_nothing_moves(heads, generator):
    first, second = (path_length(generator, heads, 5) for _ in range(2))
    assert first == second and first.value > 0 and first.error > 0
    assert path_length(generator, heads, 3, space="z").value > 0
    assert path_length(Ramp(0), heads, 3) == (0, 0)


def test_equal_pictures_have_no_distance(heads):
    image = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    assert perceptual_distance(heads, torch.cat([image, image])) == 0
    assert perceptual_distance(heads, torch.cat([image, image.flip(3)])) > 0


def test_a_great_circle_stays_on_the_sphere():
    a, b = torch.tensor([2.0, 0.0]).double(), torch.tensor([0.0, 0.1]).double()
    assert great_circle(a, b, 0.5).tolist() == pytest.approx([0.5**0.5] * 2)
    assert great_circle(a, b, 0).tolist() == pytest.approx([1, 0])
