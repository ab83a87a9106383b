"""Draw images of w: the same bytes for any batch size and any number of threads.

g, _ = load_generator(Path("model.safetensors"))
pictures = draw_pictures(g, seeds_to_w(g, [1, 2, 3]))        # uint8 [3, H, W, C]
png = picture_png(pictures[0])                               # what `figment sample --seeds 1` writes
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from figment.base.device import find_device
from figment.base.pixels import png_bytes, to_uint8
from figment.models import load
from figment.nets.base import Generator

NOISES = ("const", "random", "none")
_ALONE = threading.RLock()
"""Held while a CPU draws, since the number of threads is a setting of the whole process."""


def load_generator(
    path: Path,
    device: str | None = None,  # None means the GPU if there is one
    flag: str | None = None,  # option that messages name; None names only the path
) -> tuple[Generator, dict[str, Any]]:
    """Return the generator of a model file or run, ready to draw on `device`, and the notes that came with it.

    Raises FigmentError for a model without a generator, and for a
    device that this machine does not have.
    """
    place = find_device(device)
    model = load(path, flag)
    return model.generator.to(place).eval(), model.config


@contextmanager
def one_thread() -> Iterator[int]:
    """Compute on one thread, since kernels split sums by the number of threads; yields the number before."""
    with _ALONE:
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield before
        finally:
            torch.set_num_threads(before)


def render_each(
    g: Generator,
    ws: Tensor,  # [N, L, D]
    noise: str = "const",  # const, random or none
    noise_seeds: Sequence[int] | None = None,  # seed of each image's random noise; None draws other noise each time
) -> Iterator[np.ndarray]:
    """Yield the images of `ws` one by one, uint8 [C, H, W].

    Each sample is drawn alone on one thread, since convolution kernels round differently for other batch sizes and
    numbers of threads. Several threads draw several samples at a time.
    """
    jobs = zip(ws, noise_seeds if noise_seeds is not None else [None] * len(ws), strict=True)
    if g.device.type == "cuda":
        for w, seed in jobs:
            yield _draw(g, w, noise, seed)
        return
    workers = max(1, min(torch.get_num_threads(), len(ws)))
    with ThreadPoolExecutor(workers, "figment-render", torch.set_num_threads, (1,)) as pool:
        while chunk := list(islice(jobs, 2 * workers)):
            with one_thread():
                pictures = (
                    [_draw(g, w, noise, seed) for w, seed in chunk]
                    if workers == 1
                    else list(pool.map(lambda job: _draw(g, job[0], noise, job[1]), chunk))
                )
            yield from pictures


@torch.inference_mode()
def _draw(g: Generator, w: Tensor, noise: str, seed: int | None) -> np.ndarray:
    """Return one image, uint8 [C, H, W]."""
    randomness = None
    if noise == "random" and seed is not None:
        randomness = torch.Generator(g.device).manual_seed(seed)
    # A copy, since kernels may choose by memory alignment, which depends on the sample's place in its batch.
    alone = w[None].to(g.device, copy=True).contiguous()  # [1, L, D]
    picture: np.ndarray = to_uint8(g.synthesis(alone, noise=noise, generator=randomness))[0].cpu().numpy()
    return picture


def render(
    g: Generator,
    ws: Tensor,  # [N, L, D]
    noise: str = "const",
    noise_seeds: Sequence[int] | None = None,
) -> np.ndarray:
    """Return the images of `ws`, uint8 [N, C, H, W]."""
    return np.stack(list(render_each(g, ws, noise, noise_seeds)))


def draw_pictures(
    g: Generator,
    ws: Tensor,  # [N, L, D]
    noise: str = "const",
    noise_seeds: Sequence[int] | None = None,
) -> np.ndarray:
    """Return the images of `ws`, uint8 [N, H, W, C]."""
    return np.ascontiguousarray(render(g, ws, noise, noise_seeds).transpose(0, 2, 3, 1))


def picture_png(
    picture: np.ndarray,  # uint8 [H, W, C]
) -> bytes:
    """Return the bytes of an image's PNG file; the command line, the library and the studio all use this."""
    return png_bytes(Image.fromarray(picture.squeeze()))
