"""The published page in a real browser: what it draws is what PyTorch draws."""

import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from figment.draw.latents import seeds_to_w
from figment.draw.render import render
from figment.nets.checkpoint import Model, save
from figment.nets.registry import build_generator
from figment.web.publish import publish
from figment.web.runtime import cached_package

sync_api = pytest.importorskip("playwright.sync_api")
pytest.importorskip("onnxruntime")

RUNTIME = Path(os.environ.get("FIGMENT_ORT_WEB") or cached_package())
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium"),
    pytest.mark.skipif(not RUNTIME.exists(), reason="no onnxruntime-web: FIGMENT_ORT_WEB names its .tgz or folder"),
]
PIXELS = """() => {
  const canvas = document.querySelector("#viewer canvas");
  const { width, height } = canvas;
  return [width, height, ...canvas.getContext("2d").getImageData(0, 0, width, height).data];
}"""
PATIENCE = 120_000


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A site in a sub-folder of its host, its address, and its generator."""
    folder = tmp_path_factory.mktemp("host")
    torch.manual_seed(0)
    g = build_generator(
        {
            "family": "stylegan2",
            "resolution": 8,
            "channels": 3,
            "channel_base": 128,
            "channel_max": 16,
            "z_dim": 8,
            "w_dim": 8,
            "map_depth": 2,
        }
    ).eval()
    save(folder / "net.safetensors", Model(g_ema=g))
    (folder / "loop.mp4").write_bytes(b"")
    publish(
        folder / "net.safetensors",
        folder / "deep" / "site",
        seeds=range(4),
        loop=folder / "loop.mp4",
        onnx=True,
        runtime=RUNTIME,
    )
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/deep/site/", g
        server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


def test_the_page_draws_what_pytorch_draws_and_asks_nobody_else(browser, published):
    address, g = published
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    asked, broken = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: broken.append(str(error)))
    for link, seed, psi in (("seed=123", 123, 0.7), ("seed=4294967295&psi=1", 2**32 - 1, 1.0)):
        page.goto(f"{address}#{link}")
        page.wait_for_selector(f"#viewer[data-drawn='#{link}']")
        width, height, *values = page.evaluate(PIXELS)
        found = np.array(values).reshape(height, width, 4)
        wanted = render(g, seeds_to_w(g, [seed], psi))[0].transpose(1, 2, 0)
        assert wanted.std() > 5
        assert np.abs(found[..., :3] - wanted.astype(int)).max() <= 2
        assert (found[..., 3] == 255).all()

    # The endless wall goes on by itself.
    page.keyboard.press("Escape")
    page.click("#invite")
    page.wait_for_function("document.querySelectorAll('#wall canvas').length > 24")
    assert broken == []
    assert [url for url in asked if not url.startswith((address, "blob:", "data:"))] == []
    page.close()


def test_a_way_between_two_characters_ends_at_the_second(browser, published):
    address, g = published
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}#seed=5&psi=0.9&to=6&at=1")
    page.wait_for_selector("#viewer[data-drawn='#seed=5&psi=0.9&to=6&at=1']")
    width, height, *values = page.evaluate(PIXELS)
    wanted = render(g, seeds_to_w(g, [6], 0.9))[0].transpose(1, 2, 0)
    assert np.abs(np.array(values).reshape(height, width, 4)[..., :3] - wanted.astype(int)).max() <= 2
    page.close()
