"""How layers compute: one frozen `Backend` in one context variable.

    with use_backend(Backend(torch.bfloat16, channels_last=True, fused=True), "cuda"):
        loss = generator_loss(d(g.synthesis(w)))
    loss.backward()

A backend changes speed and rounding, never what a layer computes. Forward passes read it and save what they decided:
backward passes must not read it, because autograd runs them on a GPU in threads that have the default backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Backend:
    """How layers compute; never what they compute."""

    precision: torch.dtype = torch.float32
    """Convolutions run in this type: float32, or bfloat16 under autocast."""
    channels_last: bool = False
    """Store feature maps with channels last. The Triton kernels need this layout."""
    winograd: bool = False
    """Compute 3x3 convolutions with fewer multiplications on a CPU, if their shape allows it."""
    fused: bool = False
    """Run Triton kernels between convolutions on a GPU."""
    double_backward: bool = False
    """What runs inside is differentiated twice, as R1 and path length need; fused layers then keep more."""

    def __post_init__(self) -> None:
        """Check the precision. Raises ValueError if it is neither float32 nor bfloat16."""
        if self.precision not in (torch.float32, torch.bfloat16):
            raise ValueError(f"precision {self.precision}: must be torch.float32 or torch.bfloat16")


_PLAIN = Backend()
_backend: ContextVar[Backend] = ContextVar("figment_backend", default=_PLAIN)


@contextmanager
def use_backend(backend: Backend, device_type: str = "cpu") -> Iterator[None]:
    """Run layers on `backend` inside the context, under autocast on `device_type` if its precision is bfloat16.

    Contexts nest; the innermost one replaces the others completely, their precision included.
    """
    token = _backend.set(backend)
    try:
        with _autocast(backend.precision, device_type):
            yield
    finally:
        _backend.reset(token)


def _autocast(precision: torch.dtype, device_type: str) -> AbstractContextManager[Any]:
    """Return the autocast context of `precision`, and no context if nothing would change.

    Autocast forgets the weights it has cast when its outermost context ends, so a needless one would keep them longer.
    """
    if precision == torch.bfloat16:
        return torch.autocast(device_type, torch.bfloat16)
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()


def current_backend() -> Backend:
    """Return the backend of the innermost `use_backend`, or the default backend. Only for forward passes."""
    return _backend.get()


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Disable autocast on the device of `x`: for latents, styles, RGB and scores, where rounding would show."""
    return torch.autocast(x.device.type, enabled=False)


def compute_dtype(x: Tensor) -> torch.dtype:
    """Return the type that `x` is convolved in: autocast's if it is enabled, else its own."""
    device_type = x.device.type
    return torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else x.dtype


def to_layout(x: Tensor) -> Tensor:
    """Return `x` [N, C, H, W] in the memory layout of the current backend: channels last, or unchanged."""
    return x.contiguous(memory_format=torch.channels_last) if current_backend().channels_last else x


def empty_in_layout(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return uninitialized memory of this size with the type, device and memory layout of `x` [N, C, H, W]."""
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=memory_format)


def apply(function: type[torch.autograd.Function], *args: object) -> Tensor:
    """Return the single output of an autograd function, typed (torch's own `apply` is not)."""
    (y,) = apply_all(function, *args)
    if y is None:
        raise TypeError(f"{function.__name__}: returned no tensor")
    return y


def apply_all(function: type[torch.autograd.Function], *args: object) -> tuple[Tensor | None, ...]:
    """Return all outputs of an autograd function as a tuple."""
    y: Tensor | tuple[Tensor | None, ...] = function.apply(*args)
    return (y,) if isinstance(y, Tensor) else y
