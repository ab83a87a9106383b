"""Execution of the parts of a training step: in micro-batches if memory is short, as CUDA graphs on a GPU.

    executor = Executor(log=print)
    stats = executor.run(Part("D", work, inputs, d, batch=32, group=4), sizes={})
    world.average_gradients(d.parameters()); optimizer.step()

where `work(inputs, index, share)` takes the samples `index` of this rank's batch through the network, calls backward on
`share` times their mean loss, and returns statistics. It must compute from nothing but `inputs`, weights and constants,
and must not communicate with other ranks, because it may run more than once.
"""

from __future__ import annotations

import functools
import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from figment.base.device import is_out_of_memory
from figment.base.errors import FigmentError
from figment.nets.layers import stddev_group

logger = logging.getLogger(__name__)

WARM_UP_RUNS = 2
"""Plain runs of a part, in which cuDNN and Triton choose their kernels, before it is captured."""
CAPTURE_TOLERANCE = 0.05
"""Largest accepted relative difference between a captured part and the plain one; the order of sums changes less."""

Index = Tensor | slice
"""Samples of a batch: all of them as slice(None), or some as int64 [n]."""
Inputs = dict[str, Any]
"""Tensors, by name or in lists and tuples; None stays None."""
Stats = dict[str, Tensor]
"""Statistics by name, [] each, and G's mean w [D]."""
Work = Callable[[Inputs, Index, float], Stats]
"""Forward and backward of some samples, which are that share of the batch; returns means over them."""
Log = Callable[[str], None]
"""Takes one line for people."""


@dataclass(frozen=True)
class Part:
    """One part of a training step: the gradients of one network."""

    name: str
    """Parts of one name always have the same shapes."""
    work: Work
    inputs: Inputs
    network: nn.Module
    """Network whose parameters get the gradients."""
    batch: int
    """Samples of this rank."""
    group: int
    """Group of the discriminator's minibatch stddev: 1 if there is none, 0 for the whole batch."""

    def zero_grad(self) -> None:
        """Drop the gradients."""
        self.network.zero_grad(set_to_none=True)


class Executor:
    """Runs the parts of one trainer's steps."""

    def __init__(
        self,
        capture: bool = True,  # False: never capture CUDA graphs
        log: Log = logger.warning,
    ) -> None:
        self.log = log
        self.graphs = Graphs(enabled=capture, log=log)

    def run(
        self,
        part: Part,
        sizes: dict[str, int],  # largest micro-batch that fitted, by part; updated when memory runs out
    ) -> Stats:
        """Compute the gradients of a part, in as few micro-batches as memory allows; return its statistics."""
        known = sizes.get(part.name)
        batches = MicroBatches(part.batch, part.group, known, lambda line: self.log(f"{part.name}: {line}"))

        def plain() -> Stats:
            stats = batches.run(functools.partial(part.work, part.inputs), part.zero_grad)
            if batches.size < batches.batch:
                sizes[part.name] = batches.size
            return stats

        return plain() if known else self.graphs.run(part, plain)


# --- Micro-batches


def split_batch(
    batch: int,  # samples of this rank
    size: int,  # most samples of one micro-batch
    group: int,  # of the minibatch stddev; 1 if there is none, 0 for the whole batch
) -> list[Tensor]:
    """Return indices int64 [n] of each micro-batch, so that every group of the minibatch stddev stays whole.

    Sample i belongs to group i mod (batch / group), so a micro-batch takes whole columns of the [group, groups] table.
    """
    together = stddev_group(batch, group)
    groups = batch // together
    table = torch.arange(batch).view(together, groups)  # a column is a group

    # As many groups as fit, but never a number whose samples would be grouped differently.
    most = max(size // together, 1)
    while most < groups and stddev_group(most * together, group) != together:
        most -= 1
    parts = table.split([most] * (groups // most) + ([groups % most] if groups % most else []), 1)
    if any(stddev_group(part.numel(), group) != together for part in parts):
        parts = table.split(1, 1)
    return [part.flatten() for part in parts]  # [together, groups] -> [n]


class MicroBatches:
    """Runs a closure over a batch in micro-batches whose gradients add up to the whole batch's."""

    def __init__(
        self,
        batch: int,  # samples of this rank
        group: int,  # of D's minibatch stddev; 1 if there is none, 0 for the whole batch
        size: int | None = None,  # most samples at once, as found earlier; None: all
        log: Log = logger.warning,
    ) -> None:
        self.batch, self.group, self.size, self.log = batch, group, min(size or batch, batch), log

    @property
    def smallest(self) -> int:
        """The smallest possible micro-batch: one group of the minibatch stddev."""
        return stddev_group(self.batch, self.group)

    def run(
        self,
        closure: Callable[[Index, float], Stats],
        reset: Callable[[], None],  # drops the gradients; called first and after a failure
    ) -> Stats:
        """Return statistics of the whole batch, its gradients accumulated; halve the micro-batch when memory runs out.

        After a failure everything runs again from the same global random state, so the result is the same.
        Raises FigmentError if even the smallest micro-batch does not fit.
        """
        random_state = _random_state()
        while True:
            reset()
            stats = self._attempt(closure)
            if stats is not None:
                return stats
            if self.size <= self.smallest:
                raise FigmentError(
                    f"out of memory with {self.smallest} images at once, the fewest that the minibatch stddev allows; "
                    "use a smaller --batch, network or resolution"
                )

            # The failed attempt's tensors are free now that its frames are gone.
            reset()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            was, self.size = self.size, max(self.size // 2, self.smallest)
            self.size -= self.size % self.smallest
            self.log(
                f"out of memory with {was} images at once: continuing with {self.size} at once, "
                f"gradients accumulated to the same batch of {self.batch}"
            )
            _random_state(random_state)

    def _attempt(self, closure: Callable[[Index, float], Stats]) -> Stats | None:
        """Return the weighted means of the closure's statistics over all micro-batches; None if memory ran out."""
        parts: list[Index] = [slice(None)]
        if self.size < self.batch:
            parts = [*split_batch(self.batch, self.size, self.group)]
        total: Stats = {}
        try:
            for part in parts:
                share = 1.0 if isinstance(part, slice) else len(part) / self.batch
                for name, value in closure(part, share).items():
                    weighted = value.detach() * share
                    total[name] = total[name] + weighted if name in total else weighted
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return None
        return total


def _random_state(restore: list[Tensor] | None = None) -> list[Tensor]:
    """Return the global random states, CPU first; set them first if `restore` gives them."""
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    if restore is not None:
        torch.set_rng_state(restore[0])
        if cuda and len(restore) > 1:
            torch.cuda.set_rng_state(restore[1])
        return restore
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if cuda else [])]


# --- CUDA graphs: thousands of kernels launched by one call, so that the GPU never waits for Python


def warm_up_runs(device: torch.device) -> int:
    """Return the runs of a part before timings are stable, including the one that captures it."""
    return WARM_UP_RUNS + 1 if device.type == "cuda" else 1


@dataclass
class Captured:
    """A part captured as a CUDA graph, with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: Inputs
    """Tensors that it reads."""
    stats: Stats
    """Tensors that it writes its statistics to."""
    grads: list[Tensor | None]
    """Tensors that it writes the gradients to, one per parameter."""

    def replay(self, inputs: Inputs, parameters: list[nn.Parameter]) -> Stats:
        """Run the graph on these inputs: set the parameters' gradients and return the statistics."""
        for mine, new in zip(tree_flatten(self.inputs)[0], tree_flatten(inputs)[0], strict=True):
            if mine is not None:
                mine.copy_(new)
        self.graph.replay()
        for parameter, grad in zip(parameters, self.grads, strict=True):
            parameter.grad = grad
        return {name: value.clone() for name, value in self.stats.items()}


class GraphRecorder:
    """Captures parts as CUDA graphs that share one memory pool."""

    def __init__(self) -> None:
        self._pool: Any = None

    def capture(self, part: Part, parameters: list[nn.Parameter]) -> Captured:
        """Capture `part` as a CUDA graph without executing it."""
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        static = tree_map(lambda leaf: None if leaf is None else leaf.clone(), part.inputs)
        for parameter in parameters:
            parameter.grad = None  # so that the gradients are allocated in the graph's own memory
        graph = torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            stats = {name: value.detach() for name, value in part.work(static, slice(None), 1.0).items()}
        return Captured(graph, static, stats, [parameter.grad for parameter in parameters])

    def can_capture(self, part: Part) -> bool:
        """Return whether everything that `part` reads is a tensor on a GPU."""
        leaves = [leaf for leaf in tree_flatten(part.inputs)[0] if leaf is not None]
        return all(isinstance(leaf, Tensor) and leaf.is_cuda for leaf in leaves)


class Graphs:
    """The captured parts of one trainer's steps; nothing is captured on a CPU."""

    def __init__(
        self,
        enabled: bool = True,
        log: Log = logger.warning,
        recorder: GraphRecorder | None = None,  # None: CUDA's
    ) -> None:
        self.enabled, self.log = enabled, log
        self.captured: dict[str, Captured] = {}
        """Captured parts by name."""
        self._recorder = recorder or GraphRecorder()
        self._runs: dict[str, int] = {}

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Run every part without graphs inside the context, for example to count operations, which graphs hide."""
        before, self.enabled = self.enabled, False
        try:
            yield
        finally:
            self.enabled = before

    def run(
        self,
        part: Part,
        plain: Callable[[], Stats],  # runs the part without a graph
    ) -> Stats:
        """Run a part, from its graph once there is one; return its statistics."""
        if not self.enabled or not self._recorder.can_capture(part):
            return plain()
        name = part.name
        self._runs[name] = self._runs.get(name, 0) + 1
        if self._runs[name] <= WARM_UP_RUNS:
            return plain()
        parameters = list(part.network.parameters())
        if name in self.captured:
            return self.captured[name].replay(part.inputs, parameters)

        # A captured part is used only if it first gives what the plain one gives for the same inputs.
        stats = plain()
        grads = [parameter.grad for parameter in parameters]
        try:
            captured = self._recorder.capture(part, parameters)
            _check(stats, captured.replay(part.inputs, parameters), grads, captured.grads)
            self.captured[name] = captured
        except Exception as error:
            self.log(f"continuing without CUDA graphs: {(str(error) or repr(error)).splitlines()[0]}")
            self.enabled = False
            self.captured.clear()
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.grad = grad
        return stats


def _check(
    stats: Stats,  # of the plain part
    captured_stats: Stats,
    grads: list[Tensor | None],  # of the plain part
    captured_grads: list[Tensor | None],
) -> None:
    """Raise ValueError if the captured part gives other results than the plain one."""
    pairs = [(stats[name], captured_stats[name]) for name in stats if "sign" not in name]  # rounding may flip a sign
    if [grad is None for grad in grads] != [grad is None for grad in captured_grads]:
        raise ValueError("a captured part misses gradients")
    flat = [torch.cat([grad.flatten() for grad in some if grad is not None]) for some in (grads, captured_grads)]
    for plain, other in [*pairs, (flat[0], flat[1])]:
        if not (other - plain).norm() <= CAPTURE_TOLERANCE * plain.norm() + 1e-3:
            raise ValueError(f"a captured part gives {other.norm():.4g}, the plain one {plain.norm():.4g}")
