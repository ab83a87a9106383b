"""Configuration of a training run: three frozen dataclasses, and what is picked for what the user left unset.

    figment train heads.zip -o runs --preset auto --kimg 2500 --dry-run

A new setting is one field of `Networks`, `Recipe` or `Schedule` with its type, its default and a docstring: the option
of `figment train` and its help text follow from it, as does its rule if the type carries one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from figment.base.errors import FigmentError
from figment.base.files import read_json
from figment.base.settings import (
    AT_LEAST_1,
    NO_OPTION,
    NOT_NEGATIVE,
    PATH,
    POSITIVE,
    PROBABILITY,
    SEED,
    Rule,
    one_of,
    rules,
    within,
)
from figment.nets.registry import DISCRIMINATORS, NAMES, families, get_family
from figment.train.presets import COLUMNS, CPU_WIDTHS, PRESETS, PROJECTED

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from figment.nets.base import Family
    from figment.nets.growing import GrowthSchedule


@dataclass(frozen=True)
class GrowingRule(Rule):
    """A rule with an exception: if the networks grow, 0 is allowed and means the value of the growing schedule."""


FAMILY = Rule(f"one of {', '.join(NAMES)}", lambda value: value in families(), NAMES)
LEARNING_RATE = GrowingRule("above 0 and below 1", lambda value: 0 < value < 1)
TICK = GrowingRule(POSITIVE.text, POSITIVE.holds)


# The configuration -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Networks:
    """The generator and the discriminator."""

    family: Annotated[str, FAMILY]
    """Network family. Unset: that of --preset."""
    resolution: int = field(metadata=NO_OPTION)
    """Side of the images in pixels; taken from the data."""
    channels: int = field(metadata=NO_OPTION)
    """3 for RGB, 4 for RGBA; taken from the data."""
    z_dim: Annotated[int, within(1, 65536)]
    """Length of the latent z."""
    w_dim: Annotated[int, within(1, 65536)]
    """Length of the latent w. Unset: the same as --z-dim if that is set."""
    map_depth: Annotated[int, within(1, 1000)]
    """Number of layers of the mapping network."""
    channel_base: int
    """Channels times resolution: a block at resolution r has channel_base / r channels. Unset: what memory allows."""
    channel_max: Annotated[int, within(1, 65536)]
    """Largest number of channels of a block."""
    discriminator: Annotated[str, one_of(*DISCRIMINATORS)]
    """The family's own discriminator, or one that looks through frozen features of a head detector (projected, Sauer
    2021): faces appear sooner. Unset: that of --init; from random weights, projected for --preset cpu with StyleGAN2,
    hinge loss and no --freeze-d, if the images' size is a multiple of 32; else the family's."""
    backbone: str | None = field(default=None, metadata=PATH)
    """Detector whose features the projected discriminator uses, made by `figment heads train`. Unset: the shipped
    one."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the networks are trained."""

    loss: Annotated[str, one_of("logistic", "wgan-gp", "hinge")]
    """Non-saturating logistic loss (Goodfellow 2014), WGAN-GP (Gulrajani 2017), or hinge loss (Lim 2017). Unset: the
    family's, or hinge for the projected discriminator."""
    batch: int
    """Images per step over all ranks; 0, for families that grow, follows their schedule. Unset: by resolution and
    memory."""
    lr: Annotated[float, LEARNING_RATE]
    """Learning rate of Adam; 0, for families that grow, follows their schedule. Unset: the preset's, or by
    resolution."""
    d_lr: Annotated[float, POSITIVE] = 1.0
    """Learning rate of the discriminator as a multiple of --lr."""
    gamma: Annotated[float, NOT_NEGATIVE]
    """Weight of the gradient penalty: R1 (Mescheder 2018), or that of WGAN-GP. Unset: the preset's, or by resolution
    and batch."""
    r1_interval: Annotated[int, AT_LEAST_1]
    """Steps between R1 penalties (lazy regularization, Karras 2020)."""
    path_weight: Annotated[float, NOT_NEGATIVE]
    """Weight of path length regularization (Karras 2020); 0 switches it off."""
    augment: Annotated[str, one_of("ada", "none")]
    """Augmentation of what D sees: ada is adaptive (Karras 2020). Unset: ada below 50,000 images."""
    augment_kinds: str = "bgc"
    """Augmentations of ADA: b flips, 90 degree rotations and shifts; g scaling and any rotation; c color;
    f filtering; n noise; x cutout."""
    ada_target: Annotated[float, within(-1, 1)] = 0.6
    """ADA target for r_t = E[sign(D(real))]: augmentation gets stronger above it and weaker below."""
    ada_kimg: Annotated[float, POSITIVE] = 500.0
    """ADA speed: thousands of images in which the augmentation probability can go from 0 to 1."""
    freeze_d: Annotated[int, NOT_NEGATIVE] = 0
    """Number of D's layers, from the image on, that are not trained (FreezeD, Mo 2020); for fine-tuning on few
    images."""
    precision: Annotated[str, one_of("fp32", "bf16")]
    """Number format of convolutions; R1 and weights stay fp32 (TF32 on GPUs). Unset: bf16 if it is fast here."""
    mixing: Annotated[float, PROBABILITY]
    """Probability of style mixing (Karras 2019)."""
    ema_kimg: Annotated[float, NOT_NEGATIVE]
    """Half-life of the generator's exponential moving average (EMA), in thousands of images."""
    noise: bool
    """Add per-pixel noise in the generator. Small networks tend to draw speckles with it instead of features."""
    blur_sigma: Annotated[float, within(0, 100)] = 0.0
    """Blur what D sees at the start, with this standard deviation in pixels that shrinks to 0 (Karras 2021)."""
    mirror: bool = True
    """Mirror each image left to right half of the time."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Length of the run, how often it reports, and what it starts from."""

    kimg: Annotated[float, POSITIVE] = 2500.0
    """Length of the run, in thousands of images shown to the discriminator."""
    tick_kimg: Annotated[float, TICK]
    """Thousands of images between status lines, grids of fakes and checkpoints; 0, for families that grow, follows
    their schedule. Unset: the preset's."""
    growing: bool = field(metadata=NO_OPTION)
    """Grow the networks while they train (Karras 2017); taken from the family."""
    start_kimg: Annotated[float, NOT_NEGATIVE]
    """Position in the schedule to start at, as if that many thousands of images had been shown."""
    keep: Annotated[int, AT_LEAST_1] = 2
    """Number of newest checkpoints to keep; the best scored one and the last of each day stay too."""
    seed: Annotated[int, SEED] = 0
    """Random seed of the run."""
    init: str | None = field(default=None, metadata=PATH)
    """Checkpoint to start from, in any format that figment reads, or `start` for the one that figment ships. Unset:
    random weights."""
    adapt: bool = False
    """Fit the networks of --init to the data: add or remove blocks, change the image channels, drop labels."""
    score_ticks: Annotated[int, NOT_NEGATIVE] = 1
    """Ticks between quick scores, which select the best model and take at most 5% of the time; 0 for none."""
    tensorboard: bool = False
    """Also write curves and fakes for TensorBoard, into the run's folder `tensorboard`."""

    @property
    def end(self) -> int:
        """Images shown when the run ends, those before `start_kimg` included."""
        return round((self.start_kimg + self.kimg) * 1000)


@dataclass(frozen=True)
class TrainConfig:
    """Everything that a run needs apart from its data, as written to config.json."""

    data: str
    """Path of the data set."""
    digest: str
    """Digest of the data set; a resumed run compares it."""
    networks: Networks
    recipe: Recipe
    schedule: Schedule
    generator: dict[str, Any]
    """Settings of the generator, for `registry.build_generator`."""
    discriminator: dict[str, Any]
    """Settings of the discriminator, for `registry.build_discriminator`."""

    def to_json(self) -> dict[str, Any]:
        """Return plain values for config.json."""
        return asdict(self)


GROUPS: Mapping[str, type[Networks | Recipe | Schedule]] = {
    "networks": Networks,
    "recipe": Recipe,
    "schedule": Schedule,
}
"""The dataclasses that hold the settings, by their field of `TrainConfig`."""


def settings() -> dict[str, Field[Any]]:
    """Return all settings by name, in the order of their fields."""
    return {each.name: each for kind in GROUPS.values() for each in fields(kind)}


MOST_BATCH, MOST_BASE = 1_000_000, 1 << 24
"""Upper limits of the batch and the channel base."""
MANY_IMAGES = 50_000
"""Data sets of this size and larger are not augmented (Karras 2020, figure 7: no gain with 70,000 mirrored images)."""
MEMORY_SHARE = 0.65
"""Share of a GPU's memory that a step is planned to fill; the data may take another 0.3."""
FEATURE_MAPS = 24
"""Upper bound of the feature maps that a step with R1 keeps, in units of the largest block's (`resolution *
channel_base` numbers per image): 20 measured on an H100 at 512 pixels and batch 8, plus a reserve."""
MIN_IMAGES_AT_ONCE = 4
"""Images that a GPU must hold at once: a group of the minibatch stddev. Larger batches accumulate gradients."""

Like = tuple[dict[str, Any], dict[str, Any] | None]
"""Settings of a model's generator and of its discriminator; None if it has no discriminator."""


# Resolving -------------------------------------------------------------------------------------------------------


def resolve(
    data: Path,  # the data set
    digest: str,  # its digest
    resolution: int,  # side of its images in pixels
    channels: int,  # of its images
    *,
    preset: str | None = None,  # a row of PRESETS; None takes the family's for the device
    device: str = "cpu",  # device type: cpu or cuda
    world: int = 1,  # number of ranks that share the batch
    like: Like | None = None,  # networks to build the same way; None builds them by the settings
    pictures: int | None = None,  # images in the data set; None if unknown
    memory_gb: float | None = None,  # memory of each rank's GPU in GB; None if unknown
    **given: Any,  # settings that the user set; None means unset
) -> TrainConfig:
    """Return the complete configuration.

    Settings of the networks are those of `like`, if there is one. All others come from `given`, else from the preset,
    the field's default, or the heuristics. If z_dim is given and w_dim is not, w_dim is z_dim. Raises FigmentError that
    lists all problems, and TypeError for a setting that does not exist.
    """
    unknown = given.keys() - settings().keys()
    if unknown:
        raise TypeError(f"unknown settings: {', '.join(sorted(unknown))}")
    given = {name: value for name, value in given.items() if value is not None}
    if "z_dim" in given:
        given.setdefault("w_dim", given["z_dim"])
    preset, family = _preset_and_family(preset, like[0]["family"] if like else given.get("family"), device)

    # Layers, the first one weakest.
    values = {name: each.default for name, each in settings().items() if each.default is not MISSING}
    values |= dict(zip(COLUMNS, PRESETS[preset], strict=True))
    values |= family.recipe if preset == family.preset else {}
    kind = given.get("discriminator") or _discriminator(preset, family, resolution, like, given)
    values |= {"resolution": resolution, "channels": channels, "discriminator": kind}
    values |= PROJECTED if kind == "projected" else {}
    if preset == "cpu" and kind == "projected":
        values["channel_base"] = CPU_WIDTHS.get(given.get("precision") or _precision(device), CPU_WIDTHS["fp32"])
    values |= given
    if like is not None:
        values |= {each.name: like[0][each.name] for each in fields(Networks) if each.name in like[0]}
    if like is not None:
        values["blur_sigma"] = given.get("blur_sigma", 0.0)  # only for networks that can't draw yet
    if preset == "cpu" and like is not None:
        values["lr"] = given.get("lr")  # None: trained networks continue at the learning rate of `auto`
    if like is not None and family.growth is not None and "start_kimg" not in given:
        values["start_kimg"] = max(
            values["start_kimg"], kimg_at_lod(like[0].get("lod", 0.0), resolution, family.growth(1))
        )

    # What is still None is decided here.
    auto = heuristics(resolution, values["batch"], world, pictures, memory_gb, values["channel_base"], family.gamma)
    auto |= {"loss": family.loss, "growing": family.growth is not None, "precision": _precision(device)}
    values |= {name: value for name, value in auto.items() if values.get(name) is None}

    wrong = problems(values, world)
    if wrong:
        raise FigmentError("; ".join(wrong))
    generator, discriminator = network_settings(family, values, like)
    return TrainConfig(
        str(data),
        digest,
        _part(Networks, values),
        _part(Recipe, values),
        _part(Schedule, values),
        generator,
        discriminator,
    )


Settings = TypeVar("Settings", bound="DataclassInstance")


def _part(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Return the dataclass of this kind with its share of the values."""
    return kind(**{each.name: values[each.name] for each in fields(kind)})


def _discriminator(
    preset: str,
    family: Family,
    resolution: int,
    like: Like | None,
    given: Mapping[str, Any],  # settings that the user set
) -> str:
    """Return the kind of discriminator that is used if none is set: that of `like`, or projected for the preset `cpu`.

    The latter only where it fits the images, the family and what else the user set.
    """
    if like is not None:
        return str((like[1] or {}).get("kind", "family"))
    usual = family.name == PRESETS["cpu"][COLUMNS.index("family")]
    asked = given.get("freeze_d") or given.get("loss", PROJECTED["loss"]) != PROJECTED["loss"]
    fits = fits_projected(family, resolution) and usual and not asked
    return "projected" if preset == "cpu" and fits else "family"


def fits_projected(family: Family, resolution: int) -> bool:
    """Return whether a projected discriminator can score images of this size beside this family's generator."""
    return resolution % 32 == 0 and family.growth is None


def _preset_and_family(preset: str | None, family: str | None, device: str) -> tuple[str, Family]:
    """Return the preset's name and the family; raises FigmentError if one of the names is unknown."""
    known = families()
    default = str(PRESETS["auto"][COLUMNS.index("family")])
    if preset is None and (family or default) in known:
        preset = known[family or default].preset or ("cpu" if device == "cpu" else "auto")
    wrong = []
    if preset is not None and preset not in PRESETS:
        wrong.append(f"--preset {preset}: must be one of {', '.join(PRESETS)}")
    if family is not None and family not in known:
        wrong.append(f"--family {family}: must be one of {', '.join(known)}")
    if wrong or preset is None:
        raise FigmentError("; ".join(wrong))
    return preset, get_family(family or PRESETS[preset][COLUMNS.index("family")])


def network_settings(
    family: Family,
    values: Mapping[str, Any],  # all settings by name
    like: Like | None,  # of a model to start from
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings of the generator and the discriminator, for the registry."""
    generator, discriminator = like or (
        family.generator_settings({each.name: values[each.name] for each in fields(Networks)}),
        None,
    )
    # A model without a discriminator of the wanted kind gets one that fits its generator, with random weights.
    if discriminator is not None and discriminator.get("kind", "family") == values["discriminator"]:
        if values["backbone"] is not None:
            raise FigmentError(
                f"--backbone {values['backbone']}: the discriminator of --init has a backbone of its own"
            )
        return generator, discriminator
    if values["discriminator"] == "projected":
        return generator, projected_settings(generator, values["backbone"])
    return generator, family.discriminator_for(generator)


def projected_settings(
    generator: Mapping[str, Any],  # settings of the generator
    backbone: str | None,  # a detector's path; None takes the shipped one
) -> dict[str, Any]:
    """Return the settings of a projected discriminator for a generator's images."""
    from figment.heads.network import SHIPPED, load_net
    from figment.nets.projected import KIND, VERSION

    net = load_net(Path(backbone) if backbone else SHIPPED, "--backbone").config
    shared = {name: generator[name] for name in ("family", "resolution", "channels")}
    return {"kind": KIND, "version": VERSION, "stem": net.stem, "stages": net.stages, "deep": net.deep} | shared


def heuristics(
    resolution: int,  # side of the images in pixels
    batch: int | None,  # what the user set; None lets memory decide
    world: int,  # number of GPUs
    pictures: int | None = None,  # images in the data set; None if unknown
    memory_gb: float | None = None,  # memory of one GPU in GB; None if unknown
    base: int | None = None,  # the channel_base that the user set, or that the network has
    gamma: float = 0.0002,  # R1 weight of the family, times the squared resolution over the batch
) -> dict[str, Any]:
    """Return what `auto` picks, as StyleGAN2-ADA does (Karras 2020, its train.py) from resolution and GPUs.

    In addition, if the memory is known, the batch doubles while it fits, up to 32 per GPU, and wide networks are halved
    if not even a group of the minibatch stddev fits. Large data sets are not augmented.
    """
    channel_base = base or (32768 if resolution >= 512 else 16384)
    each = max(min(4096 // resolution, 32), 1)
    if memory_gb is not None:
        fits = MEMORY_SHARE * memory_gb / need_gb(resolution, channel_base)  # images at once
        while each < 32 and 2 * each < fits:
            each *= 2
        if not base and resolution >= 512 and fits < MIN_IMAGES_AT_ONCE:
            channel_base //= 2
    batch = batch or world * max(min(each, 64 // world), 1)
    return {
        "batch": batch,
        "channel_base": channel_base,
        "lr": 0.002 if resolution >= 1024 else 0.0025,
        "gamma": gamma * resolution**2 / batch,
        "ema_kimg": batch * 10 / 32,
        "augment": "none" if pictures is not None and pictures >= MANY_IMAGES else "ada",
    }


def need_gb(resolution: int, channel_base: int) -> float:
    """Return an upper bound of the memory that a training step takes per image in GB: R1 steps, computed in fp32."""
    return FEATURE_MAPS * 4 * resolution * channel_base / 1e9


def _precision(device: str) -> str:
    """Return the precision that is used if none is set: bf16 if the device computes it fast."""
    from figment.base.device import has_fast_bf16

    return "bf16" if has_fast_bf16(device) else "fp32"


def kimg_at_lod(lod: float, resolution: int, growth: GrowthSchedule) -> float:
    """Return where in the growing schedule a network of this lod stands: the first kimg of its phase."""
    return max(growth.first_lod(resolution) - lod, 0.0) * (growth.training_kimg + growth.transition_kimg)


def problems(values: Mapping[str, Any], world: int) -> list[str]:
    """Return a line for each value that breaks its rule, in the order of the fields; empty if all are fine."""
    from figment.train.augment.pipeline import KINDS

    batch = GrowingRule(
        f"a positive multiple of the {world} ranks, at most {MOST_BATCH}",
        lambda value: 1 <= value <= MOST_BATCH and value % world == 0,
    )
    base = Rule(
        f"at least the resolution, at most {MOST_BASE}", lambda value: values["resolution"] <= value <= MOST_BASE
    )
    grows = get_family(values["family"]).growth is not None
    depending = {
        "batch": batch,
        "channel_base": base,
        "augment_kinds": Rule(f"letters of {''.join(KINDS)}", lambda value: not set(value) - set(KINDS)),
        "discriminator": Rule(
            "family unless images are a multiple of 32 pixels and the networks do not grow",
            lambda value: value == "family" or fits_projected(get_family(values["family"]), values["resolution"]),
        ),
        "backbone": Rule(
            "unset without --discriminator projected",
            lambda value: value is None or values["discriminator"] == "projected",
        ),
        "freeze_d": Rule(
            "0 or more, and 0 for the projected discriminator, whose first layers are frozen anyway",
            lambda value: value == 0 or (value > 0 and values["discriminator"] == "family"),
        ),
        "growing": Rule("off for families that do not grow", lambda value: grows or not value),
    }
    every = {name: rule for kind in GROUPS.values() for name, rule in rules(kind).items()} | depending
    wrong = []
    for name in settings():
        rule, value = every.get(name), values[name]
        fine = rule is None or rule.holds(value) or (isinstance(rule, GrowingRule) and values["growing"] and value == 0)
        if rule is not None and not fine:
            wrong.append(f"--{name.replace('_', '-')} {value}: must be {rule.text}")
    return wrong


# Reading ---------------------------------------------------------------------------------------------------------


def read_config(path: Path) -> TrainConfig:
    """Return the configuration in a run's config.json.

    Settings that an older version did not have take their defaults. Raises FigmentError if the file is damaged, or
    lacks or adds settings that this version can't interpret.
    """
    found = read_json(path)
    wrong = []
    if isinstance(found, dict) and isinstance(found.get("networks"), dict):
        found["networks"].setdefault("discriminator", "family")  # the only kind before there was a choice
    for group, kind in GROUPS.items():
        values = found.get(group) if isinstance(found, dict) else None
        if not isinstance(values, dict):
            wrong.append(f"no {group}")
            continue
        needed = {each.name for each in fields(kind) if each.default is MISSING}
        wrong += [f"no {group}.{name}" for name in sorted(needed - values.keys())]
        wrong += [f"unknown {group}.{name}" for name in sorted(values.keys() - {each.name for each in fields(kind)})]
    rest = ("data", "digest", "generator", "discriminator")
    wrong += [f"no {name}" for name in rest if not isinstance(found, dict) or name not in found]
    if wrong:
        raise FigmentError(f"{path}: not a training configuration of this version ({', '.join(wrong)})")
    return TrainConfig(
        found["data"],
        found["digest"],
        Networks(**found["networks"]),
        Recipe(**found["recipe"]),
        Schedule(**found["schedule"]),
        found["generator"],
        found["discriminator"],
    )
