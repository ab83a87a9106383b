import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from figment.base.errors import FigmentError
from figment.base.files import (
    atomic,
    check_output,
    find_run,
    keep_input,
    list_files,
    need_ending,
    need_file,
    need_folder,
    need_output,
    new_run,
    read_json,
    write_json,
    write_text,
)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [child.name for child in tmp_path.iterdir()] == ["a.txt"]


def test_the_leftover_of_a_killed_writer_is_overwritten(tmp_path):
    with atomic(tmp_path / "a.png") as temporary:
        leftover = temporary
        temporary.write_text("whole")
    leftover.write_text("half of a killed writer")
    write_text(tmp_path / "a.png", "whole")
    assert [child.name for child in tmp_path.iterdir()] == ["a.png"]


def test_a_full_disk_names_the_file_whatever_the_writer_raises(tmp_path, monkeypatch):
    with pytest.raises(OSError, match="No space") as caught, atomic(tmp_path / "a.mp4"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.mp4")

    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(OSError, match="No space"), atomic(tmp_path / "a.pt"):
        raise RuntimeError("unexpected pos 64 vs 0")
    with pytest.raises(KeyboardInterrupt), atomic(tmp_path / "a.pt"):
        raise KeyboardInterrupt


def test_json_comes_back_and_damage_names_the_file(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, 2.5, None]})
    assert read_json(tmp_path / "a.json") == {"a": [1, 2.5, None]}
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(FigmentError, match=r"b\.json"):
        read_json(tmp_path / "b.json")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_json_in_any_encoding(tmp_path, encoding):
    (tmp_path / "a.json").write_bytes('{"ä": 1}'.encode(encoding))
    assert read_json(tmp_path / "a.json") == {"ä": 1}


def test_a_json_key_that_occurs_twice_is_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"x": {"b": 1, "c": 2, "b": 3}}')
    with pytest.raises(FigmentError, match=r"a\.json: .*'b' twice"):
        read_json(tmp_path / "a.json")


def test_bad_paths_name_the_flag(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FigmentError, match="PICTURES .*no such folder"):
        need_folder(tmp_path / "none", "PICTURES")
    with pytest.raises(FigmentError, match="must be a folder"):
        need_folder(tmp_path / "file", "PICTURES")
    with pytest.raises(FigmentError, match="no such file"):
        need_file(tmp_path / "none", "DATA")
    with pytest.raises(FigmentError, match="must be a file"):
        need_file(tmp_path, "DATA")


def test_listing_is_sorted_and_skips_hidden_names(tmp_path):
    for name in ("b/2.png", "a.png", ".hidden/x.png", "b/.partial.png", "b/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path)] == ["a.png", "b/1.png", "b/2.png"]


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


def test_outputs_that_cannot_be_written_name_the_flag(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file" / "a.json", tmp_path / ("n" * 300), Path("/proc/a.json")):
        with pytest.raises(FigmentError, match="--output .*can't be written"):
            need_output(path, "--output")
        with pytest.raises(FigmentError, match="--output .*can't be written"):
            need_output(path, "--output", folder=True)
    with pytest.raises(FigmentError, match="--output .*this is a folder"):
        need_output(tmp_path, "--output")
    with pytest.raises(FigmentError, match="--output .*can't be written"):
        need_output(tmp_path / "file", "--output", folder=True)


def test_outputs_that_can_be_written_stay_as_they_are(tmp_path):
    (tmp_path / "a.json").write_text("old")
    need_output(tmp_path / "a.json", "--output")
    need_output(tmp_path / "new" / "b.json", "--output")
    need_output(tmp_path / "folder", "--output", folder=True)
    assert (tmp_path / "a.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.json", "folder", "new"]


def test_a_refused_write_names_the_file_and_not_the_temporary_one(tmp_path):
    with pytest.raises(OSError, match="File name too long") as caught:
        write_text(tmp_path / ("n" * 300), "x")
    assert caught.value.filename == str(tmp_path / ("n" * 300))


def test_a_checked_output_leaves_nothing_behind(tmp_path):
    (tmp_path / "kept").mkdir()
    check_output(tmp_path / "a" / "b" / "c.json", "--output")
    check_output(tmp_path / "d" / "e", "--output", folder=True)
    check_output(tmp_path / "kept", "--output", folder=True)
    with pytest.raises(FigmentError, match="--output .*can't be written"):
        check_output(tmp_path / "f" / ("n" * 300), "--output")
    assert [path.name for path in tmp_path.rglob("*")] == ["kept"]


def test_an_output_must_not_be_an_input(tmp_path):
    (tmp_path / "a.json").write_text("x")
    for source in (tmp_path / "a.json", str(tmp_path / "b" / ".." / "a.json")):
        (tmp_path / "b").mkdir(exist_ok=True)
        with pytest.raises(FigmentError, match="--output .*a.json: would overwrite --keys .*a.json"):
            keep_input(source, "--keys", tmp_path / "none.json", tmp_path / "a.json")
    for source in (None, [1, 2], "0-3", "n" * 300, tmp_path / "none.json"):
        keep_input(source, "--keys", tmp_path / "a.json", tmp_path / ("n" * 300))


def test_an_ending_that_is_not_that_of_the_file(tmp_path):
    need_ending(tmp_path / "a.PNG", ".png")
    for name in ("a", "a.jpg", "model.safetensors", ".png"):
        with pytest.raises(FigmentError, match=r"--output .*: must end in \.png"):
            need_ending(tmp_path / name, ".png")


def test_a_path_that_the_system_refuses_to_look_up_names_its_flag():
    for check in (need_file, need_folder):
        with pytest.raises(FigmentError, match="--boxes n+: can't read this .* \\(File name too long\\)"):
            check(Path("n" * 300), "--boxes")


def test_pipes_and_devices_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "pipe.json", Path("/dev/zero")):
        with pytest.raises(FigmentError, match=f"--labels {path}: must be a file, not a pipe or a device"):
            need_file(path, "--labels")
        with pytest.raises(FigmentError, match=f"{path}: must be a JSON file"):
            read_json(path)
