"""Adaptive augmentation of what the discriminator sees (Karras et al. 2020, arXiv 2006.06676, appendix B).

    augment = Augment(channels=3)                    # flips, turns, shifts, geometry, colour: the paper's "bgc"
    augment.p.fill_(0.3)                             # the chance of each change, see train/ada.py
    seen = augment(images, generator, share=slice(0, 8), batch=16)

Every picture of the batch draws all its numbers whether it needs them or not, from a generator on the CPU: whatever p,
device or number of ranks, the same generator gives the same draws. Nothing here waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from figment.train.augment_color import colour_matrix, recolour
from figment.train.augment_corrupt import BANDS, add_noise, amplify, band_gains, cut_out
from figment.train.augment_geometry import flip_and_turn, resample, rotate, scale, shift

KINDS = {
    "b": ("flip", "turn", "shift"),
    "g": ("scale", "rotate", "stretch", "slide"),
    "c": ("brightness", "contrast", "luma", "hue", "saturation"),
    "f": ("filter",),
    "n": ("noise",),
    "x": ("cutout",),
}
"""Changes by kind: pixel blitting, geometry, colour, filtering, noise, cutout."""

# What each picture draws. Rotation happens before and after stretching, and filtering once per frequency band.
GATES = (
    "flip",
    "turn",
    "shift",
    "scale",
    "rotate",
    "stretch",
    "rotate",
    "slide",
    "brightness",
    "contrast",
    "luma",
    "hue",
    "saturation",
    *["filter"] * BANDS,
    "noise",
    "cutout",
)
UNIFORM = ("flip", "turn", "shift_x", "shift_y", "rotate_before", "rotate_after", "luma", "hue", "cutout_x", "cutout_y")
NORMAL = (
    "scale",
    "stretch",
    "slide_x",
    "slide_y",
    "brightness",
    "contrast",
    "saturation",
    "noise",
    *(f"filter_{band}" for band in range(BANDS)),
)


@dataclass(frozen=True)
class Strengths:
    """How far each change goes where it happens; the values of the paper's appendix B."""

    shift: float = 0.125
    """Farthest move by whole pixels, as a share of the side."""
    scale: float = 0.2
    """Standard deviation of the size's logarithm to base 2."""
    rotate: float = 1.0
    """Farthest turn, as a share of half a turn."""
    stretch: float = 0.2
    """Standard deviation of the stretch's logarithm to base 2."""
    slide: float = 0.125
    """Standard deviation of the move by fractions of pixels, as a share of the side."""
    brightness: float = 0.2
    """Standard deviation of what is added to all colours."""
    contrast: float = 0.5
    """Standard deviation of the contrast's logarithm to base 2."""
    hue: float = 1.0
    """Farthest turn of the hue, as a share of half a turn."""
    saturation: float = 1.0
    """Standard deviation of the saturation's logarithm to base 2."""
    filter: float = 1.0
    """Standard deviation of a band's gain, as a logarithm to base 2."""
    noise: float = 0.1
    """Standard deviation of the noise's (half-normal) standard deviation."""
    cutout: float = 0.5
    """Size of the rectangle, as a share of the sides."""


PAPER = Strengths()


Named = dict[str, Tensor]
"""A number for each picture, [N], by its name."""


class Draws(NamedTuple):
    """The random numbers of a batch, on the CPU."""

    gates: Tensor
    """[N, GATES], uniform: a change happens below its chance."""
    uniform: Tensor
    """[N, UNIFORM]"""
    normal: Tensor
    """[N, NORMAL]"""
    seeds: Tensor
    """int64 [N], of the noise's generators."""


class Augment(nn.Module):
    """The paper's augmentation pipeline; the buffer `p` is the chance of each change."""

    p: Tensor  # []
    weights: Tensor  # [GATES]
    paired: Tensor  # bool [GATES]

    def __init__(
        self,
        channels: int,  # 1 grey, 3 RGB, 4 RGBA
        kinds: str = "bgc",  # letters of KINDS
        weights: Mapping[str, float] | None = None,  # chances of single changes relative to p, by name; None: all 1
        strengths: Strengths = PAPER,
    ) -> None:
        super().__init__()
        if channels not in (1, 3, 4) or set(kinds) - set(KINDS):
            raise ValueError(f"channels {channels} must be 1, 3 or 4, and kinds {kinds!r} of {''.join(KINDS)}")
        chosen = {name: 1.0 for kind in kinds for name in KINDS[kind]} | dict(weights or {})
        if set(chosen) - set(GATES):
            raise ValueError(f"weights: no such change: {', '.join(sorted(set(chosen) - set(GATES)))}")
        self.channels, self.strengths = channels, strengths
        self.active = {name for name, weight in chosen.items() if weight > 0}
        self.register_buffer("p", torch.zeros([]))
        self.register_buffer("weights", torch.tensor([chosen.get(name, 0.0) for name in GATES]), persistent=False)
        self.register_buffer("paired", torch.tensor([name == "rotate" for name in GATES]), persistent=False)

    def draw(self, generator: torch.Generator, batch: int) -> Draws:
        """The random numbers of a whole batch, always as many and in the same order."""
        return Draws(
            torch.rand(batch, len(GATES), generator=generator),
            torch.rand(batch, len(UNIFORM), generator=generator),
            torch.randn(batch, len(NORMAL), generator=generator),
            torch.randint(2**62, (batch,), generator=generator),
        )

    def forward(
        self,
        images: Tensor,  # [N, C, H, W] in [-1, 1], of this rank
        generator: torch.Generator,  # on the CPU; the same on every rank
        share: slice | None = None,  # which of the batch these are; None: all of them
        batch: int | None = None,  # images over all ranks; None: these alone
    ) -> Tensor:
        """The pictures as the discriminator sees them, [N, C, H, W]."""
        draws = self.draw(generator, len(images) if batch is None else batch)
        return self.apply_draws(images, Draws(*(part[share or slice(None)] for part in draws)))

    def apply_draws(self, images: Tensor, draws: Draws) -> Tensor:
        """Pictures changed by given random numbers: [N, C, H, W], computed in full precision."""
        with torch.autocast(images.device.type, enabled=False):
            images = images.contiguous()  # whole channels are moved, whatever order D wants them in
            return self._change(images.to(torch.promote_types(images.dtype, torch.float32)), draws).to(images.dtype)

    def _change(self, images: Tensor, draws: Draws) -> Tensor:
        """All active changes in the paper's order."""
        gates, uniform, normal = self._to_device(draws, images)
        if self.active & {"flip", "turn"}:
            turns = torch.where(gates["turn"], (uniform["turn"] * 4).long(), 0)
            turns = turns if images.shape[2] == images.shape[3] else turns - turns % 2
            images = flip_and_turn(images, gates["flip"] & (uniform["flip"] >= 0.5), turns)
        if self.active & {"shift", *KINDS["g"]}:
            matrix = self._geometry(gates, uniform, normal, images.shape[2], images.shape[3])
            images = resample(images, matrix, self.strengths.shift if "shift" in self.active else 0.0)
        if self.active & set(KINDS["c"]):
            images = recolour(images, self._colours(gates, uniform, normal))
        if "filter" in self.active:
            amounts = [self._power(gates, normal, f"filter_{i}", self.strengths.filter) for i in range(BANDS)]
            images = amplify(images, band_gains(torch.stack(amounts, 1)))
        if "noise" in self.active:
            sigma = torch.where(gates["noise"], normal["noise"].abs() * self.strengths.noise, 0.0)
            images = add_noise(images, sigma, _noise(draws.seeds, images).to(images.device, non_blocking=True))
        if "cutout" in self.active:
            size = torch.where(gates["cutout"], self.strengths.cutout, 0.0)
            images = cut_out(images, size, uniform["cutout_x"], uniform["cutout_y"])
        return images

    def _to_device(self, draws: Draws, images: Tensor) -> tuple[Named, Named, Named]:
        """Which changes happen, and the numbers for how much, each [N] by name."""
        packed = torch.cat([draws.gates, draws.uniform, draws.normal], 1)
        packed = packed.pin_memory() if images.is_cuda and not packed.is_cuda else packed
        packed = packed.to(images.device, non_blocking=True)
        gates, uniform, normal = packed.split([len(GATES), len(UNIFORM), len(NORMAL)], 1)

        # Two rotations share one chance: that neither happens is as likely as for the other changes.
        chance = self.p * self.weights
        chance = torch.where(self.paired, 1 - (1 - chance).clamp(min=0).sqrt(), chance)
        happens = dict(zip(_unique(GATES), (gates < chance).unbind(1), strict=True))
        uniform, normal = uniform.to(images.dtype), normal.to(images.dtype)
        return (
            happens,
            dict(zip(UNIFORM, uniform.unbind(1), strict=True)),
            dict(zip(NORMAL, normal.unbind(1), strict=True)),
        )

    def _geometry(self, gates: Named, uniform: Named, normal: Named, height: int, width: int) -> Tensor:
        """All moves as one matrix from the result to the picture, [N, 3, 3]: the inverses, the last move outermost."""
        far = self.strengths
        no = torch.zeros_like(normal["scale"])
        x = torch.where(gates["shift"], ((uniform["shift_x"] * 2 - 1) * far.shift * width).round(), no)
        y = torch.where(gates["shift"], ((uniform["shift_y"] * 2 - 1) * far.shift * height).round(), no)
        size = self._power(gates, normal, "scale", far.scale)
        before = torch.where(gates["rotate_0"], (uniform["rotate_before"] * 2 - 1) * math.pi * far.rotate, no)
        stretch = self._power(gates, normal, "stretch", far.stretch)
        after = torch.where(gates["rotate_1"], (uniform["rotate_after"] * 2 - 1) * math.pi * far.rotate, no)
        slide_x = torch.where(gates["slide"], normal["slide_x"] * far.slide * width, no)
        slide_y = torch.where(gates["slide"], normal["slide_y"] * far.slide * height, no)
        return (
            shift(-x, -y)
            @ scale(1 / size, 1 / size)
            @ rotate(-before)
            @ scale(1 / stretch, stretch)
            @ rotate(-after)
            @ shift(-slide_x, -slide_y)
        )

    def _colours(self, gates: Named, uniform: Named, normal: Named) -> Tensor:
        """All changes of colour as one matrix, [N, 4, 4]."""
        far = self.strengths
        no = torch.zeros_like(normal["brightness"])
        return colour_matrix(
            torch.where(gates["brightness"], normal["brightness"] * far.brightness, no),
            self._power(gates, normal, "contrast", far.contrast),
            torch.where(gates["luma"], (uniform["luma"] >= 0.5).to(no.dtype), no),
            torch.where(gates["hue"], (uniform["hue"] * 2 - 1) * math.pi * far.hue, no),
            self._power(gates, normal, "saturation", far.saturation),
        )

    def _power(self, gates: Named, normal: Named, name: str, deviation: float) -> Tensor:
        """A log-normal factor where its change happens, else 1: [N]."""
        return torch.where(gates[name], torch.exp2(normal[name] * deviation), torch.ones_like(normal[name]))


def _unique(names: tuple[str, ...]) -> list[str]:
    """Names in which those that occur more than once are numbered from 0."""
    return [f"{name}_{names[:i].count(name)}" if names.count(name) > 1 else name for i, name in enumerate(names)]


def _noise(seeds: Tensor, images: Tensor) -> Tensor:
    """Normal noise for the colours of each picture, from its own seed: [N, 1 or 3, H, W]."""
    shape = (min(images.shape[1], 3), *images.shape[2:])
    return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(int(seed))) for seed in seeds])
