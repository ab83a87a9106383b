import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.score.score import describe, score
from tests.score.conftest import blobs


def test_a_folder_is_scored_and_the_report_holds_the_pairs(pictures, tmp_path):
    shutil.copytree(pictures / "fake", tmp_path / "fake")
    for i in range(4):
        shutil.copy(pictures / "real" / f"{i:02d}.png", tmp_path / "fake" / f"copy{i}.png")
    found = score(tmp_path / "fake", pictures / "real.zip", out=tmp_path / "out", device="cpu")
    assert found.images == 16 and found.reference_images == 24 and found.copies == 4
    assert found.path_length is None and found.distance > 0 and found.labels == ("FD-heads", "KD-heads")

    nearest = json.loads((tmp_path / "out" / "nearest.json").read_text())
    assert len(nearest["nearest"]) == 16
    assert sorted(pair["fake"] for pair in nearest["copies"]) == [f"copy{i}.png" for i in range(4)]
    report = (tmp_path / "out" / "report.md").read_text()
    assert "FD-heads" in report and "FID" not in report
    assert json.loads((tmp_path / "out" / "scores.json").read_text())["copies"] == 4
    with Image.open(tmp_path / "out" / "pairs.png") as image:
        assert np.asarray(image).std() > 10


def test_a_model_is_scored_with_its_path_length(model, pictures):
    found = score(model, pictures / "real.zip", images=10, steps=4, device="cpu")
    assert found.images == 10 and found.path_length > 0
    table = dict(describe(found))
    assert list(table) == [
        "FD-heads",
        "FD-heads floor",
        "KD-heads x1000",
        "precision",
        "recall",
        "density",
        "coverage",
        "path length",
        "copies",
    ]
    assert "10 fakes against 24 of real.zip; fewer than 500, so all scores vary a lot by chance" in table["FD-heads"]
    many = replace(found, images=500, reference_images=500)
    assert describe(many)[0][1].endswith("500 fakes against 500 of real.zip")


def test_features_that_the_discriminator_looked_through_carry_a_mark(projected_model, pictures):
    flattered = score(projected_model, pictures / "real.zip", features="heads", images=8, steps=0, device="cpu")
    table = dict(describe(flattered))
    assert flattered.looked_through and flattered.labels == ("FD-heads", "KD-heads")
    assert next(iter(table)) == "FD-heads*" and "KD-heads* x1000" in table
    assert list(table)[-1] == "*" and "FD-parts is independent" in table["*"]
    independent = score(projected_model, pictures / "real.zip", images=8, steps=0, device="cpu")
    assert (
        independent.labels[0] == "FD-parts"
        and not independent.looked_through
        and "*" not in dict(describe(independent))
    )


def test_pictures_against_themselves_are_perfect_and_all_copies(pictures):
    found = score(pictures / "real", pictures / "real.zip", device="cpu")
    assert found.distance == pytest.approx(0, abs=1e-9) and found.copies == 24
    assert found.precision == found.recall == found.coverage == 1


def test_a_handful_of_equal_pictures_gives_finite_scores(tmp_path, pictures):
    for i in range(9):
        write_png(tmp_path / "same" / f"{i}.png", blobs(100))
    for what, data in (("same", "same"), ("real", "same"), ("same", "real")):
        folders = [tmp_path / "same" if each == "same" else pictures / "real" for each in (what, data)]
        found = score(*folders, device="cpu")
        numbers = [value for value in asdict(found).values() if isinstance(value, float)]
        assert len(numbers) > 6 and np.isfinite(numbers).all()
        assert found.copies == (9 if what == data else 0)


def test_too_few_pictures_are_one_line(tmp_path, pictures):
    for i in range(9):
        write_png(tmp_path / "seven" / f"{i}.png", np.full((16, 16, 3), i, np.uint8))
    for i in range(2):
        (tmp_path / "seven" / f"{i}.png").write_bytes(b"no picture")
    with pytest.raises(FigmentError, match=r"seven: holds fewer than 8 readable images \(.*1.png"):
        score(tmp_path / "seven", pictures / "real", device="cpu")
    with pytest.raises(FigmentError, match="DATA .*seven: holds fewer than 8 readable images"):
        score(pictures / "real", tmp_path / "seven", device="cpu")
    (tmp_path / "seven" / "0.png").unlink()
    (tmp_path / "seven" / "1.png").unlink()
    with pytest.raises(FigmentError, match="MODEL .*seven: holds fewer than 8 images, only 7"):
        score(tmp_path / "seven", pictures / "real", device="cpu")


@pytest.mark.parametrize(
    "given, message",
    [({"images": 3}, "--images 3"), ({"sample": 2}, "--sample 2"), ({"features": "vgg"}, "--features vgg")],
)
def test_wrong_options_are_one_line(model, pictures, given, message):
    with pytest.raises(FigmentError, match=message):
        score(model, pictures / "real.zip", device="cpu", **given)


def test_a_device_that_is_missing_is_one_line(model, pictures):
    with pytest.raises(FigmentError, match="--device gpu: must be cpu, cuda"):
        score(model, pictures / "real.zip", device="gpu")


def test_data_must_be_pictures_and_enough(model, pictures, tmp_path):
    with pytest.raises(FigmentError, match="this is a model"):
        score(pictures / "fake", model, device="cpu")
    shutil.copytree(pictures / "fake", tmp_path / "few", ignore=shutil.ignore_patterns("0*"))
    with pytest.raises(FigmentError, match="few: holds fewer than 8"):
        score(tmp_path / "few", pictures / "real.zip", device="cpu")
