import json
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.pixels import write_png
from figment.pack.dataset import ImageDataset
from figment.pack.fitting import Fit, fit_picture
from figment.pack.zips import pack

DOUBLE = (
    f'{sys.executable} -c "import sys; from PIL import Image; i = Image.open(sys.argv[1]); '
    'i.resize((64, 64), 0).save(sys.argv[2])" {in} {out}'
)


def cut_out(path, side=32):
    array = np.zeros((side, side, 4), np.uint8)
    array[..., 0] = 200
    array[:, : side // 2, 3] = 255
    write_png(path, array)
    return path


def test_alpha_is_kept_or_composited_on_a_color(tmp_path):
    path = cut_out(tmp_path / "in" / "a.png")
    kept, _ = fit_picture(path, Fit(32, alpha="keep"))
    assert kept.mode == "RGBA" and kept.getpixel((0, 0)) == (200, 0, 0, 255)
    assert kept.getpixel((31, 0)) == (0, 0, 0, 0)  # invisible pixels are black
    assert fit_picture(path, Fit(32))[0].getpixel((31, 0)) == (255, 255, 255)
    assert fit_picture(path, Fit(32, alpha="#102030"))[0].getpixel((31, 0)) == (16, 32, 48)
    small, _ = fit_picture(path, Fit(16, alpha="keep"))
    assert small.getpixel((2, 3)) == (200, 0, 0, 255) and small.getpixel((7, 3))[0] in range(196, 205)

    write_png(tmp_path / "in" / "b.png", np.zeros((32, 32, 3), np.uint8))
    pack(tmp_path / "in", tmp_path / "a.zip", alpha="keep", workers=1)
    assert ImageDataset(tmp_path / "a.zip").shape == (2, 4, 32, 32)


def test_small_pictures_are_enlarged_by_lanczos_a_command_or_not_at_all(tmp_path):
    path = tmp_path / "in" / "a.png"
    write_png(path, np.random.RandomState(0).randint(0, 256, (16, 16, 3), np.uint8))
    lanczos, times = fit_picture(path, Fit(64))
    assert lanczos.size == (64, 64) and times == 4
    blocks, times = fit_picture(path, Fit(64, upscale=DOUBLE))
    assert times == 4 and np.array_equal(np.asarray(blocks)[::4, ::4], np.asarray(Image.open(path)))
    assert fit_picture(path, Fit(32, upscale=DOUBLE))[0].size == (32, 32)
    assert fit_picture(path, Fit(16, upscale="false {in} {out}"))[1] == 0  # large enough: the command is not run
    with pytest.raises(UnreadableImage, match="16 pixels, smaller than 64"):
        fit_picture(path, Fit(64, upscale="none"))


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("false {in} {out}", "false failed with code 1"),
        ("true {in} {out}", "wrote no {out}"),
        ("nonesuch-x {in} {out}", "can't be run"),
        ("cp /dev/null {out} {in}", "failed|not a directory"),
        ("sh -c 'echo of no use >&2; exit 3' {in} {out}", r"code 3 \(of no use\)"),
    ],
)
def test_a_failing_command_leaves_the_head_out_with_its_reason(tmp_path, command, says):
    write_png(tmp_path / "in" / "a.png", np.zeros((16, 16, 3), np.uint8))
    write_png(tmp_path / "in" / "b.png", np.zeros((32, 32, 3), np.uint8))
    summary = pack(tmp_path / "in", tmp_path / "a.zip", resolution=32, upscale=command, workers=1)
    assert summary.packed == 1 and len(summary.failed) == 1
    with pytest.raises(UnreadableImage, match=says):
        fit_picture(tmp_path / "in" / "a.png", Fit(32, upscale=command))


def test_enlarged_pictures_are_listed(tmp_path):
    write_png(tmp_path / "in" / "a.png", np.zeros((20, 20, 3), np.uint8))
    write_png(tmp_path / "in" / "b.png", np.zeros((32, 32, 3), np.uint8))
    assert pack(tmp_path / "in", tmp_path / "a.zip", resolution=32, workers=1).enlarged == 1
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert json.loads(archive.read("dataset.json"))["enlarged"] == [["00000/img00000000.png", "a.png", 1.6]]
    pack(tmp_path / "in", tmp_path / "set", resolution=32, form="tfrecord", workers=1)
    listed = json.loads((tmp_path / "set" / "dataset.json").read_text())["enlarged"]
    assert [row[1:] for row in listed] == [["a.png", 1.6]]


@pytest.mark.parametrize(
    ("fit", "says"),
    [
        (Fit(16, alpha="greenish"), "--alpha greenish"),
        (Fit(16, upscale="lanczos3"), "--upscale 'lanczos3'"),
        (Fit(16, upscale="x {in}"), "{out}"),
        (Fit(16, upscale="x '{in} {out}"), "closing quotation"),
        (Fit(16, form="tar"), "--format tar"),
        (Fit(16, alpha="keep", form="tfrecord"), "1 or 3 channels"),
    ],
)
def test_mistakes_name_the_flag(fit, says):
    with pytest.raises(FigmentError, match=says):
        fit.check()
