"""Heads with known faults, composed from drawings: examples of parts that are missing or malformed.

No picture of a generator is used, so the network cannot learn to recognize the traces of one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.ndimage import (
    binary_dilation,
    gaussian_filter,
    grey_closing,
    grey_opening,
    map_coordinates,
    median_filter,
)

from figment.score.parts import PARTS, SIZE

VISIBLE = 12
"""Difference in 0..255 above which a pixel belongs to a part."""
FEWEST = 6
"""Pixels that a part must cover to count as visible."""
INTACT, BROKEN, AIMED = 4.0, 22.0, 12.0
"""Mean change of a part's pixels in 0..255: below the first it is still well formed, above the second it is not; the
third applies to the part that a fault was made for. Anything between is not learned."""
MOVED = (4, 10)
"""Least and largest displacement of a part, in pixels."""


class Subject(NamedTuple):
    """What a fault is made from."""

    layers: np.ndarray
    """The head whole and without each of PARTS, float32 [5, 3, 64, 64] in 0..255."""
    masks: np.ndarray
    """Pixels of each part, bool [4, 64, 64]."""
    others: np.ndarray
    """Whole heads of other seeds, float32 [5, 3, 64, 64]."""
    basis: tuple[np.ndarray, np.ndarray]
    """Mean [D] and principal components [K, D] of heads, float32 with D = 3 x 64 x 64."""


def masks_of(layers: np.ndarray) -> np.ndarray:
    """Return the pixels of each part, bool [4, 64, 64], of layers [5, 3, 64, 64]."""
    found: np.ndarray = np.abs(layers[:1] - layers[1:]).max(1) > VISIBLE
    return found


def region(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Return a soft region around a mask, float32 [64, 64] in 0..1."""
    grown = binary_dilation(mask, iterations=int(rng.integers(1, 4)))
    soft: np.ndarray = gaussian_filter(grown.astype(np.float32), float(rng.uniform(0.3, 1.2)))
    return soft


def half(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Return the left or the right half of a mask: one eye, one brow."""
    middle = np.nonzero(mask)[1].mean()
    columns = np.arange(SIZE) < middle
    found: np.ndarray = mask & (columns if rng.random() < 0.5 else ~columns)
    return found


def shifted(image: np.ndarray, dx: int, dy: int) -> np.ndarray:
    """Return [..., H, W] moved by whole pixels; pixels from beyond the border repeat."""
    rows = np.clip(np.arange(image.shape[-2]) - dy, 0, image.shape[-2] - 1)
    columns = np.clip(np.arange(image.shape[-1]) - dx, 0, image.shape[-1] - 1)
    found: np.ndarray = image[..., rows[:, None], columns]
    return found


def displacement(rng: np.random.Generator) -> tuple[int, int]:
    """Return a displacement (dx, dy) in pixels that puts a part in a wrong place."""
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(*MOVED)
    return round(float(np.cos(angle) * length)), round(float(np.sin(angle) * length))


def missing(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Leave the part out."""
    return subject.layers[1 + part].copy()


def halved(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Leave one half of the part out: one eye, one brow, half the mouth."""
    gone = half(rng, subject.masks[part])
    return np.where(gone, subject.layers[1 + part], subject.layers[0])


def moved(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Move the part, or its half, to a wrong place; sometimes leave the original as well."""
    mask = half(rng, subject.masks[part]) if rng.random() < 0.6 else subject.masks[part]
    ground = subject.layers[0] if rng.random() < 0.25 else np.where(mask, subject.layers[1 + part], subject.layers[0])
    dx, dy = displacement(rng)
    inside = shifted(binary_dilation(mask).astype(np.float32), dx, dy)
    return ground + (shifted(subject.layers[0], dx, dy) - ground) * inside


def melted(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Warp the part strongly or, one time in four, the whole head."""
    scale = float(rng.uniform(1.5, 4))
    field = np.stack([gaussian_filter(rng.standard_normal((SIZE, SIZE)), scale) for _ in range(2)])
    field *= float(rng.uniform(2.5, 7)) / np.abs(field).max()
    if rng.random() < 0.75:
        field *= region(rng, subject.masks[part])
    where = np.mgrid[:SIZE, :SIZE] + field
    return np.stack([map_coordinates(plane, where, order=1, mode="nearest") for plane in subject.layers[0]])


def smeared(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Smear the part along a line."""
    angle, length = rng.uniform(0, np.pi), float(rng.uniform(5, 12))
    steps = np.linspace(-length / 2, length / 2, 9)
    copies = [
        shifted(subject.layers[0], round(float(np.cos(angle) * step)), round(float(np.sin(angle) * step)))
        for step in steps
    ]
    return inside_of(rng, subject, part, np.mean(copies, 0))


def blurred(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Blur the part until its shape is lost."""
    sigma = float(rng.uniform(2, 5))
    return inside_of(rng, subject, part, gaussian_filter(subject.layers[0], (0, sigma, sigma)))


def dissolved(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Average the part with those of one to five other heads."""
    count = int(rng.choice((1, 1, 2, 3, 5)))
    share = float(rng.uniform(0.35, 0.6)) if count == 1 else 1 / (count + 1)
    return inside_of(rng, subject, part, share * subject.layers[0] + (1 - share) * subject.others[:count].mean(0))


def patched(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Paste a patch of another head, from a wrong place, over the part."""
    rows, columns = np.nonzero(subject.masks[part])
    at = int(rng.integers(len(rows)))
    height, width = rng.integers(8, 20, 2)
    covered = np.zeros((SIZE, SIZE), bool)
    top, left = rows[at] - height // 2, columns[at] - width // 2
    covered[max(top, 0) : top + height, max(left, 0) : left + width] = True
    return np.where(covered, shifted(subject.others[0], *displacement(rng)), subject.layers[0])


def patchwork(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Mix the part in small spots with another head that lies a little beside."""
    field = gaussian_filter(rng.standard_normal((SIZE, SIZE)), float(rng.uniform(1.2, 3)))
    share = 1 / (1 + np.exp(-field / np.abs(field).mean() * 2))
    other = shifted(subject.others[0], *rng.integers(-3, 4, 2))
    return inside_of(rng, subject, part, share * subject.layers[0] + (1 - share) * other)


def painted(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Paint over the part, or its half, with a color found beside it."""
    mask = half(rng, subject.masks[part]) if rng.random() < 0.4 else subject.masks[part]
    ring = binary_dilation(mask, iterations=4) & ~binary_dilation(mask, iterations=1)
    rows, columns = np.nonzero(ring)
    at = int(rng.integers(len(rows)))
    color = subject.layers[0][:, rows[at], columns[at]][:, None, None]
    soft = region(rng, mask) * float(rng.uniform(0.75, 1))
    return subject.layers[0] + (color - subject.layers[0]) * soft


def vague(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Draw the part with a few principal components only."""
    mean, components = subject.basis
    few = components[: int(rng.integers(8, 50))]
    flat = subject.layers[0].reshape(-1) - mean
    drawn = (mean + (few @ flat) @ few).reshape(3, SIZE, SIZE)
    return inside_of(rng, subject, part, np.clip(drawn, 0, 255))


def shuffled(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Shuffle small squares of the part."""
    cell = int(rng.choice((2, 4)))
    image = subject.layers[0].copy()
    grid = image.reshape(3, SIZE // cell, cell, SIZE // cell, cell)  # a view
    rows, columns = np.nonzero(subject.masks[part].reshape(SIZE // cell, cell, SIZE // cell, cell).any((1, 3)))
    order = rng.permutation(len(rows))
    grid[:, rows, :, columns] = grid[:, rows[order], :, columns[order]]
    return image


def blotted(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Round the part off into blots: by a median, or by a morphological opening or closing."""
    size = int(rng.integers(4, 9))
    change = (median_filter, grey_opening, grey_closing)[rng.integers(3)]
    image = np.stack([change(plane, size=(size, size)) for plane in subject.layers[0]])
    return inside_of(rng, subject, part, image)


def rearranged(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Rearrange the pixels of the part, or of the whole head, into blobs: the right colors without the right shape."""
    grown = binary_dilation(subject.masks[part], iterations=int(rng.integers(1, 4)))
    if rng.random() < 0.15:
        grown |= subject.masks.any(0)
    field = gaussian_filter(rng.standard_normal((SIZE, SIZE)), float(rng.uniform(0.8, 2.5)))
    image = subject.layers[0].copy()
    colors = image[:, grown]  # [3, n]
    image[:, grown] = colors[:, np.argsort(colors.sum(0), kind="stable")[np.argsort(np.argsort(field[grown]))]]
    soft = gaussian_filter(image, (0, 0.5, 0.5)) if rng.random() < 0.5 else image
    return np.where(grown, soft, image)


def speckled(rng: np.random.Generator, subject: Subject, part: int) -> np.ndarray:
    """Cover the part with colored speckle."""
    sigma = float(rng.uniform(0, 1))
    noise = gaussian_filter(rng.standard_normal((3, SIZE, SIZE)), (0, sigma, sigma))
    return inside_of(rng, subject, part, subject.layers[0] + noise / noise.std() * float(rng.uniform(45, 90)))


def inside_of(rng: np.random.Generator, subject: Subject, part: int, image: np.ndarray) -> np.ndarray:
    """Return the head with `image` around one part or, one time in four, everywhere."""
    if rng.random() < 0.25:
        return image
    return subject.layers[0] + (image - subject.layers[0]) * region(rng, subject.masks[part])


FAULTS: dict[str, Callable[[np.random.Generator, Subject, int], np.ndarray]] = {
    "missing": missing,
    "halved": halved,
    "moved": moved,
    "melted": melted,
    "smeared": smeared,
    "blurred": blurred,
    "dissolved": dissolved,
    "patched": patched,
    "patchwork": patchwork,
    "painted": painted,
    "vague": vague,
    "shuffled": shuffled,
    "blotted": blotted,
    "rearranged": rearranged,
    "speckled": speckled,
}
"""Every kind of fault by name."""


def with_faults(
    rng: np.random.Generator,
    subject: Subject,
    names: list[str],  # kinds of faults, keys of FAULTS, composed one after the other
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return a head with faults, float32 [3, 64, 64] in 0..255, what is well formed, and the part of the first fault.

    Whether a part is well formed, float32 [4], is 1 for yes, 0 for no and -1 where it cannot be said.
    """
    visible = np.flatnonzero(subject.masks.sum((1, 2)) >= FEWEST)
    if len(visible) == 0:
        raise ValueError("a head without visible parts")
    aimed = rng.choice(visible, len(names))
    image = subject.layers[0]
    for name, part in zip(names, aimed, strict=True):
        layers = np.concatenate([image[None], subject.layers[1:]])
        image = np.clip(FAULTS[name](rng, subject._replace(layers=layers), int(part)), 0, 255).astype(np.float32)
    change = np.abs(image - subject.layers[0]).mean(0)
    well = np.full(len(PARTS), -1.0, np.float32)
    for part in visible:
        damage = float(change[binary_dilation(subject.masks[part])].mean())
        if damage > (AIMED if part in aimed else BROKEN):
            well[part] = 0
        elif damage < INTACT and part not in aimed:
            well[part] = 1
    return image, well, int(aimed[0])
