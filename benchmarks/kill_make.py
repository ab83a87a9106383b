"""Kill `figment make` at random moments, restart it, and compare the files with those of an uninterrupted run.

python benchmarks/kill_make.py /tmp/kill --kills 6
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import time
from pathlib import Path


def command(folder: Path, out: Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "figment",
        "make",
        str(folder / "pictures"),
        "-o",
        str(out),
        "--resolution",
        "16",
        "--kimg",
        "0.2",
        "--device",
        "cpu",
    ]


def files(out: Path) -> dict[str, str]:
    """Return relative path -> digest. Databases, checkpoints and statistics contain times: only their names count."""
    found = {}
    for path in out.rglob("*"):
        if path.is_file():
            content = b"" if path.suffix in (".db", ".pt", ".jsonl") else path.read_bytes()
            content = content.replace(bytes(out), b"OUT") if path.suffix == ".json" else content
            found[path.relative_to(out).as_posix()] = hashlib.sha256(content).hexdigest()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder, rng = options.folder, random.Random(options.seed)
    art = [sys.executable, "-m", "figment", "demo-art", str(folder / "pictures"), "--pictures", "30"]
    subprocess.run(art, check=True)

    start = time.monotonic()
    subprocess.run(command(folder, folder / "whole"), check=True, stdout=subprocess.DEVNULL)
    sec = time.monotonic() - start
    moments = []
    for _ in range(options.kills):
        process = subprocess.Popen(command(folder, folder / "killed"), stdout=subprocess.DEVNULL)
        moments.append(rng.uniform(0.1, 0.6) * sec)
        time.sleep(moments[-1])
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command(folder, folder / "killed"), check=True, stdout=subprocess.DEVNULL)

    whole, killed = files(folder / "whole"), files(folder / "killed")
    different = sorted(name for name in whole.keys() | killed.keys() if whole.get(name) != killed.get(name))
    print(
        f"{len(whole)} files; uninterrupted {sec:.0f} s; killed after {', '.join(f'{m:.0f}' for m in moments)} s; "
        f"different: {different or 'none'}"
    )
    sys.exit(bool(different))


if __name__ == "__main__":
    main()
