"""A heads folder with a catalog, written in one go: crops of one colour, measures, verdicts, embeddings."""

import sqlite3
from pathlib import Path

import numpy as np
from PIL import Image

from figment.base.catalog import Catalog


def embedding(rng: np.random.RandomState, is_head: bool) -> str:
    """A unit vector as the crop stage writes it; heads and non-heads lie around two directions."""
    unit = rng.randn(128) * 0.6
    unit[0] += 5 if is_head else -5
    return (unit / np.linalg.norm(unit)).astype("<f2").tobytes().hex()


def make_heads(
    folder: Path,  # gets heads/ and pictures/
    count: int,  # 80 or so: head k is 30 + k pixels large, every fourth is no head by its embedding
) -> Path:
    """Heads below 48 pixels are rejected as too small, 71 and 72 as duplicates of 70, the others are kept."""
    heads, pictures = folder / "heads", folder / "pictures" / "art"
    Catalog(heads, create=True).db.close()
    pictures.mkdir(parents=True)
    Image.new("RGB", (200, 150), (40, 90, 60)).save(pictures / "000.png")
    Image.new("RGB", (200, 150), (90, 90, 60)).save(pictures / "none.png")
    rng = np.random.RandomState(0)
    rows, crops, measures, verdicts = [], [], [], []
    for k in range(count):
        Image.new("RGB", (16, 16), (k * 3 % 256, 90, 255 - k * 3 % 256)).save(heads / f"{k:03d}.png")
        rows.append((k + 1, f"art/{k:03d}.png", "1", 200, 150, "heads", "", ""))
        crops.append((k + 1, k + 1, f"{k:03d}.png", 10, 10, 60 + k, 60 + k, 0.9, 0, 0, 70 + k, 70 + k))
        figures = {
            "size": 30.0 + k,
            "sharpness": 0.9,
            "contrast": 200.0,
            "brightness": 250.0,
            "headness": 0.9,
            "embedding": embedding(rng, k % 4 != 0),
        }
        measures += [(k + 1, name, value) for name, value in figures.items()]
        word = ("reject", "too-small", f"size {30 + k} < 48") if k < 18 else ("keep", "", "")
        verdicts.append((k + 1, *(("reject", "duplicate", "of 070.png") if k in (71, 72) else word)))
    rows.append((count + 1, "art/none.png", "1", 200, 150, "empty", "no-head", ""))

    db = sqlite3.connect(heads / "catalog.db")
    with db:
        db.executemany(f"INSERT INTO pictures ({COLUMNS}) VALUES (?,?,?,?,?,?,?,?)", rows)
        db.executemany(
            "INSERT INTO heads (id, picture_id, file, x0, y0, x1, y1, score, crop_x0, crop_y0, crop_x1,"
            " crop_y1) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            crops,
        )
        db.executemany("INSERT INTO measures (head_id, name, value) VALUES (?,?,?)", measures)
        db.executemany("INSERT INTO verdicts (head_id, verdict, reason, detail, by) VALUES (?,?,?,?,'rule')", verdicts)
    db.close()
    return folder


COLUMNS = "id, path, stamp, width, height, status, reason, message"
