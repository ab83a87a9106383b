"""The curate stage: measure each crop once, judge all of them by rules, show what was rejected.

figment curate heads/
figment curate heads/ --min-size 96
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from figment.base.catalog import Catalog
from figment.base.errors import UnreadableImage
from figment.base.parallel import check_engine, run_on_ray, start_workers
from figment.base.pixels import open_image
from figment.base.progress import track
from figment.base.records import Head
from figment.curate.contact import write_contact_sheet
from figment.curate.duplicates import find_pairs
from figment.curate.headness import measure_headness
from figment.curate.prints import Prints, fingerprint
from figment.curate.quality import measure_quality
from figment.curate.verdicts import FIGURES, Thresholds, best_of_groups, judge

VERSION = 4
"""Counts up when a measure changes its meaning; older ones are then taken again."""
SHEET = "rejects.png"
FEW = 400
"""Up to so many crops are measured in this process: starting others takes longer."""
AT_ONCE = 64
"""Crops whose measures are written in one transaction."""


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
    heads: Path,  # a folder made by the crop stage
    thresholds: Thresholds = Thresholds(),  # noqa: B008 (frozen)
    workers: int | None = None,  # processes that measure; None: as many as there are cores
    engine: str = "local",  # or ray: a cluster that sees the same folder
) -> CurateSummary:
    """Give every head in the catalog a verdict and write the contact sheet of rejects.

    No file is deleted. Measures stay in the catalog, so a run that was stopped goes on, and a run with other
    thresholds looks at no picture again. Verdicts of people stand. Groups of copies stand in the catalog as the
    measure `group` of every head: the id of the best of its group, its own where it has no copies.
    """
    check_engine(engine)
    with Catalog(heads.absolute() if engine == "ray" else heads) as catalog:
        rows = catalog.heads()
        broken = measure_all(catalog, rows, workers or os.cpu_count() or 1, engine)
        pairs = pair_all(catalog, [head for head in rows if head.id not in broken])
        measures = catalog.measures(FIGURES)
        people = {head_id: verdict for head_id, verdict in catalog.verdicts().items() if verdict.by == "person"}
        catalog.put_verdicts(judge(rows, measures, pairs, thresholds, broken=broken, decided=people))

        # The groups follow the verdicts: who is rejected for itself is no group's best while another one stands.
        verdicts = catalog.verdicts()
        alone = {head.id: verdicts[head.id] for head in rows}
        best = best_of_groups(rows, pairs, thresholds, alone, people)
        catalog.put_many_measures((head.id, {"group": best.get(head.id, head.id)}) for head in rows)

        rejects = [(head, verdicts[head.id]) for head in rows if verdicts[head.id].verdict == "reject"]
        write_contact_sheet(heads / SHEET, heads, rejects)
        reasons = Counter(verdict.reason for _, verdict in rejects)
        return CurateSummary(len(rows) - len(rejects), dict(reasons.most_common()))


@dataclass(frozen=True)
class _Job:
    """A crop to be measured, with what is known of it."""

    path: Path
    head: Head
    size: tuple[int | None, int | None]
    known: dict[str, float | str]


def measure_one(job: _Job) -> tuple[int, dict[str, float | str] | str]:
    """The head's id and its measures, or what is wrong with its file."""
    try:
        image = open_image(job.path)
    except UnreadableImage as error:
        return job.head.id, error.reason if job.path.exists() else "missing file"
    return job.head.id, {
        "measured": VERSION,
        **measure_quality(image, job.head, *job.size),
        **measure_headness(job.head, job.known),
        **fingerprint(image, job.head),
    }


def measure_all(
    catalog: Catalog,
    rows: list[Head],
    workers: int,  # processes
    engine: str,  # local or ray
) -> dict[int, str]:
    """Measure the crops that have no measures yet; returns head id -> what is wrong, for files that can't be used."""
    known = catalog.measures(("measured", "headness"))
    described = {row[0] for row in catalog.db.execute("SELECT head_id FROM measures WHERE name = 'embedding'")}
    sizes = {picture.path: (picture.width, picture.height) for picture in catalog.pictures()}
    todo = []
    for head in rows:
        path, values = catalog.folder / head.file, known.get(head.id, {})
        if values.get("measured") == VERSION and path.is_file():
            continue
        if head.id in described:
            values = {**values, "embedding": "known"}
        todo.append(_Job(path, head, sizes.get(head.picture, (None, None)), values))

    broken: dict[int, str] = {}
    measured = run_on_ray(measure_one, todo) if engine == "ray" else _measured(todo, workers)
    done = track(measured, "measuring", len(todo))
    while batch := list(islice(done, AT_ONCE)):
        broken |= {head_id: values for head_id, values in batch if isinstance(values, str)}
        catalog.put_many_measures((head_id, values) for head_id, values in batch if not isinstance(values, str))
    return broken


def _measured(jobs: list[_Job], workers: int) -> Iterator[tuple[int, dict[str, float | str] | str]]:
    """The measures of every job, in order; in other processes where there are many."""
    if workers == 1 or len(jobs) <= FEW:
        yield from map(measure_one, jobs)
        return
    pool = start_workers(workers)
    try:
        yield from pool.map(measure_one, jobs, chunksize=16)
    finally:
        pool.shutdown(cancel_futures=True)


def pair_all(
    catalog: Catalog,
    rows: list[Head],  # the heads with usable crops
) -> list[tuple[int, int, float]]:
    """Which crops may show one picture and how much they differ, by id; from the catalog if no crop has changed.

    The pairs stand there as each head's measure `copies`, with the digest of all crops that were compared.
    """
    ids = [head.id for head in rows]
    digest = _digest(catalog, ids)
    known = catalog.measures(("compared", "copies"))
    if all(known.get(head_id, {}).get("compared") == digest for head_id in ids):
        return [
            (head_id, int(other), difference)
            for head_id in ids
            for other, difference in json.loads(str(known[head_id]["copies"])).items()
        ]

    found = find_pairs(Prints.of(catalog.each_measures(ids), len(ids)))
    pairs = [(ids[first], ids[second], difference) for first, second, difference in found]
    copies: dict[int, dict[int, float]] = {head_id: {} for head_id in ids}
    for head_id, other, difference in pairs:
        copies[head_id][other] = difference
    catalog.put_many_measures(
        (head_id, {"copies": json.dumps(others), "compared": digest}) for head_id, others in copies.items()
    )
    return pairs


def _digest(catalog: Catalog, ids: list[int]) -> str:
    """A digest of the version, the heads and all that their comparison looks at."""
    digest = hashlib.sha256(json.dumps([VERSION, ids]).encode())
    for values in catalog.each_measures(ids):
        digest.update(f"{values['thumb']} {values.get('embedding', '')}".encode())
    return digest.hexdigest()
