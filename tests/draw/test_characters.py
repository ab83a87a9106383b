import json

import numpy as np
import pytest
import torch

from figment.base.errors import FigmentError
from figment.draw.characters import characters
from figment.draw.latents import seeds_to_w
from figment.draw.render import load_generator


@pytest.fixture(scope="module")
def g(model):
    return load_generator(model)[0]


def test_seeds_as_text_and_as_a_list(g):
    found = characters(g, "3,5-6", 0.5)
    assert (found.names, found.seeds) == (("seed0003", "seed0005", "seed0006"), (3, 5, 6))
    assert torch.equal(found.w, seeds_to_w(g, [3, 5, 6], 0.5))
    assert torch.equal(characters(g, [3, 5, 6], 0.5).w, found.w)


def test_files_of_w_and_z(g, tmp_path):
    known = characters(g, [3, 5], 0.5)
    np.savez(tmp_path / "w.npz", w=known.w.numpy())
    np.savez(tmp_path / "one.npz", w=known.w[1].numpy())
    (tmp_path / "z.json").write_text(json.dumps({"z": known.z.tolist()}))
    assert torch.equal(characters(g, tmp_path / "w.npz", 0.1).w, known.w)
    assert torch.equal(characters(g, str(tmp_path / "one.npz")).w, known.w[1:])
    assert torch.equal(characters(g, tmp_path / "z.json", 0.5).w, known.w)


def test_key_frames_with_times(g, tmp_path):
    known = characters(g, [3, 5], 1.0)
    np.savez(tmp_path / "one.npz", w=known.w[1].numpy())
    (tmp_path / "keys.json").write_text(json.dumps([{"seed": 3, "time": 0}, {"file": "one.npz", "time": 2.5}]))
    found = characters(g, tmp_path / "keys.json", 1.0)
    assert found.times == (0, 2.5) and torch.equal(found.w, known.w) and found.z is None


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        [{}],
        ["x"],
        [{"seed": -1}],
        [{"seed": 1, "time": 0}, 2],
        {"w": [[1, 2]]},
        {"z": "abc"},
        {"z": [float("nan")] * 8},
        [{"seed": 1, "time": "soon"}],
        7,
    ],
)
def test_a_damaged_file_is_named(g, tmp_path, value):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(value))
    with pytest.raises(FigmentError, match="keys.json"):
        characters(g, path)


def test_a_pickle_is_refused(g, tmp_path):
    np.savez(tmp_path / "bad.npz", w=np.array([{"a": 1}], dtype=object))
    (tmp_path / "no.npz").write_bytes(b"PK")
    for name in ("bad.npz", "no.npz"):
        with pytest.raises(FigmentError, match=name):
            characters(g, tmp_path / name)
