import threading

import pytest
import torch

import figment
from figment.base.errors import FigmentError
from figment.web.favourites import Favourites, favourites_path


def test_they_lie_beside_the_model_and_never_in_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "net.safetensors").touch()
    assert favourites_path(tmp_path / "net.safetensors", "abc") == tmp_path / "net.studio.db"
    assert favourites_path(tmp_path, "abc") == tmp_path / "studio.db"
    shipped = figment.__path__[0] + "/train/weights/start-64.safetensors"
    inside = favourites_path(type(tmp_path)(shipped), "0123456789abcdef")
    assert inside == tmp_path / "data" / "figment" / "start-64-01234567.studio.db"


def test_kept_ones_are_there_again(tmp_path):
    with Favourites(tmp_path / "a" / "studio.db") as kept:
        first = kept.add("1@0.7", "Mira", "d1")
        assert kept.add("1@0.7", "", "d2").name == "Mira"
        kept.add("2@0.7", "", "d1")
    with Favourites(tmp_path / "a" / "studio.db") as kept:
        rows = [(row.recipe, row.name, row.digest) for row in kept.all()]
        assert rows == [("2@0.7", "", "d1"), ("1@0.7", "Mira", "d2")]
        assert kept.remove(first.id) and not kept.remove(first.id)
        assert len(kept.all()) == 1
        with pytest.raises(FigmentError, match="name"):
            kept.add("3@0.7", "x" * 81, "d1")


def test_projections_are_kept_to_the_bit(tmp_path):
    w = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    with Favourites(tmp_path / "studio.db") as kept:
        key = kept.keep_latent(w, "me.png", 0.25, b"png")
        assert key == kept.keep_latent(w, "me.png", 0.25, b"png")
        assert torch.equal(kept.latent(key), w) and kept.latent_picture(key) == b"png"
        assert kept.latent("p0000000000000000") is None


def test_threads_may_write_at_once(tmp_path):
    with Favourites(tmp_path / "studio.db") as kept:
        threads = [
            threading.Thread(target=lambda i=i: [kept.add(f"{i * 10 + j}@0.7", "", "d") for j in range(5)])
            for i in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(kept.all()) == 20


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "studio.db").write_bytes(b"this is no database, not at all" * 100)
    with pytest.raises(FigmentError, match=r"studio\.db"):
        Favourites(tmp_path / "studio.db")
