"""Configuration of a training run: three frozen dataclasses, presets as one table, and what `auto` picks.

figment train heads.zip -o runs --preset auto --kimg 2500 --dry-run
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from figment.base.errors import FigmentError
from figment.base.files import read_json
from figment.nets.registry import families, get_family


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
    """Feature maps times resolution: a block at resolution r has channel_base / r. Unset: what memory allows."""
    channel_max: int
    """Most feature maps of any block."""


@dataclass(frozen=True)
class Recipe:
    """How the weights learn."""

    loss: str
    """logistic (non-saturating, Goodfellow 2014) or wgan-gp (Gulrajani 2017)."""
    batch: int
    """Images per step, over all ranks; 0: the growing schedule's, by resolution. Unset: by resolution and memory."""
    lr: float
    """Learning rate of both Adam optimizers; 0 takes the growing schedule's, by resolution."""
    gamma: float
    """Weight of the gradient penalty: R1 (Mescheder 2018), or WGAN-GP's."""
    r1_interval: int
    """Steps between R1 penalties (lazy regularisation, Karras 2020)."""
    path_weight: float
    """Weight of path length regularisation (Karras 2020); 0 switches it off."""
    augment: str
    """ada (adaptive augmentation, Karras 2020) or none. Unset: ada for fewer than 50,000 pictures."""
    augment_kinds: str
    """What ADA does: b flips, quarter turns, shifts; g sizes, any turn; c colour; f filtering; n noise; x cut-outs."""
    ada_target: float
    """How sure of the reals D should be: more augmentation above, less below."""
    ada_kimg: float
    """Thousands of images in which augmentation can rise from nothing to always."""
    freeze_d: int
    """Layers of D, from the picture on, that do not learn (FreezeD, Mo 2020): for fine-tuning on few pictures."""
    precision: str
    """fp32 or bf16, of convolutions; R1 and weights are fp32 (on GPUs TensorFloat-32). Unset: bf16 where it is fast."""
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
    """Thousands of images between progress lines, grids of fakes and checkpoints; 0: by resolution, as it grows."""
    growing: bool
    """Grow the networks while they train (Karras 2017): stylegan1 and progan."""
    start_kimg: float
    """Where in the schedule to begin, as if so many thousands of images had been shown."""
    keep: int
    """Newest checkpoints to keep; of older ones the best scored one and the last of each day stay."""
    seed: int
    """Every random number of the run follows from it."""
    init: str | None
    """Any checkpoint that networks and weights start from; `start` is the shipped one; None: random weights."""
    adapt: bool
    """Fit the networks of `init` to the data: grow or cut levels, change colours, drop labels."""
    score_ticks: int = 1
    """Ticks between quick scores, which take 5% of the time at most and keep the best model; 0: none."""
    tensorboard: bool = False
    """Write curves and fakes for TensorBoard too, into the run's folder `tensorboard`."""


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


DEFAULT_KIMG = 2500.0
"""The length of the story's run."""

# Presets fill only what the user left unset. `auto` follows the heuristics of StyleGAN2-ADA (Karras 2020, its
# train.py); `paper` is StyleGAN2's config F; `cpu` is a small network for two cores, at a high rate as its hours are
# few; `stylegan1` and `progan` are as their authors trained them; `story` is a StyleGAN fine-tuned on one card from a
# network of anime faces, at 512 pixels.
# None is left to the heuristics, 0 to the growing schedule.
#
# fmt: off
#              z_dim w_dim depth base   max  batch lr      gamma r1 path mix  noise  augment ema   tick start family
PRESETS: dict[str, tuple[float | bool | str | None, ...]] = {
    "auto":      (512, 512, 2, None,  512, None, None,   None, 16, 2.0, 0.9, True,  None,   None, 4,  0, "stylegan2"),
    "paper":     (512, 512, 8, 32768, 512, 32,   0.002,  10,   16, 2.0, 0.9, True,  "none", 10,   4,  0, "stylegan2"),
    "cpu":       (64,  64,  2, 512,   128, 16,   0.004,  1.0,  16, 0.0, 0.5, False, "none", 1.0,  1,  0, "stylegan2"),
    "stylegan1": (512, 512, 8, 16384, 512, 0,    0,      10,   1,  0.0, 0.9, True,  "none", 10,   0,  0, "stylegan1"),
    "progan":    (512, 512, 8, 16384, 512, 0,    0,      10,   1,  0.0, 0.0, False, "none", 10,   0,  0, "progan"),
    "story":     (512, 512, 8, 16384, 512, 4,    0.0015, 10,   1,  0.0, 0.9, True,  "none", 10,  30, 7000, "stylegan1"),
}
# fmt: on

COLUMNS = (
    "z_dim",
    "w_dim",
    "map_depth",
    "channel_base",
    "channel_max",
    "batch",
    "lr",
    "gamma",
    "r1_interval",
    "path_weight",
    "mixing",
    "noise",
    "augment",
    "ema_kimg",
    "tick_kimg",
    "start_kimg",
    "family",
)

PLENTY = 50_000
"""From so many pictures on nothing is augmented (Karras 2020, figure 7: no gain from 70,000 mirrored ones)."""
MEMORY_SHARE = 0.65
"""Share of a GPU's memory that a step may be planned to fill; the data may take 0.3."""
MAPS = 24
"""How many times the largest level's feature maps, `resolution * channel_base` numbers a picture, a step with R1 holds
at most: 20 on an H100 at 512 pixels with a batch of 8, and some in reserve."""
LEAST_BATCH = 4
"""A GPU must hold so many pictures at once, a group of the minibatch deviation; more are done one after the other."""

COMMON: dict[str, Any] = {
    "augment_kinds": "bgc",
    "ada_target": 0.6,
    "ada_kimg": 500.0,
    "freeze_d": 0,
    "mirror": True,
    "precision": None,
    "loss": None,
    "growing": None,
    "kimg": DEFAULT_KIMG,
    "keep": 2,
    "seed": 0,
    "init": None,
    "adapt": False,
    "score_ticks": 1,
    "tensorboard": False,
}
"""What all presets share; None is decided by `resolve`."""

Like = tuple[dict[str, Any], dict[str, Any] | None]
"""The configurations of a model's generator and, where it has one, its discriminator."""


def resolve(
    data: Path,  # the data set
    digest: str,  # its digest
    resolution: int,  # side of its pictures
    channels: int,  # of its pictures
    *,
    preset: str | None = None,  # a row of PRESETS; None: `cpu` on a CPU, else `auto`
    device: str = "cpu",  # device type: cpu or cuda
    world: int = 1,  # ranks that share the batch
    like: Like | None = None,  # networks to build alike; None: by the settings
    pictures: int | None = None,  # how many the data set has; None where that is not known
    memory_gb: float | None = None,  # of a GPU of each rank; None where that is not known
    **given: Any,  # what the user set; None means unset
) -> TrainConfig:
    """The complete configuration. Collects every problem and raises FigmentError once."""
    family = like[0]["family"] if like else given.get("family")
    if preset is None:
        small = device == "cpu" and family in (None, "stylegan2", "lucidrains")
        preset = "cpu" if small else family if family in PRESETS else "auto"
    if preset not in PRESETS:
        raise FigmentError(f"--preset {preset}: must be one of {', '.join(PRESETS)}")

    # What the user set wins over the preset, and the preset over the heuristics.
    values = COMMON | dict(zip(COLUMNS, PRESETS[preset], strict=True))
    values |= {"resolution": resolution, "channels": channels}
    values |= {name: value for name, value in given.items() if value is not None}
    if like is not None:
        values |= {field.name: like[0][field.name] for field in fields(Networks) if field.name in like[0]}
    if preset == "cpu" and like is not None:
        values["lr"] = given.get("lr")  # None: what was trained before goes on at the rate of `auto`
    grows = get_family(values["family"]).growth is not None if values["family"] in families() else False
    auto = heuristics(resolution, values["batch"], world, pictures, memory_gb, values["channel_base"]) | {
        "loss": families()[values["family"]].loss if values["family"] in families() else "logistic",
        "growing": grows,
        "precision": "bf16" if _has_bf16(device) else "fp32",
    }
    if like is not None and grows and given.get("start_kimg") is None:
        values["start_kimg"] = max(values["start_kimg"], kimg_at_lod(like[0]["lod"], resolution, values["family"]))
    values = {name: auto[name] if value is None and name in auto else value for name, value in values.items()}

    _check(values, world)
    groups = [
        kind(**{field.name: values.pop(field.name) for field in fields(kind)}) for kind in (Networks, Recipe, Schedule)
    ]
    if values:
        raise TypeError(f"unknown settings: {', '.join(values)}")
    networks, recipe, schedule = groups
    generator, discriminator = network_configs(networks, like)  # type: ignore[arg-type]
    return TrainConfig(str(data), digest, networks, recipe, schedule, generator, discriminator)  # type: ignore[arg-type]


def network_configs(
    networks: Networks,
    like: Like | None,  # of a model to start from
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the registry builds the generator and the discriminator from."""
    family = get_family(networks.family)
    if like is None:
        generator = family.generator_settings(asdict(networks))
        return generator, family.discriminator_for(generator)

    # A model without a discriminator gets one like its generator, of fresh weights.
    generator, discriminator = like
    return generator, discriminator or family.discriminator_for(generator)


def heuristics(
    resolution: int,
    batch: int | None,  # what the user set; None leaves it to the memory
    world: int,  # GPUs
    pictures: int | None = None,  # of the data set
    memory_gb: float | None = None,  # of one GPU
    base: int | None = None,  # the channel_base that the user set, or the network has
) -> dict[str, float | str]:
    """What `auto` picks: as StyleGAN2-ADA's (Karras 2020, its train.py) from resolution and GPUs, and from two more.

    Where the memory is known to hold more, the batch doubles, up to 32 a GPU; where it does not even hold a group of
    the minibatch deviation, wide networks get half the width. Data too many to be learnt by heart are not augmented.
    """
    channel_base = base or (32768 if resolution >= 512 else 16384)
    each = max(min(4096 // resolution, 32), 1)
    if memory_gb is not None:
        fits = MEMORY_SHARE * memory_gb / need_gb(resolution, channel_base)  # pictures at once
        while each < 32 and 2 * each < fits:
            each *= 2
        if not base and resolution >= 512 and fits < LEAST_BATCH:
            channel_base //= 2
    batch = batch or world * max(min(each, 64 // world), 1)
    return {
        "batch": batch,
        "channel_base": channel_base,
        "lr": 0.002 if resolution >= 1024 else 0.0025,
        "gamma": 0.0002 * resolution**2 / batch,
        "ema_kimg": batch * 10 / 32,
        "augment": "none" if pictures is not None and pictures >= PLENTY else "ada",
    }


def need_gb(resolution: int, channel_base: int) -> float:
    """Memory that a training step takes for each picture at most, in GB: in R1's steps, which compute in fp32."""
    return MAPS * 4 * resolution * channel_base / 1e9


def _has_bf16(device: str) -> bool:
    """Whether the GPU computes in bfloat16 itself, or the CPU multiplies in it (Intel's AMX, or AVX-512 BF16)."""
    import torch

    from figment.base.device import cpu_has

    if device == "cpu":
        return cpu_has("amx_bf16") or cpu_has("avx512_bf16")
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)


def kimg_at_lod(lod: float, resolution: int, family: str) -> float:
    """Where in the growing schedule a network of this lod stands: the first image of its phase."""
    from figment.train.growth import growth_at

    growth = get_family(family).growth
    assert growth is not None
    phases = growth(1)
    first = growth_at(0, resolution, phases).lod
    return max(first - lod, 0.0) * (phases.training_kimg + phases.transition_kimg)


def _check(values: dict[str, Any], world: int) -> None:
    """Raise one FigmentError that lists every value outside its rule."""
    grows = values["growing"]
    rules = {
        "batch": (
            (values["batch"] >= 1 or (grows and values["batch"] == 0)) and values["batch"] % world == 0,
            f"a positive multiple of the {world} ranks",
        ),
        "lr": (0 < values["lr"] < 1 or (grows and values["lr"] == 0), "above 0 and below 1"),
        "gamma": (values["gamma"] >= 0, "0 or more"),
        "r1_interval": (values["r1_interval"] >= 1, "1 or more"),
        "path_weight": (values["path_weight"] >= 0, "0 or more"),
        "ada_kimg": (values["ada_kimg"] > 0, "above 0"),
        "ema_kimg": (values["ema_kimg"] >= 0, "0 or more"),
        "z_dim": (values["z_dim"] >= 1, "1 or more"),
        "w_dim": (values["w_dim"] >= 1, "1 or more"),
        "map_depth": (values["map_depth"] >= 1, "1 or more"),
        "channel_max": (values["channel_max"] >= 1, "1 or more"),
        "kimg": (values["kimg"] > 0, "above 0"),
        "tick_kimg": (values["tick_kimg"] > 0 or (grows and values["tick_kimg"] == 0), "above 0"),
        "start_kimg": (values["start_kimg"] >= 0, "0 or more"),
        "growing": (not grows or families()[values["family"]].growth is not None, "off for families that do not grow"),
        "loss": (values["loss"] in ("logistic", "wgan-gp"), "logistic or wgan-gp"),
        "augment": (values["augment"] in ("ada", "none"), "ada or none"),
        "augment_kinds": (not set(values["augment_kinds"]) - set("bgcfnx"), "letters of bgcfnx"),
        "precision": (values["precision"] in ("fp32", "bf16"), "fp32 or bf16"),
        "freeze_d": (values["freeze_d"] >= 0, "0 or more"),
        "mixing": (0 <= values["mixing"] <= 1, "from 0 to 1"),
        "keep": (values["keep"] >= 1, "1 or more"),
        "score_ticks": (values["score_ticks"] >= 0, "0 or more"),
        "seed": (0 <= values["seed"] < 2**31, "from 0 to 2147483647"),
        "channel_base": (values["channel_base"] >= values["resolution"], "at least the resolution"),
        "family": (values["family"] in families(), f"one of {', '.join(families())}"),
    }
    wrong = [
        f"--{name.replace('_', '-')} {values[name]}: must be {rule}" for name, (fine, rule) in rules.items() if not fine
    ]
    if wrong:
        raise FigmentError("; ".join(wrong))


def read_config(path: Path) -> TrainConfig:
    """The configuration in a run's config.json; raises FigmentError where it is damaged."""
    value = read_json(path)
    try:
        return TrainConfig(
            value["data"],
            value["digest"],
            Networks(**value["networks"]),
            Recipe(**value["recipe"]),
            Schedule(**value["schedule"]),
            value["generator"],
            value["discriminator"],
        )
    except (KeyError, TypeError) as error:
        raise FigmentError(f"{path}: not a training configuration of this version ({error})") from None
