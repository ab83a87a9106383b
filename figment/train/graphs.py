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
CLOSE = 0.05
"""How far a recorded part may be from the plain one, as a share: kernels that add in any order differ by less."""

Inputs = dict[str, Any]
"""Tensors, by name or in lists and tuples; what is None stays so."""
Work = Callable[[Inputs], dict[str, Tensor]]


def runs_to_steady(device: torch.device) -> int:
    """How often a part runs before its time is that of all later ones; what is counted meanwhile is not among them."""
    return WARM_UP + 1 if device.type == "cuda" else 1


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

    def replay(self, inputs: Inputs, parameters: list[nn.Parameter]) -> dict[str, Tensor]:
        """Do it with these inputs: what it returns, the gradients in the parameters."""
        for mine, new in zip(tree_flatten(self.inputs)[0], tree_flatten(inputs)[0], strict=True):
            if mine is not None:
                mine.copy_(new)
        self.graph.replay()
        for parameter, grad in zip(parameters, self.grads, strict=True):
            parameter.grad = grad
        return {name: value.clone() for name, value in self.stats.items()}


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
        part: str,  # its name; always of the same shapes
        work: Work,
        inputs: Inputs,
        network: nn.Module,  # whose parameters get the gradients
        plainly: Callable[[], dict[str, Tensor]],  # the same without a graph
    ) -> dict[str, Tensor]:
        """What `work` returns, from a graph where there is one."""
        if not self.usable(inputs):
            return plainly()
        self._seen[part] = self._seen.get(part, 0) + 1
        if self._seen[part] <= WARM_UP:
            return plainly()
        parameters = list(network.parameters())
        if part in self._made:
            return self._made[part].replay(inputs, parameters)

        # A recorded part is trusted where it first gives what the plain one gives of the same inputs.
        stats = plainly()
        grads = [parameter.grad for parameter in parameters]
        try:
            made = self._record(work, inputs, parameters)
            _check(stats, made.replay(inputs, parameters), grads, made.grads)
            self._made[part] = made
        except Exception as error:
            say(f"going on without CUDA graphs: {(str(error) or repr(error)).splitlines()[0]}")
            self.on = False
            self._made.clear()
            for parameter, grad in zip(parameters, grads, strict=True):
                parameter.grad = grad
        return stats

    def _record(self, work: Work, inputs: Inputs, parameters: list[nn.Parameter]) -> Recorded:
        """Record `work`, which is not done thereby."""
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        static = tree_map(lambda leaf: None if leaf is None else leaf.clone(), inputs)
        for parameter in parameters:
            parameter.grad = None  # so that the gradients are made in the graph's own memory
        graph = torch.cuda.CUDAGraph()
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            stats = {name: value.detach() for name, value in work(static).items()}
        return Recorded(graph, static, stats, [parameter.grad for parameter in parameters])


def _check(
    stats: dict[str, Tensor],  # of the plain part, and
    recorded: dict[str, Tensor],  # of the recorded one
    grads: list[Tensor | None],
    recorded_grads: list[Tensor | None],
) -> None:
    """Raise ValueError where the recorded part does something else."""
    pairs = [(stats[name], recorded[name]) for name in stats if "sign" not in name]  # rounding may turn a sign
    if [grad is None for grad in grads] != [grad is None for grad in recorded_grads]:
        raise ValueError("a recorded step leaves out gradients")
    flat = [torch.cat([grad.flatten() for grad in some if grad is not None]) for some in (grads, recorded_grads)]
    for plain, other in [*pairs, (flat[0], flat[1])]:
        if not (other - plain).norm() <= CLOSE * plain.norm() + 1e-3:
            raise ValueError(f"a recorded step gives {other.norm():.4g} where the plain one gives {plain.norm():.4g}")
