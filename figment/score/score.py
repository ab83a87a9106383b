"""Score a model, or a folder or zip of images, against the data.

figment score runs/00003-heads heads-64.zip
figment score fakes/ heads-64.zip -o report --images 2000
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from figment.base.device import find_device
from figment.base.errors import FigmentError
from figment.base.files import write_json, write_text
from figment.base.pixels import write_png
from figment.score.backbones import Heads, open_features
from figment.score.copies import Copies, CopyCheck, pair_sheet
from figment.score.features import FeatureNetwork
from figment.score.metrics import frechet_distance, kernel_distance, neighbours
from figment.score.path_length import path_length
from figment.score.reference import BATCH, SAMPLE, Gathering, Reference, Statistics, batches, measure_reference
from figment.score.sources import ModelSource, Source, open_source

MARK = "* the discriminator of this model looked through these features, which flatters it; FD-parts is independent"
"""Line below scores that carry a mark."""
FEWEST = 8
"""Images that each side needs, for nearest neighbors to mean anything."""
FEW = 500
"""With fewer images on a side, the table says that the scores say little."""


@dataclass(frozen=True)
class Scores:
    """The scores of one set of fakes."""

    features: str
    """Name of the feature network."""
    labels: tuple[str, str]
    """Names of the Frechet and the kernel distance with these features."""
    images: int
    """Number of fakes."""
    reference: str
    """Name of the data."""
    reference_images: int
    """Number of images in the data."""
    distance: float
    """Frechet distance; FID only with the Inception network."""
    floor: float | None
    """Frechet distance between two halves of the data; None for too few images."""
    kernel: float
    """Unbiased kernel distance."""
    kernel_error: float
    """Standard error of the kernel distance."""
    sample: tuple[int, int]
    """Numbers of fakes and reals used for the kernel distance, precision, recall, density and coverage."""
    precision: float
    recall: float
    density: float
    coverage: float
    path_length: float | None
    """Mean perceptual path length in w, with the detector's features; None for images without a model."""
    path_length_error: float | None
    copies: int
    """Fakes that are copies of training images."""
    looked_through: bool
    """Whether the model's discriminator looked through these features in training, so that they flatter the model."""
    share_close: float
    """Share of fakes nearer to a training image than the 1st percentile of the distance between training images."""


def score(
    what: Path,  # a model, a run, or a folder or zip of images
    data: Path,  # a zip or folder of real images
    *,
    features: str | None = None,  # heads, parts, inception, inception=FILE or FILE.onnx:OUTPUT; None: `usual_features`
    images: int | None = None,  # fakes of a model; None means 5000
    sample: int = SAMPLE,  # most images of each side for scores that compare pairs
    out: Path | None = None,  # folder for scores.json, report.md, pairs.png and nearest.json; None for no files
    steps: int = 500,  # steps of the path length; 0 for no path length
    device: str | None = None,  # None means the GPU if there is one
) -> Scores:
    """Score `what` against `data`; write a report with the nearest training image of each fake to `out`.

    Raises FigmentError for options that don't fit, sources that can't be read, or fewer than 8 images.
    """
    place = str(find_device(device))
    if images is not None and images < FEWEST:
        raise FigmentError(f"--images {images}: must be {FEWEST} or more")
    if sample < FEWEST:
        raise FigmentError(f"--sample {sample}: must be {FEWEST} or more")
    real, fake = open_source(data, "DATA"), open_source(what, "MODEL", count=images, device=place)
    for flag, path, source in (("MODEL", what, fake), ("DATA", data, real)):
        if len(source) < FEWEST:
            raise FigmentError(f"{flag} {path}: holds fewer than {FEWEST} images, only {len(source)}")
    if isinstance(real, ModelSource):
        raise FigmentError(f"DATA {data}: must be a zip or folder of images, but this is a model")
    network = open_features(features or usual_features(fake.projected), place)
    reference = measure_reference(real, network, sample=sample)
    found, check = score_source(fake, reference, network, sample=sample)
    if reference.all.count < FEWEST:
        raise FigmentError(f"DATA {data}: holds fewer than {FEWEST} readable images")

    length = None
    if isinstance(fake, ModelSource) and steps:
        length = path_length(fake.g, network if isinstance(network, Heads) else Heads(place), steps)
    copies = check.result()
    scores = Scores(
        **compare_statistics(found, reference.all),
        features=network.name,
        labels=network.labels,
        images=found.count,
        reference=real.name,
        reference_images=reference.all.count,
        floor=floor_of(reference),
        path_length=length.value if length else None,
        path_length_error=length.error if length else None,
        copies=len(copies.copies),
        looked_through=looks_through(fake, network),
        share_close=copies.share_close,
    )
    if out:
        write_report(out, scores, check, copies, real, fake)
    return scores


def score_source(
    fake: Source,
    reference: Reference,
    network: FeatureNetwork,
    *,
    sample: int = SAMPLE,
    batch: int = BATCH,
) -> tuple[Statistics, CopyCheck]:
    """Return the statistics of `fake` and the check for copies, in one pass."""
    gathering = Gathering(network, sample)
    check = CopyCheck(reference.thumbs, reference.names, reference.close)
    for names, images in batches(fake, "scoring", batch):
        gathering.add(images)
        check.add(names, images)
    if len(fake.damaged) > len(fake) - FEWEST:
        raise FigmentError(f"{fake.name}: holds fewer than {FEWEST} readable images ({fake.damaged[-1]})")
    return gathering.result()[0], check


def usual_features(
    projected: bool,  # whether a discriminator looked through the head detector's features
) -> str:
    """Return the features to score with unless others are named: such that no discriminator looked through them."""
    return "parts" if projected else "heads"


def looks_through(fake: Source, network: FeatureNetwork) -> bool:
    """Return whether the discriminator of the model that draws the fakes looked through these features."""
    return isinstance(network, Heads) and fake.projected


def compare_statistics(fake: Statistics, real: Statistics) -> dict[str, Any]:
    """Return all scores that follow from features alone, by their names in `Scores`."""
    kernel = kernel_distance(fake.sample, real.sample)
    return {
        "distance": frechet_distance(fake.mean, fake.cov, real.mean, real.cov),
        "kernel": kernel.value,
        "kernel_error": kernel.error,
        "sample": (len(fake.sample), len(real.sample)),
        **neighbours(real.sample, fake.sample)._asdict(),
    }


def floor_of(reference: Reference) -> float | None:
    """Return the Frechet distance between two halves of the data; None for too few images.

    It is the lowest distance to expect from half as many fakes as there are reals.
    """
    one, two = reference.halves
    if min(one.count, two.count) < 2:
        return None
    return frechet_distance(one.mean, one.cov, two.mean, two.cov)


def describe(scores: Scores) -> list[tuple[str, str]]:
    """Return the scores as rows of a name and a text."""
    fd, kd = (label + "*" if scores.looked_through else label for label in scores.labels)
    pairs = f"{scores.sample[0]} fakes, {scores.sample[1]} reals"
    sizes = f"{scores.images} fakes against {scores.reference_images} of {scores.reference}"
    few = min(scores.images, scores.reference_images) < FEW
    sizes += f"; fewer than {FEW}, so all scores vary a lot by chance" if few else ""
    rows = [(fd, f"{scores.distance:.4f}   {sizes}")]
    if scores.floor is not None:
        rows.append(
            (f"{fd} floor", f"{scores.floor:.4f}   two halves of the data, {scores.reference_images // 2} each")
        )
    rows += [
        (f"{kd} x1000", f"{scores.kernel * 1000:.3f} +- {scores.kernel_error * 1000:.3f}   {pairs}"),
        ("precision", f"{scores.precision:.3f}   k=3, {pairs}"),
        ("recall", f"{scores.recall:.3f}"),
        ("density", f"{scores.density:.3f}   k=5"),
        ("coverage", f"{scores.coverage:.3f}"),
    ]
    if scores.path_length is not None:
        rows.append(("path length", f"{scores.path_length:.2f} +- {scores.path_length_error:.2f}   heads features, w"))
    rows.append(("copies", f"{scores.copies} of {scores.images}; {scores.share_close:.1%} close (expected: 1%)"))
    return [*rows, ("*", MARK.removeprefix("* "))] if scores.looked_through else rows


def write_report(
    out: Path,
    scores: Scores,
    check: CopyCheck,
    copies: Copies,
    real: Source,
    fake: Source,
) -> None:
    """Write scores.json, report.md, nearest.json (each fake's nearest training image) and pairs.png (the nearest)."""
    out.mkdir(parents=True, exist_ok=True)
    pairs = [(found, image, real.read(found.real)) for found, image in check.kept()]
    write_png(out / "pairs.png", pair_sheet(pairs, copies.close))
    write_json(
        out / "nearest.json",
        {
            "close": copies.close,
            "copies": [found._asdict() for found in copies.copies],
            "nearest": [found._asdict() for found in copies.nearest],
        },
    )
    table = "\n".join(f"| {name} | {figure} |" for name, figure in describe(scores))
    left = "\n".join(f"- left out: {line}" for line in (*real.damaged, *fake.damaged))
    write_text(
        out / "report.md",
        f"# {fake.name} against {real.name}\n\n| score | value |\n|---|---|\n{table}\n\n"
        "The fakes nearest to a training image, fake on the left, nearest first; `nearest.json` lists all.\n\n"
        f"![pairs](pairs.png)\n\n{left}\n",
    )
    write_json(out / "scores.json", asdict(scores))
