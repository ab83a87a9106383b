"""Batches too large for the memory: micro-batches whose gradients add up to the whole batch's.

    batches = MicroBatches(batch=32, group=4)
    stats = batches.run(closure, reset=lambda: optimizer.zero_grad(set_to_none=True))
    world.average_gradients(d.parameters()); optimizer.step()

where `closure(index, share)` takes the samples `index` of this rank's batch through the network, calls backward on
`share` times their mean loss, and returns statistics. It must not talk to other ranks, for it may run more than once.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch
from torch import Tensor

from figment.base.errors import FigmentError
from figment.base.progress import say

Index = Tensor | slice
"""Which samples of the batch: all of them as slice(None), some of them as int64 [n]."""

Closure = Callable[[Index, float], dict[str, Tensor]]
"""Forward and backward for some samples, which are that share of the batch; returns means over them."""


def whole_group(batch: int, group: int) -> int:
    """How many samples minibatch_std compares with one another in such a batch; `group` 0 means all of them."""
    group = group or batch
    return max(size for size in range(1, min(group, batch) + 1) if batch % size == 0)


def micro_batches(
    batch: int,  # samples of this rank
    size: int,  # most samples of one micro-batch
    group: int = 1,  # of the minibatch deviation; 1 where there is none, 0 for the whole batch
) -> list[Tensor]:
    """Indices int64 [n] that split a batch, keeping together what the minibatch deviation compares.

    Sample n belongs to group n mod (batch / group), so a micro-batch of some groups takes every so many samples.
    """
    together = whole_group(batch, group)
    groups = batch // together
    table = torch.arange(batch).view(together, groups)  # a column is a group

    # As many groups as fit, but never a number that would be compared in other groups.
    most = max(size // together, 1)
    while most < groups and whole_group(most * together, group) != together:
        most -= 1
    parts = table.split([most] * (groups // most) + ([groups % most] if groups % most else []), 1)
    if any(whole_group(part.numel(), group) != together for part in parts):
        parts = table.split(1, 1)
    return [part.flatten() for part in parts]  # [together, groups] -> [n]


class MicroBatches:
    """Runs a step in as few micro-batches as the memory allows, and finds out how few those are."""

    def __init__(
        self,
        batch: int,  # samples of this rank
        group: int = 4,  # of D's minibatch deviation; 1 where there is none
        size: int | None = None,  # most samples at once, as found earlier; None: all
        tell: Callable[[str], None] = say,
    ) -> None:
        self.batch, self.group, self.size, self.tell = batch, group, min(size or batch, batch), tell

    @property
    def smallest(self) -> int:
        """A micro-batch can't be smaller: one group of the minibatch deviation."""
        return whole_group(self.batch, self.group)

    def run(
        self,
        closure: Closure,
        reset: Callable[[], None],  # forget the gradients; before the first and after a failure
    ) -> dict[str, Tensor]:
        """Statistics of the whole batch, its gradients accumulated; halves the micro-batch where memory runs out.

        After a failure everything runs again from the same global random state, so that the outcome is the same.
        """
        state = _random_state()
        while True:
            reset()
            stats = self._attempt(closure)
            if stats is not None:
                return stats
            if self.size <= self.smallest:
                raise FigmentError(
                    f"out of memory with {self.smallest} pictures at once, the least that the minibatch "
                    "deviation allows; take a smaller --batch, network or resolution"
                )

            # What the failed attempt held is free now that its frames are gone.
            reset()
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            was, self.size = self.size, max(self.size // 2, self.smallest)
            self.size -= self.size % self.smallest
            self.tell(
                f"out of memory with {was} pictures at once: going on with {self.size} at once, "
                f"gradients added up to the same batch of {self.batch}"
            )
            _random_state(state)

    def _attempt(self, closure: Closure) -> dict[str, Tensor] | None:
        """The weighted means of the closure's statistics over all micro-batches; None where memory ran out."""
        if self.size >= self.batch:
            parts: list[Index] = [slice(None)]
        else:
            parts = [*micro_batches(self.batch, self.size, self.group)]
        total: dict[str, Tensor] = {}
        try:
            for part in parts:
                share = 1.0 if isinstance(part, slice) else len(part) / self.batch
                for name, value in closure(part, share).items():
                    weighted = value.detach() * share
                    total[name] = total[name] + weighted if name in total else weighted
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            return None
        return total


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: a GPU's, the CPU's, or what cuDNN would work in."""
    told = ("can't allocate memory", "unable to find an engine to execute")
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in told)


def _random_state(restore: list[Tensor] | None = None) -> list[Tensor]:
    """The global random states, CPU first; puts them back where `restore` gives them."""
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    if restore is not None:
        torch.set_rng_state(restore[0])
        if cuda and len(restore) > 1:
            torch.cuda.set_rng_state(restore[1])
        return restore
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state()] if cuda else [])]
