"""Start a run on a data set, or resume one: resolve the configuration, print it, then train.

run = start_training(Path("heads.zip"), Path("runs"), kimg=200)
resume_training(run, kimg=400)
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from figment.base.device import World, join_world
from figment.base.errors import FigmentError
from figment.base.files import find_run, new_run
from figment.base.parse import clock
from figment.base.progress import say
from figment.base.settings import rules
from figment.nets.adapt import differences
from figment.pack.dataset import ImageDataset
from figment.score.monitor import REALS, Monitor, QuickScore
from figment.score.score import usual_features
from figment.score.sources import evenly_spread
from figment.train.config import Like, Schedule, TrainConfig, read_config, resolve
from figment.train.cost.throughput import measure_sec_per_kimg
from figment.train.loop import OnTick, train
from figment.train.schedule import schedule_at
from figment.train.state import State, load_init

TRAINING_SHARE = 0.93
"""Share of a time budget that steps may take; grids, checkpoints and a busy machine take the rest."""
SCORE_SHARE = 0.05
"""Share of a time budget that is reserved for scores, if there are any."""


def start_training(
    data: Path,
    runs: Path,
    *,
    sec: float | None = None,  # time budget in seconds; None: train to kimg
    dry_run: bool = False,  # True: print the configuration and stop
    device: str | None = None,  # cpu, cuda or cuda:1; None takes the GPU if there is one
    run: Path | None = None,  # the run's folder; None takes the next free number below `runs`
    **given: Any,  # settings of train/config.py; None means unset
) -> Path:
    """Start a run below `runs` and train it; return its folder."""
    world = join_world(device)
    dataset = ImageDataset(data)
    config = configure(dataset, world, sec, **given)
    if dry_run:
        say(json.dumps(config.to_json(), indent=2))
        return runs
    run = Path(world.broadcast(str(run or new_run(runs, dataset.name))))
    _launch(config, run, dataset, world)
    return run


def resume_training(
    where: Path,  # a run, or a folder of runs, whose newest is meant
    *,
    data: Path | None = None,  # its data set; None takes the path that it was started with
    kimg: float | None = None,  # new length; None keeps the run's
    device: str | None = None,  # cpu, cuda or cuda:1; None takes the GPU if there is one
) -> Path:
    """Resume a run from its newest intact checkpoint and return its folder."""
    limit = rules(Schedule)["kimg"]
    if kimg is not None and not limit.holds(kimg):
        raise FigmentError(f"--kimg {kimg:g}: must be {limit.text}")
    run = find_run(where, "--resume")
    config = read_config(run / "config.json")
    if kimg is not None:
        config = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, kimg=kimg))
    world = join_world(device)
    if config.recipe.batch % world.size:  # a growing schedule's batches, 0 here, divide by 1, 2, 4 and 8
        raise FigmentError(
            f"--resume {run}: its batch of {config.recipe.batch} can't be divided among {world.size} ranks"
        )
    if data is None and not Path(config.data).exists():
        raise FigmentError(
            f"--resume {run}: its data set is not at {config.data} any more; give its new place as DATA: "
            f"figment train DATA --resume -o {run}"
        )
    dataset = ImageDataset(data or Path(config.data), channels=config.networks.channels)
    config = dataclasses.replace(config, data=str(dataset.path.resolve()))  # it may have moved
    _launch(config, run, dataset, world)
    return run


def configure(
    dataset: ImageDataset,
    world: World,
    sec: float | None,  # time budget in seconds; None: train to kimg
    **given: Any,  # settings of train/config.py; None means unset
) -> TrainConfig:
    """Return the complete configuration; a time budget becomes kimg by a short trial on this machine."""
    like = _networks_of(given["init"], bool(given.get("adapt")), dataset) if given.get("init") else None
    config = resolve(
        dataset.path.resolve(),
        dataset.digest,
        dataset.resolution,
        dataset.channels,
        device=world.device.type,
        world=world.size,
        like=like,
        pictures=len(dataset),
        memory_gb=world.memory_gb(),
        **given,
    )
    found = like[1] if like else None
    if found is not None and found.get("kind", "family") != config.networks.discriminator and world.is_main:
        say(f"--init {given['init']}: has another kind of discriminator, so a new one starts from random weights")
    if sec is None:
        return config
    pace = measure_sec_per_kimg(config, dataset, world)
    share = TRAINING_SHARE - (SCORE_SHARE if config.schedule.score_ticks else 0)
    least = schedule_at(config, round(config.schedule.start_kimg * 1000), world.size).minibatch / 1000
    kimg = max(round(sec * share / pace, 1), least)
    tick = min(config.schedule.tick_kimg, max(round(kimg / 20, 2), least))
    if world.is_main:
        say(f"trial: {pace:.1f} s/kimg on this machine, so {kimg} kimg fit into {clock(sec)}")
    return dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, kimg=kimg, tick_kimg=tick))


def _networks_of(init: str, adapted: bool, dataset: ImageDataset) -> Like:
    """Return the settings of the networks in `init`; raise FigmentError if they don't draw images like the data."""
    model, changes = load_init(init, adapted, dataset.resolution, dataset.channels)
    for line in changes:
        say(f"--init {init}: {line}")
    wrong = differences(model.generator, dataset.resolution, dataset.channels, 0)
    if wrong:
        raise FigmentError(f"--init {init}: {'; '.join(wrong)}; use --adapt, or pack DATA differently")
    if model.d is None:
        say(f"--init {init}: has no discriminator, so one starts from random weights")
    return model.generator.settings(), model.d.settings() if model.d is not None else None


def _scorer(config: TrainConfig, run: Path, dataset: ImageDataset, world: World) -> OnTick:
    """Return what scores the averaged generator after a tick, on the main rank, within its share of the time."""
    if not config.schedule.score_ticks or not world.is_main:
        return lambda state: None
    reals = dataset.take(evenly_spread(len(dataset), REALS))
    # Features that the discriminator looks through would flatter the run.
    features = usual_features(config.networks.discriminator == "projected")
    scorer = QuickScore(reals, config.digest, cache=run, features=features, device=str(world.device))
    monitor = Monitor(run, scorer, every=config.schedule.score_ticks)

    def score(state: State) -> str | None:
        return monitor.watch(state.g_ema, state.nimg / 1000)

    return score


def _launch(config: TrainConfig, run: Path, dataset: ImageDataset, world: World) -> None:
    """Print what will run, then run it."""
    networks, recipe = config.networks, config.recipe
    if world.is_main:
        if dataset.labelled:
            say(f"DATA {dataset.path}: training ignores its labels; they stay in the data set")
        if networks.discriminator == "projected" and config.schedule.score_ticks:
            say("scores are FD-parts: the discriminator looks through the features of FD-heads, which would flatter it")
        say(
            f"{run}: {networks.family} {networks.resolution}px, {len(dataset)} pictures, batch {recipe.batch}, "
            f"channel base {networks.channel_base}, gamma {recipe.gamma:g}, {config.schedule.kimg:g} kimg on "
            f"{world.size} x {world.device}"
        )
    try:
        train(config, run, dataset, world, _scorer(config, run, dataset, world))
    finally:
        world.close()
