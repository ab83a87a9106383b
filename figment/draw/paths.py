"""Closed paths through latent space: spline, linear, spherical, circle."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from figment.base.errors import FigmentError
from figment.draw.characters import Characters
from figment.draw.latents import closed_spline, z_to_w
from figment.draw.render import render_each
from figment.nets.base import Generator

CHUNK = 64
"""Latents that are in memory at once."""
KINDS = ("spline", "linear", "spherical", "circle")
Curve = Callable[[np.ndarray], Tensor]
"""A closed path: takes positions in turns (key k of K is at k/K, and 1 is 0 again), returns latents [N, L, D]."""


def closed_path(
    g: Generator,
    keys: Characters,
    kind: str = "spline",
    psi: float = 0.7,  # truncation, for paths through z
    cutoff: int | None = None,  # truncate only layers below this one; None truncates all
) -> Curve:
    """Return the closed path through `keys`.

    `spline` and `linear` run through w. `spherical` runs through z along great circles, since normal latents lie near a
    sphere (White 2016, arXiv 1609.04468). `circle` is the great circle in z through two characters. Raises FigmentError
    for an unknown kind, too few characters, or a path through z for characters without a z.
    """
    if kind not in KINDS:
        raise FigmentError(f"--path {kind}: must be one of {', '.join(KINDS)}")
    if len(keys) < 2 or (kind == "circle" and len(keys) != 2):
        raise FigmentError(
            f"--seeds or --keys: --path {kind} needs {'two' if kind == 'circle' else 'two or more'} "
            f"characters, not {len(keys)}"
        )
    if kind == "spline":
        return lambda at: closed_spline(keys.w, at)
    if kind == "linear":
        return lambda at: _between(keys.w, at, torch.lerp)
    if keys.z is None:
        raise FigmentError(f"--path {kind}: needs z, but a saved w has none; use spline or linear")
    z = keys.z
    if kind == "spherical":
        return lambda at: z_to_w(g, _between(z, at, slerp), psi, cutoff)
    return lambda at: z_to_w(g, circle(z[0], z[1], at), psi, cutoff)


def _between(
    keys: Tensor,  # [K, ...]
    at: np.ndarray,
    mean: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """Return the interpolation between the keys on both sides of each position."""
    place = np.asarray(at, np.float64) * len(keys) % len(keys)
    index = torch.from_numpy(place.astype(np.int64)) % len(keys)
    t = torch.from_numpy(place - np.floor(place)).float().reshape(-1, *[1] * (keys.ndim - 1))
    return mean(keys[index], keys[(index + 1) % len(keys)], t)


def slerp(
    a: Tensor,  # [N, D]
    b: Tensor,  # [N, D]
    t: Tensor,  # [N, 1], 0 to 1
) -> Tensor:
    """Return points between `a` and `b` along the great circle, [N, D], with interpolated length (Shoemake 1985)."""
    lengths = torch.lerp(a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True), t)
    a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    angle = (a * b).sum(1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin().clamp_min(1e-6)
    unit = a * (((1 - t) * angle).sin() / sine) + b * ((t * angle).sin() / sine)
    # Nearly parallel: linear interpolation is the same and doesn't divide by zero.
    unit = torch.where(angle.sin() < 1e-4, torch.lerp(a, b, t), unit)
    return unit * lengths


def circle(
    a: Tensor,  # [D]
    b: Tensor,  # [D]
    at: np.ndarray,  # positions in turns
) -> Tensor:
    """Return points on the circle around the origin through `a`, in the plane of `a` and `b`, towards `b`, [N, D]."""
    radius = a.norm()
    first = a / radius
    second = b - (b @ first) * first
    second = second / second.norm().clamp_min(1e-6)
    angle = torch.from_numpy(np.asarray(at) * 2 * np.pi).float()[:, None]
    around: Tensor = radius * (angle.cos() * first + angle.sin() * second)
    return around


def draw_path(
    g: Generator,
    curve: Curve,
    at: np.ndarray,  # positions in turns
) -> Iterator[np.ndarray]:
    """Yield the images along a path one by one, uint8 [C, H, W]."""
    for start in range(0, len(at), CHUNK):
        yield from render_each(g, curve(at[start : start + CHUNK]))
