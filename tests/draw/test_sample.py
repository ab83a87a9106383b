import numpy as np
import pytest
from typer.testing import CliRunner

from figment.base.errors import FigmentError
from figment.base.files import read_json
from figment.base.pixels import open_image
from figment.cli import app
from figment.draw.latents import seeds_to_w
from figment.draw.render import draw_pictures, load_generator, picture_png
from figment.draw.sample import sample
from tests.legacy.reference import DATA


def test_singles_grid_and_settings(tmp_path, model):
    sample(model, tmp_path, seeds=[0, 1, 2, 7], grid=(2, 2), psi=0.5)
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"seed{seed:04d}.{ending}" for seed in (0, 1, 2, 7) for ending in ("png", "json")),
        "grid.png",
        "sample.json",
        "latents.npz",
    }
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


def test_latents_draw_again_what_their_seeds_drew(tmp_path, model):
    sample(model, tmp_path / "a", seeds=[4, 9], psi=0.6, cutoff=3)
    sample(model, tmp_path / "b", latents=tmp_path / "a" / "latents.npz", psi=0.1)
    for seed, name in ((4, "latents-0000"), (9, "latents-0001")):
        assert (tmp_path / "a" / f"seed{seed:04d}.png").read_bytes() == (tmp_path / "b" / f"{name}.png").read_bytes()


def test_the_library_gives_the_bytes_that_sample_writes(tmp_path, model):
    sample(model, tmp_path, seeds=[3, 4], psi=0.6)
    g, _ = load_generator(model)
    png = picture_png(draw_pictures(g, seeds_to_w(g, [4], 0.6))[0])
    assert (tmp_path / "seed0004.png").read_bytes() == png
    ran = CliRunner().invoke(app, ["sample", str(model), "-o", str(tmp_path / "c"), "--seeds", "4", "--psi", "0.6"])
    assert ran.exit_code == 0, ran.output
    assert (tmp_path / "c" / "seed0004.png").read_bytes() == png


def test_mistakes_are_one_line(tmp_path, model):
    for options, flag in (
        ({"seeds": [1], "latents": tmp_path / "w.npz"}, "--latents"),
        ({"noise": "loud"}, "--noise"),
        ({"seeds": [1], "noise_strength": "much"}, "--noise-strength"),
        ({"seeds": [1], "rotate": 5.0}, "--rotate 5: networks of family stylegan2 can't move their pictures"),
        ({"seeds": [1], "shift": (0.1, 0.0)}, "--shift 0.1,0: networks of family"),
    ):
        with pytest.raises(FigmentError, match=flag):
            sample(model, tmp_path, **options)


def test_alias_free_networks_move_their_pictures(tmp_path):
    model = DATA / "sg3r_tiny.pkl"
    sample(model, tmp_path / "still", seeds=[1])
    sample(model, tmp_path / "moved", seeds=[1], rotate=90.0, shift=(0.0, 0.25))
    still, moved = (np.asarray(open_image(tmp_path / name / "seed0001.png"), np.float32) for name in ("still", "moved"))
    turned = np.rot90(still)[:24]  # counterclockwise; then down by 8 of 32 pixels
    assert np.abs(moved[8:] - turned).mean() < 0.25 * np.abs(moved[8:] - still[8:]).mean()
    row = read_json(tmp_path / "moved" / "seed0001.json")
    assert (row["rotate"], row["shift"]) == (90, [0, 0.25])


def test_pictures_that_are_not_square(tmp_path, oblong):
    sample(oblong, tmp_path, seeds=range(8), grid=(4, 2))
    grid = np.asarray(open_image(tmp_path / "grid.png"))
    assert grid.shape == (32, 32, 3)
    first, last = (np.asarray(open_image(tmp_path / f"seed000{seed}.png")) for seed in (0, 7))
    assert first.shape == (16, 8, 3)
    assert np.array_equal(grid[:16, :8], first) and np.array_equal(grid[16:, 24:], last)


@pytest.mark.parametrize("name", ["seed0000.json", "sample.json"])
def test_latents_are_not_overwritten(model, tmp_path, name):
    (tmp_path / name).write_text('{"seeds": [0]}')
    with pytest.raises(FigmentError, match=f"--output .*{name}: would overwrite --latents .*{name}"):
        sample(model, tmp_path, latents=tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
