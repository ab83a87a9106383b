"""Compare runs: their curves in one chart, and a table of new scores under the same conditions.

figment compare runs/00003-heads runs/00004-heads -o compare
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from figment.base.device import find_device
from figment.base.errors import FigmentError
from figment.base.files import find_run, read_json, write_json, write_text
from figment.base.pixels import write_png
from figment.nets.checkpoint import read_record
from figment.score.backbones import open_features
from figment.score.chart import draw_curves
from figment.score.monitor import BEST, SCORES, read_rows
from figment.score.reference import SAMPLE, measure_reference
from figment.score.score import MARK, compare_statistics, floor_of, looks_through, score_source, usual_features
from figment.score.sources import is_projected, open_source

COLUMNS = (
    "run",
    "model",
    "kimg",
    "distance",
    "kernel",
    "kernel_error",
    "precision",
    "recall",
    "density",
    "coverage",
    "copies",
)

Curves = dict[str, tuple[list[float], list[float]]]


def compare(
    runs: list[Path],
    out: Path,  # folder for compare.png, compare.md and compare.json
    *,
    data: Path | None = None,  # data to score against; None means that of the first run
    features: str | None = None,  # heads, parts, inception, inception=FILE or FILE.onnx:OUTPUT; None: `usual_features`
    images: int = 2000,  # fakes of each model
    device: str | None = None,  # None means the GPU if there is one
) -> list[dict[str, Any]]:
    """Score each run's last and best model on the same number of images against the same data; return the rows.

    Raises FigmentError for fewer than two runs, or runs without models or data.
    """
    if len(runs) < 2:
        raise FigmentError(f"RUN: give two runs or more to compare, not {len(runs)}")
    found = [find_run(run, "RUN") for run in runs]
    names = _short_names(found)
    data = data or Path(read_json(found[0] / "config.json").get("data", ""))
    if not data.exists() or str(data) == ".":
        raise FigmentError(f"--data: {found[0]} was trained on {data}, which is gone; give the data to compare with")
    place = str(find_device(device))
    models = [(name, *each) for run, name in zip(found, names, strict=True) for each in _models(run)]
    features = features or usual_features(any(is_projected(read_record(model)["config"]) for _, model, _ in models))
    network = open_features(features, place)
    reference = measure_reference(open_source(data, "--data"), network)

    rows = []
    for name, model, kimg in models:
        fakes = open_source(model, "RUN", count=images, device=place)
        statistics, check = score_source(fakes, reference, network, sample=SAMPLE)
        rows.append(
            {
                "run": name,
                "model": model.name,
                "kimg": kimg,
                "labels": network.labels,
                "looked_through": looks_through(fakes, network),
                **compare_statistics(statistics, reference.all),
                "copies": len(check.result().copies),
            }
        )

    curves, left_out, label = same_terms(
        {name: read_rows(run / SCORES) for run, name in zip(found, names, strict=True)}
    )
    terms = {
        "features": network.name,
        "images": images,
        "reference": data.name,
        "reference_images": reference.all.count,
        "floor": floor_of(reference),
        "left_out": left_out,
    }
    write_png(out / "compare.png", draw_curves(curves, f"{label} during training (smoothed)", "kimg"))
    write_text(out / "compare.md", _report(rows, terms))
    write_json(out / "compare.json", {"terms": terms, "rows": rows})
    return rows


def _short_names(runs: list[Path]) -> list[str]:
    """Return the names of the folders, with their parents' names if two are equal."""
    counts = Counter(run.name for run in runs)
    return [run.name if counts[run.name] == 1 else f"{run.resolve().parent.name}/{run.name}" for run in runs]


def _models(run: Path) -> list[tuple[Path, float | None]]:
    """Return a run's last model, and its best one if that is another, with their kimg if known."""
    last = run / "model.safetensors"
    if not last.is_file():
        raise FigmentError(f"RUN {run}: holds no model.safetensors yet")
    found: list[tuple[Path, float | None]] = [(last, read_record(last)["config"].get("kimg"))]
    if (run / BEST).is_file():
        kimg = read_record(run / BEST)["config"].get("kimg")
        if kimg != found[0][1]:
            found.append((run / BEST, kimg))
    return found


def same_terms(tables: dict[str, list[dict[str, Any]]]) -> tuple[Curves, list[str], str]:
    """Return the smoothed curves that were measured under the same conditions, a line for each run without one, and
    the name of the distance.

    The conditions are the features, the number of fakes and the reference; those that most runs share are used.
    """

    def terms(row: dict[str, Any]) -> tuple[Any, ...]:
        return row.get("label"), row.get("images"), row.get("reference")

    common = Counter(terms(row) for table in tables.values() for row in table[-1:]).most_common(1)
    curves: Curves = {}
    left_out = []
    for name, table in tables.items():
        fitting = [row for row in table if common and terms(row) == common[0][0]]
        if fitting:
            curves[name] = [row["kimg"] for row in fitting], [row["smooth"] for row in fitting]
        else:
            left_out.append(
                f"{name}: "
                + (
                    "no scores during training"
                    if not table
                    else "scored during training under other conditions than the others"
                )
            )
    return curves, left_out, str(common[0][0][0]) if common else "score"


def _report(rows: list[dict[str, Any]], terms: dict[str, Any]) -> str:
    """Return the table and the chart as Markdown."""
    heads = _headings(rows)
    lines = [" | ".join(cells) for cells in (heads, ["---"] * len(heads), *_cells(rows))]
    lines = [f"| {line} |" for line in lines]
    floor = (
        f"; the distance between the data's two halves is {terms['floor']:.4f}" if terms["floor"] is not None else ""
    )
    mark = f"\n\n{MARK}" if any(row["looked_through"] for row in rows) else ""
    notes = "".join(f"- not in the chart: {line}\n" for line in terms["left_out"])
    return (
        f"# Comparison\n\n{terms['images']} fakes of each model (seeds 0 to {terms['images'] - 1}) against all "
        f"{terms['reference_images']} images of {terms['reference']}{floor}.\n\n"
        + "\n".join(lines)
        + f"{mark}\n\n![curves](compare.png)\n\n{notes}"
    )


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table for a terminal."""
    cells = [_headings(rows), *_cells(rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(COLUMNS))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return [*lines, MARK] if any(row["looked_through"] for row in rows) else lines


def _headings(rows: list[dict[str, Any]]) -> list[str]:
    """Return the names of the columns; those of the distances name the features."""
    distance, kernel = rows[0]["labels"]
    named = {"distance": distance, "kernel": f"{kernel} x1000", "kernel_error": "+-"}
    return [named.get(name, name) for name in COLUMNS]


def _cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Return the rows as texts; distances with features that the discriminator looked through carry a mark."""
    return [
        [
            _cell(name, row[name]) + ("*" if row["looked_through"] and name in ("distance", "kernel") else "")
            for name in COLUMNS
        ]
        for row in rows
    ]


def _cell(name: str, value: Any) -> str:
    """Return a value as the table shows it."""
    if value is None:
        return "?"
    if name in ("kernel", "kernel_error"):
        return f"{value * 1000:.3f}"
    return (
        f"{value:.4f}"
        if name == "distance"
        else f"{value:.3f}"
        if name in COLUMNS[6:10]
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
