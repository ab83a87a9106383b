"""Rank, world and device. One GPU or no GPU is a world of one; all rank logic is in this file."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed

from figment.base.errors import FigmentError


@dataclass(frozen=True)
class World:
    """One process of those that train together: its rank, their number, its device."""

    rank: int
    """0 to size - 1; only rank 0 writes files."""
    size: int
    """Processes that train together; 1 without torchrun."""
    device: torch.device
    """Device that this process computes on."""

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which writes files and prints."""
        return self.rank == 0

    @property
    def local(self) -> slice:
        """This rank's samples of a batch: every `size`-th one, which keeps the minibatch stddev's groups together."""
        return slice(self.rank, None, self.size)

    def to_device(self, values: torch.Tensor) -> torch.Tensor:
        """Return `values` on this process's device; a copy to a GPU is asynchronous."""
        if self.device.type == "cuda" and values.device.type == "cpu":
            values = values.contiguous().pin_memory()
        return values.to(self.device, non_blocking=True)

    def average_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Average the gradients over all ranks, in one all-reduce; do nothing in a world of one."""
        if self.size == 1:
            return
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads])
        torch.distributed.all_reduce(flat)
        flat /= self.size
        for grad, mean in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(mean.view_as(grad))

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Return the mean of `values` over all ranks. Every rank must call it."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
            values = values / self.size
        return values

    def any(self, here: bool) -> bool:
        """Return whether `here` is true on any rank. Every rank must call it."""
        if self.size == 1:
            return here
        flag = torch.tensor(float(here))  # on the CPU, so that no GPU has to be synchronized
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
        return bool(flag)

    def broadcast(self, text: str) -> str:
        """Return rank 0's `text` on every rank. Every rank must call it."""
        if self.size == 1:
            return text
        box = [text]
        torch.distributed.broadcast_object_list(box)
        return box[0]

    def memory_gb(self) -> float | None:
        """Return the memory of the smallest GPU of all ranks in GB; None on CPUs. Every rank must call it."""
        if self.device.type != "cuda":
            return None
        found = torch.tensor(torch.cuda.get_device_properties(self.device).total_memory / 1e9)
        if self.size > 1:
            torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MIN)
        return float(found)

    def close(self) -> None:
        """Leave the process group, if there is one."""
        if self.size > 1:
            torch.distributed.destroy_process_group()


def find_device(
    name: str | None = None,  # cpu, cuda or cuda:1; None takes the GPU if there is one
) -> torch.device:
    """Return the device called `name`; raises FigmentError for one that this machine does not have."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise FigmentError(f"--device {name}: must be cpu, cuda, or one of several GPUs such as cuda:1")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise FigmentError(f"--device {name}: no CUDA device here; use --device cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise FigmentError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices")
    return device


def join_world(
    device: str | None = None,  # cpu, cuda or cuda:1; None takes the GPU if there is one
) -> World:
    """Return this process's place in the world, from torchrun's environment, and join the process group.

    Raises FigmentError for a device that this machine does not have.
    """
    size, local = int(os.environ.get("WORLD_SIZE", "1")), os.environ.get("LOCAL_RANK", "0")
    place = find_device(device)
    if place.type == "cuda" and place.index is None and size > 1:
        place = find_device(f"cuda:{local}")
    if place.type == "cpu":
        keep_freed_memory()
    elif place.index is not None:
        torch.cuda.set_device(place)
    if size == 1:
        return World(0, 1, place)

    # torch.distributed.nn.functional caches the default group on first import (PyTorch 2.13). Import it before the
    # group exists; otherwise destroy_process_group() leaves gloo threads that may abort the process at exit.
    importlib.import_module("torch.distributed.nn.functional")
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo")
    return World(torch.distributed.get_rank(), size, place)


def describe_device(device: torch.device) -> str:
    """Return the GPU's name, or the number of CPU threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished its queued work; do nothing for a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: of this process's tensors on a GPU, else of the process; 0 if not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage(2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def keep_freed_memory() -> None:
    """Let this process keep up to 2 GB of freed memory at a time, if its C library is glibc.

    By default glibc returns large blocks to the kernel at once and gets them back page by page, which costs a training
    step on a CPU up to a third of its time.
    """
    mmap_max, trim_threshold, top_pad = -4, -1, -2  # mallopt(3)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for name, value in ((mmap_max, 0), (trim_threshold, 2**31 - 1), (top_pad, 64 << 20)):
            mallopt(name, value)


def cpu_has(
    feature: str,  # as torch.cpu.get_capabilities names it, such as "avx512_bf16"
) -> bool:
    """Return whether the processor has a feature; False if PyTorch (before 2.10) can't say."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    return capabilities is not None and bool(capabilities().get(feature))


def has_fast_bf16(device_type: str) -> bool:
    """Return whether bfloat16 is computed in hardware: by the GPU, or by a CPU with Intel's AMX or AVX-512 BF16."""
    if device_type == "cpu":
        return cpu_has("amx_bf16") or cpu_has("avx512_bf16")
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out: a GPU's, the CPU's, or cuDNN's workspace."""
    phrases = ("can't allocate memory", "unable to find an engine to execute")
    return isinstance(error, torch.OutOfMemoryError) or any(phrase in str(error) for phrase in phrases)


# --- Sharing the cores of a CPU


CHECK_SEC = 5.0
"""Seconds between checks of the governor."""
RECOVER_SEC = 60.0
"""Seconds on fewer threads before the governor tries more: the load is an average over a minute."""
MAX_WAITING = 0.25
"""Share of the time that threads may wait for a CPU core before there are too many of them."""


class ThreadGovernor:
    """Computes on fewer threads while other programs need the cores, and on all of them again when they are free.

    A context, which leaves the number of threads as it found it.

    PyTorch's threads wait for one another thousands of times per step, and a thread that waits keeps its core. If a
    thread of the team has none, all others wait for it: two trainings with two threads each on two cores take ten
    times as long as one, with one thread each 1.4 times.
    """

    def __init__(
        self,
        waited: Callable[[], float] | None = None,  # seconds that threads waited for a CPU core so far; None asks Linux
        load: Callable[[], float] | None = None,  # programs that want a CPU core, averaged; None asks the system
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.waited, self.load, self.clock = waited or waited_for_cores, load or load_average, clock
        self.most = torch.get_num_threads()
        self._since, self._before = clock(), self.waited()
        self._reduced = self._since

    def __enter__(self) -> ThreadGovernor:
        return self

    def __exit__(self, *_: object) -> None:
        torch.set_num_threads(self.most)

    def check(self) -> str | None:
        """Adapt the number of threads every few seconds; return a line if it changed."""
        now = self.clock()
        elapsed = now - self._since
        if elapsed < CHECK_SEC or self.most == 1:
            return None
        threads, waited = torch.get_num_threads(), self.waited()
        share = (waited - self._before) / (elapsed * threads)
        self._since, self._before = now, waited
        if threads > 1 and share > MAX_WAITING:
            self._reduced = now
            torch.set_num_threads(threads // 2)
            return f"other programs need the cores: computing on {threads // 2} of {self.most} threads"
        recovers = now - self._reduced >= RECOVER_SEC and share < MAX_WAITING / 2
        if threads < self.most and recovers and self.load() < threads + 0.5:
            torch.set_num_threads(self.most)
            return f"the cores are free again: computing on {self.most} threads"
        return None


def waited_for_cores() -> float:
    """Return the seconds that this process's threads were ready but had no CPU core; 0 where the system does not say.

    Linux counts them in /proc/self/task/*/schedstat, in nanoseconds.
    """
    total = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError, IndexError):  # the thread may have ended
            total += int(path.read_text().split()[1])
    return total / 1e9


def load_average() -> float:
    """Return how many programs wanted a CPU core in the last minute; infinity where the system does not say."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return float("inf")
