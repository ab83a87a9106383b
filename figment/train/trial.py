"""How long a thousand images take here, measured in a few real steps before a run."""

from __future__ import annotations

import statistics
import time

import torch

from figment.base.device import World
from figment.pack.dataset import ImageDataset
from figment.pack.readahead import hold_images
from figment.pack.sampler import EndlessSampler
from figment.train.config import TrainConfig
from figment.train.graphs import runs_to_steady
from figment.train.state import new_state
from figment.train.step import moment, step_kinds, train_step

STEPS = 3
"""Steps of each kind that are timed; on a GPU others go before, in which it finds its ways."""


def measure_sec_per_kimg(config: TrainConfig, dataset: ImageDataset, world: World) -> float:
    """Seconds per 1,000 images of `config` on this machine, lazy parts included; a throwaway network is trained."""
    state = new_state(config, world.device)
    images = hold_images(dataset, world.device)
    sampler = EndlessSampler(len(dataset), config.schedule.seed, config.recipe.mirror)

    def timed(step: int) -> float:
        state.step = step
        start = time.perf_counter()
        train_step(config, state, images, sampler, world)
        if world.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    # The lazy parts fall in some steps only: each kind of step counts by its share.
    kinds = step_kinds(config.recipe).values()
    for step, _ in kinds:
        for _ in range(runs_to_steady(world.device)):
            timed(step)
    sec_per_step = sum(share * statistics.median(timed(step) for _ in range(STEPS)) for step, share in kinds)
    mean = world.mean(torch.tensor(sec_per_step, device=world.device))  # every rank must plan the same length
    return float(mean) / moment(config, state.nimg, world.size).minibatch * 1000
