"""Tuning on labelled pictures: a red square on noise is a head here, which no shipped detector knows."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.cli import app
from figment.heads.detect import Detector
from figment.heads.evaluate import evaluate
from figment.heads.tune import tune


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    rng, boxes = np.random.default_rng(0), {}
    for i in range(15):
        pixels = rng.integers(90, 140, (96, 96, 3), np.uint8)
        x, y = rng.integers(4, 50, 2).tolist()
        pixels[y : y + 40, x : x + 40] = (230, 20, 30)
        write_png(folder / "pictures" / f"{i}.png", pixels)
        boxes[f"{i}.png"] = [[x, y, x + 40, y + 40]]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    return folder


@pytest.mark.slow
def test_tuning_learns_what_the_labels_show(labelled, tmp_path):
    done = tune(labelled / "boxes.json", labelled / "pictures", tmp_path / "mine.safetensors", steps=40)
    assert (done.trained, done.held_out) == (12, 3)
    assert done.after.ap50 > max(done.before.ap50, 0.6)
    image = Image.open(labelled / "pictures" / "0.png").convert("RGB")
    assert Detector.load(tmp_path / "mine.safetensors").detect(image, 0.2)


def test_time_ends_it_early_with_a_file(labelled, tmp_path):
    tune(labelled / "boxes.json", labelled / "pictures", tmp_path / "mine.safetensors", steps=10_000, sec=0.0)
    assert (tmp_path / "mine.safetensors").is_file()


def test_too_few_pictures_are_told(labelled, tmp_path):
    few = dict(list(json.loads((labelled / "boxes.json").read_text()).items())[:3])
    (tmp_path / "few.json").write_text(json.dumps(few))
    with pytest.raises(FigmentError, match="3 of its pictures"):
        tune(tmp_path / "few.json", labelled / "pictures", tmp_path / "mine.safetensors")


def test_labels_without_any_box_are_told(labelled, tmp_path):
    (tmp_path / "none.json").write_text(json.dumps({f"{i}.png": [] for i in range(15)}))
    with pytest.raises(FigmentError, match=r"none\.json: holds no box"):
        tune(tmp_path / "none.json", labelled / "pictures", tmp_path / "mine.safetensors")


@pytest.mark.parametrize("text", ["3", "[]", '["pictures"]', '{"pictures": 3}'])
def test_scoring_against_a_file_of_another_form_is_one_line(labelled, tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(FigmentError, match=r"x\.json: neither a boxes\.json nor a COCO file"):
        evaluate(labelled / "boxes.json", tmp_path / "x.json")


def test_judging_boxes_and_pictures(labelled, tmp_path):
    rows = dict(evaluate(labelled / "boxes.json", labelled / "boxes.json"))
    assert rows["all: AP50"].startswith("1.000   15 heads")
    result = CliRunner().invoke(app, ["heads", "score", str(labelled / "pictures"), str(labelled / "boxes.json")])
    assert result.exit_code == 0 and "all: AP50" in result.output
    (tmp_path / "other.json").write_text('{"zzz.png": []}')
    with pytest.raises(FigmentError, match="none of its pictures"):
        evaluate(tmp_path / "other.json", labelled / "boxes.json")
