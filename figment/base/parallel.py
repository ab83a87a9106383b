"""Parallel processes: workers on this machine, or a Ray cluster (extra `ray`).

    figment crop pictures/ -o heads/ --engine ray
    RAY_ADDRESS=auto figment curate heads/ --engine ray

With Ray, all folders must be on storage that every machine of the cluster shares. Without RAY_ADDRESS, Ray runs on
this machine only.
"""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from figment.base.errors import FigmentError


def start_workers(count: int) -> ProcessPoolExecutor:
    """Start a pool of `count` fresh processes. Close it with `shutdown(cancel_futures=True)`."""
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), end_with_parent)


def end_with_parent() -> None:
    """Make this worker exit when its parent process ends for any reason; otherwise it would wait forever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


Item = TypeVar("Item")
Result = TypeVar("Result")
ENGINES = ("local", "ray")
"""Values of --engine."""


def check_engine(engine: str) -> None:
    """Raise FigmentError for an unknown engine."""
    if engine not in ENGINES:
        raise FigmentError(f"--engine {engine}: must be {' or '.join(ENGINES)}")


def run_on_ray(
    function: Callable[[Item], Result],  # a function of a module, or a partial of one, so that it can be pickled
    items: Sequence[Item],
) -> Iterator[Result]:
    """Yield `function(item)` for every item, in order, computed by a Ray cluster.

    Raises FigmentError if Ray is not installed.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise FigmentError("--engine ray: needs the extra `ray`: pip install 'figment-gan[ray]'") from None
    if not items:
        return
    if not ray.is_initialized():
        ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.WARNING)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False

    def work(row: dict[str, Any]) -> dict[str, Any]:
        return {"result": function(row["item"])}

    rows = ray.data.from_items([{"item": item} for item in items]).map(work).iter_rows()
    for row in rows:
        yield row["result"]
