"""What the review page reads from the catalog and writes to it: pages of heads, decisions and their undoing.

desk = Desk(Path("heads"))
page = desk.page("borderline")
desk.decide([Decision(page["items"][0]["id"], "reject", "not-a-head")])
desk.undo()
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figment.base.catalog import Catalog
from figment.base.errors import FigmentError
from figment.curate.review_limits import MOST, doubt, limits_in_force

BORDERLINE = 0.5
"""Heads with more doubt than this are borderline: a figure within a quarter of its threshold."""
UNSURE = (0.1, 0.9)
"""Between these the classifier is unsure whether a crop shows a head."""
MEMBERS = 60
"""Members of a group of duplicates that a page shows."""
DECIDED = -1.0
"""The place of heads that a person decided on: behind all that are left."""
RECHECK = 20.0
"""Seconds between two looks at whether another program changed the catalog."""

LOG = """CREATE TABLE IF NOT EXISTS decisions (
    id INTEGER PRIMARY KEY, batch INTEGER NOT NULL, head_id INTEGER NOT NULL, file TEXT NOT NULL, by TEXT NOT NULL,
    verdict TEXT NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL DEFAULT (datetime('now')),
    former_verdict TEXT, former_reason TEXT, former_detail TEXT, former_by TEXT, former_at TEXT,
    undone INTEGER NOT NULL DEFAULT 0)"""
RANKING = """CREATE TEMP TABLE ranking (
    head_id INTEGER PRIMARY KEY, doubt REAL NOT NULL, p REAL, bunch INTEGER, place REAL NOT NULL)"""
ROW = """SELECT h.id, h.file, h.score, h.x1 - h.x0 AS width, h.y1 - h.y0 AS height, p.path AS picture,
    coalesce(v.verdict, '') AS verdict, coalesce(v.reason, '') AS reason, coalesce(v.detail, '') AS detail,
    coalesce(v.by, '') AS by, coalesce(v.at, '') AS at, r.doubt, r.p, r.bunch, r.place
    FROM ranking r CROSS JOIN heads h ON h.id = r.head_id JOIN pictures p ON p.id = h.picture_id
    LEFT JOIN verdicts v ON v.head_id = h.id"""
FILTERS = {
    "all": "1",
    "borderline": f"r.doubt > {BORDERLINE} AND coalesce(v.by, '') != 'person'",
    "duplicates": "r.bunch IS NOT NULL",
    "rejected": "v.verdict = 'reject'",
    "kept": "v.verdict = 'keep'",
    "unsure": f"r.p BETWEEN {UNSURE[0]} AND {UNSURE[1]} AND coalesce(v.by, '') != 'person'",
    "yours": "v.by = 'person'",
}
"""What a page may be asked for, as conditions."""


@dataclass(frozen=True)
class Decision:
    """A person's word on one head."""

    head_id: int
    verdict: str
    """`keep` or `reject`."""
    reason: str = ""
    """`unwanted`, `not-a-head` or `duplicate` for reject; empty for keep."""
    detail: str = ""
    """One line; the file it duplicates."""


class Desk:
    """The catalog of one heads folder, shared by the server's threads behind one lock."""

    def __init__(
        self,
        folder: Path,  # the heads folder
        *,
        write: bool = True,  # False: nothing is to be decided, so nothing is added to the catalog
    ) -> None:
        with Catalog(folder):  # says what is wrong with it, if anything is
            self.folder = folder
        self.lock = threading.RLock()
        self.db = sqlite3.connect(folder / "catalog.db", check_same_thread=False, timeout=10)
        self.db.row_factory = sqlite3.Row
        self.db.execute("PRAGMA temp_store = MEMORY")
        if write:
            with self.db:
                self.db.execute(LOG)
                self.db.execute("CREATE INDEX IF NOT EXISTS decisions_by_head ON decisions (head_id)")
                # Counts read this index instead of every row.
                self.db.execute("CREATE INDEX IF NOT EXISTS verdicts_by_who ON verdicts (by, verdict, reason)")
        self.probabilities: dict[int, float] = {}
        self.rank()

    def close(self) -> None:
        """Close the catalog."""
        with self.lock:
            self.db.close()

    # ------------------------------------------------------------------ the order of heads

    def rank(self) -> None:
        """Give every head its doubt, its group of duplicates and its place, the most doubtful first."""
        with self.lock:
            self.limits = limits_in_force(self.db)
            figures = self._figures()
            bunches = self._bunches()
            rows = []
            for head_id, reason, by in self.db.execute(
                "SELECT h.id, coalesce(v.reason, ''), v.by FROM heads h LEFT JOIN verdicts v ON v.head_id = h.id"
            ):
                unsure = doubt(figures.get(head_id, {}), reason, self.limits)
                p = self.probabilities.get(head_id)
                place = unsure if p is None else 1 - abs(2 * p - 1)
                rows.append((head_id, unsure, p, bunches.get(head_id), DECIDED if by == "person" else place))
            with self.db:
                self.db.execute("DROP TABLE IF EXISTS temp.ranking")
                self.db.execute(RANKING)
                self.db.executemany("INSERT INTO ranking VALUES (?, ?, ?, ?, ?)", rows)
                self.db.execute("CREATE INDEX temp.ranking_place ON ranking (place DESC, head_id)")
                self.db.execute("CREATE INDEX temp.ranking_bunch ON ranking (bunch) WHERE bunch IS NOT NULL")
                self.db.execute(f"CREATE INDEX temp.ranking_doubt ON ranking (head_id) WHERE doubt > {BORDERLINE}")
                self.db.execute(
                    f"CREATE INDEX temp.ranking_p ON ranking (head_id) WHERE p BETWEEN {UNSURE[0]} AND {UNSURE[1]}"
                )
            self.total, self.bunches = len(rows), (len(set(bunches.values())), len(bunches))
            self.seen, self.looked = self._version(), time.monotonic()

    def _figures(self) -> dict[int, dict[str, float]]:
        """Head id -> the measures that have a threshold."""
        names = sorted({name for name, _ in self.limits.values()})
        rows = self.db.execute(
            "SELECT h.id, n.value, m.value FROM heads h CROSS JOIN json_each(?) n"
            " JOIN measures m ON m.head_id = h.id AND m.name = n.value",
            (json.dumps(names),),
        )
        figures: dict[int, dict[str, float]] = {}
        for head_id, name, value in rows:
            if isinstance(value, int | float):
                figures.setdefault(head_id, {})[name] = float(value)
        return figures

    def _bunches(self) -> dict[int, int]:
        """Head id -> the id of the best head of its group of duplicates, for groups of two and more."""
        found = {
            row[0]: int(row[1])
            for row in self.db.execute(
                "SELECT h.id, m.value FROM heads h JOIN measures m ON m.head_id = h.id AND m.name = 'group'"
            )
            if isinstance(row[1], int | float)
        }
        by_rule = self.db.execute(
            "SELECT v.head_id, b.id FROM verdicts v JOIN heads b ON b.file = substr(v.detail, 4)"
            " WHERE v.verdict = 'reject' AND v.reason = 'duplicate' AND v.detail LIKE 'of %'"
        )
        for head_id, best in by_rule:
            found.setdefault(head_id, found.get(best, best))
            found.setdefault(best, best)
        sizes: dict[int, int] = {}
        for bunch in found.values():
            sizes[bunch] = sizes.get(bunch, 0) + 1
        return {head_id: bunch for head_id, bunch in found.items() if sizes[bunch] > 1}

    def _version(self) -> int:
        return int(self.db.execute("PRAGMA data_version").fetchone()[0])

    def refresh(self) -> None:
        """Rank anew where another program, such as `figment curate`, changed the catalog."""
        with self.lock:
            if time.monotonic() - self.looked < RECHECK:
                return
            self.looked = time.monotonic()
            if self._version() != self.seen:
                self.rank()

    # ------------------------------------------------------------------ reading

    def counts(self) -> dict[str, Any]:
        """How many heads there are by filter and by reason, and how many are decided by whom."""
        with self.lock:
            reasons: dict[str, int] = {}
            by: dict[str, int] = {}
            kept = 0
            for verdict, reason, who, count in self.db.execute(
                "SELECT verdict, reason, by, count(*) FROM verdicts GROUP BY by, verdict, reason"
            ):
                by[who] = by.get(who, 0) + count
                kept += count if verdict == "keep" else 0
                if verdict == "reject":
                    reasons[reason] = reasons.get(reason, 0) + count
            # Of those in doubt, all less what people decided: the second is a short list.
            doubtful, unsure = (
                self.db.execute(f"SELECT count(*) FROM ranking r WHERE {condition}").fetchone()[0]
                - self.db.execute(
                    "SELECT count(*) FROM verdicts v CROSS JOIN ranking r ON r.head_id = v.head_id"
                    f" WHERE v.by = 'person' AND {condition}"
                ).fetchone()[0]
                for condition in (f"r.doubt > {BORDERLINE}", f"r.p BETWEEN {UNSURE[0]} AND {UNSURE[1]}")
            )
            total, (groups, members) = self.total, self.bunches
        return {
            "total": total,
            "by": by,
            "groups": groups,
            "reasons": dict(sorted(reasons.items(), key=_most_first)),
            "filters": {
                "all": total,
                "borderline": doubtful,
                "duplicates": members,
                "kept": kept,
                "unsure": unsure,
                "rejected": sum(reasons.values()),
                "yours": by.get("person", 0),
            },
        }

    def page(
        self,
        which: str = "all",  # a name of FILTERS
        *,
        reason: str = "",  # of rejected heads this reason alone; empty: all
        after: tuple[float, int] | None = None,  # place and id of the last head before the page
        limit: int = 60,
    ) -> dict[str, Any]:
        """A page of heads, the most doubtful first, and the cursor of the next page (None: this is the last)."""
        where, values = [FILTERS[which]], list[Any]()
        if reason:
            where.append("v.reason = ?")
            values.append(reason)
        if after:
            where.append("(r.place < ? OR (r.place = ? AND r.head_id > ?))")
            values += [after[0], after[0], after[1]]
        with self.lock:
            self.refresh()
            rows = self.db.execute(
                f"{ROW} WHERE {' AND '.join(where)} ORDER BY r.place DESC, r.head_id LIMIT ?", (*values, limit + 1)
            ).fetchall()
        items = [dict(row) for row in rows[:limit]]
        more = len(rows) > limit
        return {"items": items, "next": [items[-1]["place"], items[-1]["id"]] if more else None}

    def groups(
        self,
        *,
        after: int = 0,  # the last group before the page
        limit: int = 20,
    ) -> dict[str, Any]:
        """A page of groups of duplicates, each with its best head first, and the cursor of the next page."""
        with self.lock:
            self.refresh()
            rows = self.db.execute(
                "SELECT bunch, count(*) AS n FROM ranking WHERE bunch > ? GROUP BY bunch ORDER BY bunch LIMIT ?",
                (after, limit + 1),
            ).fetchall()
            found = []
            for row in rows[:limit]:
                members = self.db.execute(
                    f"{ROW} WHERE r.bunch = ? ORDER BY h.id != r.bunch, v.verdict, h.id LIMIT ?",
                    (row["bunch"], MEMBERS),
                ).fetchall()
                found.append({"group": row["bunch"], "count": row["n"], "items": [dict(each) for each in members]})
        return {"groups": found, "next": rows[limit - 1]["bunch"] if len(rows) > limit else None}

    def items(self, head_ids: Sequence[int]) -> list[dict[str, Any]]:
        """The rows of these heads, as pages have them; ids that the catalog lacks are left out."""
        with self.lock:
            rows = [self.db.execute(f"{ROW} WHERE r.head_id = ?", (head_id,)).fetchone() for head_id in head_ids]
        return [dict(row) for row in rows if row]

    def figures(self, head_id: int) -> list[dict[str, Any]]:
        """The figures of a head that have a threshold: name, value, limit, and whether that is a most or a least."""
        limits = dict(self.limits.values())
        with self.lock:
            rows = self.db.execute(
                "SELECT name, value FROM measures WHERE head_id = ? AND typeof(value) != 'text'", (head_id,)
            ).fetchall()
        return [
            {"name": row["name"], "value": row["value"], "limit": limits[row["name"]], "most": row["name"] in MOST}
            for row in rows
            if row["name"] in limits
        ]

    def file(self, head_id: int) -> Path:
        """The crop's file; raises FigmentError where the catalog has no such head or it lies elsewhere."""
        with self.lock:
            row = self.db.execute("SELECT file FROM heads WHERE id = ?", (head_id,)).fetchone()
        if row is None:
            raise FigmentError(f"head {head_id}: not in the catalog")
        path = (self.folder / str(row["file"])).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise FigmentError(f"head {head_id}: its crop lies outside of the heads folder")
        return path

    # ------------------------------------------------------------------ writing

    def decide(self, decisions: Sequence[Decision]) -> list[dict[str, Any]]:
        """Write a person's decisions, all in one transaction and to be undone as one; the heads' new rows."""
        with self.lock:
            missing = [each.head_id for each in decisions if not self.items([each.head_id])]
            if missing:
                raise FigmentError(f"head {missing[0]}: not in the catalog")
            with self.db:
                batch = self._next_batch()
                for each in decisions:
                    self._log(batch, each.head_id, "person", each.verdict, each.reason)
                    self._write(each.head_id, each.verdict, each.reason, each.detail, "person")
            return self.items([each.head_id for each in decisions])

    def undo(self) -> list[dict[str, Any]]:
        """Restore what stood before the last decision that is not undone yet; the rows of its heads, if any."""
        with self.lock, self.db:
            rows = self.db.execute(
                "SELECT * FROM decisions WHERE by = 'person' AND NOT undone AND batch ="
                " (SELECT max(batch) FROM decisions WHERE by = 'person' AND NOT undone) ORDER BY id DESC"
            ).fetchall()
            for row in rows:
                self.db.execute("UPDATE decisions SET undone = 1 WHERE id = ?", (row["id"],))
                if not self.db.execute(
                    "SELECT 1 FROM heads WHERE id = ? AND file = ?", (row["head_id"], row["file"])
                ).fetchone():
                    continue  # the picture was cropped anew since
                self.db.execute("DELETE FROM verdicts WHERE head_id = ?", (row["head_id"],))
                if row["former_verdict"] is not None:
                    self.db.execute(
                        "INSERT INTO verdicts (head_id, verdict, reason, detail, by, at) VALUES (?, ?, ?, ?, ?, ?)",
                        (
                            row["head_id"],
                            *(row[f"former_{name}"] for name in ("verdict", "reason", "detail", "by", "at")),
                        ),
                    )
            return self.items(list(dict.fromkeys(row["head_id"] for row in rows)))

    def judge_by_model(
        self,
        sure: dict[int, tuple[bool, str]],  # head id -> whether it is a head, and the figure for people
        probabilities: dict[int, float],  # head id -> how likely it is a head
    ) -> int:
        """Let the model's word replace the rules' where it is sure, in one transaction; how many verdicts differ.

        What an earlier model said gives way first. Of the rules' verdicts two kinds may change: a kept head becomes
        `not-a-head`, and a `not-a-head` becomes kept. People's verdicts stand.
        """
        with self.lock:
            with self.db:
                self.db.execute(
                    "UPDATE verdicts SET (verdict, reason, detail, by, at) = (SELECT former_verdict, former_reason,"
                    " former_detail, former_by, former_at FROM decisions d WHERE d.head_id = verdicts.head_id"
                    " AND d.by = 'model' ORDER BY d.id DESC LIMIT 1) WHERE by = 'model' AND EXISTS"
                    " (SELECT 1 FROM decisions d WHERE d.head_id = verdicts.head_id AND d.by = 'model')"
                )
                self.db.execute(
                    "DELETE FROM decisions WHERE by = 'model' AND head_id NOT IN"
                    " (SELECT head_id FROM decisions WHERE by = 'person')"
                )
                batch, changed = self._next_batch(), 0
                for head_id, (is_head, figure) in sure.items():
                    row = self.db.execute(
                        "SELECT verdict, reason, by FROM verdicts WHERE head_id = ?", (head_id,)
                    ).fetchone()
                    if row is None or row["by"] != "rule":
                        continue
                    if is_head and row["reason"] == "not-a-head":
                        word = ("keep", "", figure)
                    elif not is_head and row["verdict"] == "keep":
                        word = ("reject", "not-a-head", figure)
                    else:
                        continue
                    self._log(batch, head_id, "model", word[0], word[1])
                    self._write(head_id, *word, "model")
                    changed += 1
            self.probabilities = probabilities
            self.rank()
        return changed

    def _next_batch(self) -> int:
        return int(self.db.execute("SELECT coalesce(max(batch), 0) + 1 FROM decisions").fetchone()[0])

    def _log(self, batch: int, head_id: int, by: str, verdict: str, reason: str) -> None:
        """Note a decision and the row that it replaces."""
        self.db.execute(
            "INSERT INTO decisions (batch, head_id, file, by, verdict, reason, former_verdict, former_reason,"
            " former_detail, former_by, former_at) SELECT ?, h.id, h.file, ?, ?, ?, v.verdict, v.reason, v.detail,"
            " v.by, v.at FROM heads h LEFT JOIN verdicts v ON v.head_id = h.id WHERE h.id = ?",
            (batch, by, verdict, reason, head_id),
        )

    def _write(self, head_id: int, verdict: str, reason: str, detail: str, by: str) -> None:
        """The verdict on one head; a person's is replaced only by a person's, as in `Catalog.put_verdicts`."""
        self.db.execute(
            "INSERT INTO verdicts (head_id, verdict, reason, detail, by) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (head_id) DO UPDATE SET verdict = excluded.verdict, reason = excluded.reason,"
            " detail = excluded.detail, by = excluded.by, at = excluded.at"
            " WHERE verdicts.by != 'person' OR excluded.by = 'person'",
            (head_id, verdict, reason, detail, by),
        )


def _most_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]
