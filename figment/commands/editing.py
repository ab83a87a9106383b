"""Pictures into latent space, characters changed, and many of them: project, edit, augment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from figment.base.errors import FigmentError
from figment.base.parse import parse_seeds
from figment.base.progress import say
from figment.commands.app import Device, Model, Out, Psi, Seeds, app, example


@app.command(
    epilog=example(
        "project runs/00000-heads portrait.png -o out", "project runs/00000-heads portraits/ -o out --space w+ --tune"
    )
)
def project(
    model: Model,
    pictures: Annotated[Path, typer.Argument(help="A picture, or a folder of them.")],
    output: Out,
    space: Annotated[str, typer.Option(help="w: one latent for all layers; w+: one each, nearer but looser.")] = "w",
    steps: Annotated[int, typer.Option(help="Steps of the search.")] = 200,
    crop: Annotated[bool, typer.Option("--crop/--no-crop", help="Crop the head first.")] = True,
    tune: Annotated[bool, typer.Option("--tune", help="Bend the generator too, into NAME.safetensors.")] = False,
    film: Annotated[bool, typer.Option("--film", help="The search as NAME.mp4.")] = False,
    seed: Annotated[int, typer.Option(help="Another seed starts from other characters.")] = 0,
    device: Device = None,
) -> None:
    """Find the character that looks most like a picture: its PNG, its latent, and how far off it is."""
    from figment.draw.project import project as run_project

    for name, distance in run_project(
        model, pictures, output, space=space, steps=steps, crop=crop, tune=tune, film=film, seed=seed, device=device
    ):
        say(f"{output / name}.png: distance {distance:.4f}")


@app.command(
    epilog=example(
        "edit runs/00000-heads --find sefa -o sheet.png",
        "edit runs/00000-heads --name 3=hair-length",
        "edit runs/00000-heads --apply hair-length=2 --seeds 0-7 -o out",
    )
)
def edit(
    model: Model,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A sheet's PNG, or a folder of edits.")] = None,
    find: Annotated[str | None, typer.Option(help="Draw the directions that sefa or pca finds.")] = None,
    count: Annotated[int, typer.Option(help="How many to find.")] = 8,
    name: Annotated[list[str] | None, typer.Option(help="Keep one: NUMBER=NAME; may be given again.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Fit directions: {property: {seed: value}} as JSON.")] = None,
    apply: Annotated[str | None, typer.Option(help="Draw edits: NAME=AMOUNT,...")] = None,
    layers: Annotated[str | None, typer.Option(help="Only these layers: coarse, middle, fine or 4-9.")] = None,
    seeds: Seeds = "0",
    psi: Psi = 0.7,
) -> None:
    """Directions that change a character in one way: find and look, name, fit to labels, apply."""
    from figment.draw import edit as stage

    chosen = parse_seeds(seeds)
    if name:
        for direction in stage.name_directions(model, name, method=find or "sefa", layers=layers):
            say(f"{direction.name}: kept with {model}")
    elif labels:
        for direction in stage.fit(model, labels, layers=layers):
            say(f"{direction.name}: fitted, kept with {model}")
    elif output is None:
        raise FigmentError("--output: say where the sheet or the edits go")
    elif apply:
        stage.edit(model, output, apply=apply, seeds=chosen, layers=layers, psi=psi)
        say(f"{output}: grid.png, each character before and after")
    else:
        stage.find(model, output, method=find or "sefa", count=count, seeds=chosen, psi=psi)
        say(f"{output}: a row for each direction, from -4 to 4 standard deviations")


@app.command(
    epilog=example(
        "augment runs/00000-heads -o more --images 1000 --data heads-64.zip",
        "augment runs/00000-heads -o one --images 200 --hold 17 --vary fine",
    )
)
def augment(
    model: Model,
    output: Out,
    images: Annotated[int, typer.Option(help="How many to draw; near-copies are then left out.")] = 1000,
    data: Annotated[Path | None, typer.Option(help="Training pictures, zip or folder, not to be copied.")] = None,
    hold: Annotated[int | None, typer.Option(help="Seed of the character that gives what is not varied.")] = None,
    vary: Annotated[str, typer.Option(help="What each picture's own seed decides.")] = "coarse,middle,fine",
    form: Annotated[str, typer.Option("--format", help="imagefolder, or coco with the heads' boxes.")] = "imagefolder",
    label: Annotated[str, typer.Option(help="The class's folder, or the category's name.")] = "generated",
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    psi: Psi = 0.8,
) -> None:
    """Characters as training data for other vision models, with a manifest; running it again goes on."""
    from figment.draw.augment import augment as run_augment

    kept, left_out = run_augment(
        model, output, images=images, data=data, hold=hold, vary=vary, form=form, label=label, seed=seed, psi=psi
    )
    say(f"{output}: {kept} pictures; {left_out} left out as too like a training picture; manifest.jsonl")
