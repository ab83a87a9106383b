"""Files of onnxruntime-web for a published page: one version, verified, from a local copy or from npm.

figment publish runs/00000-heads -o site --onnx                                   # npm fetches it once
figment publish runs/00000-heads -o site --onnx --runtime onnxruntime-web-1.30.0.tgz
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from figment.base.errors import FigmentError
from figment.base.files import write_bytes
from figment.base.progress import say

VERSION = "1.30.0"
SIZE = 33_106_585
"""Size of the package in bytes."""
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""SHA-512 of the package in base64, as in package-lock.json files."""
FILES = {
    "ort.wasm.min.js": "faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
"""Files that a page needs, with their SHA-256."""
PACKAGE = f"onnxruntime-web-{VERSION}.tgz"
PATIENCE = 600
"""Time limit of npm in seconds."""


def runtime_files(
    source: Path | None = None,  # the package's .tgz or a folder with its files; None means the cache or npm
    flag: str = "--runtime",  # option that messages name
) -> dict[str, bytes]:
    """Return the files of onnxruntime-web by name; raises FigmentError if one is missing or has another checksum."""
    found = source or fetch_package()
    files = {name: _in_folder(found, name, flag) for name in FILES} if found.is_dir() else _in_package(found, flag)
    for name, digest in FILES.items():
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise FigmentError(f"{flag} {found}: {name} is not that of onnxruntime-web {VERSION} (SHA-256 differs)")
    return files


def _in_folder(folder: Path, name: str, flag: str) -> bytes:
    """Return one file of an unpacked package."""
    for place in (folder, folder / "dist", folder / "package" / "dist"):
        if (place / name).is_file():
            return (place / name).read_bytes()
    raise FigmentError(f"{flag} {folder}: {name} of onnxruntime-web {VERSION} is not in this folder")


def _in_package(package: Path, flag: str) -> dict[str, bytes]:
    """Return the files of a package without unpacking it to disk."""
    files = {}
    try:
        with tarfile.open(package, "r:gz") as archive:
            for member in archive:
                name = member.name.removeprefix("package/dist/")
                if name in FILES and member.isfile() and (handle := archive.extractfile(member)):
                    files[name] = handle.read()
    except (OSError, EOFError, tarfile.TarError) as error:
        raise FigmentError(f"{flag} {package}: not a readable .tgz ({error})") from None
    missing = sorted(FILES.keys() - files.keys())
    if missing:
        raise FigmentError(f"{flag} {package}: {missing[0]} is not in it; must be onnxruntime-web {VERSION}")
    return files


def cached_package() -> Path:
    """Return the path of the package in the cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "figment" / PACKAGE


def fetch_package() -> Path:
    """Return the cached package; npm fetches it once, after its size and checksum are announced.

    Raises FigmentError if npm is missing, fails, or fetches another file.
    """
    path = cached_package()
    if path.is_file() and _digest(path.read_bytes()) == SHA512:
        return path
    npm = shutil.which("npm")
    if npm is None:
        raise FigmentError(
            f"--onnx: needs npm to fetch onnxruntime-web {VERSION}, or its package as --runtime {PACKAGE}"
        )
    say(f"fetching onnxruntime-web {VERSION} by `npm pack`: {SIZE / 1e6:.0f} MB, sha512-{SHA512[:16]}..., to {path}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [npm, "pack", f"onnxruntime-web@{VERSION}", "--silent"],
                cwd=folder,
                timeout=PATIENCE,
                capture_output=True,
                text=True,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise FigmentError(
                f"--onnx: npm did not fetch onnxruntime-web {VERSION} ({type(error).__name__}); "
                f"give its package as --runtime {PACKAGE}"
            ) from None
        packages = list(Path(folder).glob("*.tgz"))
        if done.returncode or not packages:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1][:200]
            raise FigmentError(
                f"--onnx: npm could not fetch onnxruntime-web {VERSION} ({reason}); "
                f"give its package as --runtime {PACKAGE}"
            )
        data = packages[0].read_bytes()
    if _digest(data) != SHA512:
        raise FigmentError(
            f"--onnx: npm's onnxruntime-web {VERSION} has another SHA-512 than expected; it was thrown away"
        )
    write_bytes(path, data)
    return path


def _digest(data: bytes) -> str:
    """Return the SHA-512 in base64."""
    return base64.b64encode(hashlib.sha512(data).digest()).decode()
