"""Edit characters: find directions, look at them, name and apply them.

figment edit runs/00000-heads --find sefa -o sheet.png              # a row for each direction; look at it
figment edit runs/00000-heads --find sefa --name 3=hair-length      # save the third one, optionally for some --layers
figment edit runs/00000-heads --labels smiles.json                  # fit directions to {"smile": {"17": 1, ...}}
figment edit runs/00000-heads --apply hair-length=2,smile=-1 --seeds 0-7 -o out
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from figment.base.errors import FigmentError
from figment.base.files import need_ending, write_json
from figment.base.pixels import write_png
from figment.base.progress import track
from figment.draw.directions import (
    Direction,
    apply_directions,
    label_direction,
    load_directions,
    pca_directions,
    read_values,
    rename,
    save_directions,
    sefa_directions,
)
from figment.draw.grid import make_grid
from figment.draw.latents import parse_layers, seeds_to_w
from figment.draw.render import load_generator, render_each
from figment.nets.base import Generator

METHODS = {"sefa": sefa_directions, "pca": pca_directions}
AMOUNTS = (-4.0, -2.0, 0.0, 2.0, 4.0)
"""Amounts that a sheet shows of each direction, in standard deviations."""
MOST_AMOUNT = 1000
"""Largest amount of an edit, in standard deviations."""
MOST_DIRECTIONS = 1000
"""Most directions that are looked for."""


def find(
    model: Path,
    out: Path,  # the sheet
    *,
    method: str = "sefa",  # sefa or pca
    count: int = 8,  # directions
    seeds: list[int] | None = None,  # characters to show them on, one block of rows each; None means seed 0
    psi: float = 0.7,  # truncation
) -> list[Direction]:
    """Find directions without labels and draw them, one row each, amounts from left to right; return them."""
    need_ending(out, ".png")
    g, _ = load_generator(model)
    found = _find(g, method, count)
    blocks = []
    for w in seeds_to_w(g, seeds or [0], psi):
        ws = torch.cat(
            [apply_directions(w[None], [(direction, amount)]) for direction in found for amount in AMOUNTS]
        )  # [count * amounts, L, D]
        blocks += [*track(render_each(g, ws), "drawing", len(ws))]
    write_png(out, make_grid(np.stack(blocks), len(AMOUNTS)))
    return found


def _find(g: Generator, method: str, count: int) -> list[Direction]:
    if method not in METHODS:
        raise FigmentError(f"--find {method}: must be {' or '.join(METHODS)}")
    if not 1 <= count <= MOST_DIRECTIONS:
        raise FigmentError(f"--count {count}: must be from 1 to {MOST_DIRECTIONS}")
    return METHODS[method](g, count)


def name_directions(
    model: Path,
    names: list[str],  # "3=hair-length" names the third one
    *,
    method: str = "sefa",  # sefa or pca
    layers: str | None = None,  # a band such as middle or a range such as 4-9; None means all
) -> list[Direction]:
    """Find directions, save the named ones with the model and return them."""
    g, _ = load_generator(model)
    wanted: list[tuple[int, str]] = []
    for text in names:
        number, equals, name = text.partition("=")
        if not equals or not is_number(number) or not name.strip():
            raise FigmentError(
                f"--name {text!r}: must be NUMBER=NAME such as 3=hair-length, with a number from 1 to {MOST_DIRECTIONS}"
            )
        if name != name.strip() or not {",", "="}.isdisjoint(name):
            raise FigmentError(f"--name {text!r}: a name must have no comma, no = and no space around it")
        if name in [known for _, known in wanted]:
            raise FigmentError(f"--name {text!r}: the name {name} is given twice")
        wanted.append((int(number), name))
    found = _find(g, method, max(number for number, _ in wanted))
    if max(number for number, _ in wanted) > len(found):
        raise FigmentError(f"--name {max(wanted)[0]}: there are only {len(found)} directions")
    span = parse_layers(layers, g) if layers is not None else None
    kept = [rename(found[number - 1], name, span) for number, name in wanted]
    save_directions(model, kept)
    return kept


def is_number(text: str) -> bool:
    """Return whether a text is the number of a direction."""
    return bool(re.fullmatch("[0-9]{1,6}", text)) and 1 <= int(text) <= MOST_DIRECTIONS


def fit(
    model: Path,
    labels: Path,  # JSON {"smile": {"17": 1, "18": 0, ...}}: values by seed
    *,
    layers: str | None = None,  # a band such as middle or a range such as 4-9; None means all
) -> list[Direction]:
    """Fit a direction to each labeled property, save them with the model and return them."""
    g, _ = load_generator(model)
    kept = []
    for name, values in read_values(labels).items():
        if not all(re.fullmatch("[0-9]{1,10}", seed) and int(seed) < 2**32 for seed in values):
            raise FigmentError(f"--labels {labels}: the keys of {name!r} must be seeds, from 0 to {2**32 - 1}")
        w = seeds_to_w(g, [int(seed) for seed in values], psi=1.0)[:, 0]
        kept.append(label_direction(g, name, w, list(values.values())))
    span = parse_layers(layers, g) if layers is not None else None
    kept = [rename(direction, direction.name, span) for direction in kept]
    save_directions(model, kept)
    return kept


def parse_moves(model: Path, g: Generator, text: str) -> list[tuple[Direction, float]]:
    """Return the directions and amounts in `"hair-length=2,sefa-1=-1"`: saved ones by name, or sefa-N and pca-N."""
    known = {direction.name: direction for direction in load_directions(model)}
    moves: list[tuple[Direction, float]] = []
    for part in text.split(","):
        name, equals, amount = part.strip().partition("=")
        method, _, number = name.partition("-")
        if name not in known and method in METHODS and is_number(number):
            known |= {direction.name: direction for direction in _find(g, method, int(number))}
        if name in [direction.name for direction, _ in moves]:
            raise FigmentError(f"--apply {text!r}: the direction {name} is given twice")
        if name not in known:
            raise FigmentError(f"--apply {name!r}: no such direction; must be {', '.join([*known, 'sefa-N'])} or pca-N")
        try:
            moves.append((known[name], float(amount)))
        except ValueError:
            raise FigmentError(f"--apply {part!r}: must be NAME=AMOUNT such as {name}=2") from None
        if not equals or not abs(moves[-1][1]) <= MOST_AMOUNT:
            raise FigmentError(
                f"--apply {part!r}: must be NAME=AMOUNT such as {name}=2, from -{MOST_AMOUNT} to {MOST_AMOUNT}"
            )
    return moves


def edit(
    model: Path,
    out: Path,  # folder for the PNGs and edit.json
    *,
    apply: str,  # "hair-length=2,smile=-1"
    seeds: list[int],
    layers: str | None = None,  # move only these layers; None means each direction's own
    psi: float = 0.7,  # truncation
) -> None:
    """Draw edited characters to seed0000.png and so on, and all of them before and after side by side to grid.png."""
    g, _ = load_generator(model)
    moves = parse_moves(model, g, apply)
    if layers is not None:
        span = parse_layers(layers, g)
        moves = [(rename(direction, direction.name, span), amount) for direction, amount in moves]
    before = seeds_to_w(g, seeds, psi)
    after: Tensor = apply_directions(before, moves)
    pairs = []
    for seed, old, new in zip(
        seeds, render_each(g, before), track(render_each(g, after), "drawing", len(seeds)), strict=True
    ):
        write_png(out / f"seed{seed:04d}.png", new.transpose(1, 2, 0).squeeze())
        pairs += [old, new]
    write_png(out / "grid.png", make_grid(np.stack(pairs), 2 * max(1, round(len(seeds) ** 0.5))))
    write_json(
        out / "edit.json",
        {
            "model": str(model),
            "seeds": seeds,
            "psi": psi,
            "apply": apply,
            "layers": layers,
            "moves": [[direction.name, amount] for direction, amount in moves],
        },
    )
