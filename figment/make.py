"""Run all stages in one call; an interrupted call continues where it stopped.

figment make pictures/ -o hero/ --time 8h
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from figment.base.errors import FigmentError
from figment.base.files import need_folder, read_json, write_json
from figment.base.progress import say
from figment.base.settings import rules


@dataclass(frozen=True)
class MakeOptions:
    """Options for all stages; None leaves the choice to figment."""

    sec: float | None = None
    """Training time in seconds."""
    kimg: float | None = None
    """Training length in thousands of images; overrides `sec`."""
    resolution: int | None = None
    """Side of the images in pixels; None takes the largest that the crops can fill."""
    seed: int = 0
    """Seed of training."""
    device: str | None = None
    """cpu, cuda or cuda:1; None means the GPU if there is one."""


def make(pictures: Path, out: Path, options: MakeOptions) -> None:
    """Crop, curate, pack, train, draw and publish `pictures` below `out`; finished stages are not repeated."""
    from figment.curate.curate import curate
    from figment.heads.crop import crop_pictures

    need_folder(pictures, "PICTURES")
    _check(options)
    heads, site = out / "heads", out / "site"

    say(f"1/6 crop      {pictures} -> {heads}")
    say(f"    {crop_pictures(pictures, heads).line()}")
    say(f"2/6 curate    {heads}")
    say(f"    {curate(heads).line()}")
    data = _pack(heads, out, options)
    run = _train(data, out / "runs", options)

    # Draw again only if the run has made progress.
    model = run / "model.safetensors"
    marker, state = out / "make.json", {"run": run.name, "images": _images_of(run)}
    if marker.exists() and read_json(marker) == state and (site / "index.html").exists():
        say(f"6/6 publish   {site / 'index.html'} is up to date")
        return
    _draw(model, run, out, site)
    write_json(marker, state)
    say(f"done: open {site / 'index.html'}")


def _check(options: MakeOptions) -> None:
    """Raise FigmentError for options that a late stage would refuse."""
    from figment.base.device import find_device
    from figment.pack.zips import RESOLUTIONS
    from figment.train.config import Schedule

    limits = rules(Schedule)
    wrong = [
        f"--{name} {value}: must be {limits[name].text}"
        for name, value in (("kimg", options.kimg), ("seed", options.seed))
        if value is not None and not limits[name].holds(value)
    ]
    if options.resolution is not None and options.resolution not in RESOLUTIONS:
        wrong.append(f"--resolution {options.resolution}: must be a power of two from 16 to 1024")
    if wrong:
        raise FigmentError("; ".join(wrong))
    find_device(options.device)


def _pack(heads: Path, out: Path, options: MakeOptions) -> Path:
    """Pack the kept heads and return the data set; the same heads give the same bytes."""
    from figment.pack.zips import pack

    data = out / "heads.zip"
    say(f"3/6 pack      {heads} -> {data}")
    summary = pack(heads, data, resolution=options.resolution)
    say(f"    {summary.packed} heads at {summary.resolution}x{summary.resolution}")
    return data


def _train(data: Path, runs: Path, options: MakeOptions) -> Path:
    """Train on `data`, or continue the newest run on the same images; return the run."""
    import torch

    from figment.pack.dataset import ImageDataset
    from figment.train.config import read_config
    from figment.train.run import resume_training, start_training
    from figment.train.state import STARTS

    say(f"4/6 train     {data} -> {runs}")
    dataset = ImageDataset(data)
    for config in sorted(runs.glob("[0-9]*/config.json"), reverse=True):
        if dataset.is_known_as(read_config(config).digest):
            return resume_training(config.parent, data=data, kimg=options.kimg, device=options.device)
    # On a CPU, RGB images start from the shipped network of their size.
    cpu = options.device == "cpu" or (options.device is None and not torch.cuda.is_available())
    init = "start" if cpu and dataset.channels == 3 and dataset.resolution in STARTS else None
    sec = options.sec if options.kimg is None else None
    # No scores on a CPU: whether there is time for one depends on the load, but a resumed run must end the same.
    score_ticks = 0 if cpu else None
    return start_training(
        data,
        runs,
        sec=sec,
        kimg=options.kimg,
        seed=options.seed,
        device=options.device,
        init=init,
        score_ticks=score_ticks,
    )


def _images_of(run: Path) -> int:
    """Return the number of images that the newest checkpoint of `run` has been trained on."""
    from figment.train.state import checkpoints

    found = checkpoints(run)
    if not found:
        raise FigmentError(f"{run}: has no checkpoint")
    return int(found[-1].stem.removeprefix("img"))


def _draw(model: Path, run: Path, out: Path, site: Path) -> None:
    """Draw samples and a morph, and write the training video and the gallery."""
    from figment.draw.film import film
    from figment.draw.morph import morph
    from figment.draw.sample import sample
    from figment.web.publish import publish

    say(f"5/6 draw      {model} -> {out / 'out'}")
    sample(model, out / "out", seeds=list(range(64)), grid=(8, 8))
    morph(model, out / "out" / "morph.mp4", seeds=list(range(6)))
    film(run, out / "out" / "film.mp4")
    say(f"6/6 publish   {site}")
    publish(run, site, loop=out / "out" / "morph.mp4")
