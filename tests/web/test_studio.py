import copy
import io
import json
import threading
import time

import pytest
import torch

pytest.importorskip("starlette", reason="the studio needs the extra `web`")
from PIL import Image
from typer.testing import CliRunner

from figment.base.errors import FigmentError
from figment.base.files import write_json, write_text
from figment.cli import app
from figment.draw.latents import seeds_to_w
from figment.draw.project import head_of, project_picture
from figment.draw.render import draw_pictures, load_generator, picture_png
from figment.http.guard import MAX_BODY
from figment.web import routes
from figment.web import worker as worker_module
from figment.web.studio import Studio, listen, make_app

OWN = "http://localhost:8400"


def ended(visit, job):
    """The job when it has ended."""
    until = time.monotonic() + 60
    while job["state"] in ("waiting", "running"):
        assert time.monotonic() < until, job
        time.sleep(0.02)
        job = visit.get(f"/api/jobs/{job['id']}").json()
    return job


# ---------------------------------------------------------------------- pictures


def test_the_same_bytes_through_command_library_and_server(tiny_model, visit, tmp_path):
    command = ["sample", str(tiny_model), "-o", str(tmp_path / "out"), "--seeds", "3,17", "--psi", "0.65"]
    assert CliRunner().invoke(app, command).exit_code == 0
    g, _ = load_generator(tiny_model)
    for seed in (3, 17):
        data = visit.get(f"/face.png?r={seed}@0.65").content
        assert data == (tmp_path / "out" / f"seed{seed:04d}.png").read_bytes()
        assert data == picture_png(draw_pictures(g, seeds_to_w(g, [seed], 0.65))[0])


def test_a_link_draws_the_same_again(studio, visit, tiny_model, visitor, tmp_path):
    children = visit.get("/api/children?r=1@0.7&r=2@0.7&count=3&seed=5&mutation=0.2").json()
    assert len(set(children)) == 3
    assert children == visit.get("/api/children?r=1@0.7&r=2@0.7&count=3&seed=5&mutation=0.2").json()
    pictures = [visit.get("/face.png", params={"r": child}).content for child in children]
    assert len(set(pictures)) == 3
    other = Studio(tiny_model, device="cpu", favourites=tmp_path / "other.db")
    try:
        again = visitor(make_app(other))
        assert [again.get("/face.png", params={"r": child}).content for child in children[::-1]] == pictures[::-1]
    finally:
        other.close()


def test_a_browser_that_has_a_picture_is_told_so(studio, visit):
    first = visit.get("/face.png?r=5")
    assert visit.get("/face.png?r=5@0.70", headers={"if-none-match": first.headers["etag"]}).status_code == 304
    assert "no-cache" in first.headers["cache-control"]
    lasting = visit.get(f"/face.png?r=5&m={studio.worker.scene.digest}")
    assert "immutable" in lasting.headers["cache-control"] and lasting.content == first.content
    saved = visit.get("/face.png?r=5&download=1").headers["content-disposition"]
    assert saved == 'attachment; filename="figment-5_0.7.png"'


def test_between_two_characters(visit):
    ends = [visit.get(f"/face.png?r={seed}").content for seed in (1, 2)]
    way = [visit.get(f"/face.png?r=1&r=2&at={at}").content for at in (0, 0.5, 1)]
    assert [way[0], way[2]] == ends and way[1] not in ends
    mixed = visit.get("/api/blend?r=1@0.7&r=2@0.7&coarse=0&middle=1&fine=0.25").json()["recipe"]
    assert mixed == "1;2;1:0.75,2:0.25@0.7"
    assert visit.get("/face.png", params={"r": mixed}).status_code == 200


@pytest.mark.parametrize(
    "address",
    [
        "/face.png",
        "/face.png?r=x",
        "/face.png?r=1@nan",
        "/face.png?r=1@inf",
        "/face.png?r=1@99",
        "/face.png?r=-1",
        "/face.png?r=" + ",".join(map(str, range(300))),
        "/face.png?r=1&r=2&r=3",
        "/face.png?r=1&r=2&at=nan",
        "/face.png?r=1&size=1e9",
        "/face.png?r=1&size=-5",
        "/face.png?r=1!strange:1",
        "/face.png?r=p0123456789abcdef",
        "/api/children?r=1",
        "/api/children?r=1&r=2&count=1000",
        "/api/children?r=1&r=2&mutation=2",
        "/api/children?r=1&r=2&r=3&r=4&r=5",
        "/api/blend?r=1",
        "/api/blend?r=1&r=2&coarse=inf",
    ],
)
def test_bad_values_are_one_line(visit, address):
    answer = visit.get(address)
    assert answer.status_code == 400
    message = answer.json()["error"]
    assert "\n" not in message and 5 < len(message) < 300


@pytest.mark.parametrize(
    "address",
    [
        "/studio.py",
        "/..%2fstudio.py",
        "/%2e%2e/studio.py",
        "/pages/studio.html",
        "/fakes/..%2fconfig.json",
        "/.env",
        "/fakes/img000000000.png",
        "/latents/p0123456789abcdef.png",
        "/latents/..%2f..%2fx",
        "/api/x",
        "/api/jobs/x",
        "/api/live",
    ],
)
def test_only_what_is_offered_is_served(visit, address):
    answer = visit.get(address)
    assert answer.status_code == 404 and "error" in answer.json()


def test_a_flood_is_told_to_come_back(tiny_model, tmp_path, visitor, monkeypatch):
    opened, entered, draw = threading.Event(), threading.Event(), worker_module.draw_pictures
    held = lambda g, ws: entered.set() or (opened.wait(20) and draw(g, ws))  # noqa: E731
    monkeypatch.setattr(worker_module, "draw_pictures", held)
    studio = Studio(tiny_model, device="cpu", queue=3, favourites=tmp_path / "studio.db")
    try:
        waiting = [studio.worker.ask(routes.parse_recipe(str(seed))) for seed in range(3)]
        answer = visitor(make_app(studio)).get("/face.png?r=77")
        assert answer.status_code == 503 and answer.headers["retry-after"] == "2"
        assert "try again" in answer.json()["error"]
        opened.set()
        assert all(pending.future.result(20) for pending in waiting)
        assert visitor(make_app(studio)).get("/face.png?r=77").status_code == 200
    finally:
        opened.set()
        studio.close()


# ---------------------------------------------------------------------- favourites, films, projections


def test_favourites_are_kept_named_and_let_go(visit):
    kept = visit.post("/api/favourites", json={"recipe": "007@.7", "name": " Mira <b> "})
    assert kept.status_code == 201 and kept.json()["recipe"] == "7@0.7" and kept.json()["name"] == "Mira <b>"
    assert [row["id"] for row in visit.get("/api/favourites").json()] == [kept.json()["id"]]
    for body in (
        {},
        {"recipe": 5},
        {"recipe": "x", "name": ""},
        {"recipe": "1", "name": "n" * 99},
        [],
        "x",
        {"recipe": "1", "name": "\ud800"},
    ):
        assert visit.post("/api/favourites", content=json.dumps(body).encode()).status_code == 400
    assert visit.post("/api/favourites", content=b"{").status_code == 400
    assert visit.post("/api/favourites", content=b"[" * 100_000).status_code == 400
    foreign = visit.post("/api/favourites", json={"recipe": "1"}, headers={"origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert visit.delete(f"/api/favourites/{kept.json()['id']}").status_code == 204
    assert visit.delete(f"/api/favourites/{kept.json()['id']}").status_code == 404
    assert visit.delete("/api/favourites/99999999999999999999").status_code == 404


def test_a_film_is_made_and_can_be_fetched(visit):
    import av

    job = visit.post("/api/film", json={"r": ["1", "2", "3!"], "seconds": 0.5, "fps": 24, "size": 64})
    assert job.status_code == 202
    done = ended(visit, job.json())
    assert (done["state"], done["progress"], done["frames"]) == ("done", 1.0, 12)
    answer = visit.get(done["film"])
    assert answer.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(answer.content)) as film:
        assert sum(1 for _ in film.decode(video=0)) == 12
        assert film.streams.video[0].width == 64


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"r": "1"},
        {"r": ["1"]},
        {"r": ["1"] * 30},
        {"r": ["1", "x"]},
        {"r": ["1", 2]},
        {"r": ["1", "2"], "seconds": 1e9},
        {"r": ["1", "2"], "seconds": "6"},
        {"r": ["1", "2"], "seconds": 0},
        {"r": ["1", "2"], "fps": 1000},
        {"r": ["1", "2"], "fps": True},
        {"r": ["1", "2"], "size": 10**6},
    ],
)
def test_bad_films_are_refused(visit, body):
    assert visit.post("/api/film", json=body).status_code == 400


def test_not_a_number_is_refused_in_json_too(visit):
    assert visit.post("/api/film", content=b'{"r": ["1", "2"], "seconds": NaN}').status_code == 400


def test_a_film_can_be_stopped_and_jobs_are_bounded(visit):
    jobs = [visit.post("/api/film", json={"r": ["1", "2"], "seconds": 30}) for _ in range(12)]
    assert {job.status_code for job in jobs} == {202, 503}
    started = [job.json() for job in jobs if job.status_code == 202]
    for job in started:
        assert visit.delete(f"/api/jobs/{job['id']}").status_code == 200
    assert [ended(visit, job)["state"] for job in started] == ["cancelled"] * len(started)
    assert visit.get(f"/api/jobs/{started[0]['id']}/film.mp4").status_code == 404


def picture_bytes(form="PNG", size=(40, 30), **options):
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 80, 40)).save(buffer, form, **options)
    return buffer.getvalue()


def test_an_upload_is_projected_and_kept(visit, studio):
    for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
        job = visit.post("/api/project?name=me&steps=3", content=picture_bytes(form))
        assert job.status_code == 202
    done = ended(visit, job.json())
    g = copy.deepcopy(studio.worker.scene.g)
    found = project_picture(g, head_of(Image.open(io.BytesIO(picture_bytes("BMP"))), 16), steps=3)
    assert done["state"] == "done" and done["distance"] == round(found.distance, 4) and done["recipe"].endswith("@1")
    assert torch.equal(studio.favourites.latent(done["recipe"].removesuffix("@1")), found.w[0])
    first = visit.get("/face.png", params={"r": done["recipe"]})
    assert first.status_code == 200 and first.content != visit.get("/face.png?r=1@0").content
    target = visit.get(done["target"])
    assert Image.open(io.BytesIO(target.content)).getpixel((8, 8)) == (200, 80, 40)
    child = visit.get("/api/children", params={"r": [done["recipe"], "3@0.7"], "count": "1"}).json()[0]
    assert done["recipe"][:17] in child and visit.get("/face.png", params={"r": child}).status_code == 200


def test_hostile_uploads_are_refused(visit, monkeypatch):
    monkeypatch.setattr(routes, "MAX_UPLOAD_PIXELS", 10**6)
    bomb = picture_bytes(size=(2000, 501))
    cases = {
        b"": 415,
        b"hello": 415,
        b"%!PS-Adobe-3.0 EPSF-3.0": 415,
        b"<svg/>": 415,
        b"II*\x00" + b"x" * 50: 415,
        b"\x89PNG\r\n\x1a\n" + b"x" * 50: 415,
        picture_bytes()[:60]: 422,
        bomb: 413,
    }
    for data, status in cases.items():
        answer = visit.post("/api/project", content=data)
        assert answer.status_code == status, (data[:20], answer.text)
        assert "\n" not in answer.json()["error"]
    assert visit.post("/api/project", content=b"x" * (MAX_BODY + 1)).status_code == 413
    assert visit.post("/api/project?space=z", content=picture_bytes()).status_code == 400
    assert visit.post("/api/project?steps=1e9", content=picture_bytes()).status_code == 400
    assert visit.get("/api/jobs").json() == []


# ---------------------------------------------------------------------- runs, the page, starting


def test_a_run_is_watched_and_its_newer_model_taken_up(tiny_model, tmp_path, visitor):
    run = tmp_path / "runs" / "00000-heads"
    write_json(run / "config.json", {"schedule": {"kimg": 4}})
    write_text(run / "stats.jsonl", json.dumps({"kimg": 1, "loss_d": 0.5}) + "\n")
    studio = Studio(tmp_path / "runs", device="cpu")
    try:
        visit = visitor(make_app(studio))
        assert visit.get("/api/about").json()["model"] is None
        answer = visit.get("/face.png?r=1")
        assert answer.status_code == 400 and "not written a model yet" in answer.json()["error"]
        live = visit.get("/api/live").json()
        assert live["kimg"] == 1 and not live["newer"]

        (run / "model.safetensors").write_bytes(tiny_model.read_bytes())
        (run / "fakes").mkdir()
        (run / "fakes" / "img000000000.png").write_bytes(picture_bytes())
        live = visit.get("/api/live").json()
        assert live["newer"] and visit.get(f"/fakes/{live['fakes'][0]}").content == picture_bytes()
        assert visit.post("/api/reload").json()["model"]["resolution"] == 16
        assert not visit.get("/api/live").json()["newer"] and visit.get("/face.png?r=1").status_code == 200
        assert studio.favourites.path == run / "studio.db"
    finally:
        studio.close()


def test_the_page_asks_no_other_host(visit):
    page = visit.get("/?r=1@0.7").text
    for name in routes.ASSETS:
        asset = visit.get(f"/{name}")
        assert asset.status_code == 200 and asset.headers["content-type"].startswith(routes.ASSETS[name])
        assert "http://" not in asset.text.replace("http://www.w3.org/2000/svg", "") and "https://" not in asset.text
        page += asset.text if name.endswith("css") else ""
    assert "http" not in page and "style=" not in page and "<script>" not in page
    facts = visit.get("/api/about").json()
    assert (facts["name"], facts["model"]["resolution"], facts["model"]["pictures"]) == ("tiny.safetensors", 16, 12)


def test_wrong_methods_and_faults_are_json(studio, visit, monkeypatch):
    assert visit.post("/face.png").status_code == 405 and "method" in visit.post("/face.png").json()["error"]
    monkeypatch.setattr(worker_module, "draw_pictures", lambda g, ws: 1 / 0)
    answer = visit.get("/face.png?r=123")
    assert answer.status_code == 500 and "ZeroDivision" not in answer.text and "error" in answer.json()


def test_a_taken_port_is_one_line():
    with listen("127.0.0.1", 0) as taken, pytest.raises(FigmentError, match="--port"):
        listen("127.0.0.1", taken.getsockname()[1])


def test_no_model_is_one_line(tmp_path):
    with pytest.raises(FigmentError, match="MODEL"):
        Studio(tmp_path / "none.safetensors")
    with pytest.raises(FigmentError, match="MODEL"):
        Studio(tmp_path)


def test_the_guard_stands_before_it(studio, visitor):
    visit = visitor(make_app(studio, token="t"))
    assert visit.get("/face.png?r=1").status_code == 401
    assert visit.get("/face.png?r=1", headers={"authorization": "Bearer t"}).status_code == 200
