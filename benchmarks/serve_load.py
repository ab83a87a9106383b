"""Load the studio with many concurrent clients for a minute: throughput, latency, errors and memory.

    python benchmarks/serve_load.py figment/train/weights/start-64.safetensors --clients 200 --seconds 60

Each client sends one request after another: images of new and known seeds, children, steps of morphs, mixes, favorites,
and sometimes a film, an invalid value or a forged Host. Every request has an expected status. The clock starts after a
warm-up of one film and some images. Prints requests per second, median and 95th percentile of the latency, errors by
kind, and the memory of the server at 10 s and at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

WARM_SEC = 10.0


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def cpu_sec(pid: int) -> float:
    """Return the CPU seconds of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start(model: Path, folder: str) -> tuple[subprocess.Popen[str], str]:
    """Start the server; return process and address."""
    flags = ["--port", "0", "--favourites", f"{folder}/studio.db"]
    command = [sys.executable, "-m", "figment", "serve", str(model), *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    return process, re.search(r"http://\S+", line)[0].rstrip("/")


def choose(rng: random.Random) -> tuple[str, str, str, dict[str, object], set[int]]:
    """Return a random request: kind, method, address, options and expected statuses."""
    one, other = rng.randrange(2**32), rng.randrange(2**32)
    step = f"/face.png?r={one % 50}@0.7&r={other % 50}@0.7&at={rng.randrange(9) / 8}"
    kinds = [
        (50, ("new picture", "GET", f"/face.png?r={one}@0.7", {}, {200})),
        (20, ("seen picture", "GET", f"/face.png?r={rng.randrange(100)}@0.7", {}, {200})),
        (10, ("morph step", "GET", step, {}, {200})),
        (5, ("children", "GET", f"/api/children?r={one}&r={other}&seed={one}", {}, {200})),
        (5, ("mix", "GET", f"/api/blend?r={one}&r={other}&coarse=0.5&fine=1", {}, {200})),
        (3, ("keep", "POST", "/api/favourites", {"json": {"recipe": f"{one % 500}@0.7", "name": ""}}, {201})),
        (2, ("favourites", "GET", "/api/favourites", {}, {200})),
        (2, ("page", "GET", "/studio.js", {}, {200})),
        (1, ("bad value", "GET", f"/face.png?r={one}@nan", {}, {400})),
        (1, ("forged host", "GET", "/", {"headers": {"host": "evil.example"}}, {421})),
        (0.5, ("not a picture", "POST", "/api/project", {"content": b"x" * 2000}, {415})),
        (0.1, ("film", "POST", "/api/film", {"json": {"r": [str(one), str(other)], "seconds": 1}}, {202, 503})),
    ]
    return rng.choices([kind for _, kind in kinds], [weight for weight, _ in kinds])[0]


async def visit(
    client: httpx.AsyncClient,
    rng: random.Random,
    until: float,
    times: list[tuple[str, float]],
    wrong: Counter[str],
) -> None:
    """Send requests as one client until the time is over."""
    while time.monotonic() < until:
        kind, method, address, options, right = choose(rng)
        began = time.monotonic()
        try:
            answer = await client.request(method, address, **options)
            if answer.status_code not in right:
                wrong[f"{kind}: {answer.status_code}"] += 1
        except httpx.HTTPError as error:
            wrong[f"{kind}: {type(error).__name__}"] += 1
        times.append((kind, time.monotonic() - began))


async def warm(client: httpx.AsyncClient) -> None:
    """Draw some images and a film, so that everything is loaded and set up before the measurement."""
    await asyncio.gather(*(client.get(f"/face.png?r={seed}@0.7") for seed in range(32)))
    job = (await client.post("/api/film", json={"r": ["1", "2"], "seconds": 1})).json()
    while job["state"] in ("waiting", "running"):
        await asyncio.sleep(0.2)
        job = (await client.get(f"/api/jobs/{job['id']}")).json()


async def load(address: str, pid: int, clients: int, seconds: float) -> None:
    """Run all clients for `seconds` and print the results."""
    times: list[tuple[str, float]] = []
    wrong: Counter[str] = Counter()
    memory: dict[str, float] = {}
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=60) as client:
        await warm(client)
        began = (time.monotonic(), cpu_sec(pid))
        until = time.monotonic() + seconds

        async def watch() -> None:
            await asyncio.sleep(WARM_SEC)
            memory["warm"] = memory_mb(pid)
            await asyncio.sleep(until - time.monotonic())
            memory["end"] = memory_mb(pid)

        visits = [visit(client, random.Random(i), until, times, wrong) for i in range(clients)]
        await asyncio.gather(watch(), *visits)
        drawn = (await client.get("/api/about")).json().get("drawing", {})

    print(f"{len(times)} requests by {clients} clients in {seconds:g} s: {len(times) / seconds:.0f} per second")
    print(f"{'kind':<16}{'requests':>9}{'p50 ms':>9}{'p95 ms':>9}")
    for kind in ("all", *sorted({kind for kind, _ in times})):
        taken = [sec * 1000 for name, sec in times if kind in (name, "all")]
        cuts = statistics.quantiles(taken, n=20) if len(taken) > 1 else taken * 20
        print(f"{kind:<16}{len(taken):>9}{statistics.median(taken):>9.0f}{cuts[18]:>9.0f}")
    print(f"wrong answers: {dict(wrong) or 'none'}")
    print(f"drawn on one thread: {drawn}")
    share = (cpu_sec(pid) - began[1]) / (time.monotonic() - began[0])
    print(f"CPU use of the server: {share:.2f} cores; load of the machine: {os.getloadavg()[0]:.1f}")
    print(
        f"memory: {memory['warm']:.0f} MB at {WARM_SEC:g} s, {memory['end']:.0f} MB at the end "
        f"({memory['end'] / memory['warm'] - 1:+.1%})"
    )


def main() -> None:
    """Start a server, run the load, stop the server."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        process, address = start(options.model, folder)
        try:
            asyncio.run(load(address, process.pid, options.clients, options.seconds))
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
