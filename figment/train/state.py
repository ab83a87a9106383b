"""The full state of a run and its checkpoints: written whole or not at all, checked when read."""

from __future__ import annotations

import copy
import math
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from figment.base.errors import FigmentError
from figment.base.files import atomic
from figment.nets.adapt import adapt
from figment.nets.checkpoint import Model
from figment.nets.registry import build_discriminator, build_generator
from figment.train.augment import AdaController, AdaState
from figment.train.config import TrainConfig
from figment.train.graphs import Graphs

START = Path(__file__).parent / "weights" / "start-64.safetensors"
"""The shipped start network: 64x64 heads of drawn people, trained by runs/train_start.py."""

BETAS = (0.0, 0.99)
"""Adam's betas, as in StyleGAN2."""


PLAIN = ("nimg", "step", "history", "path_mean", "lr_scale", "lod", "sums", "counts", "micro")
"""Attributes of a state that are saved as they are."""


@dataclass
class State:
    """Networks, optimizers and progress.

    There is no random state to save: every random number of a step follows from the seed and the step.
    """

    g: Any
    d: Any
    g_ema: Any
    g_opt: torch.optim.Optimizer
    d_opt: torch.optim.Optimizer
    nimg: int = 0
    """Images shown to the discriminator so far; also the sampler's position."""
    step: int = 0
    """Steps taken so far."""
    history: list[dict[str, float]] = field(default_factory=list)
    """One row of statistics per tick."""
    ada: AdaState | None = None
    """Strength of the adaptive augmentation; None where there is none."""
    path_mean: Tensor = field(default_factory=lambda: torch.zeros([]))
    """Moving average of the path length."""
    lr_scale: float = 1.0
    """What rollbacks left of the learning rate."""
    lod: float | None = None
    """Level of detail of the last step; None before the first one, and where nothing grows."""
    sums: dict[str, Tensor] = field(default_factory=dict)
    """Sums of the current tick's statistics, kept on the device until the tick ends."""
    counts: dict[str, int] = field(default_factory=dict)
    """How many each of them has."""
    micro: dict[str, int] = field(default_factory=dict)
    """By part of a step, where memory ran out: the most samples at once that fit."""
    graphs: Graphs = field(default_factory=Graphs)
    """The step's parts as they were recorded on this GPU; they are no part of a checkpoint."""

    def dump(self) -> dict[str, Any]:
        """Everything as tensors and plain values."""
        parts = {name: getattr(self, name).state_dict() for name in ("g", "d", "g_ema", "g_opt", "d_opt")}
        parts |= {name: getattr(self, name) for name in PLAIN}
        return parts | {"ada": self.ada.dump() if self.ada else None}

    def restore(self, values: dict[str, Any]) -> None:
        """Take over what `dump` gave."""
        for name in ("g_opt", "d_opt"):
            for group in values[name]["param_groups"]:
                group["fused"] = True  # it was not, in early versions
        for name in ("g", "d", "g_ema", "g_opt", "d_opt"):
            getattr(self, name).load_state_dict(values[name])
        for name in PLAIN:
            setattr(self, name, values[name])
        self.micro = values["micro"] if isinstance(values["micro"], dict) else {}  # one number, in early versions
        self.ada = AdaState(**values["ada"]) if values["ada"] else None


def new_state(
    config: TrainConfig,
    device: torch.device,
    init: bool = True,  # False: leave the weights of `config.schedule.init` aside, a checkpoint will follow
) -> State:
    """Networks with the seed's random weights, or those of `init`, and fresh optimizers."""
    torch.manual_seed(config.schedule.seed)
    g, d = build_generator(config.generator), build_discriminator(config.discriminator)
    g_ema = copy.deepcopy(g)
    if init and config.schedule.init:
        start_from(config, g, g_ema, d)
    g, d = g.to(device), d.to(device)
    g_ema = g_ema.to(device).eval().requires_grad_(False)

    # R1 and path length join the steps in which they fall, so Adam's settings need no correction for laziness.
    g_opt, d_opt = (
        torch.optim.Adam(network.parameters(), lr=config.recipe.lr or 0.001, betas=BETAS, eps=1e-8, fused=True)
        for network in (g, d)
    )
    state = State(g, d, g_ema, g_opt, d_opt)
    state.nimg = round(config.schedule.start_kimg * 1000)
    state.path_mean = torch.zeros([], device=device)
    if config.recipe.augment == "ada":
        state.ada = AdaController().start(device)
    return state


def init_path(init: str) -> Path:
    """The model file that `--init` names; `start` is the shipped start network."""
    return START if init == "start" else Path(init)


def load_init(init: str, adapted: bool, resolution: int, channels: int) -> tuple[Model, list[str]]:
    """The model that `--init` names, adapted to such data where asked for, and a line for each thing that was done."""
    from figment.models import load

    model = load(str(init_path(init)))
    return adapt(model, resolution=resolution, channels=channels, labels=False) if adapted else (model, [])


def start_from(config: TrainConfig, g: nn.Module, g_ema: nn.Module, d: nn.Module) -> None:
    """Copy the weights of the model that `--init` names into networks of the same shapes."""
    networks, schedule = config.networks, config.schedule
    assert schedule.init is not None
    model, _ = load_init(schedule.init, schedule.adapt, networks.resolution, networks.channels)
    g.load_state_dict((model.g or model.generator).state_dict())
    g_ema.load_state_dict(model.generator.state_dict())
    if model.d is not None:
        d.load_state_dict(model.d.state_dict())


def checkpoints(run: Path) -> list[Path]:
    """A run's checkpoints, oldest first."""
    return sorted((run / "checkpoints").glob("img*.pt"))


def checkpoint_at(run: Path, kimg: float) -> Path:
    """Where the checkpoint of this progress lies, or would."""
    return run / "checkpoints" / f"img{round(kimg * 1000):09d}.pt"


def save_checkpoint(
    run: Path,
    state: State,
    keep: int,  # newest checkpoints to keep
    best: float | None = None,  # kimg of the best scored one, which stays too; None where nothing was scored
) -> None:
    """Write the state under its image count; of older ones the newest few, the best and the last of each day stay."""
    with atomic(checkpoint_at(run, state.nimg / 1000)) as temporary:
        torch.save(state.dump(), temporary)
    found = checkpoints(run)
    last_of_day = {time.strftime("%Y-%m-%d", time.localtime(path.stat().st_mtime)): path for path in found}
    stays = {*last_of_day.values(), *([checkpoint_at(run, best)] if best is not None else [])}
    for path in found[:-keep]:
        if path not in stays:
            path.unlink()


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """What a checkpoint holds; raises ValueError where a checksum does not fit."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"the checksum of {damaged} does not fit")
    values: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return values


def load_newest(
    run: Path,
    state: State,
    device: torch.device,
    until: float = math.inf,  # kimg of the newest one that is wanted
) -> list[str]:
    """Restore the newest whole checkpoint; returns one line for each damaged one that was passed over.

    A run without any stays as it is; where all are damaged it raises FigmentError, for weights must not be lost unseen.
    """
    passed = []
    for path in reversed([path for path in checkpoints(run) if int(path.stem[3:]) <= until * 1000 + 0.5]):
        try:
            state.restore(read_checkpoint(path, device))
        except Exception as error:
            passed.append(f"{path}: damaged, trying an older one ({str(error).splitlines()[0]})")
            continue
        return passed
    if passed:
        raise FigmentError(
            f"{run}: none of its {len(passed)} checkpoints is whole; a new run can go on from its model "
            f"with --init {run}. {passed[0]}"
        )
    return []


def step_randomness(seed: int, step: int, stream: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator of one step's random numbers: the same for the same seed, step, stream and kind of device."""
    state = np.random.SeedSequence([seed, step, stream]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) % 2**63)
