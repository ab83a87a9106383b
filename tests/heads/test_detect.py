"""Detection: how boxes merge and scale, the files it writes, and the shipped weights on demo scenes."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.pictures import list_pictures
from figment.base.records import Box
from figment.heads import detect, evaluate
from figment.heads.boxes import to_coco
from figment.heads.detect import DOUBT, Detection, Detector, detect_folder, suppress
from figment.heads.metrics import Truth, score_boxes
from figment.heads.network import HeadNet, Level, NetConfig


class OneHead(HeadNet):
    """Says that there is a head at the left top: 64 wide, 48 high, in whatever it is shown."""

    def __init__(self) -> None:
        super().__init__(NetConfig((4, 4), (4, 4, 4), 4))

    def forward(self, x: torch.Tensor) -> list[Level]:
        heat = torch.full((1, x.shape[2] // 16, x.shape[3] // 16), -9.0)
        heat[0, 1, 2] = 2.0  # the cell's centre is (40, 24)
        sides = torch.tensor([32.0, 24.0, 32.0, 24.0])[None, :, None, None].expand(1, 4, *heat.shape[1:])
        return [Level(16, heat, sides)]


def test_boxes_come_back_in_the_pictures_pixels() -> None:
    found = Detector(OneHead(), (320,), None).detect(Image.new("RGB", (640, 480)))
    assert len(found) == 1
    assert found[0].box == Box(16, 0, 144, 96)  # (8, 0, 72, 48) at half size
    assert found[0].score == pytest.approx(0.8808, abs=1e-3)


def test_boxes_do_not_leave_the_picture() -> None:
    found = Detector(OneHead(), (320,), None).detect(Image.new("RGB", (320, 30)))
    assert found[0].box == Box(8, 0, 72, 30)


def test_large_pictures_are_looked_at_twice() -> None:
    detector = Detector(OneHead(), (320, 640), None)
    assert len(detector.detect(Image.new("RGB", (320, 320)))) == 1
    coarse, fine = detector.detect(Image.new("RGB", (1280, 1280)))
    assert coarse.box == Box(32, 0, 288, 192)  # seen at a quarter of the size
    assert fine.box == Box(16, 0, 144, 96)  # seen at half of it
    assert fine.score == pytest.approx(coarse.score * DOUBT)


def test_a_second_look_mirrored_halves_what_one_look_alone_finds() -> None:
    found = Detector(OneHead(), (320,)).detect(Image.new("RGB", (320, 320)), 0.3)
    assert len(found) == 2  # it points at the left top of whatever it sees: no two looks agree
    assert {round(head.score, 4) for head in found} == {round(0.8808 / 2, 4)}
    assert found[0].box.x1 < 160 < found[1].box.x0 or found[1].box.x1 < 160 < found[0].box.x0
    assert Detector(OneHead(), (320,)).detect(Image.new("RGB", (320, 320)), 0.5) == []


def test_the_weaker_of_two_boxes_of_one_head_goes() -> None:
    strong, shifted = Detection(Box(0, 0, 10, 10), 0.9), Detection(Box(1, 1, 11, 11), 0.8)
    part, other = Detection(Box(2, 2, 8, 8), 0.7), Detection(Box(9, 0, 19, 10), 0.6)
    small = Detection(Box(3, 3, 6, 6), 0.5)  # so much smaller that it is a head in front of a head
    assert suppress([other, part, small, shifted, strong]) == [strong, other, small]


def test_a_folder_becomes_boxes_and_coco(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    (pictures / "sub").mkdir(parents=True)
    Image.new("RGB", (320, 320)).save(pictures / "sub" / "a.png")
    (pictures / "bad.png").write_text("no picture")
    (pictures / "truth.json").write_text("{}")
    boxes = detect_folder(pictures, tmp_path / "boxes.json", detector=Detector(OneHead(), (320,), None))
    assert boxes == {"sub/a.png": [[8, 0, 72, 48, 0.8808]]}
    assert json.loads((tmp_path / "boxes.json").read_text()) == boxes
    coco = json.loads((tmp_path / "boxes.coco.json").read_text())
    assert coco["images"] == [{"id": 1, "file_name": "sub/a.png", "width": 320, "height": 320}]
    assert coco["annotations"][0]["bbox"] == [8, 0, 64, 48]


def test_coco_ids_are_unique_and_point_at_pictures() -> None:
    coco = to_coco({"a": [[0, 0, 2, 3, 1.0], [0, 0, 1, 1, 1.0]], "b": [[1, 1, 2, 2, 0.5]]}, {"a": (9, 9), "b": (8, 8)})
    annotations = coco["annotations"]
    assert isinstance(annotations, list)
    assert [(row["id"], row["image_id"], row["area"]) for row in annotations] == [(1, 1, 6), (2, 1, 1), (3, 2, 1)]


def test_a_folder_without_files_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(FigmentError, match="holds no files"):
        list_pictures(tmp_path)
    with pytest.raises(FigmentError, match="no such folder"):
        list_pictures(tmp_path / "missing")


def test_pictures_that_would_share_a_label_file_are_refused_before_detection(tmp_path: Path) -> None:
    class Nothing:
        seen = 0

        def detect(self, image: Image.Image, threshold: float = 0.5) -> list[Detection]:
            self.seen += 1
            return []

    for name in ("a.png", "b.png"):
        Image.new("RGB", (64, 48)).save(tmp_path / name)
    (tmp_path / "b.psd").write_text("no image")
    finder = Nothing()
    assert detect_folder(tmp_path, tmp_path.parent / "labels", detector=finder) == {"a.png": [], "b.png": []}
    Image.new("RGB", (64, 48)).save(tmp_path / "a.bmp")
    with pytest.raises(FigmentError, match=r"a\.txt would hold the boxes of a\.png and of a\.bmp"):
        detect_folder(tmp_path, tmp_path.parent / "labels", detector=finder)
    with pytest.raises(FigmentError, match=r"must end in \.json"):
        detect_folder(tmp_path, tmp_path.parent / "boxes.xml", detector=finder)
    assert finder.seen == 2


def test_the_shipped_weights_find_the_heads_of_fresh_demo_scenes() -> None:
    pytest.importorskip("dicebear")
    from figment.demo.scenes import Cast, compose

    detector, found, heads = Detector.load(), {}, {}
    people = Cast({"avataaars": 1.0, "adventurer": 1.0}, heads=(0, 3), head_px=(72.0, 300.0))
    for i in range(12):
        scene = compose(np.random.default_rng([31, i]), people, (480, 400))
        heads[str(i)] = list(scene.boxes)
        found[str(i)] = [[*head.box, head.score] for head in detector.detect(scene.image)]
    scores = score_boxes(found, Truth(heads))
    assert scores.heads >= 12
    assert scores.recall >= 0.8  # floors for a dozen scenes; MODEL_CARD.md has the measured figures
    assert scores.precision >= 0.7


def test_other_files_are_one_line_and_names_may_be_any_bytes(tmp_path: Path) -> None:
    pictures = tmp_path / "in"
    pictures.mkdir()
    Image.new("RGB", (320, 320)).save(pictures / "a.png")
    (pictures / "a.png").rename(pictures / os.fsdecode(b"\xff.png"))
    for k in range(3):
        (pictures / f"{k}.txt").write_text("1girl, solo")
    (pictures / "bad.png").write_text("text")
    lines: list[str] = []
    detector = Detector(OneHead(), (320,), None)
    boxes = detect_folder(pictures, tmp_path / "boxes.json", detector=detector, tell=lines.append)
    assert list(boxes) == ["\\udcff.png"] == list(json.loads((tmp_path / "boxes.json").read_text()))
    assert lines[0] == "left alone: 3 files that are not pictures (3 .txt)" and "bad.png" in lines[1]

    # YOLO's labels are called as the picture is; the output may be the folder of the pictures.
    detect_folder(pictures, pictures, detector=detector)
    assert (pictures / os.fsdecode(b"\xff.txt")).is_file()


def test_few_pictures_are_decoded_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for k in range(20):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{k:02d}.png")
    opened: list[Path] = []
    ahead: list[int] = []

    class Counter:
        def detect(self, image: Image.Image, threshold: float) -> list[Detection]:
            ahead.append(len(opened) - len(ahead))
            return []

    monkeypatch.setattr(detect, "open_image", lambda path: opened.append(path) or Image.new("RGB", (4, 4)))
    detect_folder(tmp_path, detector=Counter())
    assert len(opened) == len(ahead) == 20 and max(ahead) <= detect.AHEAD + 1


def test_captions_beside_pictures_are_no_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "open_detector", lambda path: Detector(OneHead(), (320,), None))
    pictures = tmp_path / "in"
    pictures.mkdir()
    Image.new("RGB", (320, 320)).save(pictures / "a.png")
    (pictures / "a.txt").write_text("1girl, solo")
    (tmp_path / "truth.json").write_text('{"a.png": [[8, 0, 72, 48]]}')
    assert dict(evaluate.evaluate(pictures, tmp_path / "truth.json"))["all: AP50"] == "1.000   1 heads, 1 boxes"
    (pictures / "a.txt").write_text("0 .5 .5 .2 .2 0.9\n")  # labels, which the detector has no part in
    rows = dict(evaluate.evaluate(pictures, tmp_path / "truth.json", pictures=pictures))
    assert rows["all: AP50"] == "0.000   1 heads, 1 boxes"
