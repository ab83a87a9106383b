"""Load mutated and hostile checkpoints, and check that none executes code, crashes or fills the memory.

    python benchmarks/fuzz_pickles.py --files 10000 --seed 0

Every mutated file is loaded as a user would load it. The output counts files that load, files that are refused in one
line, and failures: an audit event of executed code, any error but FigmentError, a message of several lines, more memory
than twice the size of the file plus 1 GiB, or more than 20 CPU seconds.
"""

from __future__ import annotations

import argparse
import codecs
import random
import resource
import struct
import sys
import tempfile
import time
import zipfile
from collections import Counter
from pathlib import Path

from figment.base.errors import FigmentError

DATA = Path(__file__).parents[1] / "tests" / "data"
EVENTS = ("os.system", "subprocess.Popen", "exec", "compile", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn",
          "ctypes.dlopen", "socket.connect", "os.remove", "shutil.rmtree")  # fmt: skip
PAYLOADS = (
    b"cos\nsystem\n(Vtouch /tmp/figment-was-here\ntR",
    b"\x8c\x02os\x8c\x06system\x93\x8c\x05false\x85R",
    b"(Vfalse\nios\nsystem\n",
    b"(cos\nsystem\nVfalse\no",
    b"\x8c\x08builtins\x8c\x04exec\x93\x8c\x04pass\x85R",
    b"\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85\x81",
    b"\x8c\x0dtorch.storage\x8c\x10_load_from_bytes\x93C\x1ecos\nsystem\n(Vtrue\ntR.          \x85R",
    b"]" * 5000 + b"a" * 4999,
    b")" + b"\x85" * 5000,
    b"]\x94" * 5000,
    b"\x8e" + struct.pack("<Q", 2**60),
    b"r\xff\xff\xff\x7f",
    b"\x82\x01", b"Pos.system\n", b"\x97", b"b", b"R", b"\x81", b"\x92",
)  # fmt: skip


def mutate(data: bytes, random: random.Random) -> bytes:
    """Return `data` changed in one of eight ways."""
    way = random.randrange(8)
    content = bytearray(data)
    place = lambda: random.randrange(len(content))  # noqa: E731
    if way == 0:  # single bytes
        for _ in range(random.choice((1, 2, 8, 64))):
            content[place()] = random.randrange(256)
    elif way == 1:  # truncation
        del content[place() :]
    elif way == 2:  # a removed piece
        start = place()
        del content[start : start + random.choice((1, 7, 300))]
    elif way == 3:  # an inserted payload, mostly where opcodes are dense
        start = random.choice((place(), random.randrange(min(len(content), 4000)), 2))
        content[start:start] = random.choice(PAYLOADS)
    elif way == 4:  # a payload that overwrites
        start, payload = place(), random.choice(PAYLOADS)
        content[start : start + len(payload)] = payload
    elif way == 5:  # a repeated piece
        start, size = place(), random.choice((16, 256, 4096))
        content[start:start] = content[start : start + size] * random.choice((1, 2, 20))
    elif way == 6:  # a name replaced by random bytes of the same length
        names = (b"weight", b"bias", b"numpy", b"dtype", b"torch", b"const", b"float", b"synthesis")
        name = random.choice(names)
        content = bytearray(bytes(content).replace(name, random.randbytes(len(name)), random.choice((1, 5, -1))))
    else:  # extreme numbers
        start = place()
        content[start : start + 8] = struct.pack("<Q", random.choice((2**63, 2**31, 2**40, 0)))
    return bytes(content)


def mutate_zip(data: bytes, random: random.Random) -> bytes:
    """Return a zip with a mutated pickle or other entries and correct checksums."""
    with tempfile.SpooledTemporaryFile() as target, tempfile.SpooledTemporaryFile() as source:
        source.write(data)
        compression = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
            for info in old.infolist():
                content = old.read(info)
                if info.filename.endswith("data.pkl") or random.random() < 0.01:
                    content = mutate(content, random) if content else content
                if random.random() > 0.002:
                    new.writestr(zipfile.ZipInfo(info.filename), content, compression)
        target.seek(0)
        return target.read()


def corpus(seed: int, count: int, largest: int | None = None) -> list[tuple[str, int]]:
    """Return source file and seed of each mutated file."""
    chooser = random.Random(seed)
    names = sorted(path.name for path in DATA.iterdir() if path.suffix in (".pkl", ".pt", ".model"))
    names = [name for name in names if largest is None or (DATA / name).stat().st_size <= largest]
    return [(chooser.choice(names), chooser.randrange(2**32)) for _ in range(count)]


def make(name: str, seed: int) -> bytes:
    """Return the content of one mutated file."""
    chooser, data = random.Random(seed), (DATA / name).read_bytes()
    if chooser.random() < 0.05:
        return chooser.randbytes(chooser.randrange(1, 5000))
    if data[:2] == b"PK" and chooser.random() < 0.7:
        return mutate_zip(data, chooser)
    return mutate(data, chooser)


def fuzz(folder: Path, count: int, seed: int = 0, largest: int | None = None) -> tuple[Counter[str], list[str]]:
    """Load `count` mutated files; return counts by outcome, and a line for every failure."""
    import torch._dynamo  # noqa: F401

    from figment.legacy.formats import load

    # Import now what Python and torch import on first use, such as codecs of zip names and of old text.
    for codec in ("cp437", "raw_unicode_escape"):
        codecs.lookup(codec)
    for path in sorted(DATA.glob("*.p*")):
        if path.suffix in (".pkl", ".pt"):
            load(path)

    seen: list[str] = []
    watching = [True]

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching[0] and event in EVENTS:
            seen.append(event)

    sys.addaudithook(watch)
    counts: Counter[str] = Counter()
    failures = []
    for name, number in corpus(seed, count, largest):
        content = make(name, number)
        path = folder / name
        path.write_bytes(content)
        limit = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 2 * len(content) + 2**30
        seen.clear()
        started = time.process_time()
        try:
            load(path)
            counts["loaded"] += 1
        except FigmentError as error:
            counts["refused in one line"] += 1
            if "\n" in str(error) or len(str(error)) > 5000:
                failures.append(f"{name} {number}: a message of several lines")
        except BaseException as error:
            failures.append(f"{name} {number}: {type(error).__name__} {error}")
        if seen:
            failures.append(f"{name} {number}: {', '.join(seen)}")
        if time.process_time() - started > 20:
            failures.append(f"{name} {number}: took {time.process_time() - started:.0f} s")
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 > limit:
            failures.append(f"{name} {number}: too much memory")
    watching[0] = False
    counts["failures"] = len(failures)
    return counts, failures


def main() -> None:
    """Parse options, run, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--files", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts, failures = fuzz(Path(folder), arguments.files, arguments.seed)
    print(f"{arguments.files} files in {time.monotonic() - started:.0f} s:", dict(counts))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    for line in failures[:50]:
        print(line)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
