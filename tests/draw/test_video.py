from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from figment.draw.video import film_fps, write_film, write_mp4


def test_frames_are_h264_that_plays_everywhere(tmp_path):
    frames = [Image.new("RGB", (33, 20), (value, 0, 0)) for value in (0, 128, 255)]
    assert write_mp4(tmp_path / "a.mp4", frames, 30, side=66) == 3
    with av.open(str(tmp_path / "a.mp4")) as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.average_rate) == (66, 40, 30)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_animations_repeat_for_ever_and_keep_their_time(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    frames = [Image.new("RGB", (32, 20), (value, 40, 255 - value)) for value in (0, 120, 255)]
    assert write_film(path, frames, 25) == 3
    with Image.open(path) as film:
        assert (film.n_frames, film.size, film.info["loop"]) == (3, (32, 20), 0)
        for index, frame in enumerate(frames):
            film.seek(index)
            film.load()
            assert film.info["duration"] == 40
            assert np.abs(np.asarray(film.convert("RGB")).astype(int) - np.asarray(frame)).max() <= 8
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_gif_plays_at_a_rate_that_players_keep():
    assert [film_fps(Path("a.gif"), fps) for fps in (25, 30, 60)] == [25, 100 / 3, 50]
    assert film_fps(Path("a.mp4"), 60) == 60


def test_transparent_frames_lie_on_white(tmp_path):
    write_film(tmp_path / "a.gif", [Image.new("RGBA", (8, 8), (0, 0, 0, 0))] * 2, 10)
    with Image.open(tmp_path / "a.gif") as film:
        assert film.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
