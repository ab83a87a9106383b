"""Which files are pictures: by their first bytes and by the ending of their name. No other module decides that."""

from __future__ import annotations

import functools
import re
import stat
from pathlib import Path

ENDINGS = frozenset(
    {
        *(".apng", ".avif", ".avifs", ".blp", ".bmp", ".bw", ".cur", ".dcx", ".dds", ".dib", ".emf", ".eps"),
        *(".fit", ".fits", ".flc", ".fli", ".ftc", ".ftu", ".gbr", ".gif", ".hdp", ".heic", ".heics", ".heif"),
        *(".heifs", ".hif", ".icb", ".icns", ".ico", ".im", ".j2c", ".j2k", ".jfif", ".jif", ".jp2", ".jpc"),
        *(".jpe", ".jpeg", ".jpf", ".jpg", ".jps", ".jpx", ".jxl", ".mpo", ".msp", ".pbm", ".pcd", ".pcx", ".pfm"),
        *(".pgm", ".pjp", ".pjpeg", ".png", ".pnm", ".ppm", ".ps", ".psd", ".pxr", ".qoi", ".ras", ".rgb"),
        *(".rgba", ".sgi", ".spider", ".svg", ".svgz", ".tga", ".tif", ".tiff", ".vda", ".vst", ".webp", ".wmf"),
        *(".xbm", ".xpm"),
    }
)
"""Endings of pictures, in lower case."""
SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information"})
"""Folders that an operating system or a disk station keeps beside pictures, in lower case."""
HEAD = 256
"""The number of first bytes that show a file's kind."""

ADVICE = {
    "heic": "a HEIC picture; install the extra `formats` (pip install 'figment-gan[formats]') or convert it to JPEG",
    "jpeg-xl": "a JPEG XL picture; install the extra `formats` (pip install 'figment-gan[formats]') or convert it",
    "avif": "an AVIF picture, which this Pillow can't read; install a newer Pillow or convert it",
    "camera-raw": "a raw file of a camera; develop it into a TIFF, PNG or JPEG",
    "vector": "a vector drawing (EPS, SVG, WMF); export it as PNG",
    "git-lfs": "a Git LFS pointer, not the picture itself; run `git lfs pull`",
}
"""What to do about the kinds of pictures that figment can't always read; the keys are reasons of UnreadableImage."""
UNREAD = "{} that could not be read; it may be damaged, or need another program: convert it to PNG or JPEG"
PLUG_INS = {"heic": "a HEIC picture", "jpeg-xl": "a JPEG XL picture"}
"""Kinds that depend on a plug-in."""
NEVER = ("camera-raw", "vector", "git-lfs")
"""Kinds that are not read at all. An EPS file is a program."""

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF87a", "gif"),
    (b"GIF89a", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0\x08\0\0\0", "tiff"),
    (b"MM\0+\0\x08\0\0", "tiff"),
    (b"\xff\x0a", "jpeg-xl"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "jpeg-xl"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jpeg-2000"),
    (b"\xff\x4f\xff\x51", "jpeg-2000"),
    (b"8BPS\0\x01", "psd"),
    (b"qoif\0", "qoi"),
    (b"DDS |\0\0\0", "dds"),
    (b"icns\0", "icns"),
    (b"FUJIFILMCCD-RAW", "camera-raw"),
    (b"IIU\0", "camera-raw"),
    (b"IIRO", "camera-raw"),
    (b"IIRS", "camera-raw"),
    (b"MMOR", "camera-raw"),
    (b"FOVb", "camera-raw"),
    (b"%!PS-Adobe", "vector"),
    (b"\xc5\xd0\xd3\xc6", "vector"),
    (b"\xd7\xcd\xc6\x9a", "vector"),
    (b"version https://git-lfs.github.com/spec/", "git-lfs"),
)
_HEIF = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"})
_AVIF = frozenset({b"avif", b"avis"})
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_SVG = re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg[\s/>]", re.DOTALL)


def kind_of(
    head: bytes,  # the first HEAD bytes of a file, or more
) -> str:
    """Return the kind of picture that a file's first bytes show, such as `png` or `heic`; "" for anything else.

    Kinds with a signature of two or three letters, such as PPM, are not recognized, since texts may begin like them.
    """
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return "camera-raw" if kind == "tiff" and head[8:10] == b"CR" else kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "bmp"
    if head[4:8] == b"ftyp":
        return _kind_of_boxes(head)
    return "vector" if _SVG.match(head[:HEAD].removeprefix(b"\xef\xbb\xbf")) else ""


def _kind_of_boxes(head: bytes) -> str:
    """Return the kind of a file in the ISO base media format, by its brands; "" for videos."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))]
    if brands[0] == b"crx ":
        return "camera-raw"
    if brands[0] in _AVIF or (brands[0] in (b"mif1", b"msf1") and _AVIF & set(brands)):
        return "avif"
    if brands[0] in _HEIF:
        return "heic"
    return "jpeg-xl" if brands[0] == b"jxl " else ""


def has_picture_name(name: str) -> bool:
    """Return whether the name of a file or zip entry is that of a picture: not hidden, with a picture's ending.

    The name is relative. Entries that macOS and disk stations add beside pictures are hidden.
    """
    *folders, last = name.replace("\\", "/").split("/")
    return Path(last).suffix.lower() in ENDINGS and not any(is_hidden(part) for part in (*folders, last))


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is not for users: `.name`, `__MACOSX`, `@eaDir` and the like."""
    return (name.startswith(".") and name not in (".", "..")) or name.lower() in SYSTEM_FOLDERS


def is_picture(path: Path) -> bool:
    """Return whether a file is to be read as a picture: it has a picture's ending, or the first bytes of one.

    Nothing but its first bytes is read; whether it can be used shows when it is opened. What is no regular file (a dead
    link, a pipe) counts if it has a picture's ending or none at all, so that it is reported.
    """
    if path.suffix.lower() in ENDINGS:
        return True
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return not path.suffix
        with path.open("rb", buffering=0) as file:
            return kind_of(file.read(HEAD) or b"") != ""
    except OSError:
        return not path.suffix


def advice(
    kind: str,  # one of ADVICE
) -> str:
    """Return what a picture of this kind is that could not be read, and what to do about it."""
    return UNREAD.format(PLUG_INS[kind]) if kind in PLUG_INS and enable(kind) else ADVICE[kind]


@functools.cache
def enable(kind: str) -> bool:
    """Make Pillow read `heic` or `jpeg-xl` (extra `formats`); return whether it can read this kind."""
    try:
        if kind == "heic":
            import pillow_heif

            pillow_heif.register_heif_opener()
        elif kind == "jpeg-xl":
            import pillow_jxl  # noqa: F401 (registers itself)
        elif kind == "avif":
            from PIL import features

            return bool(features.check("avif"))
    except ImportError:
        return False
    return True


def jpeg_xl_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a JPEG XL file before decoding it (ISO 18181-1, SizeHeader); None if not found."""
    at = 0
    if not data.startswith(b"\xff\x0a"):
        # A container: the code stream is in the first box jxlc or jxlp (after four bytes of its index).
        while True:
            size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
            start = at + 8
            if size == 1:
                size, start = int.from_bytes(data[start : start + 8], "big"), start + 8
            if kind in (b"jxlc", b"jxlp"):
                at = start + (4 if kind == b"jxlp" else 0)
                break
            if size < start - at or at + size >= len(data):
                return None
            at += size
    if data[at : at + 2] != b"\xff\x0a":
        return None
    bits, place = int.from_bytes(data[at + 2 : at + 18], "little"), 0

    def take(count: int) -> int:
        nonlocal place
        value = (bits >> place) & ((1 << count) - 1)
        place += count
        return value

    def side() -> int:
        return (take(5) + 1) * 8 if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = take(1)
    height = side()
    ratio = take(3)
    if not ratio:
        return side(), height
    across, down = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height * across // down, height
