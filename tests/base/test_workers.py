"""Worker processes end with the process that started them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from figment.base.workers import start_workers

PARENT = """
import os, time
from figment.base.workers import start_workers

if __name__ == "__main__":
    pool = start_workers(1)
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(60)
"""


def test_work_is_done_elsewhere():
    pool = start_workers(1)
    try:
        assert pool.submit(os.getpid).result() != os.getpid()
    finally:
        pool.shutdown(cancel_futures=True)


def test_workers_of_a_killed_process_end(tmp_path):
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
