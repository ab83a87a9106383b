import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest
import torch

from figment.base.errors import FigmentError
from figment.draw.directions import rename, save_directions
from figment.draw.render import load_generator
from figment.web import worker as worker_module
from figment.web.compose import Composer, find_directions
from figment.web.recipe import parse_recipe
from figment.web.worker import Busy, PictureCache, Scene, Worker, etag, smaller


@pytest.fixture
def scene(tiny_model):
    g, _ = load_generator(tiny_model, "cpu")
    return Scene(g, Composer(g, lambda key: None), "digest")


@pytest.fixture
def worker(scene):
    drawing = Worker(queue=12, batch=4)
    drawing.show(scene)
    yield drawing
    drawing.close()


@pytest.fixture
def gate(monkeypatch):
    """Holds the worker's drawing until it is opened; `entered` is set when it got there, `batches` has all w so far."""
    opened, entered, draw = threading.Event(), threading.Event(), worker_module.draw_pictures
    opened.batches = []

    def held(g, ws):
        opened.batches.append(ws)
        entered.set()
        assert opened.wait(20)
        return draw(g, ws)

    monkeypatch.setattr(worker_module, "draw_pictures", held)
    opened.entered = entered
    yield opened
    opened.set()


def test_a_picture_comes_as_a_png_and_is_remembered(worker):
    pending = worker.ask(parse_recipe("3"))
    data = pending.future.result(20)
    assert data.startswith(b"\x89PNG")
    assert worker.cache.get(worker.key(parse_recipe("3@0.70"))) == data
    assert worker.ask(parse_recipe("4")).future.result(20) != data


def test_one_thread_draws_what_waits_in_batches_and_each_once(worker, gate):
    first = worker.ask(parse_recipe("0"))
    assert gate.entered.wait(20)
    rest = [worker.ask(parse_recipe(str(seed))) for seed in (1, 2, 3, 4, 1, 2)]
    assert rest[0] is rest[4] and rest[0].waiting == 2
    gate.set()
    for pending in (first, *rest):
        pending.future.result(20)
    assert (worker.drawn, worker.batches, worker.largest) == (5, 2, 4)


def test_a_full_queue_refuses(worker, gate):
    for seed in range(12):
        worker.ask(parse_recipe(str(seed)))
    with pytest.raises(Busy):
        worker.ask(parse_recipe("99"))
    worker.ask(parse_recipe("11"))  # who asks for what is coming anyway may wait too


def test_what_nobody_waits_for_is_not_drawn(worker, gate):
    first = worker.ask(parse_recipe("0"))
    assert gate.entered.wait(20)
    left, shared = worker.ask(parse_recipe("1")), worker.ask(parse_recipe("2"))
    worker.ask(parse_recipe("2"))
    worker.release(left)
    worker.release(shared)
    gate.set()
    with pytest.raises(CancelledError):
        left.future.result(20)
    assert first.future.result(20) and shared.future.result(20)
    assert worker.drawn == 2


def test_films_give_way_but_are_not_starved(worker, gate, scene):
    first = worker.ask(parse_recipe("0"))
    assert gate.entered.wait(20)
    ws = [scene.composer.w(parse_recipe(str(seed))) for seed in range(14)]
    frames = [worker.ask_frame(scene, w) for w in ws[10:]]
    for seed in range(1, 7):
        worker.ask(parse_recipe(str(seed)))
    gate.set()
    assert first.future.result(20)
    assert frames[3].future.result(20).shape == (16, 16, 3)
    # The second batch of four: three pictures, and one of the film's frames.
    assert torch.equal(gate.batches[1], torch.stack([ws[1], ws[2], ws[3], ws[10]]))


def test_a_bad_one_does_not_spoil_the_batch(worker, gate):
    first = worker.ask(parse_recipe("0"))
    assert gate.entered.wait(20)
    strange, fine = worker.ask(parse_recipe("p0123456789abcdef")), worker.ask(parse_recipe("1"))
    gate.set()
    assert first.future.result(20) and fine.future.result(20)
    with pytest.raises(FigmentError, match="no such projected image"):
        strange.future.result(20)


def test_closing_tells_those_who_wait(scene, gate):
    closing = Worker(queue=12, batch=1)
    closing.show(scene)
    closing.ask(parse_recipe("0"))
    assert gate.entered.wait(20)
    left = closing.ask(parse_recipe("1"))
    threading.Timer(0.05, gate.set).start()
    closing.close()
    with pytest.raises(Busy):
        left.future.result(20)
    with pytest.raises(Busy):
        closing.ask(parse_recipe("2"))


def test_the_cache_keeps_to_its_bytes():
    cache = PictureCache(10)
    cache.put("a", b"1234")
    cache.put("b", b"1234")
    assert cache.get("a") == b"1234"
    cache.put("c", b"1234")
    assert (cache.get("a"), cache.get("b"), cache.get("c"), cache.bytes) == (b"1234", None, b"1234", 8)
    cache.put("a", b"1")
    assert cache.bytes == 5


def test_another_model_or_size_is_another_tag():
    assert len({etag(("a", "1@0.7", None)), etag(("b", "1@0.7", None)), etag(("a", "1@0.7", 96))}) == 3


def test_edits_move_along_named_directions(scene, tmp_path):
    model = tmp_path / "model.safetensors"
    offered = find_directions(model, scene.g)
    assert list(offered) == [f"sefa-{i}" for i in range(1, 9)]
    composer = Composer(scene.g, lambda key: None, offered)
    plain, moved = composer.w(parse_recipe("1")), composer.w(parse_recipe("1!sefa-1:1.5"))
    assert torch.allclose(moved, plain + 1.5 * offered["sefa-1"].scale * offered["sefa-1"].vector)
    with pytest.raises(FigmentError, match="no such direction"):
        composer.w(parse_recipe("1!strange:1"))

    # Directions that were saved take their place, as far as a recipe can spell their names.
    save_directions(model, [rename(offered["sefa-1"], name) for name in ("smile", "not / a name")])
    assert list(find_directions(model, scene.g)) == ["smile"]


def test_a_recipe_of_other_bands_is_refused(scene):
    with pytest.raises(FigmentError, match="2 bands; this model has coarse, middle, fine"):
        scene.composer.w(parse_recipe("1;2", bands=("low", "high")))


def test_bands_come_from_their_sources_and_psi_draws_in(scene):
    texts = ("1@0.7", "2@0.7", "1;2;1@0.7", "1:0.5@1", "1@0.5", "1@0")
    w = {text: scene.composer.w(parse_recipe(text)) for text in texts}
    mixed = w["1;2;1@0.7"]
    assert torch.equal(mixed[:4], w["1@0.7"][:4]) and torch.equal(mixed[4:8], w["2@0.7"][4:8])
    assert torch.allclose(w["1:0.5@1"], w["1@0.5"], atol=1e-6)
    assert torch.allclose(w["1@0"], scene.g.w_avg.expand_as(w["1@0"]))


def test_small_pictures_keep_their_shape():
    picture = np.random.default_rng(0).integers(0, 255, (64, 32, 3), np.uint8)
    assert smaller(picture, 16).shape == (16, 8, 3)
    assert smaller(picture[:32], 16).shape == (16, 16, 3)
    assert smaller(picture[:, :, :1], 16).shape == (16, 8)
