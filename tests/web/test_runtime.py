import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.web import runtime

SCRIPT = Path(runtime.__file__).parent / "pages" / "gallery-seed.js"


@pytest.fixture
def contents(monkeypatch):
    """A small stand-in for the package's files, with its own checksums."""
    files = {name: name.encode() * 9 for name in runtime.FILES}
    monkeypatch.setattr(runtime, "FILES", {name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
    return files


def package(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"package/dist/{name}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def test_files_come_from_a_package_or_a_folder(tmp_path, contents):
    more = {**contents, "ort.all.js": b"not needed"}
    assert runtime.runtime_files(package(tmp_path / "ort.tgz", more)) == contents
    (tmp_path / "dist").mkdir()
    for name, data in more.items():
        (tmp_path / "dist" / name).write_bytes(data)
    assert runtime.runtime_files(tmp_path) == contents


def test_other_bytes_and_missing_files_are_refused(tmp_path, contents):
    changed = {**contents, "ort.wasm.min.js": b"another version"}
    with pytest.raises(FigmentError, match=r"--runtime .*ort\.wasm\.min\.js is not that of onnxruntime-web"):
        runtime.runtime_files(package(tmp_path / "ort.tgz", changed))
    with pytest.raises(FigmentError, match=r"ort-wasm-simd-threaded\.mjs is not in it"):
        runtime.runtime_files(package(tmp_path / "ort.tgz", {"ort.wasm.min.js": b""}))
    with pytest.raises(FigmentError, match="is not in this folder"):
        runtime.runtime_files(tmp_path)
    (tmp_path / "ort.tgz").write_bytes(b"no archive")
    with pytest.raises(FigmentError, match=r"not a readable \.tgz"):
        runtime.runtime_files(tmp_path / "ort.tgz")
    with pytest.raises(FigmentError, match=r"--runtime .*none\.tgz.*not a readable"):
        runtime.runtime_files(tmp_path / "none.tgz")


def test_npm_fetches_once_and_only_the_known_bytes(tmp_path, contents, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data = package(tmp_path / "ort.tgz", contents).read_bytes()
    calls = []

    def pack(command, cwd, **_):
        calls.append(command[1:3])
        (Path(cwd) / "onnxruntime-web.tgz").write_bytes(data)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(runtime.shutil, "which", lambda _: "/bin/npm")
    monkeypatch.setattr(runtime.subprocess, "run", pack)
    with pytest.raises(FigmentError, match="another SHA-512"):
        runtime.runtime_files()
    monkeypatch.setattr(runtime, "SHA512", base64.b64encode(hashlib.sha512(data).digest()).decode())
    assert runtime.runtime_files() == contents
    assert "33 MB, sha512-" in capsys.readouterr().out
    assert runtime.runtime_files() == contents
    assert calls == [["pack", f"onnxruntime-web@{runtime.VERSION}"]] * 2


def test_without_npm_the_message_says_what_to_give(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(runtime.shutil, "which", lambda _: None)
    with pytest.raises(FigmentError, match=r"needs npm .*--runtime onnxruntime-web-.*\.tgz"):
        runtime.runtime_files()


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to run the page's script")
@pytest.mark.parametrize("seed", [0, 123, 2**32 - 1])
def test_a_seed_means_in_the_script_what_it_means_in_numpy(seed):
    script = f"console.log(require({str(SCRIPT)!r}).seedToZ({seed}, 1251).join(' '))"
    printed = subprocess.run(["node", "-e", script], capture_output=True, text=True, check=True, timeout=60).stdout
    wanted = np.random.RandomState(seed).randn(1251).astype(np.float32)
    assert (np.array(printed.split(), np.float64).astype(np.float32) == wanted).all()
