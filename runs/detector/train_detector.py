"""Train the head detector that figment ships: boxes on drawn and painted art, then headness and embedding of crops.

    cd runs/detector
    art="--wesnoth /usr/share/games/wesnoth/1.16/data --renpy /usr/share/games/renpy"
    python train_detector.py $art                                               # from random weights
    python train_detector.py $art --start old.safetensors --steps 2300 --rate 1e-3
    python train_detector.py $art --start boxes.safetensors --steps 500 --rate 3e-4 --everything     # last round
    python train_detector.py $art --start boxes.safetensors --steps 0           # headness and embedding only
    python train_detector.py $art --score                                       # score the weights on held-out art
    python train_detector.py --steps 200 --describe-steps 50 -o /tmp/quick.safetensors               # demo art only

--wesnoth is the data folder of Debian's wesnoth-1.16-data, of which only core/ is read; the boxes are in
labels/wesnoth.json. --renpy is the folder of renpy-demo and renpy-thequestion. Both are optional.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detector_art import Sources, crops_without_heads, endless_scenes, known_heads, mistaken_crops
from likeness import Batch, Known, draw_batch, no_head, train_likeness, view_of
from PIL import Image

from figment.base.device import keep_freed_memory
from figment.base.records import Box
from figment.heads.describe import Describer
from figment.heads.detect import Detector
from figment.heads.metrics import Scores, Truth, score_boxes
from figment.heads.network import SHIPPED, HeadNet, NetConfig, grow, load_net, save_net
from figment.heads.squares import cut_square, square_around
from figment.heads.train import Step, TrainConfig, train_detector

IDENTITIES = 16
"""Identities in a batch of crops, with two views each."""
NOTE = {
    "trained_on": "figment demo art, drawn endlessly; portraits under core/ of Battle for Wesnoth 1.16; Ren'Py's demo "
    "characters; see MODEL_CARD.md",
    "license": "see MODEL_CARD.md: learned from CC BY, CC0, MIT and GPL-2+/CC BY-SA 4.0 art",
}


# --- Data from other processes


def draw_scenes(queue: Queue[Any], sources: Sources, seed: int) -> None:
    """Put scenes into `queue` without end, at a lower priority."""
    os.nice(2)
    for image, boxes in endless_scenes(sources, seed):
        queue.put((np.asarray(image), boxes))


def draw_crops(queue: Queue[Any], sources: Sources, seed: int, mistakes: list[np.ndarray], count: int) -> None:
    """Put batches of crops into `queue` without end, at a lower priority."""
    os.nice(2)
    rng = np.random.default_rng(seed)
    identities = known_heads(sources, seed)
    strangers = crops_without_heads(sources, seed, [Image.fromarray(pixels) for pixels in mistakes])
    while True:
        queue.put(draw_batch(rng, identities, strangers, count))


def in_background(work: Any, *inputs: Any) -> Iterator[Any]:
    """Run `work` in another process and yield what it puts into its queue."""
    context = multiprocessing.get_context("spawn")
    queue: Queue[Any] = context.Queue(maxsize=32)
    context.Process(target=work, args=(queue, *inputs), daemon=True).start()
    while True:
        yield queue.get()


# --- Scores on held-out art


def score_boxes_held_out(sources: Sources, detector: Detector, kind: str = "core/") -> Scores:
    """Return the scores on held-out images whose names begin with `kind`, on white as `figment crop` opens them."""
    found, heads = {}, {}
    for name, picture, boxes in held_pictures(sources):
        if not name.startswith(kind):
            continue
        heads[name] = boxes
        found[name] = [[*head.box, head.score] for head in detector.detect(picture, 0.05)]
    return score_boxes(found, Truth(heads))


def held_pictures(sources: Sources) -> Iterator[tuple[str, Image.Image, list[Box]]]:
    """Yield name, image on white and head boxes of every held-out image."""
    for cutout in sources.cutouts(held=True):
        white = Image.new("RGB", cutout.image.size, (255, 255, 255))
        white.paste(cutout.image, mask=cutout.image.getchannel("A"))
        yield cutout.name, white, list(cutout.boxes)


def score_describer(sources: Sources, describer: Describer) -> str:
    """Return one line: how well headness and embeddings do on held-out heads, parts of them and corrupted copies."""
    rng = np.random.default_rng(5)
    heads, pieces, again = [], [], []
    for name, picture, boxes in held_pictures(sources):
        for box in boxes:
            heads.append(cut_square(picture, square_around(box, picture.size, 0.25)))
            again.append(Image.fromarray(view_of(rng, Known(picture, box, name))))
        pieces += [piece for piece in (no_head(rng, picture, boxes) for _ in range(4)) if piece is not None]
    sure, first = describer.describe(heads)
    unsure, _ = describer.describe(pieces)
    _, second = describer.describe(again)
    right = float((sure[:, None] > unsure).mean())
    nearest = float(((second @ first.T).argmax(1) == np.arange(len(first))).mean())
    return (
        f"headness: AUC of heads against parts of heads {right:.3f}; "
        f"nearest neighbor of a corrupted head is its original: {nearest:.3f} of {len(heads)}"
    )


def format_scores(scores: Scores) -> str:
    """Return the scores as one line."""
    return f"held out: AP50 {scores.ap50:.3f}  recall at precision 0.9 {scores.recall_at_90:.3f}  {scores.heads} heads"


# --- Training


def start_net(path: Path | None) -> HeadNet:
    """Return the network in `path`, grown if it has no embedding, or a new one."""
    if path is None:
        return HeadNet(NetConfig(deep=2, embed=128))
    net = load_net(path)
    return net if net.config.embed else grow(net, deep=2, embed=128)


def train_boxes(options: argparse.Namespace, sources: Sources, net: HeadNet) -> HeadNet:
    """Train backbone and boxes."""
    losses: list[tuple[float, float]] = []

    def report(step: Step) -> None:
        losses.append((step.heat, step.sides))
        if step.number % 50 == 0:
            heat, sides = np.mean(losses[-50:], axis=0)
            print(f"step {step.number:5d}  heat {heat:.3f}  sides {sides:.3f}  {step.sec:.0f} s", flush=True)
        if step.number % 250 == 0:
            save_net(options.output, step.net, NOTE)
            if sources.wesnoth:
                scores = score_boxes_held_out(sources, Detector.load(options.output))
                print(f"step {step.number:5d}  {format_scores(scores)}", flush=True)

    drawn = ((Image.fromarray(pixels), boxes) for pixels, boxes in in_background(draw_scenes, sources, options.seed))
    config = TrainConfig(
        steps=options.steps,
        rate=options.rate,
        fresh=options.fresh,
        seed=options.seed,
        large=320,
        backbone=not options.boxes_only,
    )
    return train_detector(drawn, config=config, start=net, on_step=report)


def train_describer(options: argparse.Namespace, sources: Sources, net: HeadNet) -> HeadNet:
    """Train headness and embedding on the frozen backbone."""
    losses: list[tuple[float, float]] = []

    def report(number: int, near: float, sure: float, sec: float) -> None:
        losses.append((near, sure))
        if number % 50 == 0:
            near, sure = np.mean(losses[-50:], axis=0)
            print(f"crops {number:5d}  contrast {near:.3f}  headness {sure:.3f}  {sec:.0f} s", flush=True)

    mistakes = [np.asarray(crop) for crop in mistaken_crops(sources, Detector.load(options.output))]
    print(f"{len(mistakes)} false positives of the detector on the training art", flush=True)
    batches: Iterator[Batch] = in_background(draw_crops, sources, options.seed + 1, mistakes, IDENTITIES)
    return train_likeness(net, batches, steps=options.describe_steps, rate=options.describe_rate, on_step=report)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=SHIPPED, help="output file")
    parser.add_argument("--wesnoth", type=Path, help="data folder of wesnoth-1.16-data")
    parser.add_argument("--renpy", type=Path, help="folder of renpy-demo and renpy-thequestion")
    parser.add_argument("--start", type=Path, help="start from these weights (default: random)")
    parser.add_argument("--steps", type=int, default=6000, help="batches for the boxes; 0 leaves them unchanged")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--describe-steps", type=int, default=800, help="batches for headness and embedding")
    parser.add_argument("--describe-rate", type=float, default=1e-3)
    parser.add_argument("--fresh", type=int, default=4, help="new scenes for each batch")
    parser.add_argument("--seed", type=int, default=1000, help="seed of the training data")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--boxes-only", action="store_true", help="freeze backbone, headness and embedding")
    parser.add_argument("--score", action="store_true", help="only score --start or -o on the held-out images")
    parser.add_argument("--everything", action="store_true", help="last round: also train on the held-out images")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    sources = Sources(options.wesnoth, options.renpy, options.everything)
    if options.score:
        path = options.start or options.output
        for kind in (["core/"] if sources.wesnoth else []) + (["demo/"] if sources.renpy else []):
            print(kind, format_scores(score_boxes_held_out(sources, Detector.load(path), kind)))
        print(score_describer(sources, Describer.load(path)))
        return

    keep_freed_memory()
    net = start_net(options.start)
    if options.steps:
        net = train_boxes(options, sources, net)
    save_net(options.output, net, NOTE)
    if options.describe_steps:
        net = train_describer(options, sources, load_net(options.output))
        save_net(options.output, net, NOTE)
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
