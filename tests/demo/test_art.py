import json

import pytest

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.pixels import open_image
from figment.demo.art import SHARES, make_demo_art


@pytest.fixture(scope="module")
def art(tmp_path_factory):
    folder = tmp_path_factory.mktemp("art") / "pictures"
    make_demo_art(folder, pictures=40, seed=3)
    return folder


def truth(folder):
    return json.loads((folder / "truth.json").read_text())["pictures"]


def test_every_kind_is_there_and_reads_as_its_truth_says(art):
    entries = truth(art)
    assert {entry["kind"] for entry in entries.values()} == {"scene", *SHARES}
    assert len(entries) == 40
    for name, entry in entries.items():
        try:
            image = open_image(art / name)
        except UnreadableImage:
            assert not entry["usable"], name
            continue
        assert entry["usable"], name
        for x0, y0, x1, y1 in entry["boxes"]:
            assert -1 <= x0 < x1 <= image.width + 1 and -1 <= y0 < y1 <= image.height + 1, name


def test_what_a_kind_promises_holds(art):
    for entry in truth(art).values():
        if entry["kind"] == "no-head":
            assert entry["boxes"] == []
        if entry["kind"] == "small-heads":
            assert all(entry["too_small"]) and entry["boxes"]
        if entry["kind"] == "scene":
            assert entry["boxes"] and not any(entry["too_small"])
        if entry["of"]:
            assert len(entry["boxes"]) == len(truth(art)[entry["of"]]["boxes"])


def test_a_lost_file_is_drawn_again_with_the_same_bytes(art):
    before = {path.name: path.read_bytes() for path in art.rglob("*") if path.is_file()}
    next(iter(art.rglob("00004.*"))).unlink()
    make_demo_art(art, pictures=40, seed=3)
    assert {path.name: path.read_bytes() for path in art.rglob("*") if path.is_file()} == before
    assert "avataaars" in (art / "CREDITS.md").read_text()


def test_mistakes_name_the_flag(art, tmp_path):
    with pytest.raises(FigmentError, match="--pictures 5"):
        make_demo_art(tmp_path / "a", pictures=5)
    with pytest.raises(FigmentError, match="seed 3 with 40"):
        make_demo_art(art, pictures=40, seed=4)
    (tmp_path / "file").write_text("")
    with pytest.raises(FigmentError, match="OUT"):
        make_demo_art(tmp_path / "file")
