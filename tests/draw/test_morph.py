import av
import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.draw.characters import Characters
from figment.draw.latents import closed_spline, seeds_to_w
from figment.draw.morph import even_positions, key_marks, loop_changes, morph, respace
from figment.draw.render import load_generator, render_each


def test_changes_close_the_loop():
    images = np.zeros((3, 1, 2, 2), np.uint8)
    images[1], images[2] = 10, 40
    assert loop_changes(images).tolist() == [10, 30, 40]
    with pytest.raises(ValueError, match="at least one image"):
        loop_changes([])


def test_respacing_divides_the_measured_length():
    at = respace(np.array([0.0, 0.25, 0.5, 0.75]), np.array([3.0, 1.0, 1.0, 1.0]))
    assert at == pytest.approx([0.0, 0.125, 0.25, 0.625])


def test_the_pace_becomes_even_and_the_loop_closes(model):
    g, _ = load_generator(model)
    keys = seeds_to_w(g, [0, 1, 2], psi=1.0)
    loop = even_positions(lambda at: render_each(g, closed_spline(keys, at)), 60)
    assert len(loop.images) == 60
    assert loop.pace.after < 1.15 < loop.pace.before
    changes = loop_changes(loop.images)
    assert changes[-1] < 1.15 * changes.mean()


def test_the_video_has_its_length_and_even_sides(tmp_path, model):
    morph(model, tmp_path / "m.mp4", seeds=[0, 1], seconds=1, fps=12, size=63)
    with av.open(str(tmp_path / "m.mp4")) as video:
        frames = list(video.decode(video=0))
    assert len(frames) == 12 and (frames[0].width, frames[0].height) == (64, 64)
    assert (tmp_path / "m.json").exists()


def test_mistakes_name_the_flag(tmp_path, model):
    for options, flag in (({"seeds": [1]}, "--seeds"), ({"seeds": [1, 2], "seconds": 0}, "--seconds")):
        with pytest.raises(FigmentError, match=flag):
            morph(model, tmp_path / "m.mp4", **options)
    with pytest.raises(FigmentError, match="--output"):
        morph(model, tmp_path / "m.avi", seeds=[1, 2])


def test_times_of_key_frames_are_kept_and_the_pace_between_them_is_even(tmp_path, model):
    g, _ = load_generator(model)
    keys = Characters(("a", "b"), (0, 1), seeds_to_w(g, [0, 1], psi=1.0), times=(0.0, 0.75))
    marks = key_marks(keys, 40, 1.0)
    assert marks == ((0, 0.0), (30, 0.5), (40, 1.0))
    loop = even_positions(lambda at: render_each(g, closed_spline(keys.w, at)), 40, marks)
    assert loop.at[0] == 0 and loop.at[30] == pytest.approx(0.5, abs=1e-6)
    assert loop.pace.after < 1.15
    with pytest.raises(FigmentError, match="--keys"):
        key_marks(Characters(("a", "b"), (0, 1), keys.w, times=(0.0, 2.0)), 40, 1.0)


def test_a_loop_too_large_to_hold_is_drawn_again(tmp_path, model, monkeypatch):
    morph(model, tmp_path / "a.gif", keys="0,1", path="circle", seconds=0.5, size=16)
    monkeypatch.setattr("figment.draw.morph.MEMORY", 1000)
    morph(model, tmp_path / "b.gif", keys="0,1", path="circle", seconds=0.5, size=16)
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_uncorrected_steps_are_equal_in_latent_space(tmp_path, model):
    pace = morph(model, tmp_path / "a.webp", seeds=[0, 1, 2], seconds=1, fps=10, even=False)
    assert pace.before == pace.after


def test_pictures_that_are_not_square_keep_their_shape(tmp_path, oblong):
    morph(oblong, tmp_path / "m.mp4", seeds=[0, 1], seconds=1, fps=12, size=64)
    with av.open(str(tmp_path / "m.mp4")) as video:
        frame = next(video.decode(video=0))
    assert (frame.width, frame.height) == (32, 64)


def test_a_morph_does_not_overwrite_its_key_frames(model, tmp_path):
    (tmp_path / "keys.json").write_text("[0, 1]")
    with pytest.raises(FigmentError, match=r"--output .*keys.json: would overwrite --keys .*keys.json"):
        morph(model, tmp_path / "keys.gif", keys=tmp_path / "keys.json", seconds=0.2)
    assert [path.name for path in tmp_path.iterdir()] == ["keys.json"]
