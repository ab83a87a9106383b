"""The augmentation pipeline: which augmentations exist, what they draw, and in which order they are applied.

    augment = Augment(channels=3)                    # flips, turns, shifts, geometry, color: the paper's "bgc"
    augment.p.fill_(0.3)                             # probability of each augmentation, see controller.py
    seen = augment(images, generator, share=slice(0, 8), batch=16)

Every image draws all its random numbers, used or not, from a generator on the CPU, so the same generator gives the
same draws whatever p, the device or the number of ranks. Nothing here waits for the device.

To add an augmentation, write its function and add one entry to `AUGMENTATIONS`; give it a field in `Strengths` if its
strength should be adjustable. Then raise `DRAWS_VERSION`.

Source: Karras et al. 2020, arXiv 2006.06676, appendix B.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from typing import NamedTuple

import torch
from torch import Tensor, nn

from figment.train.augment.color import color_matrix, recolor
from figment.train.augment.corrupt import BANDS, add_noise, amplify, band_gains, cut_out
from figment.train.augment.geometry import flip, resample, rotate, scale, shift, turn

DRAWS_VERSION = 1
"""Version of the random numbers that an image draws. Raise it whenever the number or the order of the columns in
`GATES`, `UNIFORM` or `NORMAL` changes: every later random number of a run changes with them, so a resumed run is no
longer exact. Checkpoints record it."""


@dataclass(frozen=True)
class Strengths:
    """How strong each augmentation is; the defaults are the paper's."""

    shift: float = 0.125
    """Largest shift by whole pixels, as a share of the side."""
    scale: float = 0.2
    """Standard deviation of log2 of the scale."""
    rotate: float = 1.0
    """Largest rotation, as a share of 180 degrees."""
    stretch: float = 0.2
    """Standard deviation of log2 of the stretch."""
    slide: float = 0.125
    """Standard deviation of the shift by fractions of pixels, as a share of the side."""
    brightness: float = 0.2
    """Standard deviation of the value added to all channels."""
    contrast: float = 0.5
    """Standard deviation of log2 of the contrast."""
    hue: float = 1.0
    """Largest rotation of the hue, as a share of 180 degrees."""
    saturation: float = 1.0
    """Standard deviation of log2 of the saturation."""
    filter: float = 1.0
    """Standard deviation of log2 of a frequency band's gain."""
    noise: float = 0.1
    """Scale of the half-normal distribution that the noise's standard deviation is drawn from."""
    cutout: float = 0.5
    """Size of the rectangle, as a share of the sides."""


PAPER = Strengths()


class Draws(NamedTuple):
    """The random numbers of a batch."""

    gates: Tensor
    """float32 [N, len(GATES)] in [0, 1): an augmentation is applied if its number is below its probability."""
    uniform: Tensor
    """float32 [N, len(UNIFORM)] in [0, 1)."""
    normal: Tensor
    """float32 [N, len(NORMAL)], standard normal."""
    seeds: Tensor
    """int64 [N]: seeds of the noise, one per image."""


@dataclass(frozen=True)
class Numbers:
    """The draws of a batch by name, on the device and in the type of the images."""

    gates: Mapping[str, Tensor]
    """bool [N]: whether the augmentation is applied."""
    uniform: Mapping[str, Tensor]
    """[N] in [0, 1)."""
    normal: Mapping[str, Tensor]
    """[N], standard normal."""
    seeds: Tensor
    """int64 [N]."""
    strengths: Strengths
    size: tuple[int, int]
    """Height and width of the images in pixels."""

    def where(self, gate: str, amount: Tensor) -> Tensor:
        """Return `amount` [N], but 0 for images that the gate leaves out."""
        return torch.where(self.gates[gate], amount, torch.zeros_like(amount))

    def power(self, name: str, deviation: float) -> Tensor:
        """Return a log-normal factor [N], but 1 for images that the gate `name` leaves out."""
        amount = self.normal[name]
        return torch.where(self.gates[name], torch.exp2(amount * deviation), torch.ones_like(amount))

    def angle(self, name: str, share: float) -> Tensor:
        """Return an angle [N] in radians, uniform in +-`share` * pi, but 0 for images that the gate leaves out."""
        return self.where(name, (self.uniform[name] * 2 - 1) * math.pi * share)


# Augmentations ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Augmentation:
    """One augmentation and the random numbers that it draws for each image."""

    name: str
    """Key of its weight in `Augment(weights=...)`. Entries of the same name share one probability."""
    kind: str
    """Letter that switches it on: b pixel blitting, g geometry, c color, f filtering, n noise, x cutout."""
    uniform: tuple[str, ...] = ()
    """Its columns of `UNIFORM`."""
    normal: tuple[str, ...] = ()
    """Its columns of `NORMAL`."""
    gates: tuple[str, ...] = ()
    """Its columns of `GATES`; empty means one of its own name."""


@dataclass(frozen=True, kw_only=True)
class Pixels(Augmentation):
    """An augmentation that changes the images by itself."""

    apply: Callable[[Tensor, Numbers], Tensor]
    """Return the changed images [N, C, H, W]."""


@dataclass(frozen=True, kw_only=True)
class Move(Augmentation):
    """A geometric augmentation. Adjacent ones are multiplied into one matrix, so that images are resampled once."""

    matrix: Callable[[Numbers], Tensor]
    """Return the inverse of the move, from output to input positions in pixels from the center: [N, 3, 3]."""


@dataclass(frozen=True, kw_only=True)
class Color(Augmentation):
    """A color augmentation. Adjacent ones are combined into one matrix by `color_matrix`."""

    amount: Callable[[Numbers], Tensor]
    """Return the argument of `color_matrix` that has the augmentation's name, [N]."""


def _flip(images: Tensor, n: Numbers) -> Tensor:
    return flip(images, n.gates["flip"] & (n.uniform["flip"] >= 0.5))


def _turn(images: Tensor, n: Numbers) -> Tensor:
    turns = torch.where(n.gates["turn"], (n.uniform["turn"] * 4).long(), 0)
    return turn(images, turns if n.size[0] == n.size[1] else turns - turns % 2)


def _shift(n: Numbers) -> Tensor:
    height, width = n.size
    x = n.where("shift", ((n.uniform["shift_x"] * 2 - 1) * n.strengths.shift * width).round())
    y = n.where("shift", ((n.uniform["shift_y"] * 2 - 1) * n.strengths.shift * height).round())
    return shift(-x, -y)


def _scale(n: Numbers) -> Tensor:
    size = n.power("scale", n.strengths.scale)
    return scale(1 / size, 1 / size)


def _rotate_before(n: Numbers) -> Tensor:
    return rotate(-n.angle("rotate_before", n.strengths.rotate))


def _stretch(n: Numbers) -> Tensor:
    stretch = n.power("stretch", n.strengths.stretch)
    return scale(1 / stretch, stretch)


def _rotate_after(n: Numbers) -> Tensor:
    return rotate(-n.angle("rotate_after", n.strengths.rotate))


def _slide(n: Numbers) -> Tensor:
    height, width = n.size
    x = n.where("slide", n.normal["slide_x"] * n.strengths.slide * width)
    y = n.where("slide", n.normal["slide_y"] * n.strengths.slide * height)
    return shift(-x, -y)


def _brightness(n: Numbers) -> Tensor:
    return n.where("brightness", n.normal["brightness"] * n.strengths.brightness)


def _contrast(n: Numbers) -> Tensor:
    return n.power("contrast", n.strengths.contrast)


def _luma(n: Numbers) -> Tensor:
    return n.where("luma", (n.uniform["luma"] >= 0.5).to(n.uniform["luma"].dtype))


def _hue(n: Numbers) -> Tensor:
    return n.angle("hue", n.strengths.hue)


def _saturation(n: Numbers) -> Tensor:
    return n.power("saturation", n.strengths.saturation)


def _filter(images: Tensor, n: Numbers) -> Tensor:
    amounts = torch.stack([n.power(band, n.strengths.filter) for band in FILTER_BANDS], 1)
    return amplify(images, band_gains(amounts))


def _noise(images: Tensor, n: Numbers) -> Tensor:
    sigma = n.where("noise", n.normal["noise"].abs() * n.strengths.noise)
    shape = (min(images.shape[1], 3), *images.shape[2:])
    noise = torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(int(seed))) for seed in n.seeds])
    return add_noise(images, sigma, noise.to(images.device, non_blocking=True))


def _cutout(images: Tensor, n: Numbers) -> Tensor:
    size = torch.where(n.gates["cutout"], n.strengths.cutout, 0.0)
    return cut_out(images, size, n.uniform["cutout_x"], n.uniform["cutout_y"])


FILTER_BANDS = tuple(f"filter_{band}" for band in range(BANDS))

# In the order in which they are applied. What they draw may only change together with DRAWS_VERSION.
AUGMENTATIONS: tuple[Augmentation, ...] = (
    Pixels("flip", "b", uniform=("flip",), apply=_flip),
    Pixels("turn", "b", uniform=("turn",), apply=_turn),
    Move("shift", "b", uniform=("shift_x", "shift_y"), matrix=_shift),
    Move("scale", "g", normal=("scale",), matrix=_scale),
    Move("rotate", "g", uniform=("rotate_before",), gates=("rotate_before",), matrix=_rotate_before),
    Move("stretch", "g", normal=("stretch",), matrix=_stretch),
    Move("rotate", "g", uniform=("rotate_after",), gates=("rotate_after",), matrix=_rotate_after),
    Move("slide", "g", normal=("slide_x", "slide_y"), matrix=_slide),
    Color("brightness", "c", normal=("brightness",), amount=_brightness),
    Color("contrast", "c", normal=("contrast",), amount=_contrast),
    Color("luma", "c", uniform=("luma",), amount=_luma),
    Color("hue", "c", uniform=("hue",), amount=_hue),
    Color("saturation", "c", normal=("saturation",), amount=_saturation),
    Pixels("filter", "f", normal=FILTER_BANDS, gates=FILTER_BANDS, apply=_filter),
    Pixels("noise", "n", normal=("noise",), apply=_noise),
    Pixels("cutout", "x", uniform=("cutout_x", "cutout_y"), apply=_cutout),
)

KINDS = {
    kind: tuple(dict.fromkeys(each.name for each in AUGMENTATIONS if each.kind == kind))
    for kind in dict.fromkeys(each.kind for each in AUGMENTATIONS)
}
"""Names of the augmentations by the letter that switches them on."""

GATES = tuple(gate for each in AUGMENTATIONS for gate in each.gates or (each.name,))
"""Columns of `Draws.gates`."""
UNIFORM = tuple(name for each in AUGMENTATIONS for name in each.uniform)
"""Columns of `Draws.uniform`."""
NORMAL = tuple(sorted((name for each in AUGMENTATIONS for name in each.normal), key=lambda name: name in FILTER_BANDS))
"""Columns of `Draws.normal`; in DRAWS_VERSION 1 the filter's come last."""

_NAMES = tuple(each.name for each in AUGMENTATIONS for _ in each.gates or (each.name,))
"""The augmentation of each gate."""


# The pipeline ----------------------------------------------------------------------------------------------------


class Augment(nn.Module):
    """The paper's augmentation pipeline. The buffer `p` [] is the probability of each augmentation."""

    p: Tensor  # []
    weights: Tensor  # [len(GATES)]
    paired: Tensor  # bool [len(GATES)]

    def __init__(
        self,
        channels: int,  # 1 gray, 3 RGB, 4 RGBA
        kinds: str = "bgc",  # letters of KINDS
        weights: Mapping[str, float] | None = None,  # probabilities relative to p, by name; None means 1 for all
        strengths: Strengths = PAPER,
    ) -> None:
        """Raise ValueError for another number of channels, or for letters or names that are not in the table."""
        super().__init__()
        if channels not in (1, 3, 4) or set(kinds) - set(KINDS):
            raise ValueError(f"channels {channels} must be 1, 3 or 4, and kinds {kinds!r} of {''.join(KINDS)}")
        chosen = {name: 1.0 for kind in kinds for name in KINDS[kind]} | dict(weights or {})
        if set(chosen) - set(_NAMES):
            raise ValueError(f"weights: no such change: {', '.join(sorted(set(chosen) - set(_NAMES)))}")
        self.channels, self.strengths = channels, strengths
        self.active = {name for name, weight in chosen.items() if weight > 0}
        paired = [sum(each.name == name for each in AUGMENTATIONS) == 2 for name in _NAMES]
        self.register_buffer("p", torch.zeros([]))
        self.register_buffer("weights", torch.tensor([chosen.get(name, 0.0) for name in _NAMES]), persistent=False)
        self.register_buffer("paired", torch.tensor(paired), persistent=False)

    def draw(self, generator: torch.Generator, batch: int) -> Draws:
        """Return the random numbers of a whole batch on the CPU: always as many, and in the same order."""
        return Draws(
            torch.rand(batch, len(GATES), generator=generator),
            torch.rand(batch, len(UNIFORM), generator=generator),
            torch.randn(batch, len(NORMAL), generator=generator),
            torch.randint(2**62, (batch,), generator=generator),
        )

    def forward(
        self,
        images: Tensor,  # [N, C, H, W] in [-1, 1], this rank's
        generator: torch.Generator,  # on the CPU; the same on every rank
        share: slice | None = None,  # which images of the batch these are; None means all
        batch: int | None = None,  # images over all ranks; None means only these
    ) -> Tensor:
        """Return the images as the discriminator sees them, [N, C, H, W]."""
        draws = self.draw(generator, len(images) if batch is None else batch)
        return self.apply_draws(images, Draws(*(part[share or slice(None)] for part in draws)))

    def apply_draws(self, images: Tensor, draws: Draws) -> Tensor:
        """Return images augmented with given random numbers, [N, C, H, W], computed in full precision."""
        with torch.autocast(images.device.type, enabled=False):
            images = images.contiguous()  # whole channels are moved, whichever layout the discriminator prefers
            augmented = self._augment(images.to(torch.promote_types(images.dtype, torch.float32)), draws)
            return augmented.to(images.dtype)

    def numbers(self, draws: Draws, images: Tensor) -> Numbers:
        """Return the draws by name, on the device and in the type of the images."""
        packed = torch.cat([draws.gates, draws.uniform, draws.normal], 1)
        packed = packed.pin_memory() if images.is_cuda and not packed.is_cuda else packed
        packed = packed.to(images.device, non_blocking=True)
        gates, uniform, normal = packed.split([len(GATES), len(UNIFORM), len(NORMAL)], 1)

        # Two rotations share one probability: that of neither is the same as for any other augmentation.
        chance = self.p * self.weights
        chance = torch.where(self.paired, 1 - (1 - chance).clamp(min=0).sqrt(), chance)
        uniform, normal = uniform.to(images.dtype), normal.to(images.dtype)
        return Numbers(
            dict(zip(GATES, (gates < chance).unbind(1), strict=True)),
            dict(zip(UNIFORM, uniform.unbind(1), strict=True)),
            dict(zip(NORMAL, normal.unbind(1), strict=True)),
            draws.seeds,
            self.strengths,
            (images.shape[2], images.shape[3]),
        )

    def _augment(self, images: Tensor, draws: Draws) -> Tensor:
        """Apply all active augmentations in the order of the table."""
        numbers = self.numbers(draws, images)
        for _, group in groupby(AUGMENTATIONS, type):
            stage = list(group)
            if self.active.isdisjoint(each.name for each in stage):
                continue
            moves = [each for each in stage if isinstance(each, Move)]
            colors = [each for each in stage if isinstance(each, Color)]
            if moves:
                margin = self.strengths.shift if "shift" in self.active else 0.0
                images = resample(images, combine(moves, numbers), margin)
            if colors:
                images = recolor(images, color_matrix(**{each.name: each.amount(numbers) for each in colors}))
            for each in stage:
                if isinstance(each, Pixels) and each.name in self.active:
                    images = each.apply(images, numbers)
        return images


def combine(moves: Iterable[Move], numbers: Numbers) -> Tensor:
    """Return the matrix [N, 3, 3] from output to input positions: the product of the inverse moves."""
    return reduce(torch.matmul, [move.matrix(numbers) for move in moves])
