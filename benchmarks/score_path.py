"""Crop and curate new demo art and compare with the truth: found heads, false crops, copies, damaged files.

python benchmarks/score_path.py /tmp/score --pictures 400 --seed 11
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from figment.base.catalog import Catalog
from figment.base.records import Box
from figment.curate.curate import curate
from figment.demo.art import make_demo_art
from figment.heads.crop import crop_pictures

IOU = 0.5


def best_match(box: Box, others: list[Box]) -> tuple[float, int]:
    """Return the largest IoU of `box` with one of `others` and the index of that one; (0, -1) if there are none."""
    return max(((box.iou(other), i) for i, other in enumerate(others)), default=(0.0, -1))


def score_crops(truth: dict[str, Any], heads: list[Any], kept: set[int]) -> dict[str, str]:
    """Return the recall of usable heads, and the share of false crops among all crops and among kept ones."""
    found_in = defaultdict(list)
    for head in heads:
        found_in[head.picture].append(head.box)
    usable = [
        (name, Box(*box))
        for name, entry in truth.items()
        if entry["usable"]
        for box, small in zip(entry["boxes"], entry["too_small"], strict=True)
        if not small
    ]
    found = sum(best_match(box, found_in[name])[0] >= IOU for name, box in usable)
    none = [
        head for head in heads if best_match(head.box, [Box(*box) for box in truth[head.picture]["boxes"]])[0] < IOU
    ]
    none_kept = [head for head in none if head.id in kept]
    return {
        "usable heads found": f"{found} of {len(usable)} ({found / len(usable):.1%})",
        "crops without a head": f"{len(none)} of {len(heads)} ({len(none) / len(heads):.1%})",
        "kept crops without a head": f"{len(none_kept)} of {len(kept)} ({len(none_kept) / max(len(kept), 1):.1%})",
    }


def score_copies(truth: dict[str, Any], heads: list[Any], verdicts: dict[int, Any]) -> dict[str, str]:
    """Return how many planted copies were rejected, and how many distinct heads were rejected as copies."""
    kept_of: Counter[tuple[str, int]] = Counter()
    seen_of: Counter[tuple[str, int]] = Counter()
    lost = singles = 0
    copied = {entry["of"] for entry in truth.values() if entry["of"]}
    for head in heads:
        entry = truth[head.picture]
        overlap, which = best_match(head.box, [Box(*box) for box in entry["boxes"]])
        if overlap < IOU or entry["too_small"][which]:
            continue
        original = entry["of"] or head.picture
        verdict = verdicts[head.id]
        if original in copied and verdict.reason in ("", "duplicate"):
            seen_of[original, which] += 1
            kept_of[original, which] += verdict.verdict == "keep"
        elif original not in copied:
            singles += 1
            lost += verdict.reason == "duplicate"
    planted = sum(count - 1 for count in seen_of.values() if count > 1)
    left = sum(max(kept_of[key] - 1, 0) for key, count in seen_of.items() if count > 1)
    return {
        "planted copies rejected": f"{planted - left} of {planted} ({1 - left / max(planted, 1):.1%})",
        "distinct heads rejected as copies": f"{lost} of {singles} ({lost / max(singles, 1):.2%})",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    pictures, out = options.folder / "pictures", options.folder / "heads"

    make_demo_art(pictures, pictures=options.pictures, seed=options.seed)
    start = time.monotonic()
    print(crop_pictures(pictures, out).line())
    middle = time.monotonic()
    print(curate(out).line())
    print(f"crop {middle - start:.0f} s, curate {time.monotonic() - middle:.0f} s")

    truth = json.loads((pictures / "truth.json").read_text())["pictures"]
    with Catalog(out) as catalog:
        rows, heads, verdicts = catalog.pictures(), catalog.heads(), catalog.verdicts()
    kept = {head_id for head_id, verdict in verdicts.items() if verdict.verdict == "keep"}
    bad = {row.path: row.reason for row in rows if row.status == "bad"}
    damaged = {name: entry["kind"] for name, entry in truth.items() if not entry["usable"]}
    figures = score_crops(truth, heads, kept) | score_copies(truth, heads, verdicts)
    figures["damaged files with row and reason"] = f"{sum(bool(bad.get(name)) for name in damaged)} of {len(damaged)}"
    figures["good files marked bad"] = f"{len(bad.keys() - damaged.keys())}"
    for name, figure in figures.items():
        print(f"{name:34} {figure}")


if __name__ == "__main__":
    main()
