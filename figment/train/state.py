"""The full state of a run and its checkpoints: written whole or not at all, checked when read."""

from __future__ import annotations

import copy
import math
import time
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from figment.base.errors import FigmentError
from figment.base.files import atomic
from figment.heads.network import SHIPPED, fold_norms, load_net
from figment.models import load
from figment.nets.adapt import adapt
from figment.nets.base import Discriminator, Generator
from figment.nets.checkpoint import Model
from figment.nets.projected import ProjectedDiscriminator
from figment.nets.registry import build_discriminator, build_generator
from figment.train.augment import DRAWS_VERSION, AdaController, AdaState
from figment.train.config import TrainConfig

STARTS = {64: Path(__file__).parent / "weights" / "start-64.safetensors"}
"""The shipped start networks by resolution: RGB heads of drawn people, trained by runs/train_start.py."""

BETAS = (0.0, 0.99)
"""Adam's betas, as in StyleGAN2."""

Row = dict[str, Any]
"""A tick's row of stats.jsonl: numbers by name, and `advice` (lines by the name of the sign) if there is any."""

CHECKPOINT_FORMAT = 2
"""Version of the checkpoints that this version writes; `upgrade` reads older ones."""

STATE_DICT = {"saved": "state_dict"}
"""Marks a field that is saved by its `state_dict`."""
VALUE = {"saved": "value"}
"""Marks a field that is saved as it is."""
NAMED_TUPLE = {"saved": "named tuple"}
"""Marks a named tuple of tensors, or None, that is saved as a dictionary."""


@dataclass
class State:
    """Networks, optimizers and progress. Every field says in its metadata how checkpoints save it.

    There is no random state to save: every random number of a step follows from the seed and the step.
    """

    g: Generator = field(metadata=STATE_DICT)
    d: Discriminator = field(metadata=STATE_DICT)
    g_ema: Generator = field(metadata=STATE_DICT)
    """Moving average of the generator."""
    g_opt: torch.optim.Optimizer = field(metadata=STATE_DICT)
    d_opt: torch.optim.Optimizer = field(metadata=STATE_DICT)
    nimg: int = field(default=0, metadata=VALUE)
    """Images shown to the discriminator so far; also the sampler's position."""
    step: int = field(default=0, metadata=VALUE)
    """Steps taken so far."""
    history: list[Row] = field(default_factory=list, metadata=VALUE)
    """One row of statistics per tick."""
    ada: AdaState | None = field(default=None, metadata=NAMED_TUPLE)
    """Strength of the adaptive augmentation; None without it."""
    path_mean: Tensor = field(default_factory=lambda: torch.zeros([]), metadata=VALUE)
    """Moving average of the path length, []."""
    lr_scale: float = field(default=1.0, metadata=VALUE)
    """Factor on the learning rate; every rollback halves it."""
    lod: float | None = field(default=None, metadata=VALUE)
    """Level of detail of the last step; None before the first one and for networks that don't grow."""
    sums: dict[str, Tensor] = field(default_factory=dict, metadata=VALUE)
    """Sums of the current tick's statistics, kept on the device until the tick ends."""
    counts: dict[str, int] = field(default_factory=dict, metadata=VALUE)
    """Number of values in each sum."""
    micro: dict[str, int] = field(default_factory=dict, metadata=VALUE)
    """Largest micro-batch that fitted into memory, by part of a step that did not fit whole. It is saved because
    another split rounds differently: a resumed run must use the same one to continue bit for bit."""

    def dump(self) -> dict[str, Any]:
        """Return everything as tensors and plain values: the content of a checkpoint."""
        values: dict[str, Any] = {"format": CHECKPOINT_FORMAT, "draws_version": DRAWS_VERSION}
        for each in fields(self):
            value, saved = getattr(self, each.name), each.metadata["saved"]
            if saved == "state_dict":
                value = value.state_dict()
            elif saved == "named tuple":
                value = None if value is None else value._asdict()
            values[each.name] = value
        return values

    def restore(
        self,
        values: dict[str, Any],  # in the current format, see upgrade
    ) -> None:
        """Set everything to what `dump` returned."""
        for each in fields(self):
            value, saved = values[each.name], each.metadata["saved"]
            if saved == "state_dict":
                getattr(self, each.name).load_state_dict(value)
            elif saved == "named tuple":
                setattr(self, each.name, AdaState(**value) if value else None)
            else:
                setattr(self, each.name, value)


def upgrade(values: dict[str, Any]) -> dict[str, Any]:
    """Return the content of a checkpoint of any older format in the current one.

    Raises FigmentError for a newer format.

    Format 1 has no `format` and no `draws_version`, which was 1. Its early versions did not fuse Adam, and kept one
    number for all micro-batches.
    """
    version = values.get("format", 1)
    if version > CHECKPOINT_FORMAT:
        raise FigmentError(
            f"checkpoint format {version} is newer than this version of figment reads ({CHECKPOINT_FORMAT}); "
            "update figment to resume this run"
        )
    values = dict(values)
    if version < 2:
        for name in ("g_opt", "d_opt"):
            groups = [group | {"fused": True} for group in values[name]["param_groups"]]
            values[name] = values[name] | {"param_groups": groups}
        values["micro"] = values["micro"] if isinstance(values["micro"], dict) else {}
        values["draws_version"] = 1
    values["format"] = CHECKPOINT_FORMAT
    return values


def new_state(
    config: TrainConfig,
    device: torch.device,
    init: bool = True,  # False: don't read the weights of `config.schedule.init`, because a checkpoint follows
) -> State:
    """Return networks with the seed's random weights or those of `init`, and fresh optimizers."""
    torch.manual_seed(config.schedule.seed)
    g, d = build_generator(config.generator), build_discriminator(config.discriminator)
    g_ema = copy.deepcopy(g)
    if init and isinstance(d, ProjectedDiscriminator):
        backbone = load_net(Path(config.networks.backbone) if config.networks.backbone else SHIPPED, "--backbone")
        d.load_backbone(fold_norms(backbone).state_dict())
    if init and config.schedule.init:
        networks, schedule = config.networks, config.schedule
        model, _ = load_init(config.schedule.init, schedule.adapt, networks.resolution, networks.channels)
        copy_weights(model, g, g_ema, d)
    g, d = g.to(device), d.to(device)
    g_ema = g_ema.to(device).eval().requires_grad_(False)

    # R1 and path length are part of the steps in which they are due, so Adam needs no correction for lazy
    # regularization (Karras et al. 2019, arXiv 1912.04958, appendix B).
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


def init_path(init: str, resolution: int) -> Path:
    """Return the model file that `--init` names; `start` is the shipped start network nearest to the resolution."""
    if init != "start":
        return Path(init)
    return STARTS[min(STARTS, key=lambda side: abs(math.log2(side / resolution)))]


def load_init(init: str, adapted: bool, resolution: int, channels: int) -> tuple[Model, list[str]]:
    """Return the model that `--init` names, adapted to such images if wanted, and one line per change.

    Raises FigmentError for a network whose images are not square, as those of data sets are.
    """
    model = load(str(init_path(init, resolution)), "--init")
    for network in model.networks().values():
        height, width = network.size
        if height != width:
            raise FigmentError(f"--init {init}: draws {width}x{height} px, and training needs a network of squares")
    return adapt(model, resolution=resolution, channels=channels, labels=False) if adapted else (model, [])


def copy_weights(model: Model, g: Generator, g_ema: Generator, d: Discriminator) -> None:
    """Copy a model's weights into networks of the same shapes; `d` stays as it is if the model has none of its kind."""
    g.load_state_dict((model.g or model.generator).state_dict())
    g_ema.load_state_dict(model.generator.state_dict())
    if model.d is not None and type(model.d) is type(d):
        d.load_state_dict(model.d.state_dict())


# --- Checkpoints


def checkpoints(run: Path) -> list[Path]:
    """Return a run's checkpoints, oldest first."""
    return sorted((run / "checkpoints").glob("img*.pt"))


def checkpoint_at(run: Path, kimg: float) -> Path:
    """Return the path of the checkpoint at this progress, whether it exists or not."""
    return run / "checkpoints" / f"img{round(kimg * 1000):09d}.pt"


def save_checkpoint(
    run: Path,
    state: State,
    keep: int,  # newest checkpoints to keep
    best: float | None = None,  # kimg of the best scored one, which is kept too; None without scores
) -> None:
    """Write the state; of older checkpoints keep the newest few, the best one, and the last one of each day."""
    with atomic(checkpoint_at(run, state.nimg / 1000)) as temporary:
        torch.save(state.dump(), temporary)
    found = checkpoints(run)
    last_of_day = {time.strftime("%Y-%m-%d", time.localtime(path.stat().st_mtime)): path for path in found}
    kept = {*last_of_day.values(), *([checkpoint_at(run, best)] if best is not None else [])}
    for path in found[:-keep]:
        if path not in kept:
            path.unlink()


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any]:
    """Return the content of a checkpoint in the current format.

    Raises ValueError if a checksum does not match, and FigmentError for a newer format.
    """
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise ValueError(f"the checksum of {damaged} does not match")
    values: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    try:
        return upgrade(values)
    except FigmentError as error:
        raise FigmentError(f"{path}: {error}") from None


def load_newest(
    run: Path,
    state: State,
    device: torch.device,
    until: float = math.inf,  # kimg of the newest checkpoint to consider
) -> list[str]:
    """Restore the newest intact checkpoint; return one line for each damaged one, and for anything that changes.

    Without any checkpoint the state stays as it is. Raises FigmentError if all of them are damaged, so that weights are
    never discarded silently, and for a newer format.
    """
    lines = []
    for path in reversed([path for path in checkpoints(run) if int(path.stem[3:]) <= until * 1000 + 0.5]):
        try:
            values = read_checkpoint(path, device)
            state.restore(values)
        except FigmentError:
            raise
        except Exception as error:
            lines.append(f"{path}: damaged, trying an older one ({str(error).splitlines()[0]})")
            continue
        if state.ada is not None and values["draws_version"] != DRAWS_VERSION:
            lines.append(
                f"{path}: its augmentation draws random numbers of version {values['draws_version']}, this figment of "
                f"version {DRAWS_VERSION}; from here on they differ from what the older version would have drawn"
            )
        return lines
    if lines:
        raise FigmentError(
            f"{run}: all of its {len(lines)} checkpoints are damaged; start a new run from its model with "
            f"--init {run}. {lines[0]}"
        )
    return []


def step_randomness(seed: int, step: int, stream: int = 0, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the generator of one step's random numbers: equal for equal seed, step, stream and kind of device."""
    state = np.random.SeedSequence([seed, step, stream]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) % 2**63)
