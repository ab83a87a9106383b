"""Configuration of a training run: three frozen dataclasses, presets as one table, and what `auto` picks.

    figment train heads.zip -o runs --preset auto --kimg 2500 --dry-run
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from figment.base.errors import FigmentError
from figment.base.files import read_json
from figment.nets.registry import FAMILIES


@dataclass(frozen=True)
class Networks:
    """The generator and the discriminator."""

    family: str
    """Network family: stylegan2, stylegan1, progan or lucidrains."""
    resolution: int
    """Side of the pictures in pixels; taken from the data."""
    channels: int
    """3 for RGB, 4 for RGBA; taken from the data."""
    z_dim: int
    """Length of the latent z."""
    w_dim: int
    """Length of the latent w."""
    map_depth: int
    """Layers of the mapping network."""
    channel_base: int
    """Feature maps times resolution: a block at resolution r has channel_base / r of them."""
    channel_max: int
    """Most feature maps of any block."""


@dataclass(frozen=True)
class Recipe:
    """How the weights learn."""

    batch: int
    """Images per step, over all ranks."""
    lr: float
    """Learning rate of both Adam optimizers."""
    gamma: float
    """Weight of the R1 penalty (Mescheder 2018)."""
    r1_interval: int
    """Steps between R1 penalties (lazy regularisation, Karras 2020)."""
    mixing: float
    """Probability of style mixing (Karras 2019)."""
    ema_kimg: float
    """Half-life of the generator's moving average, in thousands of images."""
    noise: bool
    """Per-pixel noise in the generator; small networks lean on it and draw speckles instead of features."""
    mirror: bool
    """Show each picture mirrored half of the time."""


@dataclass(frozen=True)
class Schedule:
    """How long, how often, and from what."""

    kimg: float
    """Length of the run, in thousands of images shown to the discriminator."""
    tick_kimg: float
    """Thousands of images between progress lines, grids of fakes and checkpoints."""
    keep: int
    """Checkpoints to keep; older ones are removed."""
    seed: int
    """Every random number of the run follows from it."""
    init: str | None
    """Any checkpoint that networks and weights start from; `start` is the shipped one; None: random weights."""
    adapt: bool
    """Fit the networks of `init` to the data: grow or cut levels, change colours, drop labels."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a run needs beside its data, as written to config.json."""

    data: str
    """The data set's path."""
    digest: str
    """The data set's digest; a resumed run checks it."""
    networks: Networks
    recipe: Recipe
    schedule: Schedule
    generator: dict[str, Any]
    """What the generator is built from: its family and its constructor's arguments."""
    discriminator: dict[str, Any]
    """The same of the discriminator."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for config.json."""
        return asdict(self)


# Presets fill only what the user left unset. `auto` follows the heuristics of StyleGAN2-ADA (Karras 2020, its
# train.py); `cpu` is a small network for two cores; `paper` is StyleGAN2's config F.
#
#          z_dim w_dim map_depth channel_base channel_max batch  lr      gamma r1  mixing noise  ema_kimg tick_kimg
PRESETS: dict[str, tuple[float | bool | None, ...]] = {
    "auto":  (512,  512,  2,        None,        512,        None,  None,   None, 16, 0.9,   True,  None,    4),
    "paper": (512,  512,  8,        32768,       512,        32,    0.002,  10,   16, 0.9,   True,  10,      4),
    "cpu":   (64,   64,   2,        512,         128,        16,    0.0025, 0.3,  16, 0.5,   False, 0.7,     1),
}

Like = tuple[dict[str, Any], dict[str, Any] | None]
"""The configurations of a model's generator and, where it has one, its discriminator."""

COLUMNS = ("z_dim", "w_dim", "map_depth", "channel_base", "channel_max", "batch", "lr", "gamma", "r1_interval",
           "mixing", "noise", "ema_kimg", "tick_kimg")

DEFAULT_KIMG = 2500.0
"""The length of the story's run."""


def resolve(
    data: Path,                    # the data set
    digest: str,                   # its digest
    resolution: int,               # side of its pictures
    channels: int,                 # of its pictures
    *,
    preset: str | None = None,     # a row of PRESETS; None: `cpu` on a CPU, else `auto`
    device: str = "cpu",           # device type: cpu or cuda
    world: int = 1,                # ranks that share the batch
    like: Like | None = None,      # networks to build alike; None: by the settings
    **given: Any,                  # what the user set; None means unset
) -> TrainConfig:
    """The complete configuration. Collects every problem and raises FigmentError once."""
    preset = preset or ("cpu" if device == "cpu" else "auto")
    if preset not in PRESETS:
        raise FigmentError(f"--preset {preset}: must be one of {', '.join(PRESETS)}")

    # What the user set wins over the preset, and the preset over the heuristics.
    values: dict[str, Any] = dict(zip(COLUMNS, PRESETS[preset], strict=True))
    values |= {"family": "stylegan2", "mirror": True, "kimg": DEFAULT_KIMG, "keep": 2, "seed": 0, "init": None,
               "adapt": False}
    values |= {"resolution": resolution, "channels": channels}
    values |= {name: value for name, value in given.items() if value is not None}
    auto = heuristics(resolution, values["batch"], world)
    values = {name: auto[name] if value is None and name in auto else value for name, value in values.items()}
    if like is not None:
        values |= {field.name: like[0][field.name] for field in fields(Networks) if field.name in like[0]}

    _check(values, world)
    groups = [kind(**{field.name: values.pop(field.name) for field in fields(kind)})
              for kind in (Networks, Recipe, Schedule)]
    if values:
        raise TypeError(f"unknown settings: {', '.join(values)}")
    networks, recipe, schedule = groups
    generator, discriminator = network_configs(networks, like)    # type: ignore[arg-type]
    return TrainConfig(str(data), digest, networks, recipe, schedule, generator, discriminator)    # type: ignore[arg-type]


def network_configs(
    networks: Networks,
    like: Like | None,             # of a model to start from
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the registry builds the generator and the discriminator from."""
    shared = {"family": networks.family, "resolution": networks.resolution, "channels": networks.channels}
    if networks.family != "lucidrains":
        shared |= {"channel_base": networks.channel_base, "channel_max": networks.channel_max}
    mapping = {"z_dim": networks.z_dim, "map_depth": networks.map_depth, "w_dim": networks.w_dim}
    for name in {"progan": ("map_depth", "w_dim"), "lucidrains": ("w_dim",)}.get(networks.family, ()):
        del mapping[name]
    if like is None:
        return shared | mapping, shared

    # A model without a discriminator gets one like its generator, of fresh weights.
    generator, discriminator = like
    alike = ("family", "resolution", "channels", "start", "channel_base", "channel_max", "lod")
    return generator, discriminator or {name: generator[name] for name in alike if name in generator}


def heuristics(resolution: int, batch: int | None, world: int) -> dict[str, float]:
    """What `auto` of StyleGAN2-ADA picks from the resolution and the number of GPUs (Karras 2020, its train.py)."""
    batch = batch or max(min(world * min(4096 // resolution, 32), 64), world)
    return {
        "batch": batch,
        "channel_base": 32768 if resolution >= 512 else 16384,
        "lr": 0.002 if resolution >= 1024 else 0.0025,
        "gamma": 0.0002 * resolution**2 / batch,
        "ema_kimg": batch * 10 / 32,
    }


def _check(values: dict[str, Any], world: int) -> None:
    """Raise one FigmentError that lists every value outside its rule."""
    rules = {
        "batch": (values["batch"] >= 1 and values["batch"] % world == 0, f"a positive multiple of the {world} ranks"),
        "lr": (0 < values["lr"] < 1, "above 0 and below 1"),
        "gamma": (values["gamma"] >= 0, "0 or more"),
        "kimg": (values["kimg"] > 0, "above 0"),
        "tick_kimg": (values["tick_kimg"] > 0, "above 0"),
        "mixing": (0 <= values["mixing"] <= 1, "from 0 to 1"),
        "keep": (values["keep"] >= 1, "1 or more"),
        "seed": (0 <= values["seed"] < 2**31, "from 0 to 2147483647"),
        "channel_base": (values["channel_base"] >= values["resolution"], "at least the resolution"),
        "family": (values["family"] in FAMILIES, f"one of {', '.join(FAMILIES)}"),
    }
    wrong = [f"--{name.replace('_', '-')} {values[name]}: must be {rule}"
             for name, (fine, rule) in rules.items() if not fine]
    if wrong:
        raise FigmentError("; ".join(wrong))


def read_config(path: Path) -> TrainConfig:
    """The configuration in a run's config.json; raises FigmentError where it is damaged."""
    value = read_json(path)
    try:
        return TrainConfig(value["data"], value["digest"], Networks(**value["networks"]), Recipe(**value["recipe"]),
                           Schedule(**value["schedule"]), value["generator"], value["discriminator"])
    except (KeyError, TypeError) as error:
        raise FigmentError(f"{path}: not a training configuration of this version ({error})") from None
