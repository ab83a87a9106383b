"""Other processes of this machine, which end with the one that started them."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from concurrent.futures import ProcessPoolExecutor


def start_workers(count: int) -> ProcessPoolExecutor:
    """Fresh processes that wait for work; close it with `shutdown(cancel_futures=True)`."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), end_with_parent)


def end_with_parent() -> None:
    """Let this worker end when its parent does, however that ends: it would wait for work for ever otherwise."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
