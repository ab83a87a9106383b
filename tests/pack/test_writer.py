import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.pack import writer
from figment.pack.dataset import ImageDataset
from figment.pack.writer import parts_folder
from figment.pack.zips import pack


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "PART", 4)
    for i in range(14):
        array = np.random.RandomState(i).randint(0, 256, (18, 18, 3), np.uint8)
        write_png(tmp_path / "in" / f"{i:02d}.png", array)
    (tmp_path / "in" / "05.png").write_text("no picture")
    return tmp_path / "in"


def test_any_number_of_workers_makes_the_same_bytes(folder, tmp_path):
    pack(folder, tmp_path / "a.zip", resolution=16, workers=1)
    summary = pack(folder, tmp_path / "b.zip", resolution=16, workers=2)
    assert summary.packed == 13 and "05.png" in summary.failed[0]
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip", "in"]


def test_what_is_done_is_not_done_again(folder, tmp_path, monkeypatch):
    pack(folder, tmp_path / "a.zip", resolution=16, workers=1)
    made, real = [], writer.fit_picture

    def dies(path, fit):
        made.append(path.name)
        if len(made) == 10:
            raise KeyboardInterrupt
        return real(path, fit)

    monkeypatch.setattr(writer, "fit_picture", dies)
    with pytest.raises(KeyboardInterrupt):
        pack(folder, tmp_path / "b.zip", resolution=16, workers=1)
    assert not (tmp_path / "b.zip").exists() and len(list(parts_folder(tmp_path / "b.zip").glob("*.zip"))) == 2
    pack(folder, tmp_path / "b.zip", resolution=16, workers=1)
    assert made[10:] == ["08.png", "09.png", "10.png", "11.png", "12.png", "13.png"]
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_other_pictures_or_settings_start_over(folder, tmp_path, monkeypatch):
    files = sorted(folder.iterdir())
    fit = writer.Fit(16)
    made = []
    monkeypatch.setattr(writer, "make_part", lambda job: made.append(job[2].name) or len(job[0]))
    place = writer.write_parts(files, fit, tmp_path / "a.zip", 1)
    (place / "000000.zip").write_bytes(b"")
    writer.write_parts(files, fit, tmp_path / "a.zip", 1)
    assert made == [f"{number:06d}.zip" for number in (0, 1, 2, 3, 1, 2, 3)]
    writer.write_parts(files, writer.Fit(32), tmp_path / "a.zip", 1)
    assert len(made) == 11 and not (place / "000000.zip").exists()
    os.utime(files[0], (1, 1))
    writer.write_parts(files, writer.Fit(32), tmp_path / "a.zip", 1)
    assert len(made) == 15


KILLED = """
import sys, time
from pathlib import Path
from figment.pack import writer, zips
writer.PART = 4
def slow(path, fit, real=writer.fit_picture):
    time.sleep(0.15)
    return real(path, fit)
writer.fit_picture = slow
zips.pack(Path(sys.argv[1]), Path(sys.argv[2]), resolution=16, form=sys.argv[3], shuffle=False, workers=1)
"""


@pytest.mark.parametrize("form", ["zip", "tfrecord"])
def test_a_killed_run_continues_and_ends_with_the_same_bytes(folder, tmp_path, form):
    name = "set.zip" if form == "zip" else "set"
    out, whole = tmp_path / "cut" / name, tmp_path / "whole" / name
    pack(folder, whole, resolution=16, form=form, shuffle=False, workers=1)

    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder), str(out), form])
    try:
        while not list(parts_folder(out).glob("[0-9]*.zip")):
            assert process.poll() is None
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in parts_folder(out).glob("[0-9]*.zip")}
    assert kept and not out.exists()

    pack(folder, out, resolution=16, form=form, shuffle=False, workers=1)
    files = [out] if form == "zip" else sorted(out.iterdir())
    for path in files:
        assert path.read_bytes() == (whole.parent / path.relative_to(out.parent)).read_bytes()
    assert [path.name for path in out.parent.iterdir()] == [name] and len(ImageDataset(out)) == 13


def test_a_killed_worker_is_one_line(folder, tmp_path, monkeypatch):
    class Pool:
        def __init__(self, *_):
            pass

        def submit(self, *_):
            from concurrent.futures import Future
            from concurrent.futures.process import BrokenProcessPool

            future = Future()
            future.set_exception(BrokenProcessPool())
            return future

        def shutdown(self, cancel_futures):
            assert cancel_futures

    monkeypatch.setattr(writer, "start_workers", Pool)
    with pytest.raises(FigmentError, match="a worker was killed"):
        pack(folder, tmp_path / "a.zip", resolution=16, workers=2)
    assert json.loads((parts_folder(tmp_path / "a.zip") / "job.json").read_text())["resolution"] == 16
