"""Train the head detector that figment ships, from nothing, on endless demo art. About half an hour on one core.

    python runs/train_detector.py                                   # writes figment/heads/weights/detector.safetensors
    python runs/train_detector.py --steps 200 -o /tmp/quick.safetensors
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from figment.base.records import Box
from figment.demo.scenes import EVERYONE, Cast, compose, wear
from figment.heads.detect import SHIPPED
from figment.heads.network import load_net, save_net
from figment.heads.train import Step, TrainConfig, train_detector

LARGEST = 720
"""Scenes are held at this longer side at most: no view needs more."""
NOTE = {"trained_on": "figment demo art, drawn endlessly; no other pictures", "license": "MIT; see MODEL_CARD.md"}


def endless_scenes(seed: int) -> Iterator[tuple[Image.Image, list[Box]]]:
    """Demo scenes without end, the same ones for the same seed; one in eight holds no head."""
    rng = np.random.default_rng(seed)
    crowd, nobody = Cast(EVERYONE.styles), Cast(EVERYONE.styles, heads=(0, 0))
    while True:
        scene = compose(rng, nobody if rng.random() < 0.125 else crowd)
        image, boxes = wear(rng, scene.image), list(scene.boxes)
        scale = min(1.0, LARGEST / max(image.size))
        if scale < 1:
            size = (round(image.width * scale), round(image.height * scale))
            image = image.resize(size, Image.Resampling.BOX)
            boxes = [Box(*(value * scale for value in box)) for box in boxes]
        yield image, boxes


def draw_ahead(seed: int, queue: Queue[tuple[np.ndarray, list[Box]]]) -> None:
    """Draw scenes into `queue` for ever, politely."""
    os.nice(2)
    for image, boxes in endless_scenes(seed):
        queue.put((np.asarray(image), boxes))


def drawn_elsewhere(seed: int) -> Iterator[tuple[Image.Image, list[Box]]]:
    """`endless_scenes`, drawn by another process while this one trains."""
    context = multiprocessing.get_context("spawn")
    queue: Queue[tuple[np.ndarray, list[Box]]] = context.Queue(maxsize=32)
    context.Process(target=draw_ahead, args=(seed, queue), daemon=True).start()
    while True:
        pixels, boxes = queue.get()
        yield Image.fromarray(pixels), boxes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=SHIPPED, help="where the weights go")
    parser.add_argument("--start", type=Path, help="go on from these weights instead of from nothing")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate")
    parser.add_argument("--fresh", type=int, default=1, help="new scenes for each batch")
    parser.add_argument("--seed", type=int, default=1000, help="demo art for scoring uses other seeds")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    losses: list[tuple[float, float]] = []

    def report(step: Step) -> None:
        losses.append((step.heat, step.sides))
        if step.number % 50 == 0:
            heat, sides = np.mean(losses[-50:], axis=0)
            print(f"step {step.number:5d}  heat {heat:.3f}  sides {sides:.3f}  {step.sec:.0f} s", flush=True)
        if step.number % 200 == 0:
            save_net(options.output, step.net, NOTE)

    config = TrainConfig(steps=options.steps, rate=options.rate, fresh=options.fresh, seed=options.seed)
    start = load_net(options.start) if options.start else None
    net = train_detector(drawn_elsewhere(options.seed), config=config, start=start, on_step=report)
    save_net(options.output, net, NOTE)
    print(f"{options.output}: {options.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
