"""A data set and a configuration small enough to train in a second."""

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from figment.base.device import World
from figment.base.pixels import write_png
from figment.pack.dataset import ImageDataset
from figment.pack.zips import pack
from figment.train.config import resolve
from figment.train.state import new_state
from figment.train.trainer import Trainer

TINY = {
    "channel_base": 64,
    "z_dim": 8,
    "w_dim": 8,
    "batch": 4,
    "r1_interval": 2,
    "noise": True,
    "precision": "fp32",
    "tick_kimg": 0.016,
    "kimg": 0.048,
}


def changed(config, **recipe):
    """The configuration with another recipe."""
    return dataclasses.replace(config, recipe=dataclasses.replace(config.recipe, **recipe))


def make_trainer(config, dataset, world, state=None, **more):
    """A trainer of a new state, on pictures in memory."""
    return Trainer(config, state or new_state(config, world.device), torch.from_numpy(dataset.held), world, **more)


def run_steps(config, dataset, world, count, state=None, **more):
    """`count` steps; the state, and every step's statistics as numbers."""
    trainer = make_trainer(config, dataset, world, state, **more)
    rows = [trainer.step() for _ in range(count)]
    return trainer.state, [{name: float(value) for name, value in row.items()} for row in rows]


def run_ranks(folder: Path, script: str, *args: object) -> None:
    """Run a script as two ranks, as torchrun would, until both end well."""
    (folder / "script.py").write_text(script)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = str(Path(__file__).parents[2])
    ranks = [
        subprocess.Popen(
            [sys.executable, str(folder / "script.py"), *map(str, args)],
            cwd=root,
            env=os.environ
            | {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
                "PYTHONPATH": root,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            },
        )
        for rank in range(2)
    ]
    try:
        assert [rank.wait(120) for rank in ranks] == [0, 0]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()


@pytest.fixture
def world():
    return World(0, 1, torch.device("cpu"))


@pytest.fixture(scope="session")
def zip_path(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    rng = np.random.default_rng(0)
    for i in range(10):
        write_png(folder / "in" / f"{i}.png", rng.integers(0, 256, (16, 16, 3), np.uint8))
    pack(folder / "in", folder / "heads.zip", resolution=16)
    return folder / "heads.zip"


@pytest.fixture
def dataset(zip_path):
    return ImageDataset(zip_path)


@pytest.fixture
def tiny(dataset):
    return resolve(dataset.path, dataset.digest, 16, 3, **TINY)
