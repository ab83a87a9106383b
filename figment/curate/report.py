"""One HTML file that tells what was found, what was rejected and why, and what to do next.

figment report heads/
figment report heads/ -o report.html
"""

from __future__ import annotations

import base64
import html
import io
import string
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.files import need_ending, need_folder, write_text
from figment.base.pixels import open_image
from figment.curate.report_parts import Facts, advice, count, funnel, histogram
from figment.curate.review_desk import Desk
from figment.curate.verdicts import RULES

PAGE = Path(__file__).parent / "pages" / "report.html"
EXAMPLES = 16
"""Crops shown for a reason."""
GROUPS = 24
"""Groups of duplicates shown, the largest first."""
MEMBERS = 6
"""Crops shown of a group."""
NAMES = 40
"""Files that could not be read, by name."""
SIDE = 112
"""Side of the crops in the page."""
GENTLER = 0.75
"""The share of a threshold that the advice tries."""
NOTES = {
    "size": "the head's longer side in its picture, in pixels",
    "sharpness": "0 to 1; clean art has 0.6 and more",
    "contrast": "lightest against darkest parts, 0 to 255",
    "brightness": "of the lightest parts, 0 to 255",
    "headness": "how surely it is a head, 0 to 1",
    "cut": "share of the head that the border cuts off, 0 to 1",
    "true_size": "pixels that the picture really resolves",
    "blocking": "how far JPEG's blocks stand out, in grey levels",
}


@dataclass(frozen=True)
class ReportSummary:
    """Where the report lies and its first figures."""

    path: Path
    kept: int
    heads: int

    def line(self) -> str:
        """One line for people."""
        return f"{self.path}: {self.kept} of {self.heads} heads kept"


def write_report(
    heads: Path,  # a heads folder
    out: Path | None = None,  # the HTML file; None: report.html in the heads folder
) -> ReportSummary:
    """Write the report, one file that needs nothing beside it."""
    need_folder(heads, "HEADS")
    out = out or heads / "report.html"
    if out.is_dir():
        raise FigmentError(f"--output {out}: must be a file, but this is a folder")
    need_ending(out, ".html")
    report = _Report(heads)
    try:
        write_text(out, report.page())
    finally:
        report.desk.close()
    return ReportSummary(out, report.facts.kept, report.facts.heads)


class _Report:
    """The catalog's figures, read once, and the page made of them."""

    def __init__(self, heads: Path) -> None:
        self.heads = heads
        self.desk = Desk(heads, write=False)
        self.values, self.reasons = self._figures()
        self.facts = self._facts()

    def _figures(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Each measure with a threshold [N], and the reason of each head [N]: empty for kept, "?" for not judged."""
        rows = self.desk.db.execute(
            "SELECT h.id, CASE v.verdict WHEN 'keep' THEN '' WHEN 'reject' THEN v.reason"
            " ELSE '?' END FROM heads h LEFT JOIN verdicts v ON v.head_id = h.id"
            " ORDER BY h.id"
        ).fetchall()
        row_of = {row[0]: index for index, row in enumerate(rows)}
        values = {}
        for name in dict.fromkeys(name for name, _ in self.desk.limits.values()):
            values[name] = np.full(len(rows), np.nan)
            for head_id, value in self.desk.db.execute(
                "SELECT h.id, m.value FROM heads h JOIN measures m ON m.head_id = h.id AND m.name = ?", (name,)
            ):
                if isinstance(value, int | float):
                    values[name][row_of[head_id]] = value
        return values, np.array([row[1] for row in rows], str)

    def _facts(self) -> Facts:
        """The figures of the page's texts."""
        db, desk = self.desk.db, self.desk
        status = dict(db.execute("SELECT status, count(*) FROM pictures GROUP BY status").fetchall())
        bad = dict(
            db.execute(
                "SELECT reason, count(*) FROM pictures WHERE status = 'bad' GROUP BY reason"
                " ORDER BY count(*) DESC, reason"
            ).fetchall()
        )
        counts = desk.counts()

        # A gentler threshold and whom it would let pass; how many verdicts hang on a close figure.
        flags = {rule[0]: f"--{str(rule[2]).replace('_', '-')}" for rule in RULES}
        near: dict[str, tuple[float, int]] = {}
        for reason, (name, limit) in desk.limits.items():
            lost = self.values[name][self.reasons == reason]
            most = flags.get(reason, "").startswith("--max")
            gentler = float(f"{limit / GENTLER if most else limit * GENTLER:.3g}")
            near[reason] = gentler, int((lost <= gentler).sum() if most else (lost >= gentler).sum())
        sides = np.array(
            [
                row[0]
                for row in db.execute(
                    "SELECT h.crop_x1 - h.crop_x0 FROM heads h JOIN verdicts v ON v.head_id = h.id"
                    " WHERE v.verdict = 'keep'"
                )
                if row[0]
            ],
            np.float64,
        )
        fills = 2 ** int(np.log2(np.percentile(sides, 25))) if len(sides) else 0
        return Facts(
            folder=str(self.heads),
            pictures=sum(status.values()),
            bad=bad,
            empty=status.get("empty", 0),
            heads=counts["total"],
            kept=counts["filters"]["kept"],
            rejected=counts["reasons"],
            by=counts["by"],
            limits=desk.limits,
            flags=flags,
            near_misses=near,
            borderline=counts["filters"]["borderline"],
            groups=counts["groups"],
            fills=min(fills, 1024),
        )

    # ------------------------------------------------------------------ the page

    def page(self) -> str:
        """The whole page; every text in it is escaped."""
        facts = self.facts
        who = ", ".join(
            f"{count(n, 'verdict')} by {'the classifier' if by == 'model' else f'a {by}'}"
            for by, n in sorted(facts.by.items())
        )
        return string.Template(PAGE.read_text()).substitute(
            title=html.escape(f"{count(facts.kept, 'head')} kept of {facts.heads:,}"),
            lead=html.escape(
                f"{self.heads.resolve().name}: {count(facts.pictures, 'file')} looked at, "
                f"{count(facts.heads, 'head')} found, {sum(facts.rejected.values()):,} rejected."
            ),
            advice="\n".join(f"    <li>{line}</li>" for line in advice(facts)),
            funnel=funnel(facts),
            sizes=self._sizes(),
            figures=self._charts(),
            reasons=self._reasons(),
            groups=self._groups(),
            kept=self._wall(self._sample("v.verdict = 'keep'", 2 * EXAMPLES), plain=True),
            files=self._files(),
            footer=html.escape(
                f"{who or 'No verdicts yet'}. Written by figment report on {datetime.now():%Y-%m-%d at %H:%M}."
            ),
        )

    def _limits_of(self, name: str) -> list[float]:
        return sorted({limit for measure, limit in self.facts.limits.values() if measure == name})

    def _sizes(self) -> str:
        """The large histogram of sizes."""
        if "size" not in self.values:
            return ""
        chart = histogram(
            "Size of the heads",
            NOTES["size"],
            self.values["size"],
            self.reasons == "",
            self._limits_of("size"),
            width=1000,
            height=190,
            log=True,
        )
        key = '<p class="key"><i class="kept"></i>kept<i class="lost"></i>rejected; dashed: the threshold</p>'
        return f"  <h2>How large they are</h2>\n  {key}\n  {chart}" if chart else ""

    def _charts(self) -> str:
        """A small histogram for each other figure."""
        charts = [
            histogram(name, NOTES.get(name, ""), values, self.reasons == "", self._limits_of(name))
            for name, values in self.values.items()
            if name != "size"
        ]
        return (
            '  <h2>What they were judged by</h2>\n  <div class="charts">' + "\n".join(charts) + "</div>"
            if any(charts)
            else ""
        )

    def _reasons(self) -> str:
        """Examples of each reason, a fair sample of them."""
        if not self.facts.rejected:
            return '  <p class="soft">Nothing was rejected.</p>'
        parts = []
        for reason, n in self.facts.rejected.items():
            shown = self._sample("v.verdict = 'reject' AND v.reason = ?", EXAMPLES, reason)
            more = f", {len(shown)} of them drawn at random" if n > len(shown) else ""
            title = f"{html.escape(reason)} <small>{count(n, 'head')}{more}</small>"
            parts.append(f"  <h3>{title}</h3>\n  {self._wall(shown)}")
        return "\n".join(parts)

    def _sample(self, condition: str, most: int, *values: str) -> list[tuple[str, str]]:
        """File and detail of up to `most` heads of a condition, at random but the same each time."""
        ids = [
            row[0]
            for row in self.desk.db.execute(
                f"SELECT v.head_id FROM verdicts v WHERE {condition} ORDER BY v.head_id", values
            )
        ]
        if len(ids) > most:
            ids = sorted(np.random.RandomState(0).choice(ids, most, replace=False).tolist())
        return [
            tuple(
                self.desk.db.execute(
                    "SELECT h.file, v.detail FROM heads h JOIN verdicts v ON v.head_id = h.id WHERE h.id = ?",
                    (head_id,),
                ).fetchone()
            )
            for head_id in ids
        ]

    def _wall(self, shown: Iterable[tuple[str, str]], *, plain: bool = False) -> str:
        """Crops side by side, each with the detail of its verdict unless `plain`."""
        tiles = [
            f"<div>{self._image(file)}{'' if plain else html.escape(_short(detail))}</div>" for file, detail in shown
        ]
        return f'<div class="wall">{"".join(tiles)}</div>' if tiles else '<p class="soft">Nothing yet.</p>'

    def _groups(self) -> str:
        """Groups of duplicates, the largest first, the best of each with a frame."""
        db = self.desk.db
        bunches = db.execute(
            "SELECT bunch, count(*) FROM ranking WHERE bunch IS NOT NULL GROUP BY bunch"
            " ORDER BY count(*) DESC, bunch LIMIT ?",
            (GROUPS,),
        ).fetchall()
        if not bunches:
            return ""
        parts = []
        for bunch, n in bunches:
            files = [
                row[0]
                for row in db.execute(
                    "SELECT h.file FROM ranking r JOIN heads h ON h.id = r.head_id WHERE r.bunch = ?"
                    " ORDER BY h.id != r.bunch, h.id LIMIT ?",
                    (bunch, MEMBERS),
                )
            ]
            tiles = [
                f"<div{'' if k else ' class=best'}>{self._image(file)}{html.escape(Path(file).name)}</div>"
                for k, file in enumerate(files)
            ]
            note = f"{n:,} alike" + (f", {MEMBERS} shown" if n > MEMBERS else "")
            parts.append(f'<div class="group"><p>{note}</p>{"".join(tiles)}</div>')
        shown = f", the {GROUPS} largest shown" if self.facts.groups > GROUPS else ""
        note = f"{count(self.facts.groups, 'group')}{shown}; the framed crop is the best of its group."
        return f'  <h2>Duplicates</h2>\n  <p class="soft">{note}</p>\n  <div class="groups">{"".join(parts)}</div>'

    def _files(self) -> str:
        """The files that could not be read, by name."""
        rows = self.desk.db.execute(
            "SELECT path, reason FROM pictures WHERE status = 'bad' ORDER BY reason, path LIMIT ?", (NAMES,)
        ).fetchall()
        if not rows:
            return ""
        total = sum(self.facts.bad.values())
        more = f", the first {NAMES} by name" if total > NAMES else ""
        names = "".join(f"<li>{html.escape(row[0])} ({html.escape(row[1])})</li>" for row in rows)
        title = f'  <h2>Files that could not be read</h2>\n  <p class="soft">{total:,}{more}</p>'
        return f'{title}<ul class="files">{names}</ul>'

    def _image(self, file: str) -> str:
        """A crop inside the page, small; a blank tile where it can't be read."""
        try:
            image = open_image(self.heads / file)
        except UnreadableImage:
            return '<div class="gone">no picture</div>'
        image.thumbnail((SIDE, SIDE), reducing_gap=2.0)
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=80)
        data = base64.b64encode(buffer.getvalue()).decode()
        return f'<img alt="" src="data:image/webp;base64,{data}">'


def _short(detail: str) -> str:
    """The detail of a verdict, of a file's path the name alone."""
    return f"of {Path(detail[3:]).name}" if detail.startswith("of ") else detail
