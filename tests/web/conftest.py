"""A tiny model in a file and a studio that shows it."""

import pytest
import torch

from figment.nets.checkpoint import Model, save
from figment.nets.registry import build_generator
from tests.conftest import TINY_GENERATOR


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    torch.manual_seed(0)
    g = build_generator(TINY_GENERATOR).eval()
    g.w_avg.normal_()
    path = tmp_path_factory.mktemp("studio") / "tiny.safetensors"
    save(path, Model(g_ema=g, config={"kimg": 1.5, "data": {"pictures": 12}, "licence": "CC0"}))
    return path


@pytest.fixture
def studio(tiny_model, tmp_path):
    pytest.importorskip("starlette", reason="the studio needs the extra `web`")
    from figment.web.studio import Studio

    shown = Studio(tiny_model, device="cpu", favourites=tmp_path / "studio.db")
    yield shown
    shown.close()


@pytest.fixture
def visit(studio, visitor):
    """A visitor of the studio, as its own page is one."""
    from figment.web.studio import make_app

    return visitor(make_app(studio))
