"""The command line: one short command per verb, each importing its stage inside its body.

    figment make pictures/ -o hero/ --time 8h
    figment train heads.zip -o runs --kimg 200
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from figment.base.docs import field_docs
from figment.base.durations import parse_duration
from figment.base.errors import FigmentError
from figment.base.exits import run_told
from figment.base.progress import say
from figment.base.seeds import parse_seeds

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="From a folder of pictures to characters who do not exist.\n\nStart with: figment make pictures/ -o hero/")

TRAIN = field_docs("train/config.py")
CURATE = field_docs("curate/verdicts.py")

Out = Annotated[Path, typer.Option("--output", "-o", help="Where the result goes.")]
Model = Annotated[Path, typer.Argument(help="A model file or a run's folder.")]
Psi = Annotated[float, typer.Option(help="Truncation: 0 draws the mean character, 1 the full variety.")]
Cutoff = Annotated[int | None, typer.Option(help="Truncate only the layers below this one; unset truncates all.")]
Seeds = Annotated[str, typer.Option(help="Seeds and ranges of them, e.g. 0-63 or 1,5,9-12.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda; unset takes the GPU where there is one.")]


def example(*lines: str) -> str:
    """The last paragraph of a command's help: lines that can be pasted."""
    return "Examples:\n\n\b\n" + "\n".join(f"  figment {line}" for line in lines)


def main() -> None:
    """Run the command line; a mistake of the user's is one line and exit code 2."""
    run_told(app)


# ---------------------------------------------------------------------- the whole path


@app.command(epilog=example("make pictures/ -o hero/ --time 8h", "make pictures/ -o hero/ --kimg 2500"))
def make(
    pictures: Annotated[Path, typer.Argument(help="The folder of pictures.")],
    output: Out,
    time: Annotated[str | None, typer.Option(help="Training time, e.g. 8h or 90m.")] = None,
    kimg: Annotated[float | None, typer.Option(help=TRAIN["kimg"])] = None,
    resolution: Annotated[int | None, typer.Option(help="Side in pixels; unset takes what the crops fill.")] = None,
    seed: Annotated[int, typer.Option(help=TRAIN["seed"])] = 0,
    device: Device = None,
) -> None:
    """Crop, curate, pack, train, draw and publish; running it again goes on where it stopped."""
    from figment.make import Wishes
    from figment.make import make as run_make

    sec = parse_duration(time) if time else None
    if sec is None and kimg is None:
        sec = parse_duration("30m" if device == "cpu" or not _has_gpu() else "8h")
    run_make(pictures, output, Wishes(sec, kimg, resolution, seed, device))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@app.command(epilog=example("demo-art pictures --pictures 400 --seed 0"))
def demo_art(
    out: Annotated[Path, typer.Argument(help="The folder to fill.")],
    pictures: Annotated[int, typer.Option(help="How many pictures.")] = 400,
    seed: Annotated[int, typer.Option(help="Another seed draws other pictures.")] = 0,
) -> None:
    """Draw pictures to practise on: characters, clutter, and everything that goes wrong in real collections."""
    from figment.demo.art import make_demo_art

    make_demo_art(out, pictures=pictures, seed=seed)
    say(f"{out}: {pictures} pictures, truth.json, CREDITS.md")


# ---------------------------------------------------------------------- from pictures to data


@app.command(epilog=example("crop pictures/ -o heads/", "crop pictures/ -o heads/ --threshold 0.5"))
def crop(
    pictures: Annotated[Path, typer.Argument(help="The folder of pictures.")],
    output: Out,
    threshold: Annotated[float | None, typer.Option(help="Least confidence of a head, 0 to 1.")] = None,
    margin: Annotated[float | None, typer.Option(help="Margin around a head, as a share of its longer side.")] = None,
    detector: Annotated[Path | None, typer.Option(help="Detector weights; unset takes the shipped ones.")] = None,
) -> None:
    """Find the heads in a folder of pictures and cut them out as squares."""
    from figment.heads.crop import crop_pictures

    given = {"threshold": threshold, "margin": margin, "detector": detector}
    say(crop_pictures(pictures, output, **_set(given)).line())


@app.command(epilog=example("curate heads/", "curate heads/ --min-size 96"))
def curate(
    heads: Annotated[Path, typer.Argument(help="A heads folder made by `figment crop`.")],
    min_size: Annotated[float | None, typer.Option(help=CURATE["min_size"])] = None,
    min_sharpness: Annotated[float | None, typer.Option(help=CURATE["min_sharpness"])] = None,
    min_contrast: Annotated[float | None, typer.Option(help=CURATE["min_contrast"])] = None,
    min_brightness: Annotated[float | None, typer.Option(help=CURATE["min_brightness"])] = None,
    min_headness: Annotated[float | None, typer.Option(help=CURATE["min_headness"])] = None,
    max_difference: Annotated[float | None, typer.Option(help=CURATE["max_difference"])] = None,
) -> None:
    """Judge every head by rules; nothing is deleted, and other thresholds start from the same rows."""
    from figment.curate.curate import curate as run_curate
    from figment.curate.verdicts import Thresholds

    given = {"min_size": min_size, "min_sharpness": min_sharpness, "min_contrast": min_contrast,
             "min_brightness": min_brightness, "min_headness": min_headness, "max_difference": max_difference}
    say(run_curate(heads, Thresholds(**_set(given))).line())


@app.command(epilog=example("pack heads/ -o heads-64.zip --resolution 64"))
def pack(
    heads: Annotated[Path, typer.Argument(help="A curated heads folder, or any folder of pictures.")],
    output: Out,
    resolution: Annotated[int | None, typer.Option(help="Side in pixels; unset takes what the crops fill.")] = None,
) -> None:
    """Pack the kept heads into a data set for training."""
    from figment.pack.zips import pack as run_pack

    summary = run_pack(heads, output, resolution=resolution)
    for line in summary.failed:
        say(f"left out: {line}")
    say(f"{output}: {summary.packed} heads at {summary.resolution}x{summary.resolution}")


# ---------------------------------------------------------------------- training


@app.command(epilog=example(
    "train heads.zip -o runs --kimg 200", "train heads.zip -o runs --init ffhq.pkl --adapt",
    "train heads.zip -o runs --time 8h --dry-run", "train --resume -o runs"))
def train(
    data: Annotated[Path | None, typer.Argument(help="The data set's zip; with --resume the run knows it.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of runs.")] = Path("runs"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in -o, or the newest below it.")] = False,
    family: Annotated[str | None, typer.Option(help=TRAIN["family"])] = None,
    preset: Annotated[str | None, typer.Option(help="auto, paper, cpu, stylegan1, progan, story.")] = None,
    init: Annotated[Path | None, typer.Option(help=TRAIN["init"])] = None,
    adapt: Annotated[bool, typer.Option("--adapt", help=TRAIN["adapt"])] = False,
    kimg: Annotated[float | None, typer.Option(help=TRAIN["kimg"])] = None,
    time: Annotated[str | None, typer.Option(help="Time instead of kimg, e.g. 8h; a trial turns it to kimg.")] = None,
    batch: Annotated[int | None, typer.Option(help=TRAIN["batch"])] = None,
    lr: Annotated[float | None, typer.Option(help=TRAIN["lr"])] = None,
    gamma: Annotated[float | None, typer.Option(help=TRAIN["gamma"])] = None,
    path_weight: Annotated[float | None, typer.Option(help=TRAIN["path_weight"])] = None,
    augment: Annotated[str | None, typer.Option(help=TRAIN["augment"])] = None,
    ada_target: Annotated[float | None, typer.Option(help=TRAIN["ada_target"])] = None,
    freeze_d: Annotated[int | None, typer.Option(help=TRAIN["freeze_d"])] = None,
    precision: Annotated[str | None, typer.Option(help=TRAIN["precision"])] = None,
    start_kimg: Annotated[float | None, typer.Option(help=TRAIN["start_kimg"])] = None,
    channel_base: Annotated[int | None, typer.Option(help=TRAIN["channel_base"])] = None,
    z_dim: Annotated[int | None, typer.Option(help=TRAIN["z_dim"])] = None,
    mixing: Annotated[float | None, typer.Option(help=TRAIN["mixing"])] = None,
    noise: Annotated[bool | None, typer.Option("--noise/--no-noise", help=TRAIN["noise"])] = None,
    ema_kimg: Annotated[float | None, typer.Option(help=TRAIN["ema_kimg"])] = None,
    mirror: Annotated[bool | None, typer.Option("--mirror/--no-mirror", help=TRAIN["mirror"])] = None,
    tick_kimg: Annotated[float | None, typer.Option(help=TRAIN["tick_kimg"])] = None,
    keep: Annotated[int | None, typer.Option(help=TRAIN["keep"])] = None,
    score_ticks: Annotated[int | None, typer.Option(help=TRAIN["score_ticks"])] = None,
    seed: Annotated[int | None, typer.Option(help=TRAIN["seed"])] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved configuration and stop.")] = False,
    device: Device = None,
) -> None:
    """Train a generator on a data set, with a line, a grid of fakes and a checkpoint every tick."""
    from figment.train.start import resume_training, start_training

    if resume:
        resume_training(output, data=data, kimg=kimg, device=device)
        return
    if data is None:
        raise FigmentError("DATA: give a data set made by `figment pack`, or --resume with -o RUN")
    run = start_training(
        data, output, sec=parse_duration(time) if time and kimg is None else None, dry_run=dry_run, device=device,
        family=family, preset=preset, init=str(init) if init else None, adapt=adapt, kimg=kimg, batch=batch, lr=lr,
        gamma=gamma, path_weight=path_weight, augment=augment, ada_target=ada_target, freeze_d=freeze_d,
        precision=precision, start_kimg=start_kimg, channel_base=channel_base, z_dim=z_dim, w_dim=z_dim,
        mixing=mixing, noise=noise, ema_kimg=ema_kimg, mirror=mirror, tick_kimg=tick_kimg, keep=keep, seed=seed,
        score_ticks=score_ticks)
    if not dry_run:
        say(f"{run}: fakes/, stats.jsonl, model.safetensors")


@app.command(epilog=example("plan heads-512.zip --kimg 2500", "plan heads.zip --watts 350 --kwh 0.35 --rent 1.9"))
def plan(
    data: Annotated[Path, typer.Argument(help="The data set's zip.")],
    kimg: Annotated[float, typer.Option(help=TRAIN["kimg"])] = 2500.0,
    preset: Annotated[str | None, typer.Option(help="As of `figment train`.")] = None,
    batch: Annotated[int | None, typer.Option(help=TRAIN["batch"])] = None,
    watts: Annotated[float | None, typer.Option(help="What this machine draws under load, in watts.")] = None,
    kwh: Annotated[float | None, typer.Option(help="Price of a kilowatt-hour.")] = None,
    rent: Annotated[float | None, typer.Option(help="Price of an hour of a rented card.")] = None,
    device: Device = None,
) -> None:
    """How long a training takes and what it costs, before it starts: a trial here, beside other cards."""
    from figment.train.planning import plan as run_plan
    from figment.train.planning import print_plan

    given = {"preset": preset, "batch": batch}
    print_plan(run_plan(data, kimg=kimg, watts=watts, kwh=kwh, rent=rent, device=device, **given), kimg)


@app.command(epilog=example("bench --resolution 256", "bench --resolution 512 --preset auto --device cuda"))
def bench(
    resolution: Annotated[int, typer.Option(help="Side of the pictures in pixels.")] = 64,
    preset: Annotated[str | None, typer.Option(help="As of `figment train`.")] = None,
    family: Annotated[str | None, typer.Option(help=TRAIN["family"])] = None,
    batch: Annotated[int | None, typer.Option(help=TRAIN["batch"])] = None,
    precision: Annotated[str | None, typer.Option(help=TRAIN["precision"])] = None,
    seconds: Annotated[float, typer.Option(help="How long to measure each figure.")] = 4.0,
    device: Device = None,
) -> None:
    """Where a training step's time goes, and what share of this machine's ceiling it reaches."""
    from figment.base.dist import join_world
    from figment.train.bench import bench as run_bench
    from figment.train.bench import print_bench
    from figment.train.config import resolve

    world = join_world(device)
    config = resolve(Path("bench"), "", resolution, 3, preset=preset, device=world.device.type, world=world.size,
                     family=family, batch=batch, precision=precision)
    print_bench(run_bench(config, world, seconds), config, world)


# ---------------------------------------------------------------------- networks of all origins


@app.command(epilog=example(
    "convert karras2019stylegan-ffhq.pkl -o ffhq.safetensors", "convert net.pkl -o start.safetensors --resolution 256",
    "convert model.safetensors -o net.pt --to rosinality"))
def convert(
    file: Annotated[Path, typer.Argument(help="Any checkpoint, model file or run.")],
    output: Out,
    to: Annotated[str | None, typer.Option(help="figment (unset means this) or rosinality.")] = None,
    resolution: Annotated[int | None, typer.Option(help="Grow or cut levels to this side in pixels.")] = None,
    channels: Annotated[int | None, typer.Option(help="Change the colours: 3 for RGB, 4 for RGBA.")] = None,
    labels: Annotated[bool, typer.Option("--labels/--no-labels", help="Keep the labels, or drop them.")] = True,
) -> None:
    """Turn any checkpoint into a figment model file, or into another program's; nothing in it is ever run."""
    from figment.legacy.formats import convert as run_convert

    _, done = run_convert(file, output, to, resolution=resolution, channels=channels, labels=labels)
    for line in done:
        say(line)
    say(str(output))


@app.command(epilog=example(
    "info karras2019stylegan-ffhq.pkl", "info runs/00000-heads", "info heads.zip", "info heads/"))
def info(
    what: Annotated[Path, typer.Argument(help="A checkpoint, model file, run, data set or heads folder.")],
) -> None:
    """Tell what a file or folder is and what is in it."""
    from figment.info import describe

    for name, value in describe(what):
        say(f"{name:<14}{value}")


# ---------------------------------------------------------------------- how good it is


@app.command(epilog=example(
    "score runs/00000-heads heads-64.zip", "score fakes/ heads-64.zip -o report",
    "score runs/00000-heads heads-64.zip --features inception=inception-2015-12-05.pt --images 50000"))
def score(
    model: Annotated[Path, typer.Argument(help="A model file, a run, or a folder or zip of pictures.")],
    data: Annotated[Path, typer.Argument(help="The real pictures: a data set's zip, or a folder.")],
    output: Annotated[Path | None, typer.Option(
        "--output", "-o", help="Folder for the report and the fakes nearest to training pictures.")] = None,
    features: Annotated[str, typer.Option(
        help="heads (shipped), inception, inception=FILE or FILE.onnx:OUTPUT[:unit|byte|imagenet].")] = "heads",
    images: Annotated[int | None, typer.Option(help="Fakes of a model; unset means 5000.")] = None,
    sample: Annotated[int, typer.Option(help="Pictures a side for scores of pairs (kernel, precision).")] = 5000,
    device: Device = None,
) -> None:
    """Score pictures against real ones: distances, precision and recall, path length, copies of training pictures."""
    from figment.score.score import describe
    from figment.score.score import score as run_score

    for name, value in describe(run_score(
            model, data, features=features, images=images, sample=sample, out=output, device=device)):
        say(f"{name:<18}{value}")


@app.command(epilog=example("compare runs/00003-heads runs/00004-heads -o compare"))
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Two runs or more.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for picture and table.")] = Path("compare"),
    data: Annotated[Path | None, typer.Option(help="What all are scored against; unset means the first run's.")] = None,
    features: Annotated[str, typer.Option(help="The feature network, as in `figment score`.")] = "heads",
    images: Annotated[int, typer.Option(help="Fakes of each model.")] = 2000,
    device: Device = None,
) -> None:
    """Score runs on the same terms, and draw their curves on one picture."""
    from figment.score.compare import compare as run_compare
    from figment.score.compare import table

    rows = run_compare(runs, output, data=data, features=features, images=images, device=device)
    for line in table(rows):
        say(line)
    say(f"{output}: compare.png, compare.md, compare.json")


# ---------------------------------------------------------------------- drawing


@app.command(epilog=example("sample runs/00000-heads -o out --seeds 0-63 --grid 8x8 --psi 0.7"))
def sample(
    model: Model,
    output: Out,
    seeds: Seeds = "0-63",
    grid: Annotated[str | None, typer.Option(help="Columns x rows of grid.png, e.g. 8x8; unset fits.")] = None,
    psi: Psi = 0.7,
    cutoff: Cutoff = None,
) -> None:
    """Draw characters by seed, each to its own PNG, and all of them as a grid."""
    from figment.draw.grid import grid_shape
    from figment.draw.sample import sample as run_sample

    shape = grid_shape(grid, "--grid") if grid else None
    run_sample(model, output, seeds=parse_seeds(seeds), grid=shape, psi=psi, cutoff=cutoff)
    say(f"{output}: grid.png")


@app.command(epilog=example("morph runs/00000-heads -o morph.mp4 --seeds 0-5 --seconds 10"))
def morph(
    model: Model,
    output: Out,
    seeds: Seeds = "0-5",
    seconds: Annotated[float, typer.Option(help="Length of the loop.")] = 10.0,
    fps: Annotated[int, typer.Option(help="Frames per second.")] = 30,
    psi: Psi = 0.7,
) -> None:
    """A closed loop through the characters of some seeds as an MP4, at an even pace."""
    from figment.draw.morph import morph as run_morph

    run_morph(model, output, seeds=parse_seeds(seeds), seconds=seconds, fps=fps, psi=psi)
    say(str(output))


@app.command(epilog=example("film runs/00000-heads -o film.mp4"))
def film(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    output: Out,
) -> None:
    """Turn a run's grids of fakes into a film of the training."""
    from figment.draw.film import film as run_film

    run_film(run, output)
    say(str(output))


@app.command(epilog=example("mix runs/00000-heads -o mix.png --rows 0-3 --columns 10-15"))
def mix(
    model: Model,
    output: Out,
    rows: Annotated[str, typer.Option(help="Seeds that give identity, one a row.")] = "0-3",
    columns: Annotated[str, typer.Option(help="Seeds whose styles are mixed in, one a column.")] = "10-15",
    layers: Annotated[str, typer.Option(help="What a column gives: coarse, middle, fine, or layers 4-9.")] = "middle",
    psi: Psi = 0.7,
) -> None:
    """The table of style mixes: source rows times style columns."""
    from figment.draw.mix import mix as run_mix

    run_mix(model, output, rows=parse_seeds(rows), columns=parse_seeds(columns), layers=layers, psi=psi)
    say(str(output))


@app.command(epilog=example("publish runs/00000-heads -o site"))
def publish(
    model: Model,
    output: Out,
    psi: Psi = 0.7,
    title: Annotated[str | None, typer.Option(help="The page's heading.")] = None,
) -> None:
    """A static gallery page of samples, the morph and the training film, for any file host."""
    from figment.web.publish import publish as run_publish

    run_publish(model, output, psi=psi, **_set({"title": title}))
    say(f"{output / 'index.html'}")


def _set(options: dict[str, Any]) -> dict[str, Any]:
    """The options that the user set."""
    return {name: value for name, value in options.items() if value is not None}
