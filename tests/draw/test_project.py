"""A character that the generator drew is found again; what is written, and mistakes."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.pixels import to_uint8, write_png
from figment.draw.perceptual import Perceptual
from figment.draw.project import head_of, project, project_picture, tune_generator
from figment.nets.registry import build_discriminator, build_generator


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(3)
    g = build_generator(
        {"family": "stylegan2", "z_dim": 8, "w_dim": 8, "resolution": 16, "channel_base": 64, "map_depth": 2}
    ).eval()
    d = build_discriminator({"family": "stylegan2", "resolution": 16, "channel_base": 64}).eval().requires_grad_(False)
    return g, d


def picture_of(g, seed):
    z = torch.randn(1, 8, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return g.synthesis(g.mapping(z), noise="const").clamp(-1, 1)


def test_the_distance_is_nothing_for_the_same_picture_and_grows(networks):
    g, d = networks
    likeness = Perceptual(d)
    one, other = picture_of(g, 1), picture_of(g, 2)
    seen = likeness.look(one)
    assert float(likeness(one, seen)) == 0
    near = one + 0.02 * torch.randn(one.shape, generator=torch.Generator().manual_seed(0))
    assert 0 < float(likeness(near, seen)) < float(likeness(other, seen))


@pytest.mark.parametrize("space", ["w", "w+"])
def test_a_drawn_character_is_found_again(networks, space):
    g, d = networks
    target, told = picture_of(g, 11), []
    found = project_picture(g, target, d=d, space=space, steps=60, on_step=lambda *row: told.append(row))
    likeness = Perceptual(d)
    with torch.no_grad():
        seen = likeness.look(target)
        strangers = np.mean([float(likeness(picture_of(g, seed), seen)) for seed in range(20, 26)])
    assert found.w.shape == (1, g.num_layers, 8)
    assert found.distance < strangers / 4
    assert [row[0] for row in told] == list(range(1, 61)) and told[-1][2] <= told[0][2]
    if space == "w":
        assert torch.equal(found.w[:, 0], found.w[:, -1])


def test_the_search_can_be_stopped_and_repeats(networks):
    g, d = networks
    target = picture_of(g, 5)
    stopped = project_picture(g, target, d=d, steps=50, on_step=lambda step, of, distance: step < 3)
    again = project_picture(g, target, d=d, steps=50, on_step=lambda step, of, distance: step < 3)
    assert torch.equal(stopped.w, again.w)
    with pytest.raises(FigmentError, match="--space z"):
        project_picture(g, target, space="z")


def test_pivotal_tuning_comes_nearer(networks):
    import copy

    g, d = copy.deepcopy(networks[0]), networks[1]
    target = picture_of(networks[0], 9).flip(3)
    found = project_picture(g, target, d=d, steps=10)
    assert tune_generator(g, found.w, target, d=d, steps=20, rate=3e-3) < found.distance


def test_a_head_is_cut_to_the_models_size(capsys):
    tensor = head_of(Image.new("RGB", (80, 50), (255, 0, 0)), 16)
    assert tensor.shape == (1, 3, 16, 16) and "no head found" in capsys.readouterr().out
    assert head_of(Image.new("RGB", (20, 20)), 16, channels=4).shape == (1, 4, 16, 16)


def test_files_of_a_projection(model, tmp_path):
    write_png(tmp_path / "in" / "a.png", np.full((20, 20, 3), 99, np.uint8))
    rows = project(model, tmp_path / "in", tmp_path / "out", steps=4, crop=False, film=True)
    assert [name for name, _ in rows] == ["a"]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"a.png", "a-pair.png", "a.npz", "a.mp4", "project.json"}
    w = np.load(tmp_path / "out" / "a.npz")["w"]
    assert w.ndim == 3 and json.loads((tmp_path / "out" / "project.json").read_text())["distances"]["a"] == rows[0][1]
    assert to_uint8(torch.zeros(1)).item() == 128


def test_a_folder_goes_on_behind_a_bad_picture_and_overwrites_nothing(model, tmp_path, capsys):
    for name in ("a.png", "A.png", "a-pair.png", "sub/a.png"):
        write_png(tmp_path / "in" / name, np.full((20, 20, 3), 99, np.uint8))
    (tmp_path / "in" / "bad.png").write_text("text")
    (tmp_path / "in" / "a.txt").write_text("1girl")
    rows = project(model, tmp_path / "in", tmp_path / "in" / "out", steps=1, crop=False)
    names = [path.name.casefold() for path in (tmp_path / "in" / "out").iterdir()]
    assert len(rows) == 4 and len(set(names)) == 4 * 3 + 1
    about = json.loads((tmp_path / "in" / "out" / "project.json").read_text())
    assert sorted(about["pictures"].values()) == ["A.png", "a-pair.png", "a.png", "sub/a.png"]
    assert about["pictures"].keys() == about["distances"].keys()
    said = capsys.readouterr().out.splitlines()
    assert "1 .txt" in said[0] and "left out" in said[1] and "bad.png" in said[1]

    # The results are not projected again, and without any usable picture there is one line.
    assert len(project(model, tmp_path / "in", tmp_path / "in" / "out", steps=1, crop=False)) == 4
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "bad.png").write_text("text")
    with pytest.raises(FigmentError, match="none of its 1 pictures"):
        project(model, tmp_path / "none", tmp_path / "out", steps=1)


def test_a_model_of_oblong_pictures_is_one_line(tmp_path, oblong):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    with pytest.raises(FigmentError, match="draws 8x16 pixels, and projecting needs a model that draws squares"):
        project(oblong, tmp_path / "a.png", tmp_path / "out", steps=1)


def test_mistakes_are_refused_before_anything_is_written(model, tmp_path):
    picture = tmp_path / "one.png"
    write_png(picture, np.zeros((16, 16, 3), np.uint8))
    before = picture.read_bytes()
    for given, out, says in (
        ((picture, {"space": "z"}), "out", "--space z: must be w or w+"),
        ((tmp_path / "none.png", {}), "out", "PICTURES .*none.png: no such file"),
        ((tmp_path / ("n" * 300), {}), "out", "PICTURES n*.*: can't read this file"),
        ((picture, {}), ".", "--output .*one.png: would overwrite PICTURES .*one.png"),
        ((tmp_path, {}), ".", "--output .*one.png: would overwrite PICTURES .*one.png"),
    ):
        with pytest.raises(FigmentError, match=says.replace("w+", "w[+]")):
            project(model, given[0], tmp_path / out, device="cpu", **given[1])
    assert picture.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["one.png"]
