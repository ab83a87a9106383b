"""Training: train, plan, bench."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from figment.base.errors import FigmentError
from figment.base.parse import parse_duration
from figment.base.progress import say
from figment.commands.app import TRAIN, Device, app, example, given


@app.command(
    epilog=example(
        "train heads.zip -o runs --kimg 200",
        "train heads.zip -o runs --init ffhq.pkl --adapt",
        "train heads.zip -o runs --time 8h --dry-run",
        "train --resume -o runs",
    )
)
def train(
    data: Annotated[Path | None, typer.Argument(help="The data set's zip; with --resume the run knows it.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of runs.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in -o, or the newest below it.")] = False,
    family: Annotated[str | None, typer.Option(help=TRAIN["family"])] = None,
    preset: Annotated[str | None, typer.Option(help="auto, paper, cpu, stylegan1, progan, story.")] = None,
    init: Annotated[Path | None, typer.Option(help=TRAIN["init"])] = None,
    adapt: Annotated[bool, typer.Option("--adapt", help=TRAIN["adapt"])] = False,
    kimg: Annotated[float | None, typer.Option(help=TRAIN["kimg"])] = None,
    time: Annotated[str | None, typer.Option(help="Time instead of kimg, e.g. 8h; a trial turns it to kimg.")] = None,
    batch: Annotated[int | None, typer.Option(help=TRAIN["batch"])] = None,
    lr: Annotated[float | None, typer.Option(help=TRAIN["lr"])] = None,
    gamma: Annotated[float | None, typer.Option(help=TRAIN["gamma"])] = None,
    r1_interval: Annotated[int | None, typer.Option(help=TRAIN["r1_interval"])] = None,
    path_weight: Annotated[float | None, typer.Option(help=TRAIN["path_weight"])] = None,
    augment: Annotated[str | None, typer.Option(help=TRAIN["augment"])] = None,
    augment_kinds: Annotated[str | None, typer.Option(help=TRAIN["augment_kinds"])] = None,
    ada_kimg: Annotated[float | None, typer.Option(help=TRAIN["ada_kimg"])] = None,
    ada_target: Annotated[float | None, typer.Option(help=TRAIN["ada_target"])] = None,
    freeze_d: Annotated[int | None, typer.Option(help=TRAIN["freeze_d"])] = None,
    precision: Annotated[str | None, typer.Option(help=TRAIN["precision"])] = None,
    start_kimg: Annotated[float | None, typer.Option(help=TRAIN["start_kimg"])] = None,
    channel_base: Annotated[int | None, typer.Option(help=TRAIN["channel_base"])] = None,
    channel_max: Annotated[int | None, typer.Option(help=TRAIN["channel_max"])] = None,
    z_dim: Annotated[int | None, typer.Option(help=TRAIN["z_dim"])] = None,
    w_dim: Annotated[int | None, typer.Option(help=TRAIN["w_dim"] + " Unset: that of z, where it is set.")] = None,
    map_depth: Annotated[int | None, typer.Option(help=TRAIN["map_depth"])] = None,
    mixing: Annotated[float | None, typer.Option(help=TRAIN["mixing"])] = None,
    noise: Annotated[bool | None, typer.Option("--noise/--no-noise", help=TRAIN["noise"])] = None,
    ema_kimg: Annotated[float | None, typer.Option(help=TRAIN["ema_kimg"])] = None,
    mirror: Annotated[bool | None, typer.Option("--mirror/--no-mirror", help=TRAIN["mirror"])] = None,
    tick_kimg: Annotated[float | None, typer.Option(help=TRAIN["tick_kimg"])] = None,
    keep: Annotated[int | None, typer.Option(help=TRAIN["keep"])] = None,
    score_ticks: Annotated[int | None, typer.Option(help=TRAIN["score_ticks"])] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help=TRAIN["tensorboard"])] = False,
    seed: Annotated[int | None, typer.Option(help=TRAIN["seed"])] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration and stop.")] = False,
    device: Device = None,
) -> None:
    """Train a generator on a data set, with a line, a grid of fakes and a checkpoint every tick.

    On four GPUs: torchrun --nproc-per-node 4 -m figment train heads.zip -o runs
    """
    from figment.train.start import resume_training, start_training

    settings: dict[str, Any] = {
        "family": family,
        "preset": preset,
        "init": str(init) if init else None,
        "adapt": adapt or None,
        "batch": batch,
        "lr": lr,
        "gamma": gamma,
        "r1_interval": r1_interval,
        "path_weight": path_weight,
        "augment": augment,
        "augment_kinds": augment_kinds,
        "ada_kimg": ada_kimg,
        "ada_target": ada_target,
        "freeze_d": freeze_d,
        "precision": precision,
        "start_kimg": start_kimg,
        "channel_base": channel_base,
        "channel_max": channel_max,
        "z_dim": z_dim,
        "w_dim": z_dim if w_dim is None else w_dim,
        "map_depth": map_depth,
        "mixing": mixing,
        "noise": noise,
        "ema_kimg": ema_kimg,
        "mirror": mirror,
        "tick_kimg": tick_kimg,
        "keep": keep,
        "score_ticks": score_ticks,
        "tensorboard": tensorboard or None,
        "seed": seed,
    }
    if resume:
        others = given(settings | {"time": time, "dry_run": dry_run or None})
        changed = [f"--{name.replace('_', '-')} {value}" for name, value in others.items()]
        if changed:
            raise FigmentError(
                f"{', '.join(changed)}: can't change with --resume, which takes the run's own settings; "
                f"a new run goes on from its weights with --init RUN"
            )
        resume_training(output, data=data, kimg=kimg, device=device)
        return
    if data is None:
        raise FigmentError("DATA: give a data set made by `figment pack`, or --resume with -o RUN")
    run = start_training(
        data,
        output,
        sec=parse_duration(time) if time and kimg is None else None,
        dry_run=dry_run,
        device=device,
        kimg=kimg,
        **settings,
    )
    if not dry_run:
        say(f"{run}: fakes/, stats.jsonl, model.safetensors")


@app.command(
    epilog=example("plan heads-512.zip --kimg 2500", "plan heads.zip --watts 350 --kwh 0.35 --rent A100=1.9,V100=0.8")
)
def plan(
    data: Annotated[Path, typer.Argument(help="The data set's zip.")],
    kimg: Annotated[float, typer.Option(help=TRAIN["kimg"])] = 2500.0,
    preset: Annotated[str | None, typer.Option(help="As of `figment train`.")] = None,
    batch: Annotated[int | None, typer.Option(help=TRAIN["batch"])] = None,
    watts: Annotated[float | None, typer.Option(help="What this machine draws under load, in watts.")] = None,
    kwh: Annotated[float | None, typer.Option(help="Price of a kilowatt-hour.")] = None,
    rent: Annotated[str | None, typer.Option(help="Price of a rented card's hour: 1.9, or A100=1.9,V100=0.8.")] = None,
    device: Device = None,
) -> None:
    """How long a training takes and what it costs, before it starts: a trial here, beside other cards."""
    from figment.train.planning import parse_rent, print_plan
    from figment.train.planning import plan as run_plan

    prices = parse_rent(rent) if rent else {}
    rows = run_plan(data, kimg=kimg, watts=watts, kwh=kwh, rent=prices, device=device, preset=preset, batch=batch)
    print_plan(rows, kimg)


@app.command(epilog=example("bench --resolution 256", "bench --resolution 512 --preset auto --device cuda"))
def bench(
    resolution: Annotated[int, typer.Option(help="Side of the pictures in pixels.")] = 64,
    preset: Annotated[str | None, typer.Option(help="As of `figment train`.")] = None,
    family: Annotated[str | None, typer.Option(help=TRAIN["family"])] = None,
    batch: Annotated[int | None, typer.Option(help=TRAIN["batch"])] = None,
    precision: Annotated[str | None, typer.Option(help=TRAIN["precision"])] = None,
    seconds: Annotated[float, typer.Option(help="How long to measure each figure.")] = 4.0,
    device: Device = None,
) -> None:
    """Where a training step's time goes, and what share of this machine's ceiling it reaches."""
    from figment.base.device import join_world
    from figment.train.bench import bench as run_bench
    from figment.train.bench import print_bench
    from figment.train.config import resolve

    world = join_world(device)
    config = resolve(
        Path("bench"),
        "",
        resolution,
        3,
        preset=preset,
        device=world.device.type,
        world=world.size,
        family=family,
        batch=batch,
        precision=precision,
        memory_gb=world.memory_gb(),
    )
    print_bench(run_bench(config, world, seconds), config, world)
