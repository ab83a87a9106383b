"""Train a start network that figment ships: heads of drawn and painted people, for `--init start`.

    apt-get download wesnoth-1.16-data renpy-demo renpy-thequestion
    for package in *.deb; do dpkg -x "$package" art; done
    python runs/train_start.py out --art art --resolution 64 --hours 2      # the same call again goes on

Writes out/start-64.safetensors, which `figment make` and `figment train --init start` use for images of that size: a
small collection then trains in minutes, not days. The art is read, never copied. figment/train/MODEL_CARD.md describes
the network that ships.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent / "detector"))
from detector_art import Ground, Sources, painted_head
from paste import Cutout

from figment.base.pixels import write_png
from figment.base.progress import track
from figment.base.records import Box
from figment.demo.art import MIX
from figment.demo.scenes import Cast, compose
from figment.heads.crop import MARGIN
from figment.heads.squares import cut_square, square_around
from figment.models import load
from figment.nets.checkpoint import Model, save
from figment.pack.zips import pack
from figment.train.run import resume_training, start_training
from figment.train.state import checkpoints

SEED = 1000
"""Unlike the small seeds that people pass to demo-art."""
SIDE = 128
"""Side of the heads in pixels, before they are packed."""
SHARD = 200
"""Heads that one process draws at a time, with a seed of their own."""
PAINTED = 0.2
"""Share of painted heads."""
PEOPLE = Cast({style: weight**0.5 for style, weight in MIX.items()}, heads=(1, 2), head_px=(86.0, 150.0))
"""All styles, more evenly than in demo art; with their margin, heads are about SIDE pixels or larger."""
SCENE = (272, 272)
"""Size of the drawn scenes in pixels."""
CHANNELS = 16
"""Channels at full resolution."""
RECIPE = {
    "preset": "cpu",
    "mixing": 0.1,
    "tick_kimg": 8.0,
    "score_ticks": 0,
    "channel_max": 192,
    "z_dim": 128,
}
"""Settings of all stages. Few latents are mixed, as mixes of different styles look like none."""
STAGES: tuple[tuple[float, float, dict[str, Any]], ...] = (
    (0.5, 0.1, {"discriminator": "family", "batch": 16, "lr": 0.004, "ema_kimg": 4.0}),
    (1.0, 0.45, {"discriminator": "projected", "batch": 8, "lr": 0.004, "ema_kimg": 3.0}),
    (1.0, 0.45, {"discriminator": "projected", "batch": 16, "lr": 0.002, "ema_kimg": 10.0}),
)
"""Each stage's share of the resolution and of the time, and its settings.

The first learns colors and layout, the second faces; the last makes smaller and less noisy steps.
"""
LICENCE = (
    "Trained on drawings of DiceBear's styles, each under its own free licence (see `figment demo-art`), on portraits "
    "of Battle for Wesnoth (GPL-2.0-or-later and CC-BY-SA-4.0) and characters of Ren'Py's demo games (MIT)."
)


def draw_shard(index: int, folder: Path, sources: Sources) -> None:
    """Write shard `index` of the heads to `folder` as PNGs; a complete shard is not drawn again."""
    if (folder / f"{index * SHARD + SHARD - 1:06d}.png").exists():
        return
    rng = np.random.default_rng([SEED, index])
    painted, ground = art(sources)
    heads: list[Image.Image] = []
    while len(heads) < SHARD:
        if painted and rng.random() < PAINTED:
            known = painted_head(rng, painted[int(rng.integers(len(painted)))], ground)[0]
            heads.append(cut(rng, known.image, known.box))
        else:
            scene = compose(rng, PEOPLE, SCENE)
            heads.append(cut(rng, scene.image, scene.boxes[int(rng.integers(len(scene.boxes)))]))
    for k, head in enumerate(heads):
        write_png(folder / f"{index * SHARD + k:06d}.png", head)


@functools.cache
def art(sources: Sources) -> tuple[list[Cutout], Ground]:
    """Return the painted characters with a head, those of Ren'Py three times, and what draws their backgrounds."""
    cutouts = [cutout for cutout in sources.cutouts(held=False) if cutout.boxes]
    renpy = [cutout for cutout in cutouts if "portraits" not in cutout.name]
    return [*cutouts, *renpy, *renpy], Ground(sources.grounds(), sources.tiles())


def cut(rng: np.random.Generator, image: Image.Image, box: Box) -> Image.Image:
    """Return the crop that `figment crop` makes of a head whose box is a little off, SIDE x SIDE pixels."""
    dx, dy, grow = rng.normal(0, 0.03, 3) * max(box.width, box.height)
    moved = Box(box.x0 + dx - grow, box.y0 + dy - grow, box.x1 + dx + grow, box.y1 + dy + grow)
    return cut_square(image, square_around(moved, image.size, MARGIN)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for heads, runs and start-RESOLUTION.safetensors")
    parser.add_argument("--art", type=Path, help="folder with the unpacked packages; without it, only drawn heads")
    parser.add_argument("--resolution", type=int, default=64, choices=(64, 128))
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--heads", type=int, default=14_000)
    parser.add_argument("--processes", type=int, default=2, help="processes that draw heads")
    options = parser.parse_args()

    games = options.art / "usr" / "share" / "games" if options.art else None
    sources = Sources(
        games / "wesnoth" / "1.16" / "data" if games else None, games / "renpy" if games else None, everything=True
    )
    heads, name = options.out / "heads", f"start-{options.resolution}"
    heads.mkdir(parents=True, exist_ok=True)
    shards = range(-(-options.heads // SHARD))
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        work = pool.imap(functools.partial(draw_shard, folder=heads, sources=sources), shards)
        for _ in track(work, "drawing heads", len(shards)):
            pass

    init = None
    for stage, (share, time, settings) in enumerate(STAGES, start=1):
        side = round(share * options.resolution)
        data, run = options.out / f"heads-{side}.zip", options.out / f"{name}-stage{stage}"
        if not data.exists():
            pack(heads, data, resolution=side)
        if checkpoints(run):
            resume_training(run)
        else:
            start_training(
                data,
                options.out,
                run=run,
                sec=options.hours * 3600 * time,
                seed=SEED,
                init=init,
                adapt=init is not None,
                channel_base=CHANNELS * options.resolution,
                **RECIPE | settings,
            )
        init = str(run)
    trained = load(str(run))
    model = Model(g_ema=trained.g_ema, d=trained.d, config={"kimg": trained.config["kimg"], "licence": LICENCE})
    save(options.out / f"{name}.safetensors", model, half=True)


if __name__ == "__main__":
    main()
