"""The same function over many items on a Ray cluster (extra `ray`), for more pictures than one machine handles.

    figment crop pictures/ -o heads/ --engine ray
    RAY_ADDRESS=auto figment curate heads/ --engine ray

Folders must lie where every machine of the cluster finds them. Without RAY_ADDRESS the cluster is this machine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from figment.base.errors import FigmentError

Item = TypeVar("Item")
Result = TypeVar("Result")
ENGINES = ("local", "ray")


def check_engine(engine: str) -> None:
    """Raise FigmentError where there is no such engine."""
    if engine not in ENGINES:
        raise FigmentError(f"--engine {engine}: must be {' or '.join(ENGINES)}")


def run_on_ray(
    function: Callable[[Item], Result],  # of a module, or a partial of one: it runs in other processes
    items: Sequence[Item],
) -> Iterator[Result]:
    """What `function` makes of every item, in their order."""
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
