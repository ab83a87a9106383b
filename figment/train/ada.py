"""How strongly to augment: the heuristic of adaptive discriminator augmentation (Karras et al. 2020, section 3.1).

    ada = AdaController()
    state = ada.start(device)                                   # or AdaState(**checkpoint)
    state = ada.observe(state, real_logits)                     # every step
    state = ada.adjust(state, step, batch, mean=world.mean)     # every step; acts on each fourth
    augment.p.copy_(state.p)

The state is three scalar tensors on the device, and nothing here waits for them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class AdaState(NamedTuple):
    """What a resumed run needs."""

    p: Tensor
    """The chance of each change, []."""
    signs: Tensor
    """Sum of the signs of D's logits of reals since the last adjustment, []."""
    seen: Tensor
    """How many they were, []."""

    def dump(self) -> dict[str, Tensor]:
        """Plain tensors for a checkpoint."""
        return self._asdict()


@dataclass(frozen=True)
class AdaController:
    """Moves p, the chance of each change, so that D stays as sure of the reals as it should be."""

    target: float = 0.6
    """The wished-for r_t: by what share reals judged real outnumber those judged fake."""
    interval: int = 4
    """Steps between adjustments."""
    kimg: float = 500.0
    """Thousands of images in which p can rise from 0 to 1."""

    def start(self, device: torch.device | str = "cpu", p: float = 0.0) -> AdaState:
        """The state that training starts from."""
        zero = torch.zeros([], device=device)
        return AdaState(zero + p, zero, zero.clone())

    def observe(
        self,
        state: AdaState,
        sign: Tensor,  # mean of the signs of D's logits of reals, []
        count: int,  # how many those are
    ) -> AdaState:
        """Take note of what D thinks of reals: r_t = E[sign(D(real))] (equation 1)."""
        return state._replace(signs=state.signs + sign.detach() * count, seen=state.seen + count)

    def adjust(
        self,
        state: AdaState,
        step: int,  # of the run, from 0
        batch: int,  # images per step, over all ranks
        mean: Callable[[Tensor], Tensor] = lambda values: values,  # the mean over all ranks
    ) -> AdaState:
        """Every `interval` steps move p by a fixed amount: up where D knows the reals too well, else down to 0."""
        if (step + 1) % self.interval:
            return state
        signs, seen = mean(torch.stack([state.signs, state.seen]))
        move = torch.sign(signs / seen.clamp(min=1e-9) - self.target) * (batch * self.interval / (self.kimg * 1000))
        p = torch.where(seen > 0, (state.p + move).clamp(min=0), state.p)
        return AdaState(p, torch.zeros_like(signs), torch.zeros_like(seen))
