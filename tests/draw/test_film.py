import av
import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.draw.film import film


def test_grids_become_a_film_in_order(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(FigmentError, match="no grids"):
        film(tmp_path, tmp_path / "film.mp4")
    for i, value in enumerate((0, 120, 240)):
        write_png(tmp_path / "fakes" / f"img{i:09d}.png", np.full((32, 32, 3), value, np.uint8))
    film(tmp_path, tmp_path / "film.mp4")
    with av.open(str(tmp_path / "film.mp4")) as video:
        means = [frame.to_ndarray(format="rgb24").mean() for frame in video.decode(video=0)]
    assert means[0] < 10 and means[-1] > 230 and means == sorted(means)
    assert len(means) == 3 * 12 + 48
