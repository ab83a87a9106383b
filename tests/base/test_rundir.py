import pytest

from figment.base.errors import FigmentError
from figment.base.rundir import find_run, new_run


def test_runs_are_numbered_and_the_newest_is_found(tmp_path):
    assert new_run(tmp_path / "none", "heads").name == "00000-heads"
    for name in ("00000-a", "00007-b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    assert new_run(tmp_path, "my heads!").name == "00008-my-heads"
    assert find_run(tmp_path, "--resume").name == "00007-b"
    assert find_run(tmp_path / "00000-a", "--resume").name == "00000-a"


def test_no_run_names_the_flag(tmp_path):
    with pytest.raises(FigmentError, match="--resume"):
        find_run(tmp_path, "--resume")
