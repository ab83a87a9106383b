"""catalog.db: SQLite rows for pictures, heads, measures and verdicts. Rejected items keep their row and the reason."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import chain, repeat
from pathlib import Path
from types import TracebackType

from figment.base.errors import FigmentError
from figment.base.records import Box, Head, Picture, Verdict

SAME_PLACE = 0.6
"""Overlap (IoU) from which a head found again is the same head as before."""
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE pictures (
    id INTEGER PRIMARY KEY, path TEXT UNIQUE NOT NULL, stamp TEXT NOT NULL, width INTEGER, height INTEGER,
    status TEXT NOT NULL CHECK (status IN ('heads', 'empty', 'bad')), reason TEXT NOT NULL, message TEXT NOT NULL);
CREATE TABLE heads (
    id INTEGER PRIMARY KEY, picture_id INTEGER NOT NULL REFERENCES pictures(id), file TEXT UNIQUE NOT NULL,
    x0 REAL, y0 REAL, x1 REAL, y1 REAL, score REAL NOT NULL,
    crop_x0 INTEGER, crop_y0 INTEGER, crop_x1 INTEGER, crop_y1 INTEGER);
CREATE TABLE measures (
    head_id INTEGER NOT NULL REFERENCES heads(id), name TEXT NOT NULL, value NOT NULL, PRIMARY KEY (head_id, name));
CREATE TABLE verdicts (
    head_id INTEGER PRIMARY KEY REFERENCES heads(id), verdict TEXT NOT NULL CHECK (verdict IN ('keep', 'reject')),
    reason TEXT NOT NULL, detail TEXT NOT NULL, by TEXT NOT NULL CHECK (by IN ('rule', 'model', 'person')),
    at TEXT NOT NULL DEFAULT (datetime('now')));
"""


class Catalog:
    """The catalog of one heads folder, a context manager.

    Raises FigmentError for a missing or damaged file and for a schema version that this figment does not read.
    """

    def __init__(
        self,
        folder: Path,  # heads folder; the file is folder/catalog.db
        *,
        create: bool = False,  # True: create an empty catalog if the file is missing
    ) -> None:
        path = folder / "catalog.db"
        if not path.exists() and not create:
            raise FigmentError(f"{folder}: holds no catalog.db; create one with `figment crop PICTURES -o {folder}`")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.db = sqlite3.connect(path)
        self.db.row_factory = sqlite3.Row
        try:
            version = self.db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self.db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        except sqlite3.DatabaseError as error:
            raise FigmentError(f"{path}: not a readable catalog ({error})") from None
        if version not in (0, SCHEMA_VERSION):
            raise FigmentError(f"{path}: catalog version {version}, this figment reads {SCHEMA_VERSION}")

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.db.close()

    # --- Pictures and heads

    def stamps(self) -> dict[str, str]:
        """Return path -> stamp (size and modification time) of every picture in the catalog."""
        return {row["path"]: row["stamp"] for row in self.db.execute("SELECT path, stamp FROM pictures")}

    def put_picture(
        self,
        picture: Picture,
        heads: Iterable[Head] = (),
        measures: Iterable[Mapping[str, float | str]] = (),  # one mapping per head; may be shorter
    ) -> None:
        """Write a picture and its heads in one transaction, replacing an older row of the same path.

        A verdict that a person gave to an older head moves to the new head at the same place.
        """
        with self.db:
            kept = self._forget_picture(picture.path)
            cursor = self.db.execute(
                "INSERT INTO pictures (path, stamp, width, height, status, reason, message) VALUES (?,?,?,?,?,?,?)",
                (
                    picture.path,
                    picture.stamp,
                    picture.width,
                    picture.height,
                    picture.status,
                    picture.reason,
                    picture.message,
                ),
            )
            for head, values in zip(heads, chain(measures, repeat({})), strict=False):
                row = self.db.execute(
                    "INSERT INTO heads (picture_id, file, x0, y0, x1, y1, score, crop_x0, crop_y0, crop_x1, crop_y1)"
                    " VALUES (?,?,?,?,?,?,?,?,?,?,?)",
                    (cursor.lastrowid, head.file, *head.box, head.score, *head.crop),
                )
                self.db.executemany(
                    "INSERT INTO measures VALUES (?, ?, ?)",
                    [(row.lastrowid, name, value) for name, value in dict(values).items()],
                )
                old = max(kept, key=lambda pair: pair[0].iou(head.box), default=None)
                if old and old[0].iou(head.box) >= SAME_PLACE:
                    self.db.execute(
                        "INSERT INTO verdicts (head_id, verdict, reason, detail, by, at) VALUES (?,?,?,?,?,?)",
                        (row.lastrowid, *old[1]),
                    )
                    kept.remove(old)

    def _forget_picture(self, path: str) -> list[tuple[Box, tuple[str, ...]]]:
        """Delete a picture and its heads; return box and verdict of the heads that a person judged."""
        old = self.db.execute("SELECT id FROM pictures WHERE path = ?", (path,)).fetchone()
        if old is None:
            return []
        rows = self.db.execute(
            "SELECT x0, y0, x1, y1, verdict, verdicts.reason, detail, by, at FROM heads"
            " JOIN verdicts ON head_id = heads.id WHERE picture_id = ? AND by = 'person'",
            (old["id"],),
        ).fetchall()
        for table in ("measures", "verdicts"):
            self.db.execute(
                f"DELETE FROM {table} WHERE head_id IN (SELECT id FROM heads WHERE picture_id = ?)", (old["id"],)
            )
        self.db.execute("DELETE FROM heads WHERE picture_id = ?", (old["id"],))
        self.db.execute("DELETE FROM pictures WHERE id = ?", (old["id"],))
        return [(Box(*row[:4]), tuple(row[4:])) for row in rows]

    def pictures(self) -> list[Picture]:
        """Return every picture, ordered by path."""
        rows = self.db.execute("SELECT * FROM pictures ORDER BY path")
        return [
            Picture(
                row["path"], row["stamp"], row["width"], row["height"], row["status"], row["reason"], row["message"]
            )
            for row in rows
        ]

    def heads(self) -> list[Head]:
        """Return every head, ordered by file name, with `id` and `picture` filled in."""
        rows = self.db.execute(
            "SELECT heads.*, pictures.path FROM heads JOIN pictures ON pictures.id = picture_id ORDER BY file"
        )
        return [
            Head(
                row["file"],
                Box(row["x0"], row["y0"], row["x1"], row["y1"]),
                row["score"],
                (row["crop_x0"], row["crop_y0"], row["crop_x1"], row["crop_y1"]),
                row["id"],
                row["path"],
            )
            for row in rows
        ]

    # --- Measures and verdicts

    def put_measures(self, head_id: int, values: dict[str, float | str]) -> None:
        """Write measures of one head (numbers, or hashes as hex text), replacing older values of the same names."""
        self.put_many_measures([(head_id, values)])

    def put_many_measures(self, rows: Iterable[tuple[int, Mapping[str, float | str]]]) -> None:
        """Write measures of many heads in one transaction; see `put_measures`."""
        with self.db:
            self.db.executemany(
                "INSERT OR REPLACE INTO measures VALUES (?, ?, ?)",
                ((head_id, name, value) for head_id, values in rows for name, value in values.items()),
            )

    def measures(
        self,
        names: Sequence[str] | None = None,  # names of measures; None: all
    ) -> dict[int, dict[str, float | str]]:
        """Return measures as head id -> name -> value.

        For large catalogs pass `names`: thumbnails are measures too and take much memory.
        """
        found: dict[int, dict[str, float | str]] = {}
        marks = "" if names is None else f" WHERE name IN ({','.join('?' * len(names))})"
        for row in self.db.execute(f"SELECT head_id, name, value FROM measures{marks}", tuple(names or ())):
            found.setdefault(row["head_id"], {})[row["name"]] = row["value"]
        return found

    def each_measures(
        self,
        head_ids: Iterable[int],
    ) -> Iterator[dict[str, float | str]]:
        """Yield all measures of each head, one head at a time."""
        for head_id in head_ids:
            rows = self.db.execute("SELECT name, value FROM measures WHERE head_id = ?", (head_id,))
            yield {row["name"]: row["value"] for row in rows}

    def put_verdicts(self, verdicts: Iterable[Verdict]) -> None:
        """Write verdicts in one transaction. A verdict by a person is only replaced by another one by a person."""
        with self.db:
            self.db.executemany(
                "INSERT INTO verdicts (head_id, verdict, reason, detail, by) VALUES (?,?,?,?,?)"
                " ON CONFLICT (head_id) DO UPDATE SET verdict = excluded.verdict, reason = excluded.reason,"
                " detail = excluded.detail, by = excluded.by, at = excluded.at"
                " WHERE verdicts.by != 'person' OR excluded.by = 'person'",
                [
                    (verdict.head_id, verdict.verdict, verdict.reason, verdict.detail, verdict.by)
                    for verdict in verdicts
                ],
            )

    def verdicts(self) -> dict[int, Verdict]:
        """Return all verdicts by head id."""
        rows = self.db.execute("SELECT * FROM verdicts")
        return {
            row["head_id"]: Verdict(row["head_id"], row["verdict"], row["reason"], row["detail"], row["by"], row["at"])
            for row in rows
        }

    def kept(self) -> list[Head]:
        """Return the heads whose verdict is `keep`, ordered by file name."""
        verdicts = self.verdicts()
        return [head for head in self.heads() if head.id in verdicts and verdicts[head.id].verdict == "keep"]


def count_reasons(folder: Path) -> dict[str, int]:
    """Return counts of bad or empty pictures and of rejected heads by `stage:reason`, most frequent first."""
    with closing(Catalog(folder).db) as db:
        rows = db.execute(
            "SELECT 'crop:' || reason AS name, count(*) AS n FROM pictures WHERE status != 'heads' GROUP BY reason"
            " UNION ALL SELECT 'curate:' || reason, count(*) FROM verdicts WHERE verdict = 'reject' GROUP BY reason"
            " ORDER BY n DESC, name"
        ).fetchall()
    return {row["name"]: row["n"] for row in rows}
