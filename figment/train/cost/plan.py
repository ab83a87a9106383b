"""Time and money that a run will take, and what it may give: a trial, published figures of GPUs, measured runs.

figment plan heads-512.zip --kimg 2500 --watts 350 --kwh 0.35 --rent A100=1.9,V100=0.8
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figment.base.device import describe_device, join_world
from figment.base.errors import FigmentError
from figment.base.parse import clock
from figment.base.settings import NOT_NEGATIVE
from figment.pack.dataset import ImageDataset
from figment.train.cost.measured import Measured, nearest, read_measured
from figment.train.cost.throughput import measure_sec_per_kimg
from figment.train.run import configure

# Seconds per 1,000 images on one GPU, by resolution: other programs' published runs, and figment's own.
ADA = "StyleGAN2-ADA PyTorch repository, README, `auto`"
SG3 = "stylegan3 repository, docs/configs.md, StyleGAN2-ADA settings"
SG1 = "StyleGAN, TensorFlow, README, averaged over growing"
CARDS: dict[str, tuple[str, dict[int, float]]] = {
    "V100, StyleGAN": (SG1, {256: 51.6, 512: 86.0, 1024: 142.3}),
    "V100, StyleGAN2": (ADA, {128: 13.0, 256: 23.0, 512: 73.0, 1024: 158.0}),
    "A100, StyleGAN2": (SG3, {128: 6.79, 256: 12.53, 512: 41.06, 1024: 90.39}),
    "H100, figment": ("figment, the settings of that table, batch 8 (README, Results)", {512: 10.1}),
    "GTX 1080, StyleGAN": ("the fine-tuning that figment retells: 180 hours for 2,500 kimg, batch 4", {512: 259.0}),
}


@dataclass(frozen=True)
class Row:
    """What a run would take on one machine."""

    name: str
    sec_per_kimg: float
    sec: float
    """Length of the run in seconds."""
    cost: float | None
    """Money in the user's currency; None without a price."""
    source: str
    """Where `sec_per_kimg` is from."""


@dataclass(frozen=True)
class Plan:
    """What a run would take, and what it can be expected to give."""

    rows: list[Row]
    """This machine first, then cards with published figures at this resolution."""
    kimg: float
    """Length of the run."""
    pictures: int
    """Pictures in the data set."""
    resolution: int
    """Side of the images in pixels."""
    measured: list[Measured]
    """The measured runs that are most like this one, the nearest first."""


def parse_rent(text: str) -> dict[str, float]:
    """Parse `"A100=1.9,V100=0.8"`, or `"1.9"` for every card, into prices by the beginning of a card's name.

    Raises FigmentError for what is not a price, or if no card's name begins like that.
    """
    prices = {}
    for part in text.split(","):
        name, _, price = (each.strip() for each in part.rpartition("="))
        if name in prices:
            raise FigmentError(f"--rent {text!r}: has two prices for {name or 'all cards'}")
        try:
            prices[name] = float(price)
        except ValueError:
            prices[name] = math.nan
        if not NOT_NEGATIVE.holds(prices[name]):
            raise FigmentError(
                f"--rent {text!r}: must be a price such as 1.9, or prices by card such as A100=1.9,V100=0.8, "
                f"each {NOT_NEGATIVE.text}"
            )
        if not any(card.startswith(name) for card in CARDS):
            raise FigmentError(f"--rent {text!r}: no card is called {name}; there are {', '.join(CARDS)}")
    return prices


def plan(
    data: Path,
    *,
    kimg: float | None = None,
    watts: float | None = None,  # power that this machine draws under load
    kwh: float | None = None,  # price of a kilowatt-hour
    rent: dict[str, float] | None = None,  # price of an hour of rented cards, by the beginning of their names
    device: str | None = None,  # cpu, cuda or cuda:1; None takes the GPU if there is one
    **given: Any,  # settings of train/config.py; None means unset
) -> Plan:
    """Return the plan of a run: a short trial on this machine, published figures of cards, and measured runs."""
    if (watts is None) != (kwh is None):
        alone, other = ("--watts", "--kwh") if kwh is None else ("--kwh", "--watts")
        raise FigmentError(f"{alone} {kwh if watts is None else watts:g}: needs {other} as well")
    world = join_world(device)
    dataset = ImageDataset(data)
    config = configure(dataset, world, None, kimg=kimg, **given)
    length = config.schedule.kimg

    pace = measure_sec_per_kimg(config, dataset, world)
    hours = pace * length / 3600
    power = hours * watts / 1000 * kwh if watts is not None and kwh is not None else None
    rows = [Row(f"this machine: {describe_device(world.device)}", pace, pace * length, power, "a trial just now")]
    for card, (source, figures) in CARDS.items():
        if config.networks.resolution in figures:
            theirs = figures[config.networks.resolution]
            named = max((name for name in rent or {} if card.startswith(name)), key=len, default=None)
            cost = theirs * length / 3600 * rent[named] if rent and named is not None else None
            rows.append(Row(card, theirs, theirs * length, cost, source))
    resolution, pictures = config.networks.resolution, len(dataset)
    return Plan(rows, length, pictures, resolution, nearest(read_measured(), resolution, pictures, length))


def print_plan(found: Plan) -> None:
    """Print time and cost as a table, then what measured runs gave."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{found.kimg:g} kimg, {found.kimg / 1000:g} million images")
    for column in ("machine", "s/kimg", "time", "cost", "figure from"):
        table.add_column(column, justify="right" if column in ("s/kimg", "time", "cost") else "left")
    for row in found.rows:
        cost = "" if row.cost is None else f"{row.cost:.2f}"
        table.add_row(row.name, f"{row.sec_per_kimg:.2f}", clock(row.sec), cost, row.source)
    console = Console()
    console.print(table)
    if len(found.rows) == 1:
        console.print("No figures of other cards are published for this resolution.", highlight=False)
    what = f"{found.pictures:,} pictures, {found.resolution} px, {found.kimg:g} kimg"
    console.print(f"\nWhat to expect: measured runs most similar to yours ({what}), nearest first.", highlight=False)
    if all(run.resolution != found.resolution for run in found.measured):
        console.print(f"None was measured at {found.resolution} px.", highlight=False)
    for run in found.measured:
        console.print(f"- {run.line()}", highlight=False, markup=False)
