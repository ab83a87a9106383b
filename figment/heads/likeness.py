"""Training what describes a crop, headness and embedding, on a finished detector's features, which stay as they are.

train_likeness(net, identities, strangers, steps=800)    # net from figment.heads.network.grow, trained for boxes
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
"""How much another head with all the same attributes counts as a positive, against 1 for the same head."""


@dataclass(frozen=True)
class Known:
    """A head in a picture, and who it is."""

    image: Image.Image
    """RGB."""
    box: Box
    identity: str
    attributes: tuple[str, ...] = ()
    """What it shares with others: style, colour of skin and hair..."""


@dataclass(frozen=True)
class Batch:
    """Crops, and what is known of them."""

    pixels: np.ndarray
    """uint8 [N, CROP, CROP, 3]: first the heads, each identity twice in a row, then what is no head."""
    identities: list[str]
    """Of the heads."""
    attributes: list[frozenset[str]]
    """Of the heads."""


def view_of(
    rng: np.random.Generator,
    known: Known,
) -> np.ndarray:
    """The head cut out as the crop stage would, more or less: off the mark, mirrored, recoloured, blurred, damaged."""
    box, longer = known.box, max(known.box.width, known.box.height)
    dx, dy = (float(value) * longer for value in np.clip(rng.normal(0, 0.05, 2), -0.15, 0.15))
    moved = Box(box.x0 + dx, box.y0 + dy, box.x1 + dx, box.y1 + dy)
    square = square_around(moved, known.image.size, MARGIN + float(rng.uniform(-0.2, 0.2)))
    return spoil(rng, cut_square(known.image, square))


def spoil(
    rng: np.random.Generator,
    crop: Image.Image,
) -> np.ndarray:
    """A crop as uint8 [CROP, CROP, 3], mirrored, leaning, of less detail, in other colours, noisy or as a poor JPEG."""
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
    """A square of a picture that a cropper should not have cut: half a head, a piece of one, or none; None: no luck."""
    kind = rng.random()
    if boxes and kind < 0.35:
        # Half a head: the square moved off, so that a fifth to a half of the box is seen.
        box = boxes[int(rng.integers(len(boxes)))]
        longer, angle = max(box.width, box.height), rng.uniform(0, 2 * np.pi)
        off = longer * float(rng.uniform(0.7, 1.3))
        middle = ((box.x0 + box.x1) / 2 + off * np.cos(angle), (box.y0 + box.y1) / 2 + off * np.sin(angle))
        side = longer * float(rng.uniform(1.0, 1.6))
    elif boxes and kind < 0.45:
        # Less than the head: an eye, a cheek, an ear.
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
    """Whether a square shows more than half of a head, at a size that counts."""
    across = max(0.0, min(square.x1, head.x1) - max(square.x0, head.x0))
    down = max(0.0, min(square.y1, head.y1) - max(square.y0, head.y0))
    return across * down > 0.5 * head.width * head.height and head.height > 0.12 * square.height


def draw_batch(
    rng: np.random.Generator,
    identities: Iterator[list[Known]],  # endless: one list an identity, of one or two pictures of it
    strangers: Iterator[Image.Image],  # endless: crops that are no heads
    count: int,  # identities in the batch; half as many crops that are no heads
) -> Batch:
    """The next batch: two views of each identity, and strangers."""
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
    others = [spoil(rng, next(strangers)) for _ in range(count)]
    return Batch(np.stack(heads + others), names, attributes)


def contrast(
    embedding: torch.Tensor,  # [N, D] of length 1
    wanted: torch.Tensor,  # [N, N]: how much j is a positive of i, 0 on the diagonal
) -> torch.Tensor:
    """The supervised contrastive loss (Khosla 2020, equation 2) with positives that weigh differently."""
    near = embedding @ embedding.T / HEAT  # [N, N]
    near = near.masked_fill(torch.eye(len(near), dtype=torch.bool), -1e4)
    share = wanted / wanted.sum(1, keepdim=True).clamp(min=1e-9)
    return -(share * torch.log_softmax(near, 1)).sum(1).mean()


def positives(batch: Batch) -> torch.Tensor:
    """float32 [N, N]: 1 for two views of one head, up to WEAK for heads that share attributes."""
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
    net: HeadNet,  # trained for boxes; its `portrait` learns, in place, and nothing else
    batches: Iterator[Batch],  # endless
    *,
    steps: int = 800,
    rate: float = 1e-3,  # highest learning rate
    on_step: Callable[[int, float, float, float], None] | None = None,  # number, contrast, headness, seconds
) -> HeadNet:
    """Teach the describing part of `net`; the backbone stays in evaluation, so boxes stay as they are to the bit."""
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
    """Move `kept` a little towards the part that learns."""
    for name, new in portrait.state_dict().items():
        if new.is_floating_point():
            kept[name].lerp_(new, 1 - decay)
        else:
            kept[name].copy_(new)
