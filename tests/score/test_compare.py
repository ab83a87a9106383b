import json
import shutil

import pytest
from PIL import Image

from figment.base.errors import FigmentError
from figment.score.compare import compare, same_terms, table


def test_runs_are_scored_on_the_same_terms(make_run, tmp_path):
    one, two = make_run("00000-a", [3.0, 2.0]), make_run("00001-b", [3.0, 1.0, 2.0])
    rows = compare([one, two], tmp_path / "out", images=10, device="cpu")
    assert [row["run"] for row in rows] == ["00000-a", "00001-b"] and rows[0]["kimg"] == 2.0
    assert rows[0]["distance"] == rows[1]["distance"] > 0  # the same model, the same seeds, the same data
    terms = json.loads((tmp_path / "out" / "compare.json").read_text())["terms"]
    assert terms["images"] == 10 and terms["reference_images"] == 24 and terms["left_out"] == []
    with Image.open(tmp_path / "out" / "compare.png") as image:
        assert image.size == (900, 480)
    text = (tmp_path / "out" / "compare.md").read_text()
    assert "10 fakes of each model" in text and text.count("| model.safetensors |") == 2
    lines = table(rows)
    assert len(lines) == 3 and lines[0].startswith("run ") and lines[1].startswith("00000-a ")
    assert "FD-heads" in lines[0] and "| FD-heads |" in text and "*" not in lines[1]


def test_the_best_model_has_a_row_of_its_own(make_run, tmp_path, model):
    one, two = make_run("00000-a"), make_run("00001-b")
    shutil.copy(model, two / "best.safetensors")
    rows = compare([one, two], tmp_path / "out", images=8, device="cpu")
    assert [(row["model"], row["kimg"]) for row in rows] == [
        ("model.safetensors", 2.0),
        ("model.safetensors", 2.0),
        ("best.safetensors", 1.5),
    ]
    text = (tmp_path / "out" / "compare.md").read_text()
    assert "not in the chart: 00000-a: no scores during training" in text


def test_runs_that_looked_through_the_features_carry_a_mark(make_run, tmp_path, projected_model):
    one, two = make_run("00000-a"), make_run("00001-b")
    shutil.copy(projected_model, two / "model.safetensors")
    rows = compare([one, two], tmp_path / "out", features="heads", images=8, device="cpu")
    assert [row["looked_through"] for row in rows] == [False, True]
    lines = table(rows)
    assert "*" not in lines[1] and lines[2].count("*") == 2 and "FD-parts is independent" in lines[3]
    independent = compare([one, two], tmp_path / "parts", images=8, device="cpu")
    assert {row["labels"][0] for row in independent} == {"FD-parts"} and not independent[1]["looked_through"]
    assert "FD-parts is independent" in (tmp_path / "out" / "compare.md").read_text()


def test_curves_of_other_terms_are_left_out():
    row = {"kimg": 1.0, "smooth": 2.0, "label": "FD-heads", "images": 100, "reference": "abc"}
    curves, left, label = same_terms(
        {"a": [row], "b": [row], "c": [row | {"images": 50}], "d": [row | {"reference": "x"}]}
    )
    assert label == "FD-heads" and list(curves) == ["a", "b"] and curves["a"] == ([1.0], [2.0])
    assert [line[0] for line in left] == ["c", "d"]


def test_mistakes_are_one_line(make_run, tmp_path):
    one = make_run("00000-a")
    with pytest.raises(FigmentError, match="two runs or more"):
        compare([one], tmp_path / "out")
    with pytest.raises(FigmentError, match="neither a run"):
        compare([one, tmp_path / "none"], tmp_path / "out")
    (one / "config.json").write_text('{"data": "/gone/data.zip"}')
    with pytest.raises(FigmentError, match="which is gone"):
        compare([one, one], tmp_path / "out")
