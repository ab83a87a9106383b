"""From w to pictures, the same bytes whatever else is drawn beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from figment.base.pixels import to_uint8


def load_generator(path: Path, device: str | None = None) -> tuple[Any, dict[str, Any]]:
    """The generator to draw with from a model file or a run, ready on `device` (None: the GPU where there is one),
    and the configuration that came with it."""
    from figment import load

    model = load(str(path))
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return model.generator.to(place).eval(), model.config


@torch.inference_mode()
def render_each(g: Any, ws: Tensor, noise: str = "const") -> Iterator[np.ndarray]:
    """The pictures of `ws` [N, L, D] one by one, each uint8 [C, H, W].

    One sample at a time: convolution kernels round differently for other batch sizes.
    """
    device = next(g.parameters()).device
    for w in ws:
        yield to_uint8(g.synthesis(w[None].to(device), noise=noise))[0].cpu().numpy()


def render(g: Any, ws: Tensor, noise: str = "const") -> np.ndarray:
    """The pictures of `ws` [N, L, D]: uint8 [N, C, H, W]."""
    return np.stack(list(render_each(g, ws, noise)))
