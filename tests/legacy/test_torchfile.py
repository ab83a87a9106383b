"""Files of torch.save that were unpacked or packed again."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch

import figment
from figment.base.errors import FigmentError
from figment.legacy import torchfile
from figment.legacy.formats import load
from tests.legacy.reference import arrays, close, tensor

NAME = "ros2_tiny_converted"


@pytest.fixture
def entries(data):
    with zipfile.ZipFile(data / f"{NAME}.pt") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path, entries, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def renamed(entries, prefix):
    return {prefix + name.partition("/")[2]: content for name, content in entries.items()}


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
@pytest.mark.parametrize("prefix", [f"{NAME}/", "", "deeper/folder/archive/"])
def test_a_file_that_was_packed_again_opens(entries, tmp_path, compression, prefix):
    model = load(pack(tmp_path / "again.pt", renamed(entries, prefix), compression))
    close(model.g_ema(tensor(arrays("ros2_tiny")["z"])), arrays("ros2_tiny")["img_const"])


def test_what_a_mac_adds_is_left_alone(entries, tmp_path):
    with zipfile.ZipFile(tmp_path / "mac.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.mkdir(NAME)
        for name, content in entries.items():
            archive.writestr(name, content)
        for name in (f"__MACOSX/{NAME}/._data.pkl", f"{NAME}/._data.pkl", f"{NAME}/.DS_Store"):
            archive.writestr(name, b"\0\5\x16\7")
    assert list(load(tmp_path / "mac.pt").networks()) == ["g_ema"]


def test_unpacking_is_bounded(entries, tmp_path):
    bomb = pack(tmp_path / "bomb.pt", {**entries, f"{NAME}/data/0": bytes(80 << 20)})
    with pytest.raises(FigmentError, match=r"unpacks to far more than its size; store its entries \(`zip -0`\)$"):
        load(bomb)


def test_damaged_and_unusual_entries_are_refused(entries, tmp_path):
    with pytest.raises(FigmentError, match="compressed in an unusual way; store them"):
        load(pack(tmp_path / "lzma.pt", entries, zipfile.ZIP_LZMA))
    path = pack(tmp_path / "again.pt", entries)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{NAME}/data/5")
    data[info.header_offset + 40 + len(info.filename)] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(FigmentError, match=f"the entry '{NAME}/data/5' of the zip file is damaged"):
        load(path)


def test_a_part_of_an_unpacked_file_and_its_folder(entries, tmp_path):
    for name, content in entries.items():
        path = tmp_path / "outer" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder = tmp_path / "outer" / NAME
    for path in (folder / "data.pkl", folder / "data" / "3", folder / "version", folder, tmp_path / "outer"):
        with pytest.raises(FigmentError) as caught:
            figment.load(str(path))
        assert str(caught.value) == (
            f"{path}: one part of a .pt file that was unpacked; zip the whole folder again without compression "
            "(`zip -0 -r model.pt FOLDER`)"
        )


def test_torchscript_is_refused(entries, tmp_path):
    path = pack(tmp_path / "net.pt", {**entries, f"{NAME}/constants.pkl": b"\x80\x02).", f"{NAME}/code/m.py": b"1"})
    with pytest.raises(FigmentError, match="a TorchScript program, which figment does not run"):
        load(path)


def test_the_older_format_reads_the_same(data, tmp_path):
    value = torch.load(data / f"{NAME}.pt", weights_only=True)
    torch.save(value, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    old, new = torchfile.read(tmp_path / "old.pt"), torchfile.read(data / f"{NAME}.pt")
    for name, found in old["g_ema"].items():
        np.testing.assert_array_equal(found.array(), new["g_ema"][name].array())
