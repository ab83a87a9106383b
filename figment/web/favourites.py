"""studio.db: favorites and projected images in one SQLite file beside the model.

with Favourites(favourites_path(Path("runs/00003-heads"), digest)) as kept:
    kept.add("17@0.7", "Mira", digest)
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from torch import Tensor

from figment.base.errors import FigmentError

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE favourites (
    id INTEGER PRIMARY KEY, recipe TEXT UNIQUE NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,
    at TEXT NOT NULL DEFAULT (datetime('now')));
CREATE TABLE latents (
    id TEXT PRIMARY KEY, w BLOB NOT NULL, layers INTEGER NOT NULL, width INTEGER NOT NULL, name TEXT NOT NULL,
    distance REAL, picture BLOB NOT NULL, at TEXT NOT NULL DEFAULT (datetime('now')));
"""
MAX_FAVOURITES = 5000
"""Most favorites in a file."""
MAX_NAME = 80
"""Most characters of a name."""


@dataclass(frozen=True)
class Favourite:
    """A saved character."""

    id: int
    recipe: str
    name: str
    """Chosen by the user; may be empty."""
    digest: str
    """Digest of the model that drew it."""
    at: str
    """Time of saving, UTC."""


def favourites_path(
    model: Path,  # a model file or a run
    digest: str,  # of the model; part of the name of a file that isn't beside the model
) -> Path:
    """Return RUN/studio.db, or net.studio.db beside net.safetensors; or a file in the user's data folder."""
    beside = model / "studio.db" if model.is_dir() else model.with_name(f"{model.stem}.studio.db")
    package = Path(__file__).resolve().parents[1]
    inside = package in beside.resolve().parents
    if not inside and os.access(beside if beside.exists() else beside.parent, os.W_OK):
        return beside
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return data / "figment" / f"{model.stem}-{digest[:8]}.studio.db"


class Favourites:
    """The favorites and projected images of one model; threads may share it.

    Raises FigmentError for a file that can't be used or of another version.
    """

    def __init__(
        self,
        path: Path,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.lock = path, threading.Lock()
        try:
            self.db = sqlite3.connect(path, check_same_thread=False, timeout=10)
            self.db.row_factory = sqlite3.Row
            version = self.db.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                self.db.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        except sqlite3.Error as error:
            raise FigmentError(f"{path}: not a usable file of favorites ({error})") from None
        if version not in (0, SCHEMA_VERSION):
            raise FigmentError(
                f"{path}: favorites of version {version}, but this figment reads version {SCHEMA_VERSION}"
            )

    def __enter__(self) -> Favourites:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.db.close()

    def all(self) -> list[Favourite]:
        """Return all favorites, newest first."""
        with self.lock:
            rows = self.db.execute("SELECT * FROM favourites ORDER BY id DESC").fetchall()
        return [Favourite(row["id"], row["recipe"], row["name"], row["digest"], row["at"]) for row in rows]

    def add(self, recipe: str, name: str, digest: str) -> Favourite:
        """Save `recipe` and return it; a recipe that is already saved gets the new name, if not empty.

        Raises FigmentError for a long name or too many favorites.
        """
        if len(name) > MAX_NAME:
            raise FigmentError(f"name: {len(name)} characters; must be at most {MAX_NAME}")
        with self.lock, self.db:
            count = self.db.execute("SELECT count(*) FROM favourites").fetchone()[0]
            if count >= MAX_FAVOURITES:
                raise FigmentError(f"favorites: there are already {count}; remove some first")
            self.db.execute(
                "INSERT INTO favourites (recipe, name, digest) VALUES (?, ?, ?) ON CONFLICT (recipe) DO UPDATE SET"
                " digest = excluded.digest, name = iif(excluded.name = '', name, excluded.name)",
                (recipe, name, digest),
            )
            row = self.db.execute("SELECT * FROM favourites WHERE recipe = ?", (recipe,)).fetchone()
        return Favourite(row["id"], row["recipe"], row["name"], row["digest"], row["at"])

    def remove(self, number: int) -> bool:
        """Remove a favorite; return False for an unknown number."""
        with self.lock, self.db:
            return number < 2**63 and self.db.execute("DELETE FROM favourites WHERE id = ?", (number,)).rowcount > 0

    # ------------------------------------------------------------------ projected images

    def keep_latent(
        self,
        w: Tensor,  # [L, D]
        name: str,  # of the image
        distance: float,  # of the projection from its target
        picture: bytes,  # PNG of the target
    ) -> str:
        """Save a projection; return its name in recipes."""
        data = w.detach().cpu().numpy().astype("<f4").tobytes()
        key = "p" + hashlib.sha256(data).hexdigest()[:16]
        with self.lock, self.db:
            self.db.execute(
                "INSERT OR REPLACE INTO latents (id, w, layers, width, name, distance, picture) VALUES (?,?,?,?,?,?,?)",
                (key, data, *w.shape, name[:MAX_NAME], distance, picture),
            )
        return key

    def latent(self, key: str) -> Tensor | None:
        """Return the w [L, D] of a projected image; None for an unknown one."""
        row = self._latent_row(key)
        if row is None:
            return None
        values = np.frombuffer(row["w"], "<f4").reshape(row["layers"], row["width"])
        return torch.from_numpy(values.astype(np.float32))

    def latent_picture(self, key: str) -> bytes | None:
        """Return the PNG of a projection's target; None for an unknown one."""
        row = self._latent_row(key)
        return None if row is None else bytes(row["picture"])

    def _latent_row(self, key: str) -> sqlite3.Row | None:
        with self.lock:
            found: sqlite3.Row | None = self.db.execute("SELECT * FROM latents WHERE id = ?", (key,)).fetchone()
        return found
