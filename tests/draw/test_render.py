import numpy as np
import pytest
import torch

from figment.base.errors import FigmentError
from figment.draw.latents import seeds_to_w
from figment.draw.render import draw_pictures, load_generator, picture_png, render
from figment.nets.registry import build_generator
from figment.train.state import STARTS

SMALL = {
    "stylegan1": {"channel_base": 512, "channel_max": 32, "z_dim": 16, "w_dim": 16, "map_depth": 2},
    "progan": {"channel_base": 512, "channel_max": 32, "z_dim": 16},
    "lucidrains": {"widths": [48, 32, 16, 8], "z_dim": 16, "map_depth": 2},
}


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def small(family):
    torch.manual_seed(0)
    return build_generator({"family": family, "resolution": 32, "channels": 3, **SMALL[family]}).eval()


def test_pictures_have_their_layout(model):
    g, config = load_generator(model)
    ws = seeds_to_w(g, [0, 1, 2])
    assert render(g, ws).shape == (3, 3, 16, 16) and render(g, ws).dtype == np.uint8
    assert draw_pictures(g, ws).shape == (3, 16, 16, 3)
    assert config["kimg"] == 1.5


@pytest.mark.parametrize("family", ["start-64", *SMALL])
def test_a_seed_is_the_same_png_in_batches_of_1_3_and_16_on_1_and_2_threads(family, threads):
    g = load_generator(STARTS[64], "cpu")[0] if family == "start-64" else small(family)
    seeds = list(range(100, 116))
    found = {}
    for count in (1, 2):
        threads(count)
        whole = seeds_to_w(g, seeds)
        for batch in (1, 3, 16):
            ws = torch.cat([seeds_to_w(g, seeds[at : at + batch]) for at in range(0, 16, batch)])
            assert torch.equal(ws, whole)
            parts = [draw_pictures(g, ws[at : at + batch]) for at in range(0, 16 if batch == 16 else 6, batch)]
            found[count, batch] = [picture_png(picture) for part in parts for picture in part]
        assert torch.get_num_threads() == count
    assert len(set(found[1, 16])) == 16
    for pngs in found.values():
        assert pngs == found[1, 16][: len(pngs)]


def test_random_noise_is_the_pictures_own(threads):
    g = small("stylegan1")
    for block in g.blocks:
        torch.nn.init.constant_(block.layer0.noise_weight, 0.5)
    ws = seeds_to_w(g, [0, 1, 2])
    threads(2)
    noisy = render(g, ws, "random", [7, 8, 9])
    assert np.array_equal(noisy[1:2], render(g, ws[1:2], "random", [8]))
    assert not np.array_equal(noisy[1:2], render(g, ws[1:2], "random", [9]))
    assert not np.array_equal(noisy, render(g, ws, "none"))


def test_a_device_that_is_missing_is_one_line(model):
    with pytest.raises(FigmentError, match="--device gpu: must be cpu, cuda"):
        load_generator(model, "gpu")
    if not torch.cuda.is_available():
        with pytest.raises(FigmentError, match="--device cuda: no CUDA device here"):
            load_generator(model, "cuda")
