"""How long a thousand images take here, measured in a few real steps before a run."""

from __future__ import annotations

import time

import torch

from figment.base.dist import World
from figment.pack.dataset import ImageDataset
from figment.pack.sampler import EndlessSampler
from figment.train.config import TrainConfig
from figment.train.state import new_state
from figment.train.step import moment, train_step

WARM_UP, PLAIN, PENALISED = 2, 4, 2
"""Steps of each kind that a trial takes."""


def measure_sec_per_kimg(config: TrainConfig, dataset: ImageDataset, world: World) -> float:
    """Seconds per 1,000 images of `config` on this machine, R1's share included; a throwaway network is trained."""
    state = new_state(config, world.device)
    images = torch.from_numpy(dataset.images).to(world.device)
    sampler = EndlessSampler(len(dataset), config.schedule.seed, config.recipe.mirror)

    def timed(step: int) -> float:
        state.step = step
        start = time.perf_counter()
        train_step(config, state, images, sampler, world)
        if world.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    # Steps that are a multiple of the interval carry the penalty, the others do not.
    interval = config.recipe.r1_interval
    for step in range(WARM_UP):
        timed(step)
    plain = sorted(timed(1 + interval * i) for i in range(PLAIN))[PLAIN // 2]
    penalised = min(timed(interval * (i + 1)) for i in range(PENALISED))
    sec_per_step = plain + max(penalised - plain, 0.0) / interval
    return sec_per_step / moment(config, state.nimg, world.size).minibatch * 1000
