"""Read characters from seeds or files: the input of every drawing command.

    characters(g, "3,17,40")            # seeds
    characters(g, "hero.npz")           # `w` [L, D] or [N, L, D], or `z`
    characters(g, "keys.json")          # {"w": ...}, {"z": ...}, {"seeds": [...]}, or a list of key frames

A key frame is a seed, or {"seed": 3}, {"z": [...]}, {"w": [[...]]} or {"file": "hero.npz"}, optionally with a "time" in
seconds. Truncation applies to seeds and z; a saved w is drawn as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from figment.base.errors import FigmentError
from figment.base.files import need_file, read_json
from figment.base.parse import parse_seeds, seeds_to_z
from figment.draw.latents import z_to_w
from figment.nets.base import Generator

ENDINGS = (".npz", ".json")


@dataclass(frozen=True)
class Characters:
    """Characters of one generator."""

    names: tuple[str, ...]
    seeds: tuple[int | None, ...]
    w: Tensor
    """[N, L, D], truncated."""
    z: Tensor | None = None
    """[N, z_dim]; None if any character has only a w."""
    times: tuple[float, ...] | None = None
    """Times in a video in seconds; None for equal distances."""

    def __len__(self) -> int:
        return len(self.names)


def characters(
    g: Generator,
    source: str | Path | Sequence[int],  # seeds ("0-3,7"), a list of them, or a .npz or .json file
    psi: float = 0.7,  # truncation of seeds and z
    cutoff: int | None = None,  # truncate only layers below this one; None truncates all
    flag: str = "--seeds",  # option that messages name
) -> Characters:
    """Return the characters that `source` names; raises FigmentError that names `flag` or the file."""
    if isinstance(source, str | Path):
        text = str(source)
        if not text.endswith(ENDINGS):
            return _join(g, [_seed(g, seed) for seed in parse_seeds(text, flag)], psi, cutoff)
        path = need_file(Path(text), flag)
        return _join(g, _read_npz(g, path) if path.suffix == ".npz" else _read_json(g, path), psi, cutoff)
    return _join(g, [_seed(g, seed) for seed in source], psi, cutoff)


@dataclass(frozen=True)
class _Key:
    name: str
    z: Tensor | None = None
    w: Tensor | None = None
    seed: int | None = None
    time: float | None = None


def _seed(g: Generator, seed: int, time: float | None = None) -> _Key:
    return _Key(f"seed{seed:04d}", torch.from_numpy(seeds_to_z([seed], g.z_dim)[0]).float(), None, seed, time)


def _join(g: Generator, keys: list[_Key], psi: float, cutoff: int | None) -> Characters:
    """Return the keys as one object; z is mapped, w is kept."""
    ws = [z_to_w(g, key.z[None], psi, cutoff)[0] if key.w is None and key.z is not None else key.w for key in keys]
    zs = [key.z for key in keys]
    timed = [key.time for key in keys]
    return Characters(
        tuple(key.name for key in keys),
        tuple(key.seed for key in keys),
        torch.stack([w for w in ws if w is not None]),
        torch.stack([z for z in zs if z is not None]) if all(z is not None for z in zs) else None,
        tuple(t for t in timed if t is not None) if any(t is not None for t in timed) else None,
    )


def _read_npz(g: Generator, path: Path) -> list[_Key]:
    try:
        with np.load(path, allow_pickle=False) as data:
            held = {name: data[name] for name in ("w", "z") if name in data}
    except (OSError, ValueError, EOFError, KeyError) as error:
        raise FigmentError(f"{path}: not a readable .npz file ({error})") from None
    return _arrays(g, held, path)


def _read_json(g: Generator, path: Path) -> list[_Key]:
    value = read_json(path)
    if isinstance(value, dict) and "w" not in value and "z" not in value:
        value = value.get("seeds", [value] if {"seed", "file"} & value.keys() else None)
    if isinstance(value, dict):
        return _arrays(g, value, path)
    if not isinstance(value, list) or not value:
        raise FigmentError(f"{path}: must hold w, z, seeds, or a list of key frames")
    keys = [_key(g, item, path) for item in value]
    if 0 < sum(key.time is not None for key in keys) < len(keys):
        raise FigmentError(f"{path}: either all key frames must have a time, or none")
    return keys


def _key(g: Generator, item: Any, path: Path) -> _Key:
    """Return one key frame of a list."""
    item = {"seed": item} if isinstance(item, int) else item
    time = item.get("time") if isinstance(item, dict) else None
    if (
        not isinstance(item, dict)
        or not {"seed", "z", "w", "file"} & item.keys()
        or not isinstance(time, int | float | None)
    ):
        raise FigmentError(
            f"{path}: {str(item)[:40]!r} must be a seed, or have seed, z, w or file, and optionally a time in seconds"
        )
    if "seed" in item:
        if not isinstance(item["seed"], int) or not 0 <= item["seed"] < 2**32:
            raise FigmentError(f"{path}: seed {item['seed']!r} must be a whole number from 0 to {2**32 - 1}")
        return _seed(g, item["seed"], time)
    if "file" in item:
        other = need_file(path.parent / str(item["file"]), f"{path}: file")
        found = _read_npz(g, other) if other.suffix == ".npz" else _arrays(g, read_json(other), other)
    else:
        found = _arrays(g, item, path)
    if len(found) != 1:
        raise FigmentError(f"{path}: a key frame must be one character, but {str(item)[:40]!r} holds {len(found)}")
    return _Key(found[0].name, found[0].z, found[0].w, None, time)


def _arrays(g: Generator, held: Any, path: Path) -> list[_Key]:
    """Return the keys of latents as arrays: w [L, D] or [N, L, D], z [z_dim] or [N, z_dim]."""
    name = "w" if isinstance(held, dict) and "w" in held else "z"
    wanted = (g.num_layers, g.w_dim) if name == "w" else (g.z_dim,)
    try:
        values = np.asarray(held[name], np.float32)
    except (KeyError, TypeError, ValueError):
        raise FigmentError(f"{path}: holds neither w nor z as numbers") from None
    wanted_shape = f"{list(wanted)} or {['N', *wanted]}".replace("'", "")
    if values.shape[-len(wanted) :] != wanted or values.ndim > len(wanted) + 1 or not np.isfinite(values).all():
        raise FigmentError(
            f"{path}: {name} has shape {list(values.shape)}; must be {wanted_shape} finite numbers for this model"
        )
    rows = values.reshape(-1, *wanted)  # [N, L, D] or [N, z_dim]
    names = [path.stem] if len(rows) == 1 else [f"{path.stem}-{at:04d}" for at in range(len(rows))]
    tensors = [torch.from_numpy(row.copy()) for row in rows]
    return [
        _Key(label, w=value) if name == "w" else _Key(label, z=value)
        for label, value in zip(names, tensors, strict=True)
    ]
