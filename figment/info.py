"""Describe a model, run, data set or heads folder, as rows of a name and a value.

figment info karras2019stylegan-ffhq.pkl
figment info runs/00003-heads
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from figment.base.catalog import Catalog, count_reasons
from figment.base.errors import FigmentError
from figment.base.files import is_run

Rows = list[tuple[str, str]]


def describe(path: Path) -> Rows:
    """Return the rows of a checkpoint, a model file, a run, a data set or a heads folder.

    Raises FigmentError for anything else.
    """
    if not path.exists():
        raise FigmentError(f"{path}: does not exist")
    if is_run(path):
        return describe_run(path)
    if (path / "catalog.db").is_file():
        return describe_heads(path)
    if path.is_dir() and any(path.glob("*.tfrecords")):
        return describe_data(path)
    if path.is_file() and path.suffix.lower() == ".zip" and _holds_pictures(path):
        return describe_data(path)
    from figment.models import describe as describe_model

    return describe_model(path)


def _holds_pictures(path: Path) -> bool:
    """Return whether a zip is a data set; PyTorch checkpoints are zips too."""
    from figment.base.files import DAMAGED_ZIP
    from figment.base.formats import has_picture_name

    try:
        with zipfile.ZipFile(path) as archive:
            return any(has_picture_name(name) or name.endswith("dataset.json") for name in archive.namelist())
    except DAMAGED_ZIP:
        return False


def describe_run(run: Path) -> Rows:
    """Return the progress and settings of a run, and the rows of its model file."""
    from figment.models import describe as describe_model
    from figment.train.config import read_config
    from figment.train.state import checkpoints

    config = read_config(run / "config.json")
    found = checkpoints(run)
    seen = int(found[-1].stem.removeprefix("img")) / 1000 if found else 0.0
    rows = [
        ("run", str(run)),
        ("data", f"{config.data}, digest {config.digest}"),
        ("trained", f"{seen:g} of {config.schedule.kimg:g} kimg"),
        ("started from", config.schedule.init or "random weights"),
        ("checkpoints", ", ".join(path.name for path in found) or "none"),
        ("recipe", ", ".join(f"{name} {value}" for name, value in vars(config.recipe).items())),
    ]
    model = run / "model.safetensors"
    return rows + (describe_model(model) if model.is_file() else [])


def describe_data(path: Path) -> Rows:
    """Return the number and shape of a data set's images, and its labels."""
    from figment.pack.dataset import ImageDataset

    data = ImageDataset(path)
    count, channels, height, width = data.shape
    rows = [
        ("data set", str(path)),
        ("pictures", f"{count} of {width}x{height}, {channels} channels"),
        ("digest", data.digest),
    ]
    try:
        labels = data.labels
    except FigmentError as error:  # the pictures are fine without them
        rows.append(("labels", f"unusable: {error}"))
        labels = None
    if labels is not None:
        classes = len(set(labels.tolist())) if labels.ndim == 1 else 0
        rows.append(("labels", f"{classes} classes" if classes else f"{labels.shape[1]} numbers per picture"))
    return rows + [("note", line) for line in data.notes] + [("damaged", line) for line in data.damaged]


def describe_heads(folder: Path) -> Rows:
    """Return the numbers of images and heads in a catalog, and of rejected ones by reason."""
    with Catalog(folder) as catalog:
        pictures, heads, kept = len(catalog.pictures()), len(catalog.heads()), len(catalog.kept())
    rows = [("heads folder", str(folder)), ("pictures", str(pictures)), ("heads", f"{heads}, {kept} kept")]
    return rows + [(name, str(count)) for name, count in count_reasons(folder).items()]
