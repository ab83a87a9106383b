import copy
import os
import zipfile

import numpy as np
import pytest

from figment.base.errors import FigmentError
from figment.base.parse import seed_to_z
from figment.base.pixels import png_bytes, write_png
from figment.score.sources import ArraySource, FolderSource, ModelSource, StoreSource, open_source
from tests.score.conftest import blobs


def test_a_zip_and_a_folder_give_the_same_pictures(pictures):
    packed, loose = list(open_source(pictures / "real.zip", "DATA")), list(open_source(pictures / "real", "DATA"))
    assert len(packed) == len(loose) == 24
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(packed, loose, strict=True))
    assert packed[0][1].shape == (3, 16, 16) and packed[0][1].dtype == np.uint8


def test_damaged_pictures_are_left_out_and_named(tmp_path, pictures):
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.write(pictures / "real" / "00.png", "good.png")
        archive.writestr("bad.png", b"no picture")
        archive.writestr("notes.txt", b"text")
    source = StoreSource(tmp_path / "data.zip")
    assert [name for name, _ in source] == ["good.png"]
    assert len(source) == 2 and len(source.damaged) == 1 and "bad.png" in source.damaged[0]
    write_png(tmp_path / "folder" / "a.png", blobs(0))
    (tmp_path / "folder" / "b.jpg").write_bytes(b"")
    loose = FolderSource(tmp_path / "folder")
    assert [name for name, _ in loose] == ["a.png"] and "b.jpg" in loose.damaged[0]


@pytest.mark.parametrize("ending", ["png", "avif", "tif", "tiff", "bmp", "webp"])
def test_every_kind_of_image_is_scored(tmp_path, ending):
    from PIL import Image

    Image.fromarray(blobs(1)).save(tmp_path / f"a.{ending.upper()}")
    assert [(name, image.shape) for name, image in FolderSource(tmp_path)] == [(f"a.{ending.upper()}", (3, 16, 16))]


def test_the_digest_changes_with_the_pictures(tmp_path, pictures):
    def digest(seed):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            from PIL import Image

            archive.writestr("0.png", png_bytes(Image.fromarray(blobs(seed))))
        return StoreSource(tmp_path / "a.zip").digest

    assert digest(0) != digest(1) and digest(1) == digest(1)
    assert FolderSource(pictures / "real").digest != FolderSource(pictures / "fake").digest


def test_a_seeds_picture_does_not_depend_on_its_company(model):
    source = open_source(model, "MODEL", count=5)
    drawn = list(source)
    assert [name for name, _ in drawn] == [f"seed {i}" for i in range(5)] and drawn[0][1].shape == (3, 16, 16)
    assert np.array_equal(open_source(model, "MODEL", count=50).read("seed 3"), drawn[3][1])
    assert source.digest == open_source(model, "MODEL", count=5).digest != open_source(model, "MODEL", count=6).digest


def test_a_models_pictures_are_those_of_the_fields_seeds(generator):
    import torch

    z = torch.from_numpy(seed_to_z(2, 8)[None]).float()
    with torch.no_grad():
        image = generator.synthesis(generator.mapping(z), noise="const")[0]
    expected = (image * 127.5 + 128).clamp(0, 255).to(torch.uint8).numpy()
    assert np.abs(ModelSource(generator, 1, first=2).read("seed 2").astype(int) - expected).max() <= 1


def test_blocks_of_seeds_shrink_when_memory_runs_out(generator):
    import torch

    def synthesis(w, noise):
        if len(w) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return generator.synthesis(w, noise=noise)

    large = copy.deepcopy(generator)
    large.synthesis = synthesis
    source = ModelSource(large, 9)
    whole = [image for _, image in ModelSource(generator, 9)]
    assert max(np.abs(a.astype(int) - b).max() for (_, a), b in zip(source, whole, strict=True)) <= 1
    assert source.block == 2


def test_pictures_in_memory_are_a_source_too():
    images = np.stack([blobs(i).transpose(2, 0, 1) for i in range(3)])
    source = ArraySource(images, "data", "abc")
    assert len(source) == 3 and source.digest == "abc" and np.array_equal(list(source)[2][1], images[2])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: None, "no such file or folder"),
        (lambda path: path.mkdir(), "nor a folder of images"),
        (lambda path: path.write_bytes(b"x"), "a.zip: not a zip file"),
    ],
)
def test_what_is_no_source_is_one_line(tmp_path, make, message):
    path = tmp_path / "a.zip"
    make(path)
    with pytest.raises(FigmentError, match=message):
        open_source(path, "DATA")


def test_a_folder_with_links_and_captions_is_scored(tmp_path, capsys):
    write_png(tmp_path / "in" / "a.png", blobs(0))
    write_png(tmp_path / "store" / "b.png", blobs(1))
    (tmp_path / "in" / "more").symlink_to(tmp_path / "store")
    (tmp_path / "in" / "gone.png").symlink_to("/nowhere")
    (tmp_path / "in" / "a.txt").write_text("1girl")
    (tmp_path / "in" / os.fsdecode(b"\xff.png")).write_bytes((tmp_path / "in" / "a.png").read_bytes())
    source = open_source(tmp_path / "in", "DATA")
    assert [name for name, _ in source] == ["a.png", "more/b.png", "\\udcff.png"]
    assert len(source.damaged) == 1 and len(source.digest) == 16
    assert capsys.readouterr().out == "left alone: 1 file that is not a picture (1 .txt)\n"


def test_resource_forks_in_a_zip_are_no_pictures(tmp_path, pictures):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(pictures / "real" / "00.png", "00000/a.png")
        archive.writestr("__MACOSX/00000/._a.png", b"\0\5\x16\7" + b"\0" * 100)
    assert open_source(tmp_path / "a.zip", "DATA").names == ["00000/a.png"]
