import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.base.pixels import open_image
from figment.draw.mix import mix


def test_the_table_shows_sources_and_mixes(tmp_path, model):
    mix(model, tmp_path / "mix.png", rows=[0, 1], columns=[2, 3, 4], layers="0-5", psi=1.0)
    table = np.asarray(open_image(tmp_path / "mix.png"))
    assert table.shape == (48, 64, 3)
    assert not table[:16, :16].any()
    # All layers taken from the column: every cell is its column's source.
    assert np.array_equal(table[16:32, 16:32], table[:16, 16:32])
    mix(model, tmp_path / "none.png", rows=[0, 1], columns=[2], layers="5-5", psi=1.0)
    assert not np.array_equal(np.asarray(open_image(tmp_path / "none.png"))[16:32, 16:32], table[:16, 16:32])


def test_all_bands_stand_below_one_another(tmp_path, model):
    mix(model, tmp_path / "mix.png", rows="0", columns="2-3")
    assert open_image(tmp_path / "mix.png").size == (48, 64)  # six layers: coarse and middle
    mix(model, tmp_path / "middle.png", rows="0", columns="2-3", layers="middle")
    assert np.array_equal(
        np.asarray(open_image(tmp_path / "mix.png"))[32:], np.asarray(open_image(tmp_path / "middle.png"))
    )


def test_a_table_that_is_too_large_is_one_line(tmp_path, model, monkeypatch):
    monkeypatch.setattr("figment.draw.mix.MOST_CELLS", 5)
    with pytest.raises(FigmentError, match="--rows and --columns: 2 x 3 cells; a table must have at most 5"):
        mix(model, tmp_path / "a.png", rows=[0, 1], columns=[0, 1, 2])


def test_a_table_is_a_png_and_does_not_overwrite_its_characters(model, tmp_path):
    with pytest.raises(FigmentError, match=r"--output .*a.jpg: must end in .png"):
        mix(model, tmp_path / "a.jpg", rows=[0], columns=[1])
    (tmp_path / "hero.json").write_text('{"seeds": [0]}')
    with pytest.raises(FigmentError, match=r"--output .*hero.json: would overwrite --rows .*hero.json"):
        mix(model, tmp_path / "hero.png", rows=str(tmp_path / "hero.json"), columns=[1])
    assert [path.name for path in tmp_path.iterdir()] == ["hero.json"]
