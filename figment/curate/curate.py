"""The curate stage: measure each crop once, judge all of them by rules, show what was rejected.

    figment curate heads/
    figment curate heads/ --min-size 96
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from figment.base.catalog import Catalog
from figment.base.errors import UnreadableImage
from figment.base.pixels import open_image
from figment.base.progress import track
from figment.base.records import Head
from figment.curate.contact import write_contact_sheet
from figment.curate.duplicates import find_pairs
from figment.curate.headness import measure_headness
from figment.curate.prints import Prints, fingerprint
from figment.curate.quality import measure_quality
from figment.curate.verdicts import Measures, Thresholds, judge

VERSION = 1
"""Counts up when a measure changes its meaning; older ones are then taken again."""
SHEET = "rejects.png"


@dataclass(frozen=True)
class CurateSummary:
    """What the curate stage decided."""

    kept: int
    """Heads that go into the data set."""
    rejected: dict[str, int] = field(default_factory=dict)
    """The others by reason, most frequent first."""

    def line(self) -> str:
        """One line for people."""
        total = self.kept + sum(self.rejected.values())
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.rejected.items())
        return f"kept {self.kept} of {total} heads" + (f"; rejected {reasons}; see {SHEET}" if reasons else "")


def curate(
    heads: Path,                                # a folder made by the crop stage
    thresholds: Thresholds = Thresholds(),      # noqa: B008 (frozen)
) -> CurateSummary:
    """Give every head in the catalog a verdict and write the contact sheet of rejects.

    No file is deleted. Measures stay in the catalog, so a run that was stopped goes on, and a run with other
    thresholds looks at no picture again. Verdicts of people stand.
    """
    with Catalog(heads) as catalog:
        rows = catalog.heads()
        broken = measure_all(catalog, rows)
        measures = catalog.measures()
        pairs = pair_all(catalog, [head for head in rows if head.id not in broken], measures)
        people = {head_id: verdict for head_id, verdict in catalog.verdicts().items() if verdict.by == "person"}
        catalog.put_verdicts(judge(rows, measures, pairs, thresholds, broken=broken, decided=people))

        verdicts = catalog.verdicts()
        rejects = [(head, verdicts[head.id]) for head in rows if verdicts[head.id].verdict == "reject"]
        write_contact_sheet(heads / SHEET, heads, rejects)
        reasons = Counter(verdict.reason for _, verdict in rejects)
        return CurateSummary(len(rows) - len(rejects), dict(reasons.most_common()))


def measure_all(
    catalog: Catalog,
    rows: list[Head],
) -> dict[int, str]:
    """Measure the crops that have no measures yet; returns head id -> what is wrong, for files that can't be used."""
    known = {head_id for head_id, values in catalog.measures().items() if values.get("measured") == VERSION}
    broken: dict[int, str] = {}
    for head in track(rows, "measuring"):
        path = catalog.folder / head.file
        if head.id in known and path.is_file():
            continue
        try:
            image = open_image(path)
        except UnreadableImage as error:
            broken[head.id] = error.reason if path.exists() else "missing file"
            continue
        values: dict[str, float | str] = {"measured": VERSION}
        catalog.put_measures(head.id, {**values, **measure_quality(image, head), **measure_headness(head),
                                       **fingerprint(image)})
    return broken


def pair_all(
    catalog: Catalog,
    rows: list[Head],                     # the heads with usable crops
    measures: Mapping[int, Measures],     # head id -> measures
) -> list[tuple[int, int, float]]:
    """Which crops may show one picture and how much they differ, by id; from the catalog if no crop has changed.

    The pairs stand there as each head's measure `copies`, with the digest of all thumbnails that were compared.
    """
    digest = hashlib.sha256(json.dumps([[head.id, measures[head.id]["thumb"]] for head in rows]).encode()).hexdigest()
    if all(measures[head.id].get("compared") == digest for head in rows):
        return [(head.id, int(other), difference) for head in rows
                for other, difference in json.loads(str(measures[head.id]["copies"])).items()]

    found = find_pairs(Prints.of([measures[head.id] for head in rows]))
    pairs = [(rows[first].id, rows[second].id, difference) for first, second, difference in found]
    copies: dict[int, dict[int, float]] = {head.id: {} for head in rows}
    for head_id, other, difference in pairs:
        copies[head_id][other] = difference
    for head_id, others in copies.items():
        catalog.put_measures(head_id, {"copies": json.dumps(others), "compared": digest})
    return pairs
