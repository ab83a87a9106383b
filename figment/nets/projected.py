"""The projected discriminator: it looks at images through the frozen features of the head detector's backbone.

Sauer et al. 2021, arXiv 2111.01007: features of several scales, mixed by fixed random convolutions across channels and
scales, each scored by a small head of its own. A further head scores the image itself, because the features miss
speckle and flat colors (Kumari et al. 2022, arXiv 2112.09130, also keep a usual discriminator beside frozen ones); it
counts as much as all others together. It works beside the generator of any family that does not grow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from figment.base.errors import FigmentError
from figment.nets.backbone import Backbone
from figment.nets.base import Discriminator, DiscriminatorConfig, Network, typed
from figment.nets.layers import SQRT2, Linear
from figment.nets.ops import conv2d_lrelu, full_precision, to_layout
from figment.nets.surgery import RECOLORINGS, Parts, Surgery, change_inputs, parts_of

if TYPE_CHECKING:
    from figment.nets.base import Family

KIND = "projected"
"""What the settings of such a discriminator say as their `kind`."""
VERSION = 2
"""What they say as their `version`; those of version 1, which say none, had another image head."""
STRIDES = (4, 8, 16, 32)
"""Strides of the backbone's feature maps."""
HEAD_STRIDE = 16
"""Heads reduce their features to this stride: each logit judges a patch, not the whole image."""


class SpectralConv2d(nn.Module):
    """A convolution whose weight is divided by its largest singular value (Miyato et al. 2018, arXiv 1802.05957).

    `iterate` improves the estimate. It is called once per step, so micro-batches and repeated passes change nothing.
    """

    u: Tensor  # [outputs]: the left singular vector, as estimated so far

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.stride, self.padding = stride, (kernel - 1) // 2
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        self.register_buffer("u", F.normalize(torch.randn(outputs), dim=0))
        for _ in range(0 if self.weight.is_meta else 15):
            self.iterate()

    @torch.no_grad()
    def iterate(self) -> None:
        """Improve the estimate of the singular vector by one power iteration."""
        matrix = self.weight.flatten(1)
        self.u.copy_(F.normalize(matrix @ F.normalize(matrix.t() @ self.u, dim=0), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H / stride, W / stride]."""
        matrix = self.weight.flatten(1)  # [outputs, inputs k k]
        v = F.normalize(matrix.detach().t() @ self.u, dim=0)
        weight = self.weight / (self.u @ (matrix @ v))
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class Head(nn.Sequential):
    """Scores patches of feature maps: strided convolutions, one more, and a logit per place."""

    def __init__(
        self,
        inputs: int,
        width: int,
        halvings: int,  # strided convolutions
    ) -> None:
        layers: list[nn.Module] = []
        for k in range(halvings):
            layers += [SpectralConv2d(width if k else inputs, width, 4, 2, bias=False), nn.LeakyReLU(0.2)]
        layers += [SpectralConv2d(width if halvings else inputs, width, 3), nn.LeakyReLU(0.2)]
        super().__init__(*layers, SpectralConv2d(width, 1, 1))


class StridedConv2d(nn.Module):
    """A 4x4 convolution that halves the resolution, with equalized learning rate and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 4, 4))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.gain = SQRT2 / math.sqrt(inputs * 16)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, inputs, H, W] to [N, outputs, H/2, W/2]."""
        return conv2d_lrelu(x, self.weight * self.gain, self.bias * SQRT2, stride=2, padding=1)


class ImageHead(nn.Module):
    """Scores the image itself, as a whole: lines, flat colors and speckle, which features don't show.

    Strided convolutions and two dense layers with equalized learning rate. They have no spectral norm: R1 keeps them
    smooth. After 24 kimg faces were further from done with a minibatch stddev, and with the hinge loss for this head.
    """

    def __init__(self, channels: int, width: int, resolution: int) -> None:
        super().__init__()
        widths = [channels, width // 2] + [width] * (halvings(resolution) - 1)
        self.down = nn.Sequential(*(StridedConv2d(*pair) for pair in itertools.pairwise(widths)))
        self.dense = Linear(width * (resolution >> halvings(resolution)) ** 2, width, activate=True)
        self.out = Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images [N, channels, H, W] to logits [N, 1]."""
        x = self.down(to_layout(x))
        with full_precision(x):
            logits: Tensor = self.out(self.dense(x.flatten(1)))
        return logits


def halvings(resolution: int) -> int:
    """Return how often the image head halves an image: until its side is 4 to 7 pixels."""
    return resolution.bit_length() - 3


@dataclass(frozen=True)
class ProjectedConfig(DiscriminatorConfig):
    """What the projected discriminator is built from."""

    stem: tuple[int, ...] = (16, 32)
    """Channels of the backbone at strides 2 and 4."""
    stages: tuple[int, ...] = (64, 96, 128)
    """Channels of the backbone at strides 8, 16 and 32."""
    deep: int = 0
    """Extra blocks of the backbone at stride 32."""
    width: int = 64
    """Channels of the mixed features and of the heads."""


class ProjectedDiscriminator(Discriminator):
    """Heads on frozen, randomly mixed features; only the heads learn."""

    config: ProjectedConfig

    def __init__(self, config: ProjectedConfig) -> None:
        super().__init__(config)
        if config.c_dim:
            raise ValueError(f"c_dim {config.c_dim}: the projected discriminator has no labels")
        if config.resolution % STRIDES[-1]:
            raise ValueError(f"resolution {config.resolution}: must be a multiple of {STRIDES[-1]}")
        self.size = (config.resolution, config.resolution)
        self.widths = [config.stem[-1], *config.stages]
        width = config.width

        # Frozen: the backbone, and random mixing across channels (1x1) and scales (3x3, top-down).
        self.backbone = Backbone(config.stem, config.stages, config.deep, norm=False)
        self.across_channels = nn.ModuleList(nn.Conv2d(inputs, width, 1) for inputs in self.widths)
        self.across_scales = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in self.widths)
        for layer in (*typed(self.across_channels, nn.Conv2d), *typed(self.across_scales, nn.Conv2d)):
            nn.init.kaiming_normal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

        # Learned: a head per scale, and one for the image.
        self.heads = nn.ModuleList(
            Head(width, width, max(HEAD_STRIDE // stride, 1).bit_length() - 1) for stride in STRIDES
        )
        self.image_head = ImageHead(config.channels, width, config.resolution)
        self.requires_grad_(True)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let the heads learn, or nothing; the backbone and the mixing stay frozen."""
        super().requires_grad_(False)
        self.heads.requires_grad_(requires_grad)
        self.image_head.requires_grad_(requires_grad)
        return self

    def load_backbone(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the backbone's weights from a detector whose normalizations are folded; other entries are ignored."""
        names = self.backbone.state_dict().keys()
        self.backbone.load_state_dict({name: value for name, value in tensors.items() if name in names})

    def start_step(self) -> None:
        """Improve the estimates of the heads' singular values."""
        for module in self.modules():
            if isinstance(module, SpectralConv2d):
                module.iterate()

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the backbone's feature maps [N, K, h, w] of images, from fine to coarse."""
        rgb = x[:, :3].expand(-1, 3, -1, -1)
        if x.shape[1] == 4:
            rgb = rgb * (x[:, 3:] + 1) / 2  # colors of transparent pixels must not count
        return self.backbone.features(rgb)

    def logits(self, x: Tensor, c: Tensor | None = None) -> list[Tensor]:
        """Return float32 logits: [N, 4 K] of patches, all scales weigh the same, and [N, 1] of the whole image."""
        features = self.features(x)
        mixed = [mix(each) for mix, each in zip(self.across_channels, features, strict=True)]
        for scale in reversed(range(len(mixed) - 1)):
            coarser = F.interpolate(mixed[scale + 1], size=mixed[scale].shape[2:], mode="bilinear")
            mixed[scale] = (mixed[scale] + coarser) * math.sqrt(0.5)
        mixed = [mix(each) for mix, each in zip(self.across_scales, mixed, strict=True)]
        maps = [head(each) for head, each in zip(self.heads, mixed, strict=True)]  # [N, 1, h, w] each
        patches = torch.cat([F.interpolate(each, size=maps[0].shape[2:]) for each in maps], 1)
        return [patches.float().flatten(1), self.image_head(x).float()]

    def forward(self, x: Tensor, c: Tensor | None = None) -> Tensor:
        """Return the mean logit of images, [N, 1]."""
        return torch.stack([each.mean(1) for each in self.logits(x, c)], 1).mean(1, keepdim=True)

    @property
    def usual(self) -> slice:
        """The image head takes the logistic loss and R1, as usual discriminators do; the others have spectral norm."""
        return slice(1, None)

    def freeze_order(self) -> list[nn.Module]:
        """Return nothing: what comes first is frozen anyway."""
        return []

    @property
    def surgery(self) -> Surgery:
        """How `--adapt` changes this network."""
        return ProjectedSurgery()

    def settings(self) -> dict[str, Any]:
        """Return the configuration as plain values, with its kind and version and the generator's family."""
        return {**super().settings(), "kind": KIND, "version": VERSION}


class ProjectedSurgery(Surgery):
    """Heads on features fit any size; the image head gets or loses layers, and it alone sees the color channels."""

    def check_resolution(self, network: Network, resolution: int) -> None:
        """Raise FigmentError unless the backbone can see images of this size."""
        if resolution % STRIDES[-1]:
            raise FigmentError(f"resolution {resolution}: must be a multiple of {STRIDES[-1]}")

    def resize(self, network: Network, steps: int) -> Parts:
        """Return parts for another size. New layers of the image head pass its features on, halved.

        Scores change a little: the first layers see finer images, and the new ones shrink negative features once more.
        """
        settings, tensors = parts_of(network)
        down = "image_head.down."
        layers = {name: value for name, value in tensors.items() if name.startswith(down)}
        tensors = {name: value for name, value in tensors.items() if name not in layers}
        width = int(settings["width"])
        half = torch.zeros(width, width, 4, 4)
        half[range(width), range(width), 1:3, 1:3] = 0.25 / (SQRT2 / math.sqrt(width * 16))
        for name, value in layers.items():
            place, _, parameter = name.removeprefix(down).partition(".")
            if int(place) < 2:
                tensors[name] = value
            elif int(place) + steps >= 2:
                tensors[f"{down}{int(place) + steps}.{parameter}"] = value
        for new in range(2, 2 + steps):
            tensors |= {f"{down}{new}.weight": half.clone(), f"{down}{new}.bias": torch.zeros(width)}
        return settings | {"resolution": int(network.resolution * 2.0**steps)}, tensors

    def recolor(self, network: Network, channels: int) -> Parts:
        """Return parts for other color channels; new ones start without effect."""
        settings, tensors = parts_of(network)
        if (settings["channels"], channels) not in RECOLORINGS:
            raise FigmentError(f"channels {channels}: {settings['channels']} channels can't become {channels}")
        name = "image_head.down.0.weight"
        gain = math.sqrt(channels / settings["channels"])  # equalized weights are divided by the root of their inputs
        return settings | {"channels": channels}, tensors | {name: change_inputs(tensors[name], channels) * gain}


def is_outdated(settings: Mapping[str, Any]) -> bool:
    """Return whether these are settings of a projected discriminator of another version."""
    return settings.get("kind") == KIND and settings.get("version") != VERSION


def build(family: Family, settings: Mapping[str, Any]) -> ProjectedDiscriminator:
    """Return a projected discriminator for a family's images; its backbone's weights are random, see `load_backbone`.

    Raises FigmentError for settings that don't fit, and for those of another version.
    """
    if is_outdated(settings):
        raise FigmentError(
            "the projected discriminator is of an older version, which this figment can't continue; start a new run "
            "from its generator with --init RUN --discriminator projected"
        )
    given = {name: value for name, value in settings.items() if name not in ("kind", "version")}
    return family.build(ProjectedDiscriminator, ProjectedConfig, given, KIND)
