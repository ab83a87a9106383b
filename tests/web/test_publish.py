import re

import numpy as np
import pytest
import torch

from figment.base.errors import FigmentError
from figment.base.files import write_json
from figment.base.pixels import write_png
from figment.nets.modelfile import Model, save
from figment.nets.registry import build_generator
from figment.web.publish import publish


@pytest.fixture
def run(tmp_path):
    torch.manual_seed(0)
    g = build_generator({"family": "stylegan2", "resolution": 16, "channels": 3, "channel_base": 64, "channel_max": 8,
                         "z_dim": 4, "w_dim": 4, "map_depth": 1}).eval()
    config = {"licence": "<script>bad</script>", "kimg": 2.0}
    save(tmp_path / "run" / "model.safetensors", Model(g_ema=g, config=config))
    write_json(tmp_path / "run" / "config.json", {})
    return tmp_path / "run"


def test_everything_the_page_names_lies_beside_it(tmp_path, run):
    write_png(run / "fakes" / "img000000000.png", np.zeros((32, 32, 3), np.uint8))
    publish(run, tmp_path / "site", seeds=range(4), title="Heroes & <friends>", seconds=0.5)
    text = (tmp_path / "site" / "index.html").read_text()
    links = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len(links) == 4 * 2 + 2
    assert all((tmp_path / "site" / link).exists() for link in links)
    assert "Heroes &amp; &lt;friends&gt;" in text
    assert "<script" not in text and "http" not in text


def test_a_model_file_has_no_film_and_a_drawn_loop_is_taken(tmp_path, run):
    loop = tmp_path / "loop.mp4"
    loop.write_bytes(b"a film")
    publish(run / "model.safetensors", tmp_path / "site", seeds=[0, 1], loop=loop)
    assert (tmp_path / "site" / "morph.mp4").read_bytes() == b"a film"
    assert not (tmp_path / "site" / "film.mp4").exists()
    assert "film.mp4" not in (tmp_path / "site" / "index.html").read_text()


def test_no_seeds_is_one_line(tmp_path, run):
    with pytest.raises(FigmentError, match="--seeds"):
        publish(run, tmp_path / "site", seeds=[])
