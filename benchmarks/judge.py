"""Judge drawn heads: the share that is well formed, part by part, and the variety of the well-formed ones.

    python benchmarks/learn_beside_ada.py /tmp/ada -o learn --minutes 10 --seeds 0
    python benchmarks/judge.py learn/figment-0 learn/real
    python benchmarks/judge.py learn/figment-0 learn/real --sheet sheet.png --json judged.json
    python benchmarks/judge.py learn/figment-0 learn/real --labels benchmarks/data/judge_labels.json

FAKES and REAL are folders of heads like those of DiceBear's `adventurer`, on white. The judge is the network of
`figment.score.parts`, trained on drawings alone. A head is well formed if its eyes, eyebrows, mouth and hair are.
For each attribute two numbers: the share of the data's kinds that well-formed heads show, and the effective number of
kinds (the exponential of the entropy). `--labels` names a file of verdicts by eye on some of the fakes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.score.features import to_rgb
from figment.score.parts import PARTS, PartsJudge, Verdicts, effective_kinds, kinds_covered
from figment.score.sources import open_source

CELLS, ZOOM, FRAME = 100, 2, 4
GOOD, BAD = (40, 170, 60), (215, 40, 40)
"""Colors of the frames."""


@dataclass(frozen=True)
class Judged:
    """A folder and what the judge says of it."""

    names: list[str]
    images: list[np.ndarray]
    verdicts: Verdicts


def judge_folder(judge: PartsJudge, folder: Path, flag: str) -> Judged:
    """Judge all readable images of a folder or zip."""
    rows = list(open_source(folder, flag))
    images = [image for _, image in rows]
    return Judged([name for name, _ in rows], images, judge(images))


def figures(judged: Judged, real: Judged) -> dict[str, Any]:
    """Return the share of well-formed heads, and of each part, and the variety beside the data."""
    verdicts, good = judged.verdicts, judged.verdicts.well_formed
    real_good = real.verdicts.well_formed
    return {
        "images": len(good),
        "well_formed": float(good.mean()),
        "parts": {part: float(share) for part, share in zip(PARTS, verdicts.well.mean(0), strict=True)},
        "kinds": {
            name: {
                "covered": kinds_covered(kinds[good], real.verdicts.kinds[name][real_good]),
                "effective": effective_kinds(kinds[good]),
            }
            for name, kinds in verdicts.kinds.items()
        },
    }


def table(rows: dict[str, dict[str, Any]]) -> str:
    """Return the figures of several folders as a Markdown table."""
    kinds = list(next(iter(rows.values()))["kinds"])
    lines = [["heads", "count", "well formed", *PARTS, *(f"{name}: covered, effective" for name in kinds)]]
    lines.append(["---"] * len(lines[0]))
    for name, row in rows.items():
        lines.append([name, str(row["images"]), f"{row['well_formed']:.1%}"])
        lines[-1] += [f"{row['parts'][part]:.1%}" for part in PARTS]
        lines[-1] += [f"{row['kinds'][kind]['covered']:.0%}, {row['kinds'][kind]['effective']:.1f}" for kind in kinds]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def sheet(judged: Judged) -> np.ndarray:
    """Return the first 100 heads in frames, green if well formed and red if not, uint8 [H, W, 3]."""
    cells = []
    for image, good in zip(judged.images[:CELLS], judged.verdicts.well_formed, strict=False):
        small = np.ascontiguousarray(to_rgb(image).transpose(1, 2, 0))
        side = 64 * ZOOM
        cell = np.empty((side + 2 * FRAME, side + 2 * FRAME, 3), np.uint8)
        cell[:] = GOOD if good else BAD
        cell[FRAME:-FRAME, FRAME:-FRAME] = np.asarray(
            Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)
        )
        cells.append(cell)
    blank = np.full_like(cells[0], 255)
    cells += [blank] * (-len(cells) % 10)
    return np.concatenate([np.concatenate(cells[start : start + 10], 1) for start in range(0, len(cells), 10)])


def agreement(judged: Judged, labels: dict[str, dict[str, bool]]) -> dict[str, dict[str, float]]:
    """Return how often the judge agrees with verdicts by eye, with Cohen's kappa (1960), for each thing labeled.

    `labels` maps a file's name to verdicts on one of PARTS, or on "all".
    """
    at = {name: row for row, name in enumerate(judged.names)}
    missing = sorted(labels.keys() - at.keys())
    if missing:
        raise FigmentError(f"--labels: no fake is called {missing[0]}, nor {len(missing) - 1} more of its names")
    found = {}
    for what in dict.fromkeys(what for row in labels.values() for what in row):
        names = [name for name in labels if what in labels[name]]
        verdicts = judged.verdicts
        said = verdicts.well_formed if what == "all" else verdicts.well[:, PARTS.index(what)]
        mine = np.array([said[at[name]] for name in names])
        theirs = np.array([labels[name][what] for name in names])
        observed = float((mine == theirs).mean())
        chance = float(mine.mean() * theirs.mean() + (1 - mine.mean()) * (1 - theirs.mean()))
        found[what] = {
            "heads": len(names),
            "by_eye": float(theirs.mean()),
            "judge": float(mine.mean()),
            "accuracy": observed,
            "kappa": (observed - chance) / max(1 - chance, 1e-9),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fakes", type=Path)
    parser.add_argument("real", type=Path)
    parser.add_argument("--sheet", type=Path, help="write the first 100 fakes with the verdict as a frame")
    parser.add_argument("--json", type=Path, help="write the figures")
    parser.add_argument("--labels", type=Path, help="JSON of verdicts by eye to compare")
    options = parser.parse_args()

    judge = PartsJudge()
    fakes, real = judge_folder(judge, options.fakes, "FAKES"), judge_folder(judge, options.real, "REAL")
    rows = {"fakes": figures(fakes, real), "data": figures(real, real)}
    print(table(rows))
    if options.labels:
        rows["agreement"] = agreement(fakes, json.loads(options.labels.read_text())["labels"])
        print(json.dumps(rows["agreement"]))
    if options.sheet:
        write_png(options.sheet, sheet(fakes))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
