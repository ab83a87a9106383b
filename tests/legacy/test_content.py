"""Files that are no checkpoint are named for what they are, whatever their ending says."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import pytest

import figment
from figment.base.errors import FigmentError
from figment.legacy import content

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 381673535\n"
AGAIN = "not a checkpoint; download the file again"


def tar(data: bytes) -> bytes:
    """Return a tar archive with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("net.pkl")
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


FILES = {
    "pointer": (
        POINTER,
        "a Git LFS pointer, which stands for a file of 381,673,535 bytes; fetch that with `git lfs pull`",
    ),
    "pointer of Windows": (
        POINTER.replace(b"\n", b"\r\n"),
        "a Git LFS pointer, which stands for a file of 381,673,535 bytes; fetch that with `git lfs pull`",
    ),
    "annex": (
        b"/annex/objects/SHA256E-s5--0.pkl\n",
        "a git-annex pointer, which stands for the file; fetch that with `git annex get`",
    ),
    "page": (
        b"<!DOCTYPE html><html><head><title>Too many\n downloads</title></head></html>",
        f"a web page ('Too many downloads'), {AGAIN}",
    ),
    "page without a title": (b"\xef\xbb\xbf\r\n  <HTML><body>quota</body></HTML>", f"a web page, {AGAIN}"),
    "page in UTF-16": ("<html><title>Fehler</title>".encode("utf-16"), f"a web page ('Fehler'), {AGAIN}"),
    "denied": (
        b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>',
        f"XML text ('AccessDenied'), {AGAIN}",
    ),
    "answer": (b'{"message": "Not Found"}', f'JSON text that begins with \'{{"message": "Not Found"}}\', {AGAIN}'),
    "list": (b"\n[1, 2]", f"JSON text that begins with '[1, 2]', {AGAIN}"),
    "gzip": (gzip.compress(b"\x80\x04}."), "packed with gzip; unpack it first"),
    "bzip2": (bz2.compress(b"\x80\x04}."), "packed with bzip2; unpack it first"),
    "xz": (lzma.compress(b"\x80\x04}."), "packed with xz; unpack it first"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "packed with 7-Zip; unpack it first"),
    "tar": (tar(b"\x80\x04}."), "packed with tar; unpack it first"),
    "picture": (b"\x89PNG\r\n\x1a\n", "a PNG picture, not a checkpoint"),
    "zeros": (bytes(10_000), f"it begins with 4,096 zeros, as an unfinished download does; {AGAIN}"),
    "text": ("Größe überschritten".encode(), "text that begins with 'Größe überschritten', not a checkpoint"),
    "text in Latin-1": ("Größe".encode("latin-1"), "text that begins with 'Größe', not a checkpoint"),
    "long text": (("x" + "ä" * 9000).encode(), f"text that begins with 'x{'ä' * 59}', not a checkpoint"),
    "line": (b"Quota exceeded\n", "text that begins with 'Quota exceeded', not a checkpoint"),
}


@pytest.mark.parametrize("ending", [".pkl", ".pt", ".safetensors"])
@pytest.mark.parametrize("name", FILES)
def test_what_a_file_is_and_what_to_do(tmp_path, name, ending):
    data, expected = FILES[name]
    path = tmp_path / f"net{ending}"
    path.write_bytes(data)
    with pytest.raises(FigmentError) as caught:
        figment.load(str(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert message == f"{path}: {expected}"


def test_nothing_that_may_be_a_pickle_is_taken_for_something_else(data):
    for path in data.glob("*.p*"):
        if path.suffix in (".pkl", ".pt"):
            assert content.reason(content.read_head(path)) is None
            assert not content.is_safetensors(path)
    for head in (b"", b"(lp0\n.", b"\x80\x02}q\x00.", b"cos\nsystem\n", b"I5\n.", b"PK\x03\x04"):
        assert content.reason(head) is None


def test_a_zip_around_a_checkpoint_is_named(data, tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pkl.zip", "w") as archive:
        archive.write(data / "ada_tiny.pkl", "network-snapshot-000100.pkl")
        archive.writestr("__MACOSX/._network-snapshot-000100.pkl", b"\0\5\x16\7")
    with pytest.raises(
        FigmentError, match="holds network-snapshot-000100.pkl; unpack it first and open what was inside"
    ):
        figment.load(str(tmp_path / "net.pkl.zip"))


def test_a_zip_of_pictures_is_a_data_set(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.pkl", "w") as archive:
        archive.writestr("00000/img.png", b"\x89PNG")
    with pytest.raises(FigmentError, match="a zip file of pictures, so a data set and not a checkpoint"):
        figment.load(str(tmp_path / "net.pkl"))
