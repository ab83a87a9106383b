"""Parts of a training step as CUDA graphs: thousands of kernels started by one call, so that the GPU never waits.

    stats = graphs.run("D", closure, inputs, d)     # the closure's gradients lie in d's parameters

where `closure(inputs)` computes from nothing but `inputs`, weights and constants, calls backward and returns tensors. A
part runs twice as it is, while cuDNN and Triton choose their ways, and is recorded the third time.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from figment.base.progress import say

WARM_UP = 2
"""Times that a part runs before it is recorded."""

Inputs = dict[str, Any]
"""Tensors, by name or in lists and tuples; what is None stays so."""
Work = Callable[[Inputs], dict[str, Tensor]]


@dataclass
class Recorded:
    """A part that was recorded."""

    graph: torch.cuda.CUDAGraph
    inputs: Inputs
    """Where it reads from."""
    stats: dict[str, Tensor]
    """Where it leaves what it returns."""
    grads: list[Tensor | None]
    """Where it leaves the gradients."""


class Graphs:
    """The graphs of one run's parts; nothing is recorded but on a GPU."""

    def __init__(self) -> None:
        self.on = True
        self.counted = False
        """Whether somebody counts the arithmetic now, which a graph hides."""
        self._seen: dict[str, int] = {}
        self._made: dict[str, Recorded] = {}
        self._pool: Any = None

    def usable(self, inputs: Inputs) -> bool:
        """Whether such a part may be recorded: everything that it reads is a tensor on a GPU."""
        leaves = [leaf for leaf in tree_flatten(inputs)[0] if leaf is not None]
        return self.on and not self.counted and all(isinstance(leaf, Tensor) and leaf.is_cuda for leaf in leaves)

    def run(
        self,
        part: str,                    # its name; always of the same shapes
        work: Work,
        inputs: Inputs,
        network: nn.Module,           # whose parameters get the gradients
        plainly: Callable[[], dict[str, Tensor]],     # the same without a graph
    ) -> dict[str, Tensor]:
        """What `work` returns, from a graph where there is one."""
        if not self.usable(inputs):
            return plainly()
        self._seen[part] = self._seen.get(part, 0) + 1
        if self._seen[part] <= WARM_UP:
            return plainly()
        parameters = list(network.parameters())
        if part not in self._made:
            try:
                self._made[part] = self._record(work, inputs, parameters)
            except Exception as error:
                say(f"going on without CUDA graphs: {str(error).splitlines()[0]}")
                self.on = False
                self._made.clear()
                return plainly()

        made = self._made[part]
        for mine, new in zip(tree_flatten(made.inputs)[0], tree_flatten(inputs)[0], strict=True):
            if mine is not None:
                mine.copy_(new)
        made.graph.replay()
        for parameter, grad in zip(parameters, made.grads, strict=True):
            parameter.grad = grad
        return {name: value.clone() for name, value in made.stats.items()}

    def _record(self, work: Work, inputs: Inputs, parameters: list[nn.Parameter]) -> Recorded:
        """Record `work`, which is not done thereby."""
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        static = tree_map(lambda leaf: None if leaf is None else leaf.clone(), inputs)
        for parameter in parameters:
            parameter.grad = None    # so that the gradients are made in the graph's own memory
        graph = torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            stats = {name: value.detach() for name, value in work(static).items()}
        return Recorded(graph, static, stats, [parameter.grad for parameter in parameters])
