import pytest

pytest.importorskip("starlette", reason="servers need the extra `web`")

from figment.http.guard import COOKIE, MAX_BODY, Guard, host_name, is_address

OWN = "http://localhost:8400"


async def echo(scope, receive, send):
    """Read the body and answer with its length."""
    count, more = 0, True
    while more:
        message = await receive()
        count, more = count + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(count).encode()})


@pytest.fixture
def client(visitor):
    return lambda **options: visitor(Guard(echo, **options))


def test_only_own_host_names_are_answered(client):
    guarded = client(hosts=frozenset({"art.local"}))
    for host in ("localhost", "127.0.0.1:8400", "[::1]:8400", "ART.local:80"):
        assert guarded.get("/", headers={"host": host}).status_code == 200
    for host in ("evil.example", "localhost.evil.example", "10.0.0.7", "", "127.0.0.1.nip.io"):
        answer = guarded.get("/", headers={"host": host})
        assert answer.status_code == 421 and "does not answer to" in answer.json()["error"]
    assert client(addresses=True).get("/", headers={"host": "10.0.0.7:8400"}).status_code == 200
    assert client(addresses=True).get("/", headers={"host": "evil.example"}).status_code == 421


def test_requests_by_other_sites_are_refused(client):
    guarded = client()
    for headers in (
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        assert guarded.post("/", headers=headers).status_code == 403
        assert guarded.get("/", headers={**headers, "sec-fetch-mode": "no-cors"}).status_code == 403
    assert guarded.post("/", headers={"origin": OWN, "sec-fetch-site": "same-origin"}).status_code == 200
    assert guarded.post("/").status_code == 200
    followed = guarded.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"})
    assert followed.status_code == 200


async def in_parts():
    """A body without Content-Length."""
    for _ in range(5):
        yield b"x" * 300


def test_large_bodies_are_refused_before_they_are_read(client):
    guarded = client(max_body=1000)
    assert guarded.post("/", content=b"x" * 1000).text == "1000"
    assert guarded.post("/", content=b"x" * 1001).status_code == 413
    assert guarded.post("/", content=in_parts()).status_code == 413
    assert guarded.post("/", headers={"content-length": "-1"}).status_code == 400
    assert MAX_BODY <= 64 << 20


def test_too_many_requests_are_asked_to_retry(client, monkeypatch):
    monkeypatch.setattr("figment.http.guard.MAX_ACTIVE", 0)
    answer = client().get("/")
    assert answer.status_code == 503 and answer.headers["retry-after"] == "2"


def test_long_addresses_are_refused(client):
    assert client().get("/?r=" + "1" * 20_000).status_code == 414


def test_a_token_is_required_and_becomes_a_cookie(client):
    guarded = client(token="secret")
    assert guarded.get("/").status_code == 401
    assert "token" in guarded.get("/").json()["error"]
    assert guarded.get("/?token=wrong").status_code == 401
    assert guarded.post("/?token=secret").status_code == 401
    assert guarded.get("/", headers={"authorization": "Bearer secret"}).status_code == 200
    assert guarded.get("/", headers={"cookie": "figment=secret"}).status_code == 401  # the cookie is not the token
    answer = guarded.get("/x?r=1@0.7&token=secret")
    assert answer.status_code == 303 and answer.headers["location"] == "/x?r=1%400.7"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(COOKIE) and "HttpOnly" in cookie and "SameSite=Strict" in cookie and "secret" not in cookie
    assert guarded.get("/").status_code == 200


def test_every_answer_forbids_outside_requests(client):
    for answer in (client().get("/"), client().get("/", headers={"host": "evil.example"})):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "http" not in policy and "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_host_names():
    assert [host_name(host) for host in ("A:1", "[::1]:80", "x")] == ["a", "::1", "x"]
    assert is_address("10.0.0.1") and is_address("::1") and not is_address("a.b")


def test_forms_of_other_sites_are_not_accepted_as_json(client):
    guarded = client(json_only=True)
    assert guarded.post("/", content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    assert guarded.post("/", content=b"{}", headers={"content-type": "application/json"}).text == "2"
    assert guarded.get("/").status_code == 200
