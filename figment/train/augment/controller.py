"""Control of the augmentation probability p (Karras et al. 2020, arXiv 2006.06676, section 3.1).

    ada = AdaController()
    state = ada.start(device)                                   # or AdaState(**checkpoint)
    state = ada.observe(state, real_logits.sign().mean(), len(real_logits))  # every step
    state = ada.adjust(state, step, batch, mean=world.mean)     # every step; acts on every fourth
    augment.p.copy_(state.p)

The state is three scalar tensors on the device; nothing here waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


class AdaState(NamedTuple):
    """The state of the controller, as checkpoints keep it."""

    p: Tensor
    """Probability of each augmentation, []."""
    signs: Tensor
    """Sum of the signs of D's logits for reals since the last adjustment, []."""
    seen: Tensor
    """Number of those logits, []."""


@dataclass(frozen=True)
class AdaController:
    """Raises p if D overfits, measured by r_t = E[sign(D(real))], and lowers it otherwise."""

    target: float = 0.6
    """Target for r_t: the share of reals that D scores above 0 minus the share below."""
    interval: int = 4
    """Steps between adjustments."""
    kimg: float = 500.0
    """Thousands of images in which p can go from 0 to 1."""

    def start(self, device: torch.device | str = "cpu", p: float = 0.0) -> AdaState:
        """Return the state that training starts from."""
        zero = torch.zeros([], device=device)
        return AdaState(zero + p, zero, zero.clone())

    def observe(
        self,
        state: AdaState,
        sign: Tensor,  # mean of the signs of D's logits for reals, []
        count: int,  # number of those logits
    ) -> AdaState:
        """Return the state with these logits added to r_t = E[sign(D(real))] (equation 1)."""
        return state._replace(signs=state.signs + sign.detach() * count, seen=state.seen + count)

    def adjust(
        self,
        state: AdaState,
        step: int,  # of the run, from 0
        batch: int,  # images per step, over all ranks
        mean: Callable[[Tensor], Tensor] = lambda values: values,  # averages over all ranks
    ) -> AdaState:
        """Return the state with p moved by a fixed amount every `interval` steps: up if r_t > target, else down."""
        if (step + 1) % self.interval:
            return state
        signs, seen = mean(torch.stack([state.signs, state.seen]))
        move = torch.sign(signs / seen.clamp(min=1e-9) - self.target) * (batch * self.interval / (self.kimg * 1000))
        p = torch.where(seen > 0, (state.p + move).clamp(min=0), state.p)
        return AdaState(p, torch.zeros_like(signs), torch.zeros_like(seen))
