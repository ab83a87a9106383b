"""The review page in a real browser: keys, the mouse, and forty labels that re-order the rest."""

import json
import shutil
import sqlite3
import threading
from pathlib import Path

import pytest
import uvicorn

from figment.curate.review import bind, open_office
from figment.curate.review_server import application
from tests.curate.heads_folder import make_heads

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WAIT = 60_000
"""Milliseconds that a busy machine may take for a step."""

playwright = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=WAIT)
        yield browser
        browser.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_heads(tmp_path, 80) / "heads"


@pytest.fixture
def page(browser, folder: Path):
    """The page of a running server, and any error on it a failure."""
    office = open_office(folder, pictures=folder.parent / "pictures")
    office.desk.db.execute("PRAGMA synchronous = OFF")
    listener = bind(0)
    server = uvicorn.Server(uvicorn.Config(application(office), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    port = listener.getsockname()[1]
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.set_default_timeout(WAIT)
    wrong, asked = [], []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"http://127.0.0.1:{port}/")
    page.wait_for_selector(".tile.on")
    yield page
    page.close()
    server.should_exit = True
    thread.join()
    listener.close()
    office.desk.close()
    assert not wrong
    assert all(url.startswith((f"http://127.0.0.1:{port}/", "data:")) for url in asked)


def words(folder: Path) -> dict[str, tuple[str, str]]:
    """File -> verdict and reason of what a person decided."""
    db = sqlite3.connect(folder / "catalog.db")
    found = {
        row[0]: row[1:]
        for row in db.execute(
            "SELECT file, verdict, reason FROM verdicts JOIN heads ON heads.id = head_id WHERE by = 'person'"
        )
    }
    db.close()
    return found


def decided(page, count: int) -> None:
    """Wait until the page says so many decisions."""
    until(page, f"document.getElementById('decided').textContent.startsWith('{count} of')")


def until(page, condition: str) -> None:
    """Wait until the page meets a condition (Playwright's own wait needs eval, which the page forbids)."""
    for _ in range(WAIT // 50):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {condition}")


def test_keep_reject_and_undo_by_keyboard(page, folder):
    files = page.eval_on_selector_all(".tile", "all => all.map(each => each.title)")
    assert files[0] == "018.png"  # 48 pixels: on the threshold
    for count, key in enumerate("krn", 1):
        page.keyboard.press(key)
        decided(page, count)
    said = {files[0]: ("keep", ""), files[1]: ("reject", "unwanted"), files[2]: ("reject", "not-a-head")}
    assert words(folder) == said
    assert page.locator(".tile.on").get_attribute("title") == files[3]

    page.keyboard.press("u")
    decided(page, 2)
    page.keyboard.press("Control+z")
    decided(page, 1)
    assert words(folder) == {files[0]: ("keep", "")}
    assert page.locator(".tile.on").get_attribute("title") == files[1]


def test_one_of_a_group_is_kept_by_one_key(page, folder):
    page.click("[data-tab=duplicates]")
    page.wait_for_selector(".bunch .tile.on")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("o")
    decided(page, 3)
    copy = ("reject", "duplicate")
    assert words(folder) == {"070.png": copy, "071.png": ("keep", ""), "072.png": copy}
    page.keyboard.press("u")
    decided(page, 0)
    assert words(folder) == {}


def test_boxes_are_drawn_moved_and_removed_by_mouse(page, folder):
    page.click("[data-tab=boxes]")
    until(page, "document.querySelector('#stage img')?.naturalWidth > 0")
    frame = page.locator("#stage svg").bounding_box()
    scale = frame["width"] / 200

    def drag(x0: float, y0: float, x1: float, y1: float) -> None:
        page.mouse.move(frame["x"] + x0 * scale, frame["y"] + y0 * scale)
        page.mouse.down()
        page.mouse.move(frame["x"] + (x0 + x1) / 2 * scale, frame["y"] + (y0 + y1) / 2 * scale)
        page.mouse.move(frame["x"] + x1 * scale, frame["y"] + y1 * scale)
        page.mouse.up()

    # The detector's box goes; of two drawn ones the first is moved, the second stretched at its corner.
    drag(50, 50, 50, 50)
    page.keyboard.press("Delete")
    assert page.locator("#stage rect").count() == 0
    drag(20, 20, 60, 70)
    drag(40, 40, 50, 45)
    drag(120, 30, 150, 60)
    drag(150, 60, 180, 90)
    page.keyboard.press("Enter")
    until(page, "document.querySelector('#names small').textContent.includes('saved')")
    first, second = json.loads((folder / "boxes.json").read_text())["art/000.png"]
    assert first == pytest.approx([30, 25, 70, 75], abs=1.5) and second == pytest.approx([120, 30, 180, 90], abs=1.5)


def test_forty_labels_reorder_what_is_left(page, folder):
    page.click("[data-tab=all]")
    until(page, "document.querySelectorAll('.tile').length === 60")
    before = page.eval_on_selector_all(".tile", "all => all.map(each => each.title)")
    for _ in range(40):
        file = page.locator(".tile.on").get_attribute("title")
        page.keyboard.press("k" if int(file[:3]) % 4 else "n")
    decided(page, 40)
    until(page, "document.getElementById('model').textContent.includes('learned from 40 labels')")
    until(page, f"document.querySelector('.tile').title !== '{before[0]}'")
    after = page.eval_on_selector_all(".tile", "all => all.map(each => each.title)")
    left = [file for file in before if file not in words(folder)]
    assert len(words(folder)) == 40 and not set(after[:40]) & set(words(folder))
    assert after[: len(left)] != left
