"""Rank, world and device. One GPU or no GPU is a world of one; rank logic lives in this file alone."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed

from figment.base.errors import FigmentError


@dataclass(frozen=True)
class World:
    """Where this process stands among those that train together."""

    rank: int
    """0 to size - 1; rank 0 alone writes files."""
    size: int
    """How many processes train together."""
    device: torch.device
    """What this process computes on."""

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def share(self) -> slice:
        """This rank's samples of a batch: every so many, as the minibatch deviation's groups are."""
        return slice(self.rank, None, self.size)

    def put(self, values: torch.Tensor) -> torch.Tensor:
        """`values` on this process's device; a GPU fetches them when it gets there, and nobody waits for that."""
        if self.device.type == "cuda" and values.device.type == "cpu":
            values = values.contiguous().pin_memory()
        return values.to(self.device, non_blocking=True)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Average the gradients over all ranks in one message; a world of one does nothing."""
        if self.size == 1:
            return
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads])
        torch.distributed.all_reduce(flat)
        flat /= self.size
        for grad, mean in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(mean.view_as(grad))

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """The mean of `values` over all ranks."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
            values = values / self.size
        return values

    def any(self, here: bool) -> bool:
        """Whether it is so on any rank; every rank must ask at the same point."""
        if self.size == 1:
            return here
        flag = torch.tensor(float(here))  # on the CPU: nobody waits for a GPU
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return bool(flag)

    def agree(self, text: str) -> str:
        """Rank 0's text, on every rank."""
        if self.size == 1:
            return text
        box = [text]
        torch.distributed.broadcast_object_list(box)
        return box[0]

    def memory_gb(self) -> float | None:
        """Memory of the smallest GPU of all ranks, in GB; None on CPUs. Every rank must ask at the same point."""
        if self.device.type != "cuda":
            return None
        found = torch.tensor(torch.cuda.get_device_properties(self.device).total_memory / 1e9)
        if self.size > 1:
            torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MIN)
        return float(found)

    def close(self) -> None:
        """Leave the group, where there is one."""
        if self.size > 1:
            torch.distributed.destroy_process_group()


def join_world(device: str | None = None) -> World:
    """This process's place, from torchrun's environment; `device` None takes the GPU where there is one."""
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise FigmentError(f"--device {name}: must be cpu, cuda or, of several, one such as cuda:1")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise FigmentError(f"--device {name}: no CUDA device here; use --device cpu")
    size, local = int(os.environ.get("WORLD_SIZE", "1")), os.environ.get("LOCAL_RANK", "0")
    place = torch.device(f"cuda:{local}" if name == "cuda" and size > 1 else name)
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise FigmentError(f"--device {place}: this machine has {torch.cuda.device_count()} CUDA devices")
    if place.type == "cpu":
        keep_freed_memory()
    elif place.index is not None:
        torch.cuda.set_device(place)
    if size == 1:
        return World(0, 1, place)

    # This module keeps the group that is there when an optimizer first imports it (PyTorch 2.13): `close` could not end
    # the group's threads then, and one that still frees a tensor while Python ends aborts the process.
    importlib.import_module("torch.distributed.nn.functional")
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo")
    return World(torch.distributed.get_rank(), size, place)


def peak_memory(device: torch.device) -> int:
    """The most memory so far, in bytes: of the GPU by this process's tensors, else by the process; 0 if not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def keep_freed_memory() -> None:
    """Let this process keep what it frees, up to 2 GB at a time, where the C library is glibc.

    It hands large blocks back to the kernel at once otherwise, and gets them anew page by page: on a CPU that costs a
    training step up to a third of its time.
    """
    mmap_max, trim_threshold, top_pad = -4, -1, -2  # mallopt(3)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for name, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 64 << 20)):
            mallopt(name, value)


def cpu_has(
    feature: str,  # as torch.cpu.get_capabilities names it: "avx512_bf16", say
) -> bool:
    """Whether the processor has it; False where PyTorch (before 2.10) cannot tell."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    return capabilities is not None and bool(capabilities().get(feature))


def has_fast_bf16(device_type: str) -> bool:
    """Return whether bfloat16 is computed in hardware: by the GPU, or by a CPU with Intel's AMX or AVX-512 BF16."""
    if device_type == "cpu":
        return cpu_has("amx_bf16") or cpu_has("avx512_bf16")
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
