import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.base.files import read_json
from figment.base.pixels import open_image
from figment.draw.sample import sample


def test_singles_grid_and_settings(tmp_path, model):
    sample(model, tmp_path, seeds=[0, 1, 2, 7], grid=(2, 2), psi=0.5)
    assert {path.name for path in tmp_path.iterdir()} == {
        "seed0000.png", "seed0001.png", "seed0002.png", "seed0007.png", "grid.png", "sample.json"}
    grid = np.asarray(open_image(tmp_path / "grid.png"))
    assert grid.shape == (32, 32, 3)
    assert np.array_equal(grid[16:, 16:], np.asarray(open_image(tmp_path / "seed0007.png")))
    settings = read_json(tmp_path / "sample.json")
    assert (settings["seeds"], settings["psi"]) == ([0, 1, 2, 7], 0.5)


def test_a_seed_is_the_same_picture_in_any_call(tmp_path, model):
    sample(model, tmp_path / "a", seeds=[5])
    sample(model, tmp_path / "b", seeds=[1, 2, 5])
    assert (tmp_path / "a" / "seed0005.png").read_bytes() == (tmp_path / "b" / "seed0005.png").read_bytes()


def test_a_grid_larger_than_the_seeds_is_one_line(tmp_path, model):
    with pytest.raises(FigmentError, match="--grid 3x3"):
        sample(model, tmp_path, seeds=[0, 1], grid=(3, 3))
