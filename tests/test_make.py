import pytest

from figment.base.errors import FigmentError
from figment.demo.art import make_demo_art
from figment.make import MakeOptions, make


def snapshot(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("catalog.db", "stats.jsonl") and path.suffix != ".pt"
    }


@pytest.mark.slow
def test_the_whole_path_leaves_its_files_and_does_nothing_twice(tmp_path, capsys):
    make_demo_art(tmp_path / "pictures", pictures=30, seed=1)
    options = MakeOptions(kimg=0.032, resolution=16, device="cpu")
    make(tmp_path / "pictures", tmp_path / "out", options)
    first = snapshot(tmp_path / "out")
    for name in (
        "heads/rejects.png",
        "heads.zip",
        "runs/00000-heads/config.json",
        "runs/00000-heads/model.safetensors",
        "out/grid.png",
        "out/morph.mp4",
        "out/film.mp4",
        "site/index.html",
        "site/film.mp4",
        "make.json",
    ):
        assert name in first, name
    assert (tmp_path / "out" / "heads" / "catalog.db").exists()
    assert not [name for name in first if ".partial" in name]

    capsys.readouterr()
    make(tmp_path / "pictures", tmp_path / "out", options)
    assert "up to date" in capsys.readouterr().out
    assert snapshot(tmp_path / "out") == first


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"kimg": float("inf")}, "--kimg inf"),
        ({"seed": -1}, "--seed -1"),
        ({"resolution": 48}, "--resolution 48"),
        ({"device": "gpu"}, "--device gpu"),
    ],
)
def test_what_a_late_stage_would_refuse_is_refused_at_once(tmp_path, options, says):
    with pytest.raises(FigmentError, match=f"{says}: must be "):
        make(tmp_path, tmp_path / "out", MakeOptions(**options))
    assert not (tmp_path / "out").exists()
