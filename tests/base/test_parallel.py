import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from figment.base.errors import FigmentError
from figment.base.parallel import check_engine, run_on_ray, start_workers

PARENT = """
import os, time
from figment.base.parallel import start_workers

if __name__ == "__main__":
    pool = start_workers(1)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


def test_work_is_done_in_another_process():
    pool = start_workers(1)
    try:
        assert pool.submit(os.getpid).result() != os.getpid()
    finally:
        pool.shutdown(cancel_futures=True)


def test_workers_of_a_killed_process_exit(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    until = time.monotonic() + 20
    while _runs(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _runs(worker)


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Rows:
    """The part of ray.data that is used: rows, map and an iterator."""

    def __init__(self, rows):
        self.rows = rows

    def map(self, function):
        return Rows([function(row) for row in self.rows])

    def iter_rows(self):
        return iter(self.rows)


@pytest.fixture
def fake_ray(monkeypatch):
    context = types.SimpleNamespace(
        execution_options=types.SimpleNamespace(preserve_order=False), enable_progress_bars=True
    )
    data = types.ModuleType("ray.data")
    data.from_items, data.DataContext = Rows, types.SimpleNamespace(get_current=lambda: context)
    ray = types.ModuleType("ray")
    ray.data, ray.is_initialized, ray.init = data, lambda: False, lambda **given: None
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.data", data)
    return context


def test_results_come_in_the_order_of_the_items(fake_ray):
    assert list(run_on_ray(str, [3, 1, 2])) == ["3", "1", "2"]
    assert fake_ray.execution_options.preserve_order


def test_nothing_to_do_starts_no_cluster(fake_ray):
    assert list(run_on_ray(str, [])) == []


def test_without_the_extra_one_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(FigmentError, match="figment-gan\\[ray\\]"):
        list(run_on_ray(str, [1]))


def test_unknown_engines_are_refused():
    check_engine("ray")
    with pytest.raises(FigmentError, match="--engine spark"):
        check_engine("spark")
