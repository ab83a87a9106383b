import json

from figment.base.files import write_json, write_text
from figment.web.live import POINTS, fakes_path, read_live


def test_a_run_that_has_just_begun(tmp_path):
    write_json(tmp_path / "config.json", {"schedule": {"kimg": 2}})
    found = read_live(tmp_path)
    assert (found["kimg"], found["goal_kimg"], found["stats"], found["fakes"]) == (0, 2.0, {}, [])


def test_curves_and_grids(tmp_path):
    rows = [{"tick": i, "kimg": i + 1, "sec": 5.0, "loss_d": i / 2, "loss_g": float("nan")} for i in range(3)]
    write_text(tmp_path / "stats.jsonl", "".join(json.dumps(row) + "\n" for row in rows) + '{"kimg": 4, "lo')
    write_text(tmp_path / "scores.jsonl", json.dumps({"kimg": 2, "distance": 9.5, "features": "heads"}) + "\n")
    (tmp_path / "fakes").mkdir()
    for name in ("img000000000.png", "img000002000.png", "other.png", ".img000000001.partial.png"):
        (tmp_path / "fakes" / name).touch()
    found = read_live(tmp_path)
    assert found["stats"] == {"sec": [[1, 5.0], [2, 5.0], [3, 5.0]], "loss_d": [[1, 0.0], [2, 0.5], [3, 1.0]]}
    assert found["scores"] == {"distance": [[2, 9.5]]} and found["kimg"] == 3
    assert found["fakes"] == ["img000000000.png", "img000002000.png"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_advice_is_shown_with_the_tick_that_gave_it(tmp_path):
    rows = [{"kimg": 1}, {"kimg": 2, "advice": {"leak": "look for tilted fakes"}}, {"kimg": 3, "advice": "damaged"}]
    write_text(tmp_path / "stats.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert read_live(tmp_path)["advice"] == [[2, "look for tilted fakes"]]


def test_long_runs_are_thinned_and_keep_their_end(tmp_path):
    write_text(tmp_path / "stats.jsonl", "".join(f'{{"kimg": {i}, "loss_d": 1}}\n' for i in range(5001)))
    points = read_live(tmp_path)["stats"]["loss_d"]
    assert len(points) <= POINTS and points[-1] == [5000, 1]


def test_only_grids_are_served(tmp_path):
    (tmp_path / "fakes").mkdir()
    (tmp_path / "fakes" / "img000000000.png").touch()
    (tmp_path / "config.json").touch()
    assert fakes_path(tmp_path, "img000000000.png") is not None
    for name in ("../config.json", "img000000001.png", "img000000000.png/..", "/etc/passwd", "..", ""):
        assert fakes_path(tmp_path, name) is None


def test_scores_of_earlier_features_are_not_drawn(tmp_path):
    rows = [{"kimg": 1.0, "distance": 0.1, "label": "FD-heads"}, {"kimg": 2.0, "distance": 9.0, "label": "FD-parts"}]
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_live(tmp_path)["scores"]["distance"] == [[2.0, 9.0]]
