"""From a data set and a few wishes to a run: resolve, print, then launch. Going on with a run starts here too."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from figment.base.device import World, join_world
from figment.base.errors import FigmentError
from figment.base.files import find_run, new_run
from figment.base.parse import clock
from figment.base.progress import say
from figment.nets.adapt import differences
from figment.pack.dataset import ImageDataset
from figment.train.config import Like, TrainConfig, read_config, resolve
from figment.train.loop import train
from figment.train.state import State, load_init
from figment.train.step import moment

TRIAL_MARGIN = 0.93
"""Share of a time budget that is planned for: grids, checkpoints and a busy machine take the rest."""
SCORE_SHARE = 0.05
"""Less, where there are scores."""


def start_training(
    data: Path,
    runs: Path,
    *,
    sec: float | None = None,  # time budget in seconds; None: train to kimg
    dry_run: bool = False,  # True: print the configuration and stop
    device: str | None = None,  # cpu, cuda, cuda:1; None takes the GPU where there is one
    run: Path | None = None,  # the run's folder; None takes the next free number below `runs`
    **given: Any,  # settings of train/config.py; None means unset
) -> Path:
    """Start a run below `runs` and train it; returns its folder."""
    world = join_world(device)
    dataset = ImageDataset(data)
    config = plan(dataset, world, sec, **given)
    if dry_run:
        say(json.dumps(config.to_json(), indent=2))
        return runs
    run = Path(world.agree(str(run or new_run(runs, dataset.name))))
    _launch(config, run, dataset, world)
    return run


def resume_training(
    where: Path,  # a run, or a folder of runs whose newest is meant
    *,
    data: Path | None = None,  # where its data set lies now; None takes the path it was started with
    kimg: float | None = None,  # another length; None keeps the run's own
    device: str | None = None,
) -> Path:
    """Go on with a run from its newest whole checkpoint; nothing but its folder is needed."""
    run = find_run(where, "--resume")
    config = read_config(run / "config.json")
    if kimg is not None:
        config = dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, kimg=kimg))
    world = join_world(device)
    if config.recipe.batch % world.size:  # 0, by resolution, is shared by 1, 2, 4 and 8
        raise FigmentError(f"--resume {run}: its batch of {config.recipe.batch} can't be shared by {world.size} ranks")
    _launch(config, run, ImageDataset(data or Path(config.data)), world)
    return run


def plan(dataset: ImageDataset, world: World, sec: float | None, **given: Any) -> TrainConfig:
    """The complete configuration; a time budget becomes kimg by a short trial on this machine."""
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
    if sec is None:
        return config
    from figment.train.trial import measure_sec_per_kimg

    pace = measure_sec_per_kimg(config, dataset, world)
    share = TRIAL_MARGIN - (SCORE_SHARE if config.schedule.score_ticks else 0)
    least = moment(config, round(config.schedule.start_kimg * 1000), world.size).minibatch / 1000
    kimg = max(round(sec * share / pace, 1), least)
    tick = min(config.schedule.tick_kimg, max(round(kimg / 20, 2), least))
    if world.is_main:
        say(f"trial: {pace:.1f} s/kimg on this machine, so {clock(sec)} are {kimg} kimg")
    return dataclasses.replace(config, schedule=dataclasses.replace(config.schedule, kimg=kimg, tick_kimg=tick))


def _networks_of(init: str, adapted: bool, dataset: ImageDataset) -> Like:
    """The configurations of the networks in `init`; raises FigmentError where they don't draw what the data hold."""
    model, done = load_init(init, adapted, dataset.resolution, dataset.channels)
    for line in done:
        say(f"--init {init}: {line}")
    g: Any = model.generator
    wrong = differences(g, dataset.resolution, dataset.channels, 0)
    if wrong:
        raise FigmentError(f"--init {init}: {'; '.join(wrong)}; --adapt does it, or pack DATA otherwise")
    if model.d is None:
        say(f"--init {init}: holds no discriminator, so one starts from random weights")
    d: Any = model.d
    return g.settings(), d.settings() if d is not None else None


def _scores(config: TrainConfig, run: Path, dataset: ImageDataset, world: World) -> Callable[[State], str | None]:
    """What to do after a tick: the main rank scores the averaged generator, as far as its share of the time goes."""
    if not config.schedule.score_ticks or not world.is_main:
        return lambda state: None
    from figment.score.monitor import REALS, Monitor, QuickScore
    from figment.score.sources import evenly_spread

    reals = dataset.take(evenly_spread(len(dataset), REALS))
    scorer = QuickScore(reals, dataset.digest, cache=run, device=str(world.device))
    scores = Monitor(run, scorer, every=config.schedule.score_ticks)

    def score(state: State) -> str | None:
        return scores.watch(state.g_ema, state.nimg / 1000)

    return score


def _launch(config: TrainConfig, run: Path, dataset: ImageDataset, world: World) -> None:
    """Print what will run, then run it."""
    networks, recipe = config.networks, config.recipe
    if world.is_main:
        if dataset.labelled:
            say(f"DATA {dataset.path}: has labels, which training ignores; they stay in the data set")
        say(
            f"{run}: {networks.family} {networks.resolution}px, {len(dataset)} pictures, batch {recipe.batch}, "
            f"channel base {networks.channel_base}, gamma {recipe.gamma:g}, {config.schedule.kimg:g} kimg on "
            f"{world.size} x {world.device}"
        )
    try:
        train(config, run, dataset, world, _scores(config, run, dataset, world))
    finally:
        world.close()
