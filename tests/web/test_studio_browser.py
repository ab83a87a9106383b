"""The studio's page in a real browser, against a real server."""

import re
import shutil
import socket
import threading
import time

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium here to show the studio's page"),
]
uvicorn = pytest.importorskip("uvicorn", reason="the studio needs the extra `web`")
driving = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")


@pytest.fixture
def address(studio):
    """Where the studio is served."""
    from figment.web.studio import make_app

    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(make_app(studio), log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=10)
    listener.close()


@pytest.fixture
def page():
    """An empty page; whatever goes wrong on it, or goes to another host, fails the test."""
    wrong = []
    with driving.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 900, "height": 700})
        shown.set_default_timeout(20_000)
        shown.on("pageerror", lambda error: wrong.append(str(error)))
        shown.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        shown.on(
            "request",
            lambda request: (
                wrong.append(request.url) if not request.url.startswith(("http://127.0.0.1:", "data:")) else None
            ),
        )
        yield shown
        browser.close()
    assert wrong == []


def test_looking_keeping_breeding_and_morphing(page, address, studio):
    expect = driving.expect
    driving.expect.set_options(timeout=20_000)

    # The wall fills itself, and goes on when one scrolls.
    page.goto(address)
    expect(page.locator("#wall .tile img.here").first).to_be_visible()
    before = page.locator("#wall .tile").count()
    page.mouse.wheel(0, 20_000)
    expect(page.locator("#wall .tile").nth(before)).to_be_attached()

    # A linked character is kept by a key, and its sliders redraw it and rewrite the address.
    page.goto(f"{address}/?r=17@0.7")
    expect(page.locator("#title")).to_have_text("Nobody, number 17")
    page.keyboard.press("f")
    expect(page.locator("#keep")).to_have_attribute("aria-pressed", "true")
    assert [row.recipe for row in studio.favourites.all()] == ["17@0.7"]
    drawn = page.locator("#portrait").get_attribute("src")
    page.locator("#face-psi").fill("0.4")
    page.wait_for_url(re.compile("r=17@0.4"))
    page.locator("[data-band='1']").fill("1")
    page.wait_for_url(re.compile(r"r=17;\d+;17@0.4"))
    expect(page.locator("#portrait")).not_to_have_attribute("src", drawn)
    page.keyboard.press("Escape")
    expect(page.locator("#face")).not_to_be_visible()

    # Two are picked by keyboard and bred; the same address breeds the same again.
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    expect(page.locator("#picked button")).to_have_count(2)
    page.keyboard.press("b")
    expect(page.locator("#children .tile")).to_have_count(12)
    children = page.eval_on_selector_all("#children .tile", "tiles => tiles.map(tile => tile.dataset.recipe)")
    page.reload()
    expect(page.locator("#children .tile")).to_have_count(12)
    assert children == page.eval_on_selector_all("#children .tile", "tiles => tiles.map(tile => tile.dataset.recipe)")

    # A drag over the picture morphs.
    page.goto(f"{address}/?r=1@0.7&r=2@0.7&view=morph")
    expect(page.locator("#frame")).to_have_attribute("src", re.compile("at="))
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 10, box["y"] + 50, steps=8)
    page.mouse.up()
    assert float(page.locator("#along").input_value()) > 0.9
    expect(page.locator("#frame")).to_have_attribute("src", re.compile("at=(1|0.9)"))
    assert page.locator("#stage").get_attribute("aria-valuenow") is not None

    # Favourites are there.
    page.locator("body").click(position={"x": 3, "y": 300})
    page.keyboard.press("2")
    expect(page.locator("#favourite-tiles .tile")).to_have_count(1)
