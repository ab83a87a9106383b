"""Directions in w that change one property of a character: found without labels or fitted to labels, named and saved.

directions = sefa_directions(g, 8)
w = apply_directions(w, [(directions[0], 2.0)])         # two standard deviations along the first
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from figment.base.errors import FigmentError
from figment.base.files import write_bytes
from figment.nets.base import Generator

SAMPLES = 2000
"""Characters that PCA and the spread along a direction are computed from."""


@dataclass(frozen=True)
class Direction:
    """A direction in w."""

    name: str
    vector: Tensor
    """[D], unit length, on the CPU."""
    layers: tuple[int, int]
    """Layers that it moves: the first, and the one after the last."""
    scale: float
    """Standard deviation of characters along it: how far an amount of 1 moves."""
    method: str
    """sefa, pca or labels."""


def sefa_directions(g: Generator, count: int = 8) -> list[Direction]:
    """Return the directions that change the styles most: eigenvectors of A^T A over all style weights A.

    SeFa (Shen & Zhou 2020, arXiv 2007.06600, equation 5). Raises FigmentError for a family without styles.
    """
    weights = [weight.detach().float().cpu() for weight in g.style_weights()]
    if not weights:
        raise FigmentError(f"directions: the family {g.family.name} has no styles, which SeFa needs")
    weights = [weight / weight.norm(dim=1, keepdim=True).clamp(min=1e-12) for weight in weights]
    stacked = torch.cat(weights)  # [rows, D]
    _, vectors = torch.linalg.eigh(stacked.t() @ stacked)  # ascending
    spread = sample_w(g)
    return [
        _measured(f"sefa-{i + 1}", vectors[:, -1 - i], spread, g, "sefa") for i in range(min(count, stacked.shape[1]))
    ]


def pca_directions(g: Generator, count: int = 8) -> list[Direction]:
    """Return the principal components of w (GANSpace, Härkönen et al. 2020, arXiv 2004.02546, section 2.1)."""
    w = sample_w(g)
    _, _, rows = torch.linalg.svd(w - w.mean(0), full_matrices=False)
    return [_measured(f"pca-{i + 1}", rows[i], w, g, "pca") for i in range(min(count, len(rows)))]


def label_direction(
    g: Generator,
    name: str,
    w: Tensor,  # [N, D]
    values: Sequence[float],  # the label of each character: any numbers, or 0 and 1
    ridge: float = 1.0,  # strength of the L2 penalty
) -> Direction:
    """Return the direction along which a labeled property grows, by ridge regression of the values on w.

    Hoerl & Kennard (1970). Raises FigmentError for fewer than 4 characters or equal values.
    """
    labels = torch.tensor(list(values), dtype=torch.float64)
    if len(labels) != len(w) or len(labels) < 4 or float(labels.std()) < 1e-9:
        raise FigmentError(f"direction {name!r}: needs at least 4 characters with values that differ")
    x = w.double() - w.double().mean(0)
    y = (labels - labels.mean()) / labels.std()
    spread = x.std(0).mean().clamp(min=1e-9)
    gram = x.t() @ x / spread**2 + ridge * torch.eye(x.shape[1], dtype=torch.float64)
    return _measured(name, torch.linalg.solve(gram, x.t() @ y).float(), sample_w(g), g, "labels", signed=True)


@torch.no_grad()
def sample_w(g: Generator, count: int = SAMPLES) -> Tensor:
    """Return the w of random characters, [count, D] on the CPU; the same ones at each call."""
    z = torch.randn(count, g.z_dim, generator=torch.Generator().manual_seed(0))
    return torch.cat([g.mapping(part.to(g.device))[:, 0].float().cpu() for part in z.split(250)])


def _measured(name: str, vector: Tensor, w: Tensor, g: Generator, method: str, signed: bool = False) -> Direction:
    """Return a direction of unit length with the spread of characters along it.

    Unless `signed`, its largest entry is made positive.
    """
    vector = vector / vector.norm().clamp(min=1e-12)
    if not signed and float(vector[vector.abs().argmax()]) < 0:
        vector = -vector
    return Direction(name, vector, (0, g.num_layers), max(float((w @ vector).std()), 1e-6), method)


def apply_directions(
    w: Tensor,  # [N, L, D]
    moves: Sequence[tuple[Direction, float]],  # directions and amounts, in standard deviations
) -> Tensor:
    """Return `w` moved along directions, each on its own layers, [N, L, D]."""
    moved = w.clone()
    for direction, amount in moves:
        first, stop = direction.layers
        moved[:, first:stop] += direction.vector.to(w) * (amount * direction.scale)
    return moved


# ---------------------------------------------------------------------- saved with the model


def directions_path(model: Path) -> Path:
    """Return the file of a model's directions: in the run's folder, or beside the model file."""
    return model / "directions.safetensors" if model.is_dir() else model.with_suffix(".directions.safetensors")


def load_directions(model: Path) -> list[Direction]:
    """Return the directions saved with a model in their order; an empty list if there are none."""
    path = directions_path(model)
    if not path.is_file():
        return []
    try:
        with safe_open(path, framework="pt") as file:
            rows = json.loads(file.metadata()["directions"])
            return [
                Direction(
                    row["name"],
                    file.get_tensor(row["name"]),
                    (row["layers"][0], row["layers"][1]),
                    row["scale"],
                    row["method"],
                )
                for row in rows
            ]
    except Exception as error:
        raise FigmentError(f"{path}: damaged directions ({str(error).splitlines()[0]})") from None


def save_directions(model: Path, directions: Sequence[Direction]) -> Path:
    """Add directions to those saved with a model and return the file; a direction of the same name is replaced."""
    kept = {direction.name: direction for direction in [*load_directions(model), *directions]}
    rows = [
        {"name": each.name, "layers": list(each.layers), "scale": each.scale, "method": each.method}
        for each in kept.values()
    ]
    path = directions_path(model)
    write_bytes(
        path, save({name: each.vector.clone() for name, each in kept.items()}, {"directions": json.dumps(rows)})
    )
    return path


def rename(direction: Direction, name: str, layers: tuple[int, int] | None = None) -> Direction:
    """Return the direction with another name and, unless `layers` is None, other layers."""
    return replace(direction, name=name, layers=layers or direction.layers)


def read_values(path: Path) -> dict[str, dict[str, float]]:
    """Return the labels in a JSON file: {"property": {"name or seed": value, ...}, ...}."""
    try:
        found = json.loads(path.read_text())
        values = {str(name): {str(key): float(value) for key, value in each.items()} for name, each in found.items()}
    except (OSError, ValueError, AttributeError, TypeError, OverflowError, RecursionError) as error:
        raise FigmentError(f"--labels {path}: must be {{property: {{seed: value}}}} as JSON ({error})") from None
    for name, each in values.items():
        wrong = [key for key, value in each.items() if not math.isfinite(value)]
        if wrong:
            raise FigmentError(f"--labels {path}: {name} of {wrong[0]} is {each[wrong[0]]}; must be a finite number")
    return values
