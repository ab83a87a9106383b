"""Train headness and embedding of crops on the frozen features of a trained detector.

train_likeness(net, batches, steps=800)    # net from figment.heads.network.grow, already trained for boxes
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from figment.base.pixels import to_unit
from figment.base.progress import track
from figment.base.records import Box
from figment.heads.crop import MARGIN
from figment.heads.describe import crop_pixels
from figment.heads.network import HeadNet, Portrait
from figment.heads.squares import cut_square, square_around
from figment.heads.train import learning_rate
from figment.heads.views import View, damage

HEAT = 0.1
"""Temperature of the contrastive loss."""
WEAK = 0.03
"""Weight of another head with exactly the same attributes as a positive; the same head has weight 1."""


@dataclass(frozen=True)
class Known:
    """A head in an image, and whose it is."""

    image: Image.Image
    """RGB."""
    box: Box
    identity: str
    attributes: tuple[str, ...] = ()
    """What it shares with other heads: style, color of skin and hair ..."""


@dataclass(frozen=True)
class Batch:
    """Crops and their labels."""

    pixels: np.ndarray
    """uint8 [N, CROP, CROP, 3]: first the heads, two crops per identity, then crops without heads."""
    identities: list[str]
    """One per head crop."""
    attributes: list[frozenset[str]]
    """One per head crop."""


def view_of(
    rng: np.random.Generator,
    known: Known,
) -> np.ndarray:
    """Return a crop of the head as the crop stage makes it, with a random offset and random corruptions.

    uint8 [CROP, CROP, 3].
    """
    box, longer = known.box, max(known.box.width, known.box.height)
    dx, dy = (float(value) * longer for value in np.clip(rng.normal(0, 0.05, 2), -0.15, 0.15))
    moved = Box(box.x0 + dx, box.y0 + dy, box.x1 + dx, box.y1 + dy)
    square = square_around(moved, known.image.size, MARGIN + float(rng.uniform(-0.2, 0.2)))
    return spoil(rng, cut_square(known.image, square))


def spoil(
    rng: np.random.Generator,
    crop: Image.Image,
) -> np.ndarray:
    """Return a randomly mirrored, rotated, downscaled, recolored, noisy or compressed crop: uint8 [CROP, CROP, 3]."""
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if rng.random() < 0.3:
        turned = crop.rotate(float(rng.normal(0, 7)), Image.Resampling.BILINEAR)
        cut = round(0.06 * crop.width)
        crop = turned.crop((cut, cut, crop.width - cut, crop.height - cut)) if crop.width > 16 else crop
    if rng.random() < 0.4:
        side = int(rng.integers(24, 100))
        crop = crop.resize((side, side), Image.Resampling.BILINEAR)
    pixels = crop_pixels(crop)
    if rng.random() < 0.3:
        hue, *others = Image.fromarray(pixels).convert("HSV").split()
        turn = int(rng.integers(0, 256))
        hue = hue.point([(value + turn) % 256 for value in range(256)])
        pixels = np.asarray(Image.merge("HSV", [hue, *others]).convert("RGB"))
    return damage(rng, View(pixels, [], [])).pixels


def no_head(
    rng: np.random.Generator,
    image: Image.Image,  # RGB
    boxes: Sequence[Box],  # every head in it
) -> Image.Image | None:
    """Return a random square that shows half a head, a part of one or none; None if the draw shows a head."""
    kind = rng.random()
    if boxes and kind < 0.35:
        # Half a head: a square whose offset leaves a fifth to a half of the box visible.
        box = boxes[int(rng.integers(len(boxes)))]
        longer, angle = max(box.width, box.height), rng.uniform(0, 2 * np.pi)
        off = longer * float(rng.uniform(0.7, 1.3))
        middle = ((box.x0 + box.x1) / 2 + off * np.cos(angle), (box.y0 + box.y1) / 2 + off * np.sin(angle))
        side = longer * float(rng.uniform(1.0, 1.6))
    elif boxes and kind < 0.45:
        # A part of a head: an eye, a cheek, an ear.
        box = boxes[int(rng.integers(len(boxes)))]
        side = max(box.width, box.height) * float(rng.uniform(0.25, 0.5))
        middle = (rng.uniform(box.x0, box.x1), rng.uniform(box.y0, box.y1))
    else:
        side = float(np.exp(rng.uniform(np.log(24), np.log(max(min(image.size) * 0.7, 30)))))
        middle = (rng.uniform(0, image.width), rng.uniform(0, image.height))

    x0 = int(np.clip(middle[0] - side / 2, 0, max(image.width - side, 0)))
    y0 = int(np.clip(middle[1] - side / 2, 0, max(image.height - side, 0)))
    square = Box(x0, y0, min(x0 + side, image.width), min(y0 + side, image.height))
    if square.width < 12 or square.height < 12 or any(shows(square, box) for box in boxes):
        return None
    return image.crop((x0, y0, round(square.x1), round(square.y1)))


def shows(square: Box, head: Box) -> bool:
    """Return whether a square shows more than half of a head that fills over 12% of its height."""
    across = max(0.0, min(square.x1, head.x1) - max(square.x0, head.x0))
    down = max(0.0, min(square.y1, head.y1) - max(square.y0, head.y0))
    return across * down > 0.5 * head.width * head.height and head.height > 0.12 * square.height


def draw_batch(
    rng: np.random.Generator,
    identities: Iterator[list[Known]],  # endless: one or two images of each identity
    negatives: Iterator[Image.Image],  # endless: crops without heads
    count: int,  # identities, and crops without heads
) -> Batch:
    """Return a batch of two views of each identity and `count` crops without heads."""
    heads: list[np.ndarray] = []
    names: list[str] = []
    attributes: list[frozenset[str]] = []
    for _ in range(count):
        pictures = next(identities)
        for i in range(2):
            known = pictures[i % len(pictures)]
            heads.append(view_of(rng, known))
            names.append(known.identity)
            attributes.append(frozenset(known.attributes))
    others = [spoil(rng, next(negatives)) for _ in range(count)]
    return Batch(np.stack(heads + others), names, attributes)


def contrast(
    embedding: torch.Tensor,  # [N, D] of length 1
    wanted: torch.Tensor,  # [N, N]: weight of j as a positive of i, 0 on the diagonal
) -> torch.Tensor:
    """Return the supervised contrastive loss with weighted positives (Khosla et al. 2020, arXiv 2004.11362, eq. 2)."""
    near = embedding @ embedding.T / HEAT  # [N, N]
    near = near.masked_fill(torch.eye(len(near), dtype=torch.bool), -1e4)
    share = wanted / wanted.sum(1, keepdim=True).clamp(min=1e-9)
    return -(share * torch.log_softmax(near, 1)).sum(1).mean()


def positives(batch: Batch) -> torch.Tensor:
    """Return float32 [N, N]: 1 for two views of one head, up to WEAK for heads that share attributes."""
    count = len(batch.identities)
    wanted = torch.zeros(count, count)
    for i in range(count):
        for j in range(count):
            if i != j and batch.identities[i] == batch.identities[j]:
                wanted[i, j] = 1
            elif i != j:
                union = len(batch.attributes[i] | batch.attributes[j])
                wanted[i, j] = WEAK * len(batch.attributes[i] & batch.attributes[j]) / max(union, 1)
    return wanted


def train_likeness(
    net: HeadNet,  # trained for boxes; only its `portrait` is trained, in place
    batches: Iterator[Batch],  # endless
    *,
    steps: int = 800,
    rate: float = 1e-3,  # highest learning rate
    on_step: Callable[[int, float, float, float], None] | None = None,  # step, contrastive loss, headness loss, seconds
) -> HeadNet:
    """Train headness and embedding of `net` and return it. The backbone is frozen, so boxes stay bit-identical.

    Raises ValueError if `net` has no embedding.
    """
    portrait = net.portrait
    if portrait is None:
        raise ValueError("net: needs an embedding; see figment.heads.network.grow")
    began = time.monotonic()
    net.eval()
    portrait.train()
    optimizer = torch.optim.AdamW(portrait.parameters(), lr=rate, weight_decay=1e-2)
    kept = {name: value.clone() for name, value in portrait.state_dict().items()}

    for number in track(range(1, steps + 1), "describing"):
        for group in optimizer.param_groups:
            group["lr"] = rate * learning_rate(number, steps)
        batch = next(batches)
        heads = len(batch.identities)
        with torch.no_grad():
            features = net.features(to_unit(torch.from_numpy(batch.pixels).permute(0, 3, 1, 2)))  # [N, 3, H, W]
        logits, units = portrait(features)
        is_head = (torch.arange(len(logits)) < heads).float()
        near = contrast(units[:heads], positives(batch))
        sure = torch.nn.functional.binary_cross_entropy_with_logits(logits, is_head)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(near + sure)
        optimizer.step()
        _average(kept, portrait, min(0.995, number / (number + 10)))
        if on_step:
            on_step(number, float(near.detach()), float(sure.detach()), time.monotonic() - began)
    portrait.load_state_dict(kept)
    return net.eval()


@torch.no_grad()
def _average(
    kept: dict[str, torch.Tensor],
    portrait: Portrait,
    decay: float,
) -> None:
    """Update the moving average `kept` with the current weights."""
    for name, new in portrait.state_dict().items():
        if new.is_floating_point():
            kept[name].lerp_(new, 1 - decay)
        else:
            kept[name].copy_(new)
