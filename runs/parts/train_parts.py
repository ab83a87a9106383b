"""Train the network of `figment.score.parts`, which judges drawn heads, from DiceBear's drawings alone.

    python runs/parts/train_parts.py /tmp/parts -o figment/score/weights/parts.safetensors --minutes 20

Draws 14,000 heads of `adventurer` whole and without each part, and 18,000 heads of other styles, once, into the folder.
A training batch holds whole heads, heads with faults composed on the fly, and other styles, all slightly shifted,
scaled, mirrored, softened and recolored. Afterwards it prints what the network makes of held-out heads and of every
kind of fault.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from drawings import Drawings, attributes, draw_all
from faults import FAULTS, FEWEST, Subject, masks_of, with_faults
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from figment.base.pixels import to_unit
from figment.demo.styles import HEADS
from figment.score.parts import HIDDEN, PARTS, SIZE, PartsNet, save_parts

WHOLE, FAULTY, OTHER = 24, 44, 4
"""Images of each kind in a batch."""
RATE, DECAY = 2e-3, 0.02
"""Largest learning rate and weight decay of AdamW."""
COMPONENTS = 50
"""Principal components of heads that faults are drawn with."""
COLORS = ("hairColor", "skinColor")


class Batch(NamedTuple):
    """Training images and what is known of them; -1 means unknown."""

    images: np.ndarray
    """float32 [N, 3, 64, 64] in 0..255."""
    well: np.ndarray
    """Whether each part is well formed, float32 [N, 4]."""
    kinds: np.ndarray
    """Kinds of the attributes, int64 [N, 6]."""
    styles: np.ndarray
    """int64 [N]."""
    other_kinds: np.ndarray
    """Kinds of the attributes of other styles, int64 [N, Q]."""


class Maker:
    """Makes batches from the drawings."""

    def __init__(self, drawings: Drawings, seed: int) -> None:
        self.drawings, self.rng = drawings, np.random.default_rng(seed)
        flat = torch.from_numpy(drawings.heads[:3000, 0].reshape(-1, 3 * SIZE * SIZE)).float()
        torch.manual_seed(seed)
        components = torch.pca_lowrank(flat, COMPONENTS, niter=3)[2].t().contiguous()  # [K, D]
        self.basis = flat.mean(0).numpy(), components.numpy()

    def subject(self, heads: np.ndarray, index: int) -> Subject:
        """Return head `index` as a subject of faults, with other heads beside."""
        layers = heads[index].astype(np.float32)
        others = heads[self.rng.choice(len(heads), 5), 0].astype(np.float32)
        return Subject(layers, masks_of(layers), others, self.basis)

    def faulty(self, heads: np.ndarray, index: int, names: list[str]) -> tuple[np.ndarray, np.ndarray, int] | None:
        """Return `with_faults` of head `index`; None if nothing of it is visible."""
        subject = self.subject(heads, index)
        if not (subject.masks.sum((1, 2)) >= FEWEST).any():
            return None
        return with_faults(self.rng, subject, names)

    def batch(self) -> Batch:
        """Return the next training batch."""
        data, rng = self.drawings, self.rng
        main, count = list(HEADS).index("adventurer"), WHOLE + FAULTY + OTHER
        images = np.zeros((count, 3, SIZE, SIZE), np.float32)
        well = np.full((count, len(PARTS)), -1.0, np.float32)
        kinds = np.full((count, data.kinds.shape[1]), -1, np.int64)
        styles = np.full(count, main, np.int64)
        other_kinds = np.full((count, data.other_kinds.shape[1]), -1, np.int64)

        chosen = rng.integers(len(data.heads), size=WHOLE + FAULTY)
        images[:WHOLE], well[:WHOLE] = data.heads[chosen[:WHOLE], 0], 1
        kinds[: WHOLE + FAULTY] = data.kinds[chosen]
        names = list(FAULTS)
        for row in range(WHOLE, WHOLE + FAULTY):
            count = int(rng.choice((1, 1, 1, 2, 3)))
            found = self.faulty(data.heads, int(chosen[row]), list(rng.choice(names, count)))
            if found is None:
                continue
            images[row], well[row], _ = found
            kinds[row, : len(PARTS)] = np.where(well[row] == 1, kinds[row, : len(PARTS)], -1)
            kinds[row, len(PARTS) :] = -1

        chosen = rng.integers(len(data.others), size=OTHER)
        drawn = data.others[chosen].astype(np.float32)
        ground = np.where(rng.random((OTHER, 1, 1, 1)) < 0.5, 255, rng.uniform(0, 255, (OTHER, 3, 1, 1)))
        images[-OTHER:] = drawn[:, :3] * drawn[:, 3:] / 255 + ground * (1 - drawn[:, 3:] / 255)
        styles[-OTHER:], other_kinds[-OTHER:] = data.styles[chosen], data.other_kinds[chosen]
        return Batch(images, well, kinds, styles, other_kinds)


def smooth_noise(count: int, channels: int, cells: int, rng: torch.Generator) -> Tensor:
    """Return smooth random fields, [N, C, 64, 64], from normal values on a coarse grid."""
    coarse = torch.randn(count, channels, cells, cells, generator=rng)
    return F.interpolate(coarse, size=SIZE, mode="bicubic", align_corners=True)


def vary(x: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Vary images [N, 3, 64, 64] in [-1, 1] as a good generator might; return them, and whether colors still count.

    Shift, scale, mirror, a slight warp, softness, uneven light, noise and color changes.
    """
    n = len(x)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(n, generator=rng) * (high - low) + low

    # Geometry in one resampling: coordinates run from -1 to 1, a pixel is 2 / 64.
    scale, mirror = uniform(0.93, 1.07), (torch.rand(n, generator=rng) < 0.5).float() * 2 - 1
    zeros = torch.zeros(n)
    rows = [torch.stack([scale * mirror, zeros, uniform(-5, 5) / SIZE], 1)]
    rows.append(torch.stack([zeros, scale, uniform(-5, 5) / SIZE], 1))
    grid = F.affine_grid(torch.stack(rows, 1), [n, 3, SIZE, SIZE], align_corners=False)
    warp = smooth_noise(n, 2, 7, rng).permute(0, 2, 3, 1) * (uniform(0, 0.4) * 2 / SIZE)[:, None, None, None]
    x = F.grid_sample(x - 1, grid + warp, align_corners=False) + 1  # white beyond the border

    # Softness: between the image and its blurred copy (a binomial filter, sigma of one pixel), or sharper by as much.
    taps = torch.tensor([1.0, 4, 6, 4, 1]) / 16
    blurred = F.conv2d(F.pad(x, (2, 2, 2, 2), "replicate"), torch.outer(taps, taps).expand(3, 1, 5, 5), groups=3)
    x = torch.lerp(x, blurred, uniform(-0.7, 0.8)[:, None, None, None])

    # Colors: small changes for all, and for one image in four such strong ones that its colors no longer count.
    strong = torch.rand(n, generator=rng) < 0.25
    reach = torch.where(strong, 0.35, 0.04)[:, None, None, None]
    gain = 1 + (torch.rand(n, 3, 1, 1, generator=rng) * 2 - 1) * reach
    light = 1 + smooth_noise(n, 1, 4, rng) * uniform(-0.12, 0.12).clamp(min=0)[:, None, None, None]
    x = 1 - (1 - x * light.clamp(0.7, 1.3)) * gain
    x = x + smooth_noise(n, 3, 5, rng) * uniform(-0.05, 0.05).clamp(min=0)[:, None, None, None]
    x = x + torch.randn(x.shape, generator=rng) * uniform(-0.06, 0.08).clamp(min=0)[:, None, None, None]
    return x.clamp(-1, 1), ~strong


class Trunk(nn.Module):
    """The network with further answers that only training needs: the style, and the attributes of other styles."""

    def __init__(self, net: PartsNet, styles: int, sizes: list[int]) -> None:
        super().__init__()
        self.net, self.style = net, nn.Linear(HIDDEN, styles)
        self.sizes = sizes
        self.others = nn.Linear(HIDDEN, sum(sizes))

    def loss(self, x: Tensor, batch: Batch, colors: Tensor) -> Tensor:
        """Return the training loss of images [N, 3, 64, 64] in [-1, 1]."""
        hidden = self.net.embed(self.net.features(x))
        well = torch.as_tensor(batch.well)
        each = F.binary_cross_entropy_with_logits(self.net.well(hidden), well.clamp(min=0), reduction="none")
        # Broken parts are rarer than well-formed ones, and weigh more.
        weight = torch.where(well == 0, 3.0, 1.0) * (well >= 0)
        loss = 6 * (weight * each).sum() / weight.sum() + 0.2 * F.cross_entropy(
            self.style(hidden), torch.as_tensor(batch.styles)
        )
        kinds = torch.as_tensor(batch.kinds)
        for column, (name, layer) in enumerate(self.net.kinds.items()):
            known = kinds[:, column].clone()
            if name in COLORS:
                known[~colors] = -1
            loss = loss + 0.2 * masked_cross_entropy(layer(hidden), known)
        other_kinds = torch.as_tensor(batch.other_kinds)
        answers = self.others(hidden[-OTHER:]).split(self.sizes, 1)
        rows = [
            F.cross_entropy(logits, known, ignore_index=-1, reduction="sum")
            for logits, known in zip(answers, other_kinds[-OTHER:].T, strict=True)
            if (known >= 0).any()
        ]
        return loss + 0.2 * torch.stack(rows).sum() / OTHER


def masked_cross_entropy(logits: Tensor, known: Tensor) -> Tensor:
    """Return the mean cross entropy where `known` [N] is not -1; 0 without any."""
    return F.cross_entropy(logits, known, ignore_index=-1, reduction="sum") / (known >= 0).sum().clamp(min=1)


class Stream(IterableDataset[tuple[Tensor, Tensor, Batch]]):
    """Endless training batches: varied images in [-1, 1], whether their colors still count, and what is known."""

    def __init__(self, drawings: Drawings, seed: int) -> None:
        self.maker, self.rng = Maker(drawings, seed), torch.Generator().manual_seed(seed)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Batch]]:
        while True:
            batch = self.maker.batch()
            yield *vary(to_unit(torch.from_numpy(batch.images)), self.rng), batch


def train(
    drawings: Drawings,
    sec: float,
    seed: int,
    start: Path | None = None,  # earlier weights of the network; None starts from random ones
    workers: int = 1,  # processes that make batches; 0 makes them in this one
) -> Trunk:
    """Train for `sec` seconds; the learning rate rises in the first twentieth and falls to zero at the end."""
    torch.manual_seed(seed)
    net = PartsNet(attributes()).to(memory_format=torch.channels_last)
    trunk = Trunk(net, len(HEADS), [len(kinds) for _, _, kinds in drawings.questions])
    if start is not None:
        trunk.load_state_dict(torch.load(start, weights_only=True))
    optimizer = torch.optim.AdamW(trunk.parameters(), RATE, weight_decay=DECAY, fused=True)
    loader = DataLoader(Stream(drawings, seed), batch_size=None, num_workers=workers)
    started, recent = time.monotonic(), 0.0
    for step, (x, colors, batch) in enumerate(loader, 1):
        passed = (time.monotonic() - started) / sec
        if passed >= 1:
            break
        optimizer.param_groups[0]["lr"] = RATE * min(passed / 0.05, 0.5 + 0.5 * np.cos(np.pi * passed))
        optimizer.zero_grad()
        loss = trunk.loss(x.contiguous(memory_format=torch.channels_last), batch, colors)
        loss.backward()
        optimizer.step()
        recent = loss.item() if step == 1 else 0.98 * recent + 0.02 * loss.item()
        if step % 100 == 0:
            print(f"step {step}, {time.monotonic() - started:.0f} s, loss {recent:.3f}", flush=True)
    return trunk.eval()


@torch.inference_mode()
def answer(net: PartsNet, images: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return probabilities [N, 4] and kinds of images [N, 3, 64, 64] in 0..255."""
    found = [
        net(to_unit(torch.from_numpy(part)))
        for part in np.split(images.astype(np.float32), range(100, len(images), 100))
    ]
    well = torch.cat([logits for logits, _ in found]).sigmoid().numpy()
    return well, {name: torch.cat([kinds[name] for _, kinds in found]).argmax(1).numpy() for name in net.attributes}


def report(net: PartsNet, drawings: Drawings, thresholds: list[float], seed: int) -> dict[str, object]:
    """Print and return what the network makes of held-out heads and of faults."""
    whole = drawings.held_out[:, 0]
    well, kinds = answer(net, whole)
    limits = np.array(thresholds)
    found: dict[str, object] = {
        "held-out heads": len(whole),
        "well formed": float((well >= limits).all(1).mean()),
        "each part": dict(zip(PARTS, (well >= limits).mean(0).round(4).tolist(), strict=True)),
        "accuracy": {
            name: round(float((kinds[name] == known)[known >= 0].mean()), 4)
            for name, known in zip(net.attributes, drawings.held_out_kinds.T, strict=True)
        },
    }
    softened, _ = vary(to_unit(torch.from_numpy(whole.astype(np.float32))), torch.Generator().manual_seed(seed))
    found["well formed, varied"] = float((answer(net, (softened.numpy() + 1) * 127.5)[0] >= limits).all(1).mean())

    # Faults of held-out heads: found if the part that was damaged is not well formed.
    maker, faults = Maker(drawings, seed), {}
    for name in FAULTS:
        rows = [maker.faulty(drawings.held_out, i % len(whole), [name]) for i in range(300)]
        sure = [row for row in rows if row is not None and row[1][row[2]] == 0]
        well = answer(net, np.stack([row[0] for row in sure]))[0] >= limits
        faults[name] = {
            "heads": len(sure),
            "part found": round(float(np.mean([not well[i, row[2]] for i, row in enumerate(sure)])), 4),
            "head rejected": round(float((~well.all(1)).mean()), 4),
        }
    found["faults"] = faults
    print(json.dumps(found, indent=1), flush=True)
    return found


def choose_thresholds(net: PartsNet, drawings: Drawings, share: float = 0.004) -> list[float]:
    """Return for each part the largest threshold up to 0.9 that at most `share` of whole training heads miss."""
    well, _ = answer(net, drawings.heads[:4000, 0])
    return [round(min(0.9, float(value)), 4) for value in np.quantile(well, share, axis=0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder for the drawings")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the weights")
    parser.add_argument("--start", type=Path, help="trunk.pt of an earlier training to continue from")
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--heads", type=int, default=14_000)
    parser.add_argument("--held-out", type=int, default=1500)
    parser.add_argument("--others", type=int, default=18_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    drawings = draw_all(options.folder, options.heads, options.held_out, options.others)
    trunk = train(drawings, options.minutes * 60, options.seed, options.start)
    torch.save(trunk.state_dict(), options.folder / "trunk.pt")
    net = trunk.net
    thresholds = choose_thresholds(net, drawings)
    print(f"thresholds {thresholds}", flush=True)
    save_parts(net, options.output, thresholds)
    report(net, drawings, thresholds, options.seed + 1)


if __name__ == "__main__":
    main()
