import json

import pytest

from figment.base.errors import FigmentError
from figment.train.start import resume_training, start_training
from tests.train.conftest import TINY


def test_a_dry_run_prints_the_configuration_and_writes_nothing(tmp_path, zip_path, capsys):
    start_training(zip_path, tmp_path, dry_run=True, device="cpu", **TINY)
    config = json.loads(capsys.readouterr().out)
    assert config["recipe"]["batch"] == 4 and config["networks"]["resolution"] == 16
    assert list(tmp_path.iterdir()) == []


def test_a_run_goes_on_from_its_folder_alone(tmp_path, zip_path):
    run = start_training(zip_path, tmp_path, device="cpu", **TINY | {"kimg": 0.016})
    assert run.name == "00000-heads"
    assert resume_training(tmp_path, kimg=0.032, device="cpu") == run
    assert len((run / "stats.jsonl").read_text().splitlines()) == 2


def test_a_time_budget_becomes_kimg(tmp_path, zip_path, capsys):
    given = {name: value for name, value in TINY.items() if name != "kimg"}
    run = start_training(zip_path, tmp_path, sec=1.0, device="cpu", **given)
    kimg = json.loads((run / "config.json").read_text())["schedule"]["kimg"]
    assert 0.004 <= kimg < 20 and "s/kimg on this machine" in capsys.readouterr().out


def test_a_missing_data_set_names_the_argument(tmp_path):
    with pytest.raises(FigmentError, match="DATA .*no such file"):
        start_training(tmp_path / "none.zip", tmp_path, device="cpu")
