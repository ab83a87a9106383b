import json
import re

import numpy as np
import pytest
import torch

from figment.base.errors import FigmentError
from figment.base.files import write_json, write_text
from figment.base.pixels import open_image, write_png
from figment.draw.latents import seeds_to_w
from figment.draw.sample import sample
from figment.models import load
from figment.nets.checkpoint import Model, save
from figment.nets.registry import build_discriminator, build_generator
from figment.web.compose import digest_of
from figment.web.favourites import Favourites
from figment.web.publish import publish

NETWORK = {"family": "stylegan2", "resolution": 16, "channels": 3, "channel_base": 64, "channel_max": 8}


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(0)
    g = build_generator({**NETWORK, "z_dim": 4, "w_dim": 4, "map_depth": 1}).eval()
    config = {"licence": "<script>bad</script>", "kimg": 2.0}
    save(tmp_path / "run" / "model.safetensors", Model(g_ema=g, d=build_discriminator(NETWORK), config=config))
    write_json(tmp_path / "run" / "config.json", {})
    return tmp_path / "run"


@pytest.fixture
def loop(tmp_path):
    path = tmp_path / "loop.mp4"
    path.write_bytes(b"a film")
    return path


def named(site):
    """Every file that the page names, all of them relative."""
    text = (site / "index.html").read_text()
    return re.findall(r'(?:src|href|poster)="([^"]+)"', text), text


@pytest.mark.slow
def test_everything_the_page_names_lies_beside_it(tmp_path, run):
    write_png(run / "fakes" / "img000000000.png", np.zeros((32, 32, 3), np.uint8))
    publish(run, tmp_path / "site", seeds=range(4), title="Heroes & <friends>", seconds=0.5)
    links, text = named(tmp_path / "site")
    assert {"faces/seed0003.png", "morph.mp4", "film.mp4", "hero.png", "gallery.css", "gallery.js"} <= set(links)
    assert all((tmp_path / "site" / link).is_file() for link in links)
    assert "Heroes &amp; &lt;friends&gt;" in text
    assert "<script>bad" not in text and "&lt;script&gt;bad" in text
    assert not (tmp_path / "site" / "morph.json").exists()
    assert "http" not in text + (tmp_path / "site" / "gallery.js").read_text() and '"/' not in text
    assert json.loads(re.search(r'id="site">(.*?)</script>', text)[1]) == {"psi": 0.7, "generator": None}


def test_a_face_is_what_sample_draws_and_the_hero_is_the_discriminators_choice(tmp_path, run, loop):
    publish(run, tmp_path / "site", seeds=range(5), loop=loop)
    sample(run, tmp_path / "out", seeds=list(range(5)))
    faces = [np.asarray(open_image(tmp_path / "out" / f"seed{seed:04d}.png")) for seed in range(5)]
    for seed, face in enumerate(faces):
        assert (np.asarray(open_image(tmp_path / "site" / "faces" / f"seed{seed:04d}.png")) == face).all()
    d = load(run).d.eval()
    with torch.inference_mode():
        scores = [float(d(torch.from_numpy(face.copy()).permute(2, 0, 1)[None] / 127.5 - 1)) for face in faces]
    best = json.loads((tmp_path / "site" / "site.json").read_text())["hero"]
    assert best == int(np.argmax(scores))
    assert (np.asarray(open_image(tmp_path / "site" / "hero.png")) == faces[best]).all()


def test_a_model_file_has_no_film_and_a_drawn_loop_is_taken(tmp_path, run, loop):
    write_text(tmp_path / "run" / "CREDITS.md", "Drawn by <Ada>")
    publish(run / "model.safetensors", tmp_path / "site", seeds=[0, 1], loop=loop)
    links, text = named(tmp_path / "site")
    assert (tmp_path / "site" / "morph.mp4").read_bytes() == b"a film"
    assert "film.mp4" not in links and "Drawn by &lt;Ada&gt;" in text


def test_favourites_of_the_studio_and_saved_latents(tmp_path, run, loop, capsys):
    with Favourites(run / "studio.db") as store:
        store.add("3@0.7", "Mira <3", digest_of(run / "model.safetensors"))
        store.add("4@0.7", "stranger", "0" * 16)
    publish(run, tmp_path / "site", seeds=range(5), loop=loop)
    assert "stranger" in capsys.readouterr().out
    assert "Mira &lt;3" in named(tmp_path / "site")[1]
    kept = np.asarray(open_image(tmp_path / "site" / "favourites" / "0000.png"))
    wall = np.asarray(open_image(tmp_path / "site" / "faces" / "seed0003.png"))
    assert np.abs(kept.astype(int) - wall).max() <= 1

    np.save(tmp_path / "w.npy", seeds_to_w(load(run).generator, [2]).numpy())
    publish(run, tmp_path / "other", seeds=range(3), loop=loop, favourites=tmp_path / "w.npy")
    kept = np.asarray(open_image(tmp_path / "other" / "favourites" / "0000.png"))
    assert (kept == np.asarray(open_image(tmp_path / "other" / "faces" / "seed0002.png"))).all()
    np.save(tmp_path / "w.npy", np.zeros((2, 3, 4)))
    with pytest.raises(FigmentError, match=r"--favourites .*shape \[2, 3, 4\]; this model's w is \[N, 6, 4\]"):
        publish(run, tmp_path / "other", seeds=range(3), loop=loop, favourites=tmp_path / "w.npy")


def test_mistakes_are_one_line(tmp_path, run, loop):
    with pytest.raises(FigmentError, match="--seeds"):
        publish(run, tmp_path / "site", seeds=[])
    with pytest.raises(FigmentError, match=r"--favourites .*no such file"):
        publish(run, tmp_path / "site", seeds=[0, 1], loop=loop, favourites=tmp_path / "none.db")
    with pytest.raises(FigmentError, match="--runtime .*only of use with --onnx"):
        publish(run, tmp_path / "site", seeds=[0, 1], loop=loop, runtime=tmp_path)
    with pytest.raises(FigmentError, match="--half: only of use with --onnx"):
        publish(run, tmp_path / "site", seeds=[0, 1], loop=loop, half=True)
    assert not (tmp_path / "site" / "index.html").exists()
