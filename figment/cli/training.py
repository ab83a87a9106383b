"""Training: train, plan, bench.

figment plan heads.zip --kimg 2500
figment train heads.zip -o runs --time 8h
torchrun --nproc-per-node 4 -m figment train heads.zip -o runs
figment train --resume -o runs
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from figment.base.errors import FigmentError
from figment.base.parse import parse_duration
from figment.base.progress import say
from figment.base.settings import NOT_NEGATIVE, POSITIVE, Rule, within
from figment.cli.app import Device, app, example, given, output_option
from figment.cli.settings import must, settings_of
from figment.train.config import Networks, Recipe, Schedule
from figment.train.presets import PRESETS

SIDE = Rule("a power of two from 16 to 1024", lambda value: 16 <= value <= 1024 and value & (value - 1) == 0)
Preset = Annotated[
    str | None,
    typer.Option(
        help="Named set of values for all options that you don't set. Unset: the one that suits the family and the "
        f"device. One of: {', '.join(PRESETS)}."
    ),
]


@app.command(
    epilog=example(
        "train heads.zip -o runs --kimg 200",
        "train heads.zip -o runs --init ffhq.pkl --adapt",
        "train heads.zip -o runs --time 8h --dry-run",
        "train --resume -o runs",
    )
)
@settings_of(Networks, Recipe, Schedule, first=("kimg", "time", "init", "adapt", "preset", "family"))
def train(
    data: Annotated[
        Path | None, typer.Argument(help="Data set made by `figment pack`; not needed with --resume.")
    ] = None,
    output: Annotated[
        Path, output_option("Folder of runs; each run makes a numbered folder in it.", folder=True)
    ] = Path("runs"),
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in the folder -o, or the newest of the runs in it.")
    ] = False,
    preset: Preset = None,
    time: Annotated[
        str | None,
        typer.Option(
            help="Length of the run as a time, e.g. 8h: a short trial finds out how many kimg fit. Not used if "
            "--kimg is set."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print all settings of the run and stop.")] = False,
    device: Device = None,
    **settings: Any,
) -> None:
    """Train a generator on a data set.

    Every tick prints a status line and saves a grid of fakes and a checkpoint.

    On four GPUs: torchrun --nproc-per-node 4 -m figment train heads.zip -o runs
    """
    from figment.train.run import resume_training, start_training

    kimg = settings.pop("kimg", None)
    if resume:
        _refuse_changes({"preset": preset} | settings | {"time": time, "dry_run": dry_run or None})
        resume_training(output, data=data, kimg=kimg, device=device)
        return
    if data is None:
        raise FigmentError("DATA: give a data set made by `figment pack`, or --resume with -o RUN")
    sec = parse_duration(time) if time is not None and kimg is None else None
    run = start_training(data, output, sec=sec, dry_run=dry_run, device=device, preset=preset, kimg=kimg, **settings)
    if not dry_run:
        say(f"{run}: fakes/, stats.jsonl, model.safetensors")


def _refuse_changes(options: dict[str, Any]) -> None:
    """Raise FigmentError that lists the options set by the user, which --resume can't change."""
    changed = [f"--{name.replace('_', '-')} {value}" for name, value in given(options).items()]
    if changed:
        raise FigmentError(
            f"{', '.join(changed)}: can't change with --resume, which uses the run's own settings; "
            f"to start a new run from its weights, use --init RUN"
        )


@app.command(
    epilog=example("plan heads-512.zip --kimg 2500", "plan heads.zip --watts 350 --kwh 0.35 --rent A100=1.9,V100=0.8")
)
@settings_of(Recipe, Schedule, only=("kimg", "batch"), first=("kimg",))
def plan(
    data: Annotated[Path, typer.Argument(help="Data set made by `figment pack`.")],
    preset: Preset = None,
    watts: Annotated[
        float | None,
        typer.Option(help="Power draw of this machine under load, in watts; needs --kwh.", callback=must(POSITIVE)),
    ] = None,
    kwh: Annotated[
        float | None,
        typer.Option(help="Price of a kilowatt-hour, in your currency; needs --watts.", callback=must(NOT_NEGATIVE)),
    ] = None,
    rent: Annotated[
        str | None,
        typer.Option(help="Price of renting a GPU for an hour: for all, e.g. 1.9, or by name, e.g. A100=1.9,V100=0.8."),
    ] = None,
    device: Device = None,
    **settings: Any,
) -> None:
    """Estimate time, cost and result of a training run.

    Measures a short trial on this machine, compares it with published times of other GPUs, and shows what the most
    similar measured runs gave.
    """
    from figment.train.cost.plan import parse_rent, print_plan
    from figment.train.cost.plan import plan as run_plan

    kimg = settings.pop("kimg", Schedule.kimg)
    prices = parse_rent(rent) if rent is not None else {}
    found = run_plan(data, kimg=kimg, watts=watts, kwh=kwh, rent=prices, device=device, preset=preset, **settings)
    print_plan(found)


@app.command(epilog=example("bench --resolution 256", "bench --resolution 512 --preset auto --device cuda"))
@settings_of(Networks, Recipe, only=("family", "batch", "precision"))
def bench(
    resolution: Annotated[int, typer.Option(help="Side of the images in pixels.", callback=must(SIDE))] = 64,
    preset: Preset = None,
    seconds: Annotated[
        float, typer.Option(help="Time to spend on each measurement, in seconds.", callback=must(within(0.001, 3600)))
    ] = 4.0,
    device: Device = None,
    **settings: Any,
) -> None:
    """Measure where the time of a training step goes.

    Also prints what share of the machine's peak throughput the step reaches.
    """
    from figment.base.device import join_world
    from figment.train.config import resolve
    from figment.train.cost.bench import bench as run_bench
    from figment.train.cost.bench import print_bench

    world = join_world(device)
    config = resolve(
        Path("bench"),
        "",
        resolution,
        3,
        preset=preset,
        device=world.device.type,
        world=world.size,
        memory_gb=world.memory_gb(),
        **settings,
    )
    print_bench(run_bench(config, world, seconds), config, world)
