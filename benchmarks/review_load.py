"""Measure the speed of the review page and the report with 100,000 crops.

    python benchmarks/review_load.py scratch/ --heads 100000

Makes a catalog of that many heads (which share 100 crops on the disk), sends the requests of a browser to the server of
the page, and prints wall-clock and CPU milliseconds of each. The folder is kept for later runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sqlite3
import time
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from figment.base.catalog import Catalog
from figment.curate.report import write_report
from figment.curate.review import open_office
from figment.curate.review_server import application

FILES = 100
TIMES = 9


def make(folder: Path, heads: int) -> None:
    """Write a catalog of `heads` rows with measures, thumbnails, embeddings, verdicts and groups of copies."""
    Catalog(folder, create=True).db.close()
    rng = np.random.RandomState(0)
    for k in range(FILES):
        pixels = rng.randint(0, 256, (6, 6, 3), np.uint8)
        Image.fromarray(pixels).resize((256, 256)).save(folder / f"crop{k:04d}.png")
    db = sqlite3.connect(folder / "catalog.db")
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA cache_size = -400000")
    with db:
        for k in range(heads):
            size, headness, unit = rng.lognormal(4.7, 0.6), rng.beta(6, 1.5), rng.randn(128)
            unit[0] += 9 if headness > 0.5 else -9
            figures = {
                "size": round(size, 1),
                "sharpness": rng.uniform(0.1, 0.9),
                "contrast": rng.uniform(10, 255),
                "brightness": rng.uniform(30, 255),
                "headness": headness,
                "thumb": "x" * 2000,
                "phash": "0" * 16,
                "embedding": (unit / np.linalg.norm(unit)).astype("<f2").tobytes().hex(),
            }
            # Every tenth head is a copy of the previous one.
            file = "./" * (k // FILES) + f"crop{k % FILES:04d}.png"  # a name per head, few files
            if k % 10 in (0, 1):
                figures["group"] = k - k % 10 + 1
            word = ("reject", "too-small", f"size {size:.4g} < 48") if size < 48 else ("keep", "", "")
            word = ("reject", "duplicate", "of another") if k % 10 == 1 else word
            db.execute("INSERT INTO pictures VALUES (?,?,'1',800,600,'heads','','')", (k + 1, f"{k:06d}.png"))
            db.execute(
                "INSERT INTO heads VALUES (?,?,?,0,0,?,?,?,0,0,256,256)", (k + 1, k + 1, file, size, size, headness)
            )
            db.executemany("INSERT INTO measures VALUES (?,?,?)", [(k + 1, *item) for item in figures.items()])
            db.execute(
                "INSERT INTO verdicts (head_id, verdict, reason, detail, by) VALUES (?,?,?,?,'rule')", (k + 1, *word)
            )
    db.close()
    (folder / "made").touch()


async def measure(app: object, requests: dict[str, tuple[str, object]]) -> None:
    """Send each request several times; print median and worst milliseconds."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1") as client:
        for name, (path, body) in requests.items():
            took, busy = [], []
            for k in range(TIMES):
                start, begun = time.perf_counter(), time.process_time()
                send = body(k) if callable(body) else body
                reply = await (client.post(path, json=send) if send is not None else client.get(path.format(k=k + 1)))
                took.append(1000 * (time.perf_counter() - start))
                busy.append(1000 * (time.process_time() - begun))
                assert reply.status_code == 200, (path, reply.text)
            middle, cpu = sorted(took)[TIMES // 2], sorted(busy)[TIMES // 2]
            print(f"{name:32} median {middle:7.1f} ms  worst {max(took):7.1f} ms  CPU {cpu:6.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scratch", type=Path)
    parser.add_argument("--heads", type=int, default=100_000)
    args = parser.parse_args()
    folder = args.scratch / f"heads-{args.heads}"
    if not (folder / "made").exists():
        make(folder, args.heads)

    start = time.perf_counter()
    office = open_office(folder)
    print(f"opening {args.heads:,} heads: {time.perf_counter() - start:.1f} s, CPU {time.process_time():.1f} s")
    last = office.desk.db.execute(
        "SELECT place, head_id FROM ranking ORDER BY place, head_id DESC LIMIT 1 OFFSET 500"
    ).fetchone()
    deep = f"{last[0]},{last[1]}"
    asyncio.run(
        measure(
            application(office),
            {
                "counts and filters": ("/api/state", None),
                "first page": ("/api/heads?filter=borderline", None),
                "page at the end": (f"/api/heads?filter=all&after={deep}", None),
                "rejected by a reason": ("/api/heads?filter=rejected&reason=duplicate", None),
                "groups of duplicates": ("/api/groups", None),
                "figures of a head": ("/api/head?id={k}", None),
                "thumbnail, new or made before": ("/thumb?id={k}", None),
                "a decision": ("/api/decide", lambda k: {"decisions": [{"id": k + 1, "verdict": "keep"}]}),
                "undo": ("/api/undo", {}),
            },
        )
    )

    start, begun = time.perf_counter(), time.process_time()
    write_report(folder)
    size = (folder / "report.html").stat().st_size / 2**20
    busy = time.process_time() - begun
    print(f"report: {time.perf_counter() - start:.1f} s, CPU {busy:.1f} s, {size:.2f} MB", flush=True)

    words = [
        {"id": k + 1, "verdict": "keep" if k % 2 else "reject", "reason": "" if k % 2 else "not-a-head"}
        for k in range(39)
    ]
    asyncio.run(measure(application(office), {"39 labels at once": ("/api/decide", {"decisions": words})}))
    start, begun = time.perf_counter(), time.process_time()
    office.classifier.learned_at, office.classifier.lesson = 0, None
    lesson = office.classifier.learn()
    print(
        f"training on {lesson.labels} labels and re-ordering: {time.perf_counter() - start:.1f} s,"
        f" CPU {time.process_time() - begun:.1f} s"
    )
    print(json.dumps(office.model()["lesson"]))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


if __name__ == "__main__":
    main()
