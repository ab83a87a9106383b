"""Run `figment crop` on a thousand damaged and odd files: each must end as heads, an empty row or a reason.

    python benchmarks/odd_files.py /tmp/odd
    python benchmarks/odd_files.py /tmp/odd --files 200 --seed 3

Makes the files from demo pictures (flipped bytes, truncation, wrong extensions, odd modes, profiles, orientations,
animations, huge dimensions, oversized and broken metadata, rare formats, raw files, archives and text with image names,
companion files, links, pipes, odd names), crops the folder in another process, and prints the outcome of each kind, the
longest time without progress and the peak memory.
"""

from __future__ import annotations

import argparse
import io
import os
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from figment.base.catalog import Catalog
from figment.base.pictures import relative_name
from figment.demo.scenes import EVERYONE, compose

Rng = np.random.Generator


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def flipped(data: bytes, rng: Rng) -> bytes:
    """Return data with random bytes changed."""
    values = bytearray(data)
    for place in rng.integers(0, len(values), int(rng.integers(1, 40))):
        values[place] = int(rng.integers(256))
    return bytes(values)


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims this size and has no image data."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def bomb(rng: Rng) -> bytes:
    """Return an image with few bytes and very many pixels."""
    side = int(rng.choice([9000, 11000, 16000]))
    return encode(Image.new("1", (side, side)), "PNG")


def animated(image: Image.Image, form: str, rng: Rng) -> bytes:
    frames = [image.rotate(15 * i).resize((160, 120)) for i in range(4)]
    return encode(frames[0], form, save_all=True, append_images=frames[1:], duration=80)


def oriented(image: Image.Image, rng: Rng) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = int(rng.integers(0, 12))
    return encode(image, "JPEG", exif=exif)


def profiled(image: Image.Image, rng: Rng) -> bytes:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    if rng.random() < 0.7:
        profile[int(rng.integers(len(profile)))] ^= 255
    return encode(image, "PNG", icc_profile=bytes(profile))


def moded(image: Image.Image, rng: Rng) -> tuple[str, bytes]:
    mode, form, end = [
        ("1", "PNG", "png"),
        ("P", "PNG", "png"),
        ("CMYK", "JPEG", "jpg"),
        ("LA", "PNG", "png"),
        ("L", "JPEG", "jpg"),
        ("F", "TIFF", "tif"),
        ("I;16", "PNG", "png"),
        ("RGBA", "WEBP", "webp"),
        ("YCbCr", "JPEG", "jpg"),
        ("RGBA", "TIFF", "tif"),
    ][int(rng.integers(10))]
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    return end, encode(image if mode == "I;16" else image.convert(mode), form)


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def talkative(image: Image.Image, rng: Rng) -> bytes:
    """Return a PNG with a text, a profile or Exif data that is too large or broken, before or behind its pixels."""
    large = zlib.compress(b"n" * 1_500_000)
    data = encode(image, "PNG")
    place = int(rng.choice([33, len(data) - 12]))
    kinds = [(b"zTXt", b"w\0\0" + large), (b"iTXt", b"w\0\1\0\0\0" + large), (b"iCCP", b"p\0\0" + large)]
    kinds += [(b"eXIf", rng.bytes(40)), (b"zTXt", rng.bytes(40)), (b"pHYs", b"")]
    return data[:place] + chunk(*kinds[int(rng.integers(len(kinds)))]) + data[place:]


def segmented(image: Image.Image, rng: Rng) -> bytes:
    """Return a JPEG with broken application data."""
    data = encode(image, "JPEG")
    start = [b"Exif\0\0", b"ICC_PROFILE\0", b"MPF\0", b"JFIF\0", b"Photoshop 3.0\0", b"Adobe"][int(rng.integers(6))]
    body = start + rng.bytes(int(rng.integers(0, 60)))
    marker = bytes([0xFF, int(rng.choice([0xE0, 0xE1, 0xE2, 0xED, 0xEF]))])
    return data[:2] + marker + (len(body) + 2).to_bytes(2, "big") + body + data[2:]


def exif_tags(image: Image.Image, rng: Rng) -> bytes:
    """Return a WebP with Exif data of random bytes, or cut within it."""
    data = encode(image, "WEBP", exif=b"Exif\0\0" + rng.bytes(200))
    return data[: -int(rng.integers(0, 150))] if rng.random() < 0.5 else data


def rare(image: Image.Image, rng: Rng) -> tuple[str, bytes]:
    """Return a picture in a format that few programs write."""
    forms = ["TGA", "PCX", "PPM", "SGI", "QOI", "JPEG2000", "ICO", "ICNS", "DDS", "MPO", "AVIF", "DIB"]
    form = forms[int(rng.integers(len(forms)))]
    return form.lower(), encode(image, form)


def phone(rng: Rng) -> tuple[str, bytes]:
    """Return the beginning of a HEIC, JPEG XL or raw file, under any ending."""
    starts = [
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        b"\xff\x0a",
        b"II*\0\x10\0\0\0CR\2\0",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
    ]
    return str(rng.choice(["jpg", "HEIC", "png"])), starts[int(rng.integers(4))] + rng.bytes(400)


def archive(rng: Rng) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        target.writestr("a.txt", "not a picture " * 100)
    return buffer.getvalue()


def make_files(folder: Path, count: int, rng: Rng) -> dict[str, str]:
    """Write `count` files below `folder`; return name -> kind."""
    scenes = [compose(rng, EVERYONE, (400, 300)).image for _ in range(12)]
    kinds: dict[str, Callable[[Image.Image], tuple[str, bytes]]] = {
        "plain": lambda image: ("png", encode(image, "PNG")),
        "flipped png": lambda image: ("png", flipped(encode(image, "PNG"), rng)),
        "flipped jpeg": lambda image: ("jpg", flipped(encode(image, "JPEG"), rng)),
        "flipped webp": lambda image: ("webp", flipped(encode(image, "WEBP"), rng)),
        "flipped gif": lambda image: ("gif", flipped(encode(image, "GIF"), rng)),
        "flipped tiff": lambda image: ("tif", flipped(encode(image, "TIFF"), rng)),
        "flipped bmp": lambda image: ("bmp", flipped(encode(image, "BMP"), rng)),
        "cut": lambda image: ("jpg", encode(image, "JPEG")[: int(rng.integers(0, 9000))]),
        "wrong ending": lambda image: (str(rng.choice(["gif", "bmp", "txt2", "PNG", "jpeg"])), encode(image, "PNG")),
        "huge header": lambda image: ("png", png_header(*(int(x) for x in rng.choice([1, 2**16, 2**31 - 1], 2)))),
        "bomb": lambda image: ("png", bomb(rng)),
        "odd mode": lambda image: moded(image, rng),
        "orientation": lambda image: ("jpg", oriented(image, rng)),
        "profile": lambda image: ("png", profiled(image, rng)),
        "animated gif": lambda image: ("gif", animated(image, "GIF", rng)),
        "animated webp": lambda image: ("webp", animated(image, "WEBP", rng)),
        "animated png": lambda image: ("png", animated(image, "PNG", rng)),
        "archive": lambda image: ("png", archive(rng)),
        "text": lambda image: ("jpg", b"<html>404</html>"),
        "empty": lambda image: ("png", b""),
        "noise": lambda image: ("png", rng.bytes(int(rng.integers(1, 5000)))),
        "one pixel": lambda image: ("png", encode(image.resize((1, 1)), "PNG")),
        "png metadata": lambda image: ("png", talkative(image, rng)),
        "jpeg metadata": lambda image: ("JPG", segmented(image, rng)),
        "webp metadata": lambda image: ("webp", exif_tags(image, rng)),
        "rare format": lambda image: rare(image, rng),
        "phone or camera": lambda image: phone(rng),
        "flipped avif": lambda image: ("avif", flipped(encode(image, "AVIF"), rng)),
        "flipped jpeg 2000": lambda image: ("jp2", flipped(encode(image, "JPEG2000"), rng)),
        "no ending": lambda image: ("", encode(image, "PNG")),
        "git lfs": lambda image: ("png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        "trailing bytes": lambda image: ("png", encode(image, "PNG") + rng.bytes(5000)),
        "thin": lambda image: ("png", encode(image.resize((3000, 1)), "PNG")),
    }
    few = {"bomb": 6}
    made: dict[str, str] = {}
    odd = ["link to nowhere", "link to itself", "pipe", "unreadable", "long name", "unicode name", "no utf-8"]
    odd += ["bad, no utf-8", "line break", "behind a link"]
    folder.mkdir(parents=True, exist_ok=True)
    while len(made) < count - len(odd):
        kind = list(kinds)[int(rng.integers(len(kinds)))]
        if sum(known == kind for known in made.values()) >= few.get(kind, count):
            continue
        ending, data = kinds[kind](scenes[int(rng.integers(len(scenes)))])
        name = f"{len(made):04d}-{kind.replace(' ', '_')}" + f".{ending}" * bool(ending)
        (folder / name).write_bytes(data)
        made[name] = kind

    # Odd file types, permissions and names.
    good = encode(scenes[0], "PNG")
    (folder / "nowhere.png.png").symlink_to("nowhere.png")
    (folder / "itself.png").symlink_to("itself.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "unreadable.png").write_bytes(good)
    (folder / "unreadable.png").chmod(0)
    (folder / ("l" * 240 + ".png")).write_bytes(good)
    (folder / "\u96ea\u306e\u82f1\u96c4 \U0001f98a.png").write_bytes(good)
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe.png")).write_bytes(good)
    Path(os.fsdecode(os.fsencode(folder) + b"/\x8d\xf7.png")).write_bytes(b"text")
    (folder / "line\nbreak.png").write_bytes(good)
    store = folder.with_name("store")
    store.mkdir()
    (store / "linked.png").write_bytes(good)
    (folder / "more").symlink_to(store.absolute())
    (store / "back").symlink_to(folder.absolute())

    # Companion files of every picture, which must not give rows or lines.
    for name in list(made):
        (folder / f"{name}.caption").write_text("BMW, 1girl, solo")
    for name in ("Thumbs.db", ".DS_Store", "metadata.jsonl", "@eaDir/a.png", "__MACOSX/._a.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7")
    names = [
        "nowhere.png.png",
        "itself.png",
        "pipe.png",
        "unreadable.png",
        "l" * 240 + ".png",
        "\u96ea\u306e\u82f1\u96c4 \U0001f98a.png",
        os.fsdecode(b"\xff\xfe.png"),
        os.fsdecode(b"\x8d\xf7.png"),
        "line\nbreak.png",
        "more/linked.png",
    ]
    return made | dict(zip(names, odd, strict=True))


def memory_of(pid: int) -> int:
    """Return the resident bytes of a process and its children."""
    total = 0
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "status").read_text()
        except OSError:
            continue
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if int(entry.name) == pid or int(fields.get("PPid", "0")) == pid:
            total += int(fields.get("VmRSS", "0 kB").split()[0]) * 1024
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="empty working folder")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pictures, heads = options.folder / "pictures", options.folder / "heads"
    kinds = make_files(pictures, options.files, np.random.default_rng(options.seed))

    # Crop in another process; record its memory and the longest time without a new row.
    peak, longest, since, rows = 0, 0.0, 0.0, 0
    process = subprocess.Popen(
        [sys.executable, "-m", "figment", "crop", str(pictures), "-o", str(heads)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    output: list[str] = []
    reader = threading.Thread(target=lambda: output.append(process.stdout.read()))  # type: ignore[union-attr]
    reader.start()
    started = time.monotonic()
    while process.poll() is None:
        time.sleep(0.1)
        peak = max(peak, memory_of(process.pid))
        if (heads / "catalog.db").exists():
            with Catalog(heads) as catalog:
                now = catalog.db.execute("SELECT count(*) FROM pictures").fetchone()[0]
            if now != rows or not since:
                rows, since = now, time.monotonic()
            longest = max(longest, time.monotonic() - since)
    reader.join()
    if not (heads / "catalog.db").exists():
        sys.exit("".join(output))

    # Outcome of each kind.
    with Catalog(heads) as catalog:
        found = {picture.path: picture for picture in catalog.pictures()}
    table: dict[str, Counter[str]] = {}
    for name, kind in kinds.items():
        picture = found.get(relative_name(pictures / name, pictures))
        fate = "NO ROW" if picture is None else picture.status
        if picture is not None and picture.status == "bad":
            fate = picture.reason or "NO REASON"
        table.setdefault(kind, Counter())[fate] += 1
    for kind, fates in sorted(table.items()):
        print(f"{kind:<16} " + ", ".join(f"{count} {fate}" for fate, count in fates.most_common()))
    lost = sum(fates[fate] for fates in table.values() for fate in ("NO ROW", "NO REASON"))
    print(
        f"{len(kinds)} files, {lost} lost, exit code {process.returncode}, {time.monotonic() - started:.0f} s; "
        f"longest without a row {longest:.1f} s, peak memory {peak / 2**30:.2f} GiB"
    )
    print("".join(output).strip())


if __name__ == "__main__":
    main()
