"""The crop stage over good and damaged files, again and again. The fake detector takes red for a head."""

import hashlib
import os
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from figment.base.catalog import Catalog
from figment.base.errors import FigmentError
from figment.base.records import Box
from figment.heads import crop
from figment.heads.crop import crop_name, crop_pictures
from figment.heads.detect import Detection


class RedIsAHead:
    """Finds the rectangle around all red pixels."""

    looked = 0

    def detect(self, image: Image.Image, threshold: float) -> list[Detection]:
        RedIsAHead.looked += 1
        if image.size == (13, 13):
            raise ZeroDivisionError("an unlucky picture")
        pixels = np.asarray(image).astype(int)
        rows, columns = np.nonzero((pixels[:, :, 0] > 200) & (pixels[:, :, 1] < 60) & (pixels[:, :, 2] < 60))
        if not len(rows):
            return []
        box = Box(*map(float, (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)))
        return [Detection(box, 0.9)] if threshold < 0.9 else []


class RedDescriber:
    """Every crop is surely a head that looks like its size."""

    def describe(self, crops: list[Image.Image]) -> tuple[np.ndarray, np.ndarray]:
        return np.full(len(crops), 0.75, np.float32), np.array([[crop.width, 0.5] for crop in crops], np.float32)


@pytest.fixture(autouse=True)
def fake_detector(monkeypatch: pytest.MonkeyPatch) -> None:
    RedIsAHead.looked = 0
    monkeypatch.setattr(crop, "open_detector", lambda path=None: RedIsAHead())
    monkeypatch.setattr(crop, "open_describer", RedDescriber)


def draw(
    path: Path,
    box: tuple[int, int, int, int] | None = (20, 20, 49, 49),
    size: tuple[int, int] = (120, 80),
) -> None:
    """A light grey picture with a red head at `box`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (180, 180, 180))
    if box:
        ImageDraw.Draw(image).rectangle(box, fill=(255, 0, 0))
    image.save(path)


def contents(folder: Path) -> dict[str, str]:
    """Every crop below `folder` and a hash of its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha1(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.png"))
    }


def make_mess(pictures: Path) -> None:
    """What a real folder holds."""
    draw(pictures / "good.png")
    draw(pictures / "sub" / "good.png", (0, 0, 29, 39))
    draw(pictures / "empty.png", None)
    draw(pictures / "unlucky.png", None, (13, 13))
    (pictures / "text.png").write_text("not a picture")
    (pictures / "nothing.jpg").write_bytes(b"")
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8))
    noise.save(pictures / "cut.jpg")
    (pictures / "cut.jpg").write_bytes((pictures / "cut.jpg").read_bytes()[:5000])
    (pictures / "broken-link.png").symlink_to(pictures / "gone.png")
    os.mkfifo(pictures / "pipe.png")
    for name in ("truth.json", "CREDITS.md", "notes.txt", ".hidden.png"):
        (pictures / name).write_text("{}")


def test_every_file_gets_a_row_with_its_reason(tmp_path: Path) -> None:
    make_mess(tmp_path / "pictures")
    summary = crop_pictures(tmp_path / "pictures", tmp_path / "heads", workers=2)
    with Catalog(tmp_path / "heads") as catalog:
        rows = {picture.path: (picture.status, picture.reason) for picture in catalog.pictures()}
        heads = catalog.heads()
    assert rows == {
        "good.png": ("heads", ""),
        "sub/good.png": ("heads", ""),
        "empty.png": ("empty", "no-head"),
        "unlucky.png": ("bad", "unreadable"),
        "text.png": ("bad", "not-an-image"),
        "nothing.jpg": ("bad", "empty-file"),
        "cut.jpg": ("bad", "truncated"),
        "broken-link.png": ("bad", "unreadable"),
        "pipe.png": ("bad", "unreadable"),
    }
    assert (summary.pictures, summary.heads, summary.empty, summary.unchanged) == (9, 2, 1, 0)
    assert summary.bad == {"unreadable": 3, "not-an-image": 1, "empty-file": 1, "truncated": 1}
    assert {head.picture: head.box for head in heads} == {
        "good.png": Box(20, 20, 50, 50),
        "sub/good.png": Box(0, 0, 30, 40),
    }


def test_crops_hold_the_head_and_no_padding(tmp_path: Path) -> None:
    draw(tmp_path / "pictures" / "corner.png", (0, 50, 29, 79))
    draw(tmp_path / "pictures" / "narrow.png", (0, 10, 19, 89), (20, 100))
    crop_pictures(tmp_path / "pictures", tmp_path / "heads", workers=1)
    with Catalog(tmp_path / "heads") as catalog:
        crops = {head.picture: head for head in catalog.heads()}
    corner = np.asarray(Image.open(tmp_path / "heads" / crops["corner.png"].file))
    assert crops["corner.png"].crop == (0, 35, 45, 80)
    assert corner.shape == (45, 45, 3)
    assert (corner[:, :, 0] > 200).sum() == 900
    narrow = np.asarray(Image.open(tmp_path / "heads" / crops["narrow.png"].file))
    assert narrow.shape == (80, 80, 3)
    for pixels in (corner, narrow):
        assert pixels.max(axis=2).min() >= 180  # nowhere dark


def test_a_second_run_reads_nothing_and_changes_nothing(tmp_path: Path) -> None:
    make_mess(tmp_path / "pictures")
    crop_pictures(tmp_path / "pictures", tmp_path / "heads", workers=1)
    before, looked = contents(tmp_path / "heads"), RedIsAHead.looked
    summary = crop_pictures(tmp_path / "pictures", tmp_path / "heads", workers=1)
    assert (summary.unchanged, summary.heads, RedIsAHead.looked) == (9, 2, looked)
    assert contents(tmp_path / "heads") == before
    crop_pictures(tmp_path / "pictures", tmp_path / "heads", margin=0.5, workers=1)  # other settings: all again
    assert contents(tmp_path / "heads") != before


def test_a_changed_picture_loses_its_old_crops_and_others_keep_theirs(tmp_path: Path) -> None:
    draw(tmp_path / "pictures" / "a.png")
    draw(tmp_path / "pictures" / "b.png")
    crop_pictures(tmp_path / "pictures", tmp_path / "heads", workers=1)
    assert set(contents(tmp_path / "heads")) == {crop_name("a.png", 0), crop_name("b.png", 0)}
    draw(tmp_path / "pictures" / "a.png", None)
    summary = crop_pictures(tmp_path / "pictures", tmp_path / "heads", workers=1)
    assert (summary.heads, summary.empty, summary.unchanged) == (1, 1, 1)
    assert set(contents(tmp_path / "heads")) == {crop_name("b.png", 0)}


@pytest.mark.parametrize("seed", range(4))
def test_a_run_killed_anywhere_ends_the_same_when_run_again(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    for i in range(6):
        draw(tmp_path / "pictures" / f"{i}.png", (10 + i, 20, 49, 49))
    crop_pictures(tmp_path / "pictures", tmp_path / "whole", workers=1)

    # A kill is an exception that nothing catches, before or after some file or some row is written.
    rng, real_put, real_write = random.Random(seed), Catalog.put_picture, crop.write_png

    def put(self: Catalog, *args: object) -> None:
        if rng.random() < 0.3:
            raise KeyboardInterrupt
        real_put(self, *args)  # type: ignore[arg-type]

    def write(path: Path, image: Image.Image) -> None:
        if rng.random() < 0.3:
            raise KeyboardInterrupt
        real_write(path, image)

    with monkeypatch.context() as patch:
        patch.setattr(Catalog, "put_picture", put)
        patch.setattr(crop, "write_png", write)
        with pytest.raises(KeyboardInterrupt):
            for _ in range(100):
                crop_pictures(tmp_path / "pictures", tmp_path / "killed", workers=1)
                (tmp_path / "killed" / "catalog.db").unlink()
    crop_pictures(tmp_path / "pictures", tmp_path / "killed", workers=2)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    with Catalog(tmp_path / "killed") as catalog:
        assert {head.file for head in catalog.heads()} == set(contents(tmp_path / "whole"))


def test_output_inside_the_pictures_is_not_cropped_again(tmp_path: Path) -> None:
    draw(tmp_path / "a.png")
    crop_pictures(tmp_path, tmp_path / "heads", workers=1)
    assert crop_pictures(tmp_path, tmp_path / "heads", workers=1).pictures == 1


def test_names_tell_pictures_of_one_stem_apart_and_are_safe() -> None:
    assert crop_name("a/x.png", 0) != crop_name("b/x.png", 0)
    assert crop_name("a/x.png", 1).endswith("-1.png")
    name = crop_name("öä ?/..ü*.png", 0)
    assert name.isascii() and name.count("/") == 1 and ".." not in name


def test_a_name_that_is_no_utf8_is_spelled_out(tmp_path: Path) -> None:
    draw(tmp_path / "pictures" / "a.png")
    (tmp_path / "pictures" / "a.png").rename(os.fsdecode(os.fsencode(tmp_path / "pictures") + b"/\xff.png"))
    assert crop_pictures(tmp_path / "pictures", tmp_path / "heads", workers=1).heads == 1
    with Catalog(tmp_path / "heads") as catalog:
        assert [picture.path for picture in catalog.pictures()] == ["\\udcff.png"]


@pytest.mark.parametrize(
    ("flag", "settings"),
    [("--threshold", {"threshold": 1.5}), ("--margin", {"margin": -1.0}), ("--largest", {"largest": 2})],
)
def test_wrong_settings_name_their_flag(tmp_path: Path, flag: str, settings: dict[str, float]) -> None:
    with pytest.raises(FigmentError, match=flag):
        crop_pictures(tmp_path, tmp_path / "heads", **settings)  # type: ignore[arg-type]
    assert not (tmp_path / "heads").exists()


def test_wrong_folders_are_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(FigmentError, match="PICTURES"):
        crop_pictures(tmp_path / "missing", tmp_path / "heads")
    with pytest.raises(FigmentError, match="holds no files"):
        crop_pictures(tmp_path, tmp_path / "heads")
    draw(tmp_path / "a.png")
    with pytest.raises(FigmentError, match="--output"):
        crop_pictures(tmp_path, tmp_path)
    with pytest.raises(FigmentError, match="--output"):
        crop_pictures(tmp_path, tmp_path / "a.png")
    assert not (tmp_path / "heads").exists()


def test_headness_and_embedding_are_measures_of_each_head(tmp_path: Path) -> None:
    draw(tmp_path / "pictures" / "a.png")
    crop_pictures(tmp_path / "pictures", tmp_path / "heads")
    with Catalog(tmp_path / "heads") as catalog:
        (head,) = catalog.heads()
        values = catalog.measures()[head.id]
    assert values["headness"] == 0.75
    side = head.crop[2] - head.crop[0]
    assert np.frombuffer(bytes.fromhex(str(values["embedding"])), "<f2").tolist() == [side, 0.5]


def test_a_link_to_itself_is_a_row_with_a_reason(tmp_path: Path) -> None:
    draw(tmp_path / "pictures" / "a.png")
    (tmp_path / "pictures" / "loop.png").symlink_to("loop.png")
    crop_pictures(tmp_path / "pictures", tmp_path / "heads")
    with Catalog(tmp_path / "heads") as catalog:
        found = {picture.path: picture.status for picture in catalog.pictures()}
    assert found == {"a.png": "heads", "loop.png": "bad"}


def test_files_beside_pictures_are_one_line_and_no_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in range(3):
        draw(tmp_path / "pictures" / f"{k}.png")
        (tmp_path / "pictures" / f"{k}.npz").write_bytes(b"PK\3\4")
    summary = crop_pictures(tmp_path / "pictures", tmp_path / "heads", workers=1)
    assert (summary.pictures, summary.heads) == (3, 3)
    assert capsys.readouterr().out == "left alone: 3 files that are not pictures (3 .npz)\n"


def test_pictures_behind_links_to_folders_are_cropped(tmp_path: Path) -> None:
    draw(tmp_path / "store" / "a.png")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "more").symlink_to(tmp_path / "store")
    assert crop_pictures(tmp_path / "pictures", tmp_path / "heads", workers=1).heads == 1
    with Catalog(tmp_path / "heads") as catalog:
        assert [picture.path for picture in catalog.pictures()] == ["more/a.png"]


def test_bad_pictures_have_rows_whatever_their_names(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    draw(pictures / "a.png", None)
    (pictures / "a.png").rename(pictures / os.fsdecode(b"\xfe.png"))
    (pictures / os.fsdecode(b"\xff.png")).write_text("text")
    (pictures / os.fsdecode(b"\xfd.png")).symlink_to("nowhere")
    draw(pictures / os.fsdecode(b"\xfc.png"), None, (13, 13))
    crop_pictures(pictures, tmp_path / "heads", workers=1)
    with Catalog(tmp_path / "heads") as catalog:
        assert {picture.path: picture.reason for picture in catalog.pictures()} == {
            "\\udcfe.png": "no-head",
            "\\udcff.png": "not-an-image",
            "\\udcfd.png": "unreadable",
            "\\udcfc.png": "unreadable",
        }
