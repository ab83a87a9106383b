import av
import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.base.pixels import open_image
from figment.draw.latents import seeds_to_w
from figment.draw.render import draw_pictures, load_generator
from figment.draw.sweep import sweep


def test_the_picture_runs_from_psi_to_psi(tmp_path, model):
    sweep(model, tmp_path / "s.png", seeds="3,5", steps=3)
    sheet = np.asarray(open_image(tmp_path / "s.png"))
    assert sheet.shape == (32, 48, 3)
    g, _ = load_generator(model)
    assert np.array_equal(sheet[:16, :16], draw_pictures(g, seeds_to_w(g, [3], -1.0))[0])
    assert np.array_equal(sheet[16:, 32:], draw_pictures(g, seeds_to_w(g, [5], 1.0))[0])
    assert np.array_equal(sheet[:16, 16:32], sheet[16:, 16:32])  # psi 0: the mean, whoever it was


def test_the_film_has_its_length(tmp_path, model):
    sweep(model, tmp_path / "s.mp4", seeds=[1, 2], seconds=1, fps=8)
    with av.open(str(tmp_path / "s.mp4")) as video:
        assert len(list(video.decode(video=0))) == 8


def test_mistakes_name_the_flag(tmp_path, model):
    for options, flag in (({"steps": 1}, "--steps"), ({"start": float("nan")}, "--start"), ({"fps": 0}, "--fps")):
        with pytest.raises(FigmentError, match=flag):
            sweep(model, tmp_path / "s.png", **options)
    with pytest.raises(FigmentError, match="--output"):
        sweep(model, tmp_path / "s.avi")


def test_a_sweep_does_not_overwrite_its_characters(model, tmp_path):
    (tmp_path / "hero.json").write_text('{"seeds": [0]}')
    with pytest.raises(FigmentError, match=r"--output .*hero.json: would overwrite --seeds .*hero.json"):
        sweep(model, tmp_path / "hero.png", seeds=str(tmp_path / "hero.json"), steps=2)
    assert [path.name for path in tmp_path.iterdir()] == ["hero.json"]
