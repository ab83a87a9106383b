"""The contract of a network family: what its generator, its discriminator and the family itself offer.

Training, drawing, scoring and serving ask these objects. Only `figment/nets/registry.py` knows families by name, so a
new family is one file that ends in `FAMILY = Family(...)`.
"""

from __future__ import annotations

import dataclasses
import types
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import torch
from torch import Tensor, nn

from figment.base.errors import FigmentError
from figment.nets.noise import Randomness

if TYPE_CHECKING:
    from figment.nets.growing import GrowthSchedule
    from figment.nets.surgery import Surgery

Bands = Mapping[str, tuple[int, int]]
"""Named ranges of layers: the first one, and the one after the last."""

BANDS: Bands = types.MappingProxyType({"coarse": (0, 4), "middle": (4, 8), "fine": (8, 99)})
"""What layers decide in StyleGAN (Karras et al. 2018, arXiv 1812.04948, section 3.1): pose and hair shape; facial
features and eyes; color and fine detail."""


@dataclass(frozen=True)
class NetworkConfig:
    """What every network is built from; each family adds its own fields."""

    resolution: int = 256
    """Longer side of the images in pixels."""
    channels: int = 3
    """Image channels: 1 gray, 3 RGB, 4 RGBA."""
    c_dim: int = 0
    """Length of the label vector; 0 for a network without labels."""

    def __post_init__(self) -> None:
        # JSON knows no tuples: sequences compare and hash alike wherever a configuration comes from.
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, list):
                object.__setattr__(self, each.name, tuple(value))


@dataclass(frozen=True)
class GeneratorConfig(NetworkConfig):
    """What every generator is built from."""

    z_dim: int = 512
    """Length of the latent z."""


@dataclass(frozen=True)
class DiscriminatorConfig(NetworkConfig):
    """What every discriminator is built from."""


class Network(nn.Module, ABC):
    """What generators and discriminators share. Build them with `Family.build_generator` and `build_discriminator`."""

    KIND: ClassVar[str]
    """"generator" or "discriminator"."""

    family: Family
    """The family that built this network."""
    config: NetworkConfig
    """What it was built from."""
    size: tuple[int, int]
    """Height and width of the images in pixels."""
    widths: list[int]
    """Channels of every block's feature maps, for display."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def c_dim(self) -> int:
        """Length of the label vector; 0 for none."""
        return self.config.c_dim

    @property
    def channels(self) -> int:
        """Image channels."""
        return self.config.channels

    @property
    def resolution(self) -> int:
        """Longer side of the images in pixels."""
        return self.config.resolution

    @property
    def lod(self) -> float:
        """Level of detail of a network that grows: 0 is full size, each whole step halves it."""
        return 0.0

    @lod.setter
    def lod(self, value: float) -> None:
        if value:
            raise ValueError(f"lod {value}: networks of family {self.family.name} don't grow")

    @property
    def dtype(self) -> torch.dtype:
        """The type of the weights."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def surgery(self) -> Surgery | None:
        """How `--adapt` changes this network; None if it can't."""
        return self.family.surgery

    def settings(self) -> dict[str, Any]:
        """Return the configuration as plain values, with the family's name; `Family.build_*` takes it back."""
        return {"family": self.family.name, **dataclasses.asdict(self.config)}


class Generator(Network):
    """Draws images from latents: z to w by `mapping`, w to RGB by `synthesis`."""

    KIND = "generator"
    config: GeneratorConfig
    w_dim: int
    """Length of one layer's latent w."""
    num_layers: int
    """Layers that take a w each."""
    w_avg: Tensor
    """Mean of w, [w_dim]."""
    map_depth: int = 0
    """Layers of the mapping network."""

    @property
    def z_dim(self) -> int:
        """Length of the latent z."""
        return self.config.z_dim

    @abstractmethod
    def mapping(
        self,
        z: Tensor,  # [N, z_dim]
        c: Tensor | None = None,  # [N, c_dim]; None means no label, all zeros
        truncation_psi: float = 1.0,  # 1 changes nothing, 0 gives w_avg
        truncation_cutoff: int | None = None,  # truncate only layers below this one; None truncates all
    ) -> Tensor:
        """Return one latent per layer, [N, num_layers, w_dim]."""

    @abstractmethod
    def synthesis(
        self,
        w: Tensor,  # [N, num_layers, w_dim]
        noise: str = "const",  # per-pixel noise: "const", "random" or "none"
        generator: Randomness = None,  # source of random noise; None is torch's global state
    ) -> Tensor:
        """Return the images of `w`, [N, channels, H, W] in about [-1, 1]."""

    def observed_synthesis(
        self,
        w: Tensor,  # [N, num_layers, w_dim]
        noise: str,
        generator: Randomness,
    ) -> tuple[Tensor, Tensor | None]:
        """Return `synthesis` and what `update_observed` wants to know of the batch, [K]; None if nothing."""
        return self.synthesis(w, noise=noise, generator=generator), None

    def update_observed(
        self,
        observed: Tensor,  # [K], the mean over a batch
        images: int,  # in that batch
    ) -> None:
        """Update running statistics of the synthesis network by those of a batch; nothing in most families."""

    def move(
        self,
        degrees: float = 0.0,  # counterclockwise, around the center
        shift: tuple[float, float] = (0.0, 0.0),  # to the right and down, as shares of the width
    ) -> None:
        """Rotate, then shift all pictures that this network draws from now on. Raises FigmentError if it can't."""
        raise FigmentError(f"networks of family {self.family.name} can't move their pictures")

    def forward(
        self,
        z: Tensor,  # [N, z_dim]
        c: Tensor | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise: str = "const",
    ) -> Tensor:
        """Return the images of `z`, [N, channels, H, W] in about [-1, 1]."""
        return self.synthesis(self.mapping(z, c, truncation_psi, truncation_cutoff), noise=noise)

    @abstractmethod
    def layer_of(self, name: str) -> int | None:
        """Return the layer that the weight or buffer `name` belongs to; None for the mapping network.

        Raises ValueError for a name that this generator does not have.
        """

    def require_weight(self, name: str) -> None:
        """Raise ValueError unless `name` is a parameter or buffer."""
        if name not in self.state_dict(keep_vars=True):
            raise ValueError(f"{name}: no weight of this {self.family.name} generator")

    @property
    def num_weight_layers(self) -> int:
        """Layers that `layer_of` tells apart; `num_layers` in style-based families."""
        return self.num_layers

    @abstractmethod
    def synthesis_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the synthesis network alone."""

    @torch.no_grad()
    def update_w_avg(
        self,
        mean: Tensor,  # [w_dim]: mean w of a batch
        beta: float = 0.995,  # weight of the old average, as in StyleGAN2-ADA
    ) -> None:
        """Move `w_avg` towards the mean w of a batch."""
        self.w_avg.lerp_(mean.to(self.w_avg.dtype), 1 - beta)

    def style_weights(self) -> list[Tensor]:
        """Return the weights [rows, w_dim] that turn w into styles; none in a family without styles."""
        return []

    def noise_strengths(self) -> dict[str, nn.Parameter]:
        """Return the parameters that scale each layer's noise, by name; none in a family without noise."""
        return {}

    def noise_shapes(self) -> list[tuple[int, int]] | None:
        """Return height and width of each noise map in the order that `synthesis` draws them.

        None if `synthesis` does not take maps drawn beforehand (`DrawnNoise`).
        """
        return None


class Discriminator(Network):
    """Scores how real images look."""

    KIND = "discriminator"
    config: DiscriminatorConfig

    @abstractmethod
    def forward(
        self,
        x: Tensor,  # [N, channels, H, W] in [-1, 1]
        c: Tensor | None = None,  # [N, c_dim]; None means no label, all zeros
    ) -> Tensor:
        """Return the logits of images, [N, 1]: higher is more real."""

    def logits(
        self,
        x: Tensor,  # [N, channels, H, W] in [-1, 1]
        c: Tensor | None = None,  # [N, c_dim]; None means no label, all zeros
    ) -> list[Tensor]:
        """Return all logits that the loss averages: a tensor [N, K] per scale, here one for whole images."""
        return [self(x, c)]

    @property
    def usual(self) -> slice | None:
        """Which of `logits` take the logistic loss and R1, whatever loss the others take.

        None: all take the loss of the recipe, and R1.
        """
        return None

    def start_step(self) -> None:
        """Do what is due once before each training step; nothing for most discriminators."""

    @abstractmethod
    def features(
        self,
        x: Tensor,  # [N, channels, H, W] in [-1, 1]
    ) -> list[Tensor]:
        """Return the feature maps [N, K, h, w] behind every block, from fine to coarse."""

    @abstractmethod
    def freeze_order(self) -> list[nn.Module]:
        """Return the layers from the image on, in the order that FreezeD freezes them (Mo 2020, arXiv 2002.10964)."""

    @property
    def minibatch_group(self) -> int:
        """Samples that the minibatch stddev compares with one another: 0 for the whole batch, 1 if there is none."""
        return 1


AnyNetwork = TypeVar("AnyNetwork", bound=Network)
AnyModule = TypeVar("AnyModule", bound=nn.Module)


def typed(modules: nn.ModuleList, kind: type[AnyModule]) -> list[AnyModule]:
    """Return the modules of a ModuleList, which are all of this kind, as a list; raises TypeError if one is not."""
    found = [module for module in modules if isinstance(module, kind)]
    if len(found) != len(modules):
        raise TypeError(f"not all {len(modules)} modules are {kind.__name__}")
    return found


ALIKE = ("resolution", "channels", "start", "channel_base", "channel_max", "lod")
"""Settings that a discriminator takes from the generator it is made for."""


@dataclass(frozen=True)
class Family:
    """One kind of GAN: its networks, and all that training and drawing need to know about them."""

    name: str
    """What configurations and model files call it."""
    generator: type[Generator]
    generator_config: type[GeneratorConfig]
    discriminator: type[Discriminator]
    discriminator_config: type[DiscriminatorConfig]
    _: dataclasses.KW_ONLY
    surgery: Surgery | None = None
    """How `--adapt` resizes and recolors its networks; None if it can't."""
    growth: Callable[[int], GrowthSchedule] | None = None
    """Growth schedule for a number of GPUs; None for networks of fixed size."""
    gamma: float = 0.0002
    """R1 weight by default, times the squared resolution over the batch (Karras 2020, its train.py)."""
    loss: str = "logistic"
    """Loss that training takes by default: `logistic` or `wgan-gp`."""
    ema_rampup: float | None = None
    """Limit of the EMA's half-life as a share of the images shown so far; None for no limit."""
    bands: Bands = field(default_factory=lambda: BANDS)
    """Named ranges of layers for mixing and editing."""
    preset: str | None = None
    """Training preset that it was published with; None for the preset of the device."""
    recipe: Mapping[str, float] = field(default_factory=dict)
    """Settings of the recipe that this preset has besides those of the table."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # networks are copied, their family is not

    def build_generator(self, settings: Mapping[str, Any]) -> Generator:
        """Return a generator with fresh random weights; raises FigmentError for settings that don't fit."""
        return self.build(self.generator, self.generator_config, settings, self.name)

    def build_discriminator(self, settings: Mapping[str, Any]) -> Discriminator:
        """Return a discriminator with fresh random weights; raises FigmentError for settings that don't fit."""
        return self.build(self.discriminator, self.discriminator_config, settings, self.name)

    def build(
        self,
        kind: type[AnyNetwork],
        config: type[NetworkConfig],
        settings: Mapping[str, Any],  # fields of the configuration; `family` is ignored
        name: str,  # what messages call the network
    ) -> AnyNetwork:
        """Return a network of any kind as one of this family; raises FigmentError for settings that don't fit."""
        given = {key: value for key, value in settings.items() if key != "family"}
        try:
            network = kind(config(**given))
        except (TypeError, ValueError) as error:
            raise FigmentError(f"{name} {kind.KIND}: {error}") from None
        network.family = self
        return network

    def generator_settings(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of the wanted settings that its generator has, with the family's name."""
        return self._pick(self.generator_config, wanted)

    def discriminator_for(self, generator: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a discriminator for the images of a generator with these settings."""
        return self._pick(self.discriminator_config, {name: generator[name] for name in ALIKE if name in generator})

    def _pick(self, config: type[NetworkConfig], wanted: Mapping[str, Any]) -> dict[str, Any]:
        known = {each.name for each in fields(config)}
        return {"family": self.name} | {name: value for name, value in wanted.items() if name in known}
