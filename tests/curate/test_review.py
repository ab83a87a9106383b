"""The review page's work in the catalog, and its server's answers."""

import asyncio
import json
import shutil
import sqlite3
from pathlib import Path

import httpx
import pytest

from figment.base.catalog import Catalog
from figment.base.errors import FigmentError
from figment.base.records import Box, Head, Picture, Verdict
from figment.curate.review import bind, open_office
from figment.curate.review_desk import Decision, Desk
from figment.curate.review_server import MAX_BODY, application
from tests.curate.heads_folder import make_heads

HEADS = 80


class Client:
    """Asks an ASGI application as a browser would, without a network."""

    def __init__(self, app, base_url: str = "http://127.0.0.1:7860") -> None:
        self.app, self.base_url = app, base_url

    def ask(self, method: str, path: str, **options) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url=self.base_url) as client:
                return await client.request(method, path, **options)

        return asyncio.run(once())

    def get(self, path: str, **options) -> httpx.Response:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options) -> httpx.Response:
        return self.ask("POST", path, **options)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Path:
    """80 crops of 16 pixels, every fourth no head by its embedding; three are one group of duplicates."""
    return make_heads(tmp_path_factory.mktemp("review"), HEADS)


@pytest.fixture
def folder(made_once: Path, tmp_path: Path) -> Path:
    """A heads folder of one's own, with two source pictures beside it."""
    shutil.copytree(made_once / "heads", tmp_path / "heads")
    shutil.copytree(made_once / "pictures", tmp_path / "pictures")
    return tmp_path / "heads"


@pytest.fixture
def desk(folder: Path):
    made = Desk(folder)
    made.db.execute("PRAGMA synchronous = OFF")
    yield made
    made.close()


@pytest.fixture
def office(folder: Path):
    made = open_office(folder, pictures=folder.parent / "pictures")
    made.desk.db.execute("PRAGMA synchronous = OFF")
    yield made
    made.desk.close()


@pytest.fixture
def client(office) -> Client:
    return Client(application(office))


def rows(folder: Path) -> dict[str, tuple]:
    with sqlite3.connect(folder / "catalog.db") as db:
        found = {
            row[0]: row[1:]
            for row in db.execute(
                "SELECT file, verdict, reason, detail, by, at FROM verdicts JOIN heads ON heads.id = head_id"
            )
        }
    db.close()
    return found


def ids(folder: Path) -> dict[int, int]:
    with Catalog(folder) as catalog:
        return {int(head.file[:3]): head.id for head in catalog.heads()}


# ---------------------------------------------------------------------- the desk


def test_borderline_heads_come_first_and_pages_hold_every_head_once(desk):
    sizes, after = [], None
    while True:
        page = desk.page("all", after=after, limit=13)
        sizes += [30 + int(item["file"][:3]) for item in page["items"]]
        after = page["next"]
        if after is None:
            break
    assert sorted(sizes) == list(range(30, 110))
    assert sizes[:3] == [48, 47, 49]
    assert {30 + int(item["file"][:3]) for item in desk.page("borderline")["items"]} == set(range(37, 60))


def test_filters_and_counts_agree(desk):
    counts = desk.counts()
    for name, count in counts["filters"].items():
        assert len(desk.page(name, limit=200)["items"]) == count, name
    assert counts["reasons"] == {"too-small": 18, "duplicate": 2}
    assert len(desk.page("rejected", reason="duplicate")["items"]) == 2


def test_duplicates_stand_side_by_side_with_the_best_first(desk):
    (group,) = desk.groups()["groups"]
    assert [item["file"] for item in group["items"]] == ["070.png", "071.png", "072.png"] and group["count"] == 3


def test_the_measure_group_counts_before_the_rules_words(folder):
    head = ids(folder)
    with Catalog(folder) as catalog:
        for k in (20, 21, 22):
            catalog.put_measures(head[k], {"group": head[21]})
    desk = Desk(folder)
    files = [[item["file"] for item in group["items"]] for group in desk.groups()["groups"]]
    assert files == [["021.png", "020.png", "022.png"], ["070.png", "071.png", "072.png"]]
    desk.close()


def test_undo_restores_the_former_row_and_survives_a_restart(folder, desk):
    before, head = rows(folder), ids(folder)
    desk.decide([Decision(head[3], "keep")])
    desk.decide([Decision(head[3], "reject", "unwanted"), Decision(head[40], "reject", "not-a-head")])
    assert rows(folder)["003.png"][:4] == ("reject", "unwanted", "", "person")
    desk.close()
    again = Desk(folder)
    again.undo()
    assert rows(folder)["003.png"][:4] == ("keep", "", "", "person") and rows(folder)["040.png"] == before["040.png"]
    again.undo()
    assert rows(folder) == before
    assert again.undo() == []
    again.close()


def test_undo_leaves_a_head_that_was_cropped_anew(folder, desk):
    head = ids(folder)
    desk.decide([Decision(head[79], "reject", "unwanted")])
    with Catalog(folder) as catalog:
        anew = Head("new.png", Box(0, 0, 9, 9), 0.5, (0, 0, 9, 9))
        catalog.put_picture(Picture("art/079.png", "2", 9, 9, "heads"), [anew])
    desk.undo()
    assert "new.png" not in rows(folder) and "079.png" not in rows(folder)


def test_a_rule_or_a_model_never_overwrites_a_person(folder, desk):
    head = ids(folder)
    desk.decide([Decision(head[30], "keep")])
    desk.judge_by_model({head[30]: (False, "model 0.01 < 0.5"), head[31]: (False, "model 0.02 < 0.5")}, {})
    with Catalog(folder) as catalog:
        catalog.put_verdicts([Verdict(head[30], "reject", "blurred", "", "rule")])
    found = rows(folder)
    assert found["030.png"][:4] == ("keep", "", "", "person")
    assert found["031.png"][:4] == ("reject", "not-a-head", "model 0.02 < 0.5", "model")


def test_a_later_model_takes_back_what_an_earlier_one_said(folder, desk):
    before, head = rows(folder), ids(folder)
    assert desk.judge_by_model({head[31]: (False, "model 0.02 < 0.5")}, {}) == 1
    assert desk.judge_by_model({}, {}) == 0
    assert rows(folder) == before


def test_a_model_leaves_small_heads_and_duplicates_rejected(folder, desk):
    head, before = ids(folder), rows(folder)
    assert desk.judge_by_model({head[k]: (True, "model 0.99 > 0.5") for k in (2, 71)}, {}) == 0
    assert rows(folder) == before


# ---------------------------------------------------------------------- the server


def test_forty_labels_train_the_classifier_and_reorder_the_rest(folder, client):
    head = ids(folder)
    words = [
        {"id": head[k], "verdict": "keep" if k % 4 else "reject", "reason": "" if k % 4 else "not-a-head"}
        for k in range(20, 60)
    ]
    assert not client.post("/api/decide", json={"decisions": words[1:]}).json()["model"]["learning"]
    assert client.post("/api/decide", json={"decisions": words[:1]}).json()["model"]["learning"]
    model = client.get("/api/state").json()["model"]
    assert model["lesson"]["labels"] == 40 and model["lesson"]["right"] == 1.0 and model["lesson"]["trusted"]

    # The planted non-heads among the kept ones are told apart, none of the people's words is touched.
    found = rows(folder)
    said = {int(file[:3]) for file, row in found.items() if row[3] == "model"}
    assert said == {60, 64, 68, 76}
    assert all(found[f"{k:03d}.png"][3] == "person" for k in range(20, 60))
    left = [item for item in client.get("/api/heads?limit=200").json()["items"] if item["by"] != "person"]
    doubt = [1 - abs(2 * item["p"] - 1) for item in left]
    assert len(left) == 40 and doubt == sorted(doubt, reverse=True)


def test_labels_of_one_kind_teach_nothing(folder, client):
    head = ids(folder)
    words = [{"id": head[k], "verdict": "keep"} for k in range(20, 62)]
    assert not client.post("/api/decide", json={"decisions": words}).json()["model"]["learning"]
    assert client.get("/api/state").json()["model"]["lesson"] is None


def test_without_embeddings_the_page_says_so(folder):
    with sqlite3.connect(folder / "catalog.db") as db:
        db.execute("DELETE FROM measures WHERE name = 'embedding'")
    db.close()
    office = open_office(folder)
    state = Client(application(office), "http://localhost:1").get("/api/state").json()
    assert state["model"]["usable"] is False and state["pictures"] is None
    office.desk.close()


def test_pictures_come_small_and_whole_with_thumbnails_made_once(folder, client):
    head = ids(folder)
    assert client.get(f"/thumb?id={head[5]}").headers["content-type"] == "image/webp"
    cached = folder / ".thumbs" / "005.png.webp"
    stamp = cached.stat().st_mtime_ns
    assert client.get(f"/thumb?id={head[5]}").content == cached.read_bytes() and cached.stat().st_mtime_ns == stamp
    assert client.get(f"/crop?id={head[5]}").content == (folder / "005.png").read_bytes()


def test_boxes_are_saved_beside_those_that_stand(folder, client):
    (folder / "boxes.json").write_text('{"elsewhere.png": [[1, 2, 3, 4, 0.5]]}')
    reply = client.post("/api/boxes", json={"name": "art/none.png", "boxes": [[150, 20, 50, 400], [1, 1, 9, 9]]})
    assert reply.json()["boxes"] == [[50, 20, 150, 150], [1, 1, 9, 9]]
    client.post("/api/boxes", json={"name": "art/000.png", "boxes": []})
    assert json.loads((folder / "boxes.json").read_text()) == {
        "art/000.png": [],
        "art/none.png": [[50, 20, 150, 150], [1, 1, 9, 9]],
        "elsewhere.png": [[1, 2, 3, 4, 0.5]],
    }
    assert client.get("/api/picture?name=art/none.png").json()["source"] == "saved"


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"host": "evil.example:7860"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"host": ""}, 421),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-length": str(MAX_BODY + 1)}, 413),
    ],
)
def test_strangers_are_refused(folder, client, headers, status):
    before = rows(folder)
    body = json.dumps({"decisions": [{"id": ids(folder)[30], "verdict": "reject", "reason": "unwanted"}]})
    reply = client.post("/api/decide", content=body, headers={"content-type": "application/json", **headers})
    assert reply.status_code == status and "\n" not in reply.json()["error"]
    assert rows(folder) == before


@pytest.mark.parametrize(
    "path",
    [
        "/thumb?id=99999",
        "/thumb?id=-1",
        "/thumb?id=1e3",
        "/crop",
        "/crop?id=99999999999999999999999",
        "/api/head?id=x",
        "/api/heads?filter=%27%20OR%201",
        "/api/heads?after=nan,1",
        "/api/heads?after=1",
        "/api/heads?limit=0",
        "/api/heads?limit=100000",
        "/api/groups?after=-3",
        "/picture?name=../heads/000.png",
        "/picture?name=/etc/passwd",
        "/picture?name=art/001.png",
        "/api/picture?name=",
        "/review.py",
        "/..%2fcatalog.db",
        "/api/pictures?filter=x",
    ],
)
def test_wrong_questions_get_one_line(client, path):
    reply = client.get(path)
    assert 400 <= reply.status_code < 500 and 0 < len(reply.json()["error"]) < 300


@pytest.mark.parametrize(
    "path, body",
    [
        ("/api/decide", "{"),
        ("/api/decide", "[" * 30000),
        ("/api/decide", "[]"),
        ("/api/decide", "{}"),
        ("/api/decide", '{"decisions": []}'),
        ("/api/decide", '{"decisions": [{"id": true, "verdict": "keep"}]}'),
        ("/api/decide", '{"decisions": [{"id": 1, "verdict": "maybe"}]}'),
        ("/api/decide", '{"decisions": [{"id": 1, "verdict": "reject", "reason": "<b>"}]}'),
        ("/api/decide", '{"decisions": [{"id": 123456, "verdict": "keep"}]}'),
        ("/api/boxes", '{"name": "art/none.png", "boxes": [[0, 0, NaN, 5]]}'),
        ("/api/boxes", '{"name": "art/none.png", "boxes": [[0, 0, 1e999, 5, 6]]}'),
        ("/api/boxes", '{"name": "art/none.png", "boxes": [[5, 5, 6, 6]]}'),
        ("/api/boxes", '{"name": "../heads/000.png", "boxes": []}'),
        ("/api/boxes", '{"boxes": 3}'),
    ],
)
def test_wrong_bodies_write_nothing(folder, client, path, body):
    before = rows(folder)
    reply = client.post(path, content=body, headers={"content-type": "application/json"})
    assert 400 <= reply.status_code < 500 and reply.json()["error"]
    assert rows(folder) == before and not (folder / "boxes.json").exists()


def test_a_body_that_tells_no_length_is_bounded_too(client):
    async def endless():
        for _ in range(8):
            yield b" " * 65536

    reply = client.post("/api/decide", content=endless(), headers={"content-type": "application/json"})
    assert reply.status_code == 413


def test_a_crop_outside_of_the_folder_is_not_shown(folder, client):
    with sqlite3.connect(folder / "catalog.db") as db:
        db.execute("UPDATE heads SET file = '../pictures/art/000.png' WHERE file = '000.png'")
        (head_id,) = db.execute("SELECT id FROM heads WHERE file LIKE '..%'").fetchone()
    db.close()
    assert client.get(f"/crop?id={head_id}").status_code == 400


def test_pages_ask_no_other_host_and_may_load_nothing_else(client):
    for path in ("/", "/review.js", "/review.css"):
        reply = client.get(path)
        assert reply.status_code == 200 and "default-src 'none'" in reply.headers["content-security-policy"]
        assert reply.text.replace("http://www.w3.org/2000/svg", "").count("http") == 0


def test_plain_pictures_are_for_boxes_alone(folder):
    pictures = folder.parent / "pictures"
    office = open_office(pictures)
    client = Client(application(office))
    state = client.get("/api/state").json()
    assert state["counts"] is None and state["pictures"] == {"all": 2, "done": 0, "todo": 2}
    assert client.get("/api/heads").status_code == 404
    client.post("/api/boxes", json={"name": "art/000.png", "boxes": [[1, 2, 30, 40]]})
    assert json.loads((pictures / "boxes.json").read_text()) == {"art/000.png": [[1, 2, 30, 40]]}


def test_mistakes_are_told_before_the_server_starts(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (folder / "boxes.json").write_text("[1]")
    for case in (
        lambda: open_office(tmp_path / "nowhere"),
        lambda: open_office(tmp_path / "empty"),
        lambda: open_office(folder, pictures=tmp_path / "empty"),
        lambda: open_office(folder, pictures=tmp_path / "pictures"),
        lambda: bind(70000),
    ):
        with pytest.raises(FigmentError) as error:
            case()
        assert "\n" not in str(error.value)
    assert (folder / "boxes.json").read_text() == "[1]"


def test_a_taken_port_is_named_and_the_next_free_one_is_found():
    first = bind(0)
    try:
        with pytest.raises(FigmentError, match="--port"):
            bind(first.getsockname()[1])
        assert first.getsockname()[0] == "127.0.0.1"
    finally:
        first.close()
