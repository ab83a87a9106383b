import json
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from figment.base.catalog import Catalog
from figment.base.errors import FigmentError
from figment.base.pixels import write_png
from figment.base.records import Box, Head, Picture, Verdict
from figment.pack.dataset import ImageDataset
from figment.pack.zips import pack


def heads_folder(folder, verdicts):
    with Catalog(folder, create=True) as catalog:
        for i in range(len(verdicts)):
            write_png(folder / f"{i}.png", Image.new("RGB", (40, 40), (i * 50, 0, 0)))
            head = Head(f"{i}.png", Box(0, 0, 9, 9), 1, (0, 0, 9, 9))
            catalog.put_picture(Picture(f"{i}.jpg", "s", 90, 90, "heads"), [head])
        rows = zip(catalog.heads(), verdicts, strict=True)
        catalog.put_verdicts([Verdict(head.id, verdict) for head, verdict in rows])
    return folder


def test_kept_heads_are_packed_as_the_field_reads_them(tmp_path):
    heads = heads_folder(tmp_path / "heads", ["keep", "reject", "keep"])
    summary = pack(heads, tmp_path / "a.zip", resolution=32)
    assert (summary.packed, summary.resolution, summary.failed) == (2, 32, ())
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() == ["00000/img00000000.png", "00000/img00000001.png", "dataset.json"]
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert json.loads(archive.read("dataset.json")) == {"labels": None}
    data = ImageDataset(tmp_path / "a.zip")
    assert data.shape == (2, 3, 32, 32) and data.held[1, 0, 0, 0] == 100
    assert (data.resolution, data.channels, data.name) == (32, 3, "a")


def test_the_same_heads_make_the_same_bytes(tmp_path):
    heads = heads_folder(tmp_path / "heads", ["keep", "keep"])
    assert pack(heads, tmp_path / "a.zip").resolution == 32
    pack(heads, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_a_plain_folder_is_packed_whole_and_names_its_bad_files(tmp_path):
    write_png(tmp_path / "in" / "wide.png", np.zeros((30, 60, 3), np.uint8))
    (tmp_path / "in" / "bad.png").write_text("no picture")
    summary = pack(tmp_path / "in", tmp_path / "a.zip", resolution=16)
    assert summary.packed == 1 and "bad.png" in summary.failed[0]


def test_mistakes_name_the_flag(tmp_path):
    heads = heads_folder(tmp_path / "heads", ["reject"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FigmentError, match="every head is rejected"):
        pack(heads, tmp_path / "a.zip")
    with pytest.raises(FigmentError, match="--resolution 48"):
        pack(heads, tmp_path / "a.zip", resolution=48)
    with pytest.raises(FigmentError, match="--output .*zip"):
        pack(heads, tmp_path / "a.tar")
    with pytest.raises(FigmentError, match="holds no files"):
        pack(tmp_path / "empty", tmp_path / "a.zip")
    with Catalog(tmp_path / "fresh", create=True), pytest.raises(FigmentError, match="figment curate"):
        pack(tmp_path / "fresh", tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_a_folder_is_packed_with_all_that_real_folders_hold(tmp_path, capsys):
    folder = tmp_path / "in"
    write_png(folder / "a.png", np.zeros((20, 20, 3), np.uint8))
    write_png(tmp_path / "store" / "b.png", np.zeros((20, 20, 3), np.uint8))
    (folder / "more").symlink_to(tmp_path / "store")
    (folder / "gone.png").symlink_to("/nowhere/else.png")
    os.mkfifo(folder / "pipe.png")
    (folder / os.fsdecode(b"\x8d\xf7.png")).write_bytes((folder / "a.png").read_bytes())
    for k in range(3):
        (folder / f"{k}.caption").write_text("solo")
    summary = pack(folder, tmp_path / "a.zip", resolution=16)
    assert summary.packed == 3
    assert ["gone.png" in summary.failed[0], "pipe.png" in summary.failed[1]] == [True, True]
    assert capsys.readouterr().out == "left alone: 3 files that are not pictures (3 .caption)\n"


def test_an_output_that_is_a_folder_is_refused_at_once(tmp_path):
    write_png(tmp_path / "in" / "a.png", np.zeros((20, 20, 3), np.uint8))
    (tmp_path / "a.zip").mkdir()
    with pytest.raises(FigmentError, match="--output .*a.zip: must be a file"):
        pack(tmp_path / "in", tmp_path / "a.zip", resolution=16)


def test_an_output_that_cannot_be_written_names_the_flag(tmp_path):
    write_png(tmp_path / "in" / "a.png", Image.new("RGB", (16, 16)))
    (tmp_path / "file").touch()
    with pytest.raises(FigmentError, match=r"--output .*x\.zip: can't be written"):
        pack(tmp_path / "in", tmp_path / "file" / "x.zip", resolution=16)


def test_the_longest_name_of_an_output_is_written(tmp_path):
    write_png(tmp_path / "in" / "a.png", Image.new("RGB", (16, 16)))
    out = tmp_path / ("x" * 251 + ".zip")
    assert pack(tmp_path / "in", out, resolution=16).packed == 1
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["in", out.name]
