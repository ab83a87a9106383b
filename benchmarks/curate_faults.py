"""Plant faults in new demo art, crop and curate it, and print recall and precision of every curate rule.

    python benchmarks/curate_faults.py /tmp/faults --pictures 300 --seed 23

Recall of a rule is the share of heads with its fault that are rejected, by any rule and by this one. Precision is the
share of its rejects that have the fault or a related one: an enlarged picture is also blurred, a dark one also flat.
Borderline heads (a size near the threshold, a fifth cut off) and JPEGs of medium quality are not counted. Of every
group of copies, all heads but one should be rejected as duplicates.
"""

from __future__ import annotations

import argparse
import io
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from figment.base.catalog import Catalog
from figment.base.files import read_json, write_json
from figment.base.pixels import open_image, write_png
from figment.base.records import Box, Head, Picture
from figment.curate.curate import curate
from figment.curate.recolour import turn_hue
from figment.demo.art import make_demo_art
from figment.heads.crop import crop_pictures
from figment.heads.squares import cut_square, square_around

IOU = 0.5
FAULTS = {"enlarged": 0.08, "jpeg": 0.08, "blurred": 0.08, "dark": 0.05, "flat": 0.05, "cut-off": 0.12}
"""Share of the scenes that get each fault."""
COPIES = ("recoloured", "hue-rotated", "mirrored", "cropped", "re-encoded", "shrunk", "mirrored+re-encoded")
KIN = {"blurred": "enlarged", "enlarged": "blurred", "flat": "dark", "dark": "flat"}
COPIED = 0.35
"""Share of the scenes that get a copy."""


def spoil(image: Image.Image, boxes: list[Box], kind: str, rng: np.random.RandomState) -> tuple[Image.Image, list[Box]]:
    """Return the picture with a fault, and its head boxes."""
    largest = max(max(box.width, box.height) for box in boxes)
    if kind == "enlarged":
        small = min(0.5, rng.uniform(16, 32) / largest)
        method = (Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS)[rng.randint(3)]
        tiny = image.resize((round(image.width * small), round(image.height * small)), Image.Resampling.LANCZOS)
        return tiny.resize(image.size, method), boxes
    if kind == "jpeg":
        return jpeg(image, rng.randint(10, 26)), boxes
    if kind == "blurred":
        return image.filter(ImageFilter.GaussianBlur(largest * rng.uniform(0.035, 0.06))), boxes
    if kind == "dark":
        return ImageEnhance.Brightness(image).enhance(rng.uniform(0.06, 0.14)), boxes
    if kind == "flat":
        return ImageEnhance.Contrast(image).enhance(rng.uniform(0.03, 0.07)), boxes
    box = boxes[0]  # cut-off: the picture ends in the middle of the first head
    if rng.rand() < 0.5:
        edge = round(box.x0 + box.width * rng.uniform(0.4, 0.6))
        frame = (edge, 0, image.width, image.height) if rng.rand() < 0.5 else (0, 0, edge, image.height)
    else:
        edge = round(box.y0 + box.height * rng.uniform(0.4, 0.6))
        frame = (0, edge, image.width, image.height) if rng.rand() < 0.5 else (0, 0, image.width, edge)
    return image.crop(frame), [
        Box(each.x0 - frame[0], each.y0 - frame[1], each.x1 - frame[0], each.y1 - frame[1]) for each in boxes
    ]


def copy(image: Image.Image, boxes: list[Box], kind: str, rng: np.random.RandomState) -> tuple[Image.Image, list[Box]]:
    """Return a copy of the picture, and its head boxes."""
    if kind in ("recoloured", "hue-rotated"):
        turns, way = np.array([rng.uniform(30, 330)]), np.array([int(kind == "hue-rotated")])
        return Image.fromarray(turn_hue(np.asarray(image)[None], turns, way)[0].round().astype(np.uint8)), boxes
    if kind == "cropped":
        left, up, right, down = (int(side * rng.uniform(0, 0.12)) for side in (*image.size, *image.size))
        moved = [Box(box.x0 - left, box.y0 - up, box.x1 - left, box.y1 - up) for box in boxes]
        return image.crop((left, up, image.width - right, image.height - down)), moved
    if kind == "shrunk":
        scale = rng.uniform(0.55, 0.9)
        small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
        return small, [Box(*(side * scale for side in box)) for box in boxes]
    if kind.startswith("mirrored"):
        boxes = [Box(image.width - box.x1, box.y0, image.width - box.x0, box.y1) for box in boxes]
        image = ImageOps.mirror(image)
    return (jpeg(image, rng.randint(50, 85)) if kind.endswith("re-encoded") else image), boxes


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def plant(folder: Path, seed: int) -> dict[str, Any]:
    """Plant faults and copies among the demo art in `folder`, in place; return the truth about every picture."""
    done = folder / "planted.json"
    if done.exists():
        return dict(read_json(done))
    truth = read_json(folder / "truth.json")["pictures"]
    rng = np.random.RandomState(seed)
    scenes = [name for name, entry in truth.items() if entry["kind"] == "scene" and entry["boxes"]]
    originals = {entry["of"] for entry in truth.values()}
    free = [name for name in scenes if name not in originals]
    rng.shuffle(free)
    for kind, share in FAULTS.items():
        for _ in range(max(2, round(share * len(scenes)))):
            name = free.pop()
            image, boxes = spoil(open_image(folder / name), boxes_of(truth[name]), kind, rng)
            (folder / name).unlink()
            entry = {**truth.pop(name), "kind": kind, "boxes": boxes}
            image.save(folder / f"{name}.png")
            truth[f"{name}.png"] = entry
    for index in range(round(COPIED * len(scenes))):
        name, kind = free[index % len(free)], COPIES[index % len(COPIES)]
        image, boxes = copy(open_image(folder / name), boxes_of(truth[name]), kind, rng)
        target = f"{name}-{kind}.png"
        image.save(folder / target)
        truth[target] = {**truth[name], "kind": kind, "of": name, "boxes": boxes}
    write_json(done, truth)
    return dict(truth)


def boxes_of(entry: dict[str, Any]) -> list[Box]:
    return [Box(*box) for box in entry["boxes"]]


def cut_at_truth(folder: Path, out: Path, truth: dict[str, Any], rng: np.random.RandomState) -> None:
    """Write a heads folder as the crop stage would with a detector that finds every head, with small offsets."""
    with Catalog(out, create=True) as catalog:
        if catalog.stamps():
            return
        for name, entry in sorted(truth.items()):
            if not entry["usable"]:
                continue
            image = open_image(folder / name)
            heads = []
            for index, box in enumerate(boxes_of(entry)):
                far = 0.03 * max(box.width, box.height) * rng.uniform(-1, 1, 4)
                x0, y0, x1, y1 = (side + move for side, move in zip(box, far, strict=True))
                seen = Box(max(x0, 0.0), max(y0, 0.0), min(x1, image.width), min(y1, image.height))
                if min(seen.width, seen.height) < 8:
                    continue
                square = square_around(seen, image.size, 0.25)
                file = f"{name.replace('/', '-')}-{index}.png"
                write_png(out / file, cut_square(image, square, 1024))
                heads.append(Head(file, seen, 0.9, square))
            catalog.put_picture(Picture(name, "1", *image.size, "heads" if heads else "empty"), heads)


def judge_head(head: Head, entry: dict[str, Any], size: tuple[int, int], least: float) -> tuple[int, dict[str, bool]]:
    """Return the index of the true head (-1: none), and fault -> whether it has it, without borderline faults."""
    inner = [Box(max(box.x0, 0), max(box.y0, 0), min(box.x1, size[0]), min(box.y1, size[1])) for box in boxes_of(entry)]
    overlaps = [head.box.iou(box) if min(box.width, box.height) > 0 else 0.0 for box in inner]
    which = int(np.argmax(overlaps)) if overlaps and max(overlaps) >= IOU else -1
    if which < 0:
        return -1, {"not-a-head": True} if not overlaps or max(overlaps) < 0.2 else {}
    true = boxes_of(entry)[which]
    cut = 1 - inner[which].width * inner[which].height / (true.width * true.height)
    longer = max(inner[which].width, inner[which].height)
    facts = {kind: entry["kind"] == kind for kind in ("jpeg", "blurred", "dark", "flat", "enlarged")}
    facts["not-a-head"] = False
    if "encoded" in entry["kind"]:  # saved at quality 50 to 85: borderline
        del facts["jpeg"]
    if abs(longer - least) > 0.1 * least:
        facts["too-small"] = longer < least
    if cut < 0.15 or cut > 0.35:
        facts["cut-off"] = cut > 0.35
    return which, facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument(
        "--boxes",
        choices=("detector", "truth"),
        default="detector",
        help="truth: crop at the true boxes, with offsets up to 3%%, without a detector",
    )
    parser.add_argument("--verbose", action="store_true", help="list missed and wrongly rejected heads")
    options = parser.parse_args()
    pictures, out = options.folder / "pictures", options.folder / "heads"
    if not (pictures / "planted.json").exists():
        make_demo_art(pictures, pictures=options.pictures, seed=options.seed)
    truth = plant(pictures, options.seed)
    if options.boxes == "detector":
        print(crop_pictures(pictures, out).line())
    else:
        cut_at_truth(pictures, out, truth, np.random.RandomState(options.seed + 1))
    print(curate(out).line())
    with Catalog(out) as catalog:
        heads, verdicts = catalog.heads(), catalog.verdicts()
        sizes = {row.path: (row.width or 0, row.height or 0) for row in catalog.pictures()}
    facts = {head.id: judge_head(head, truth[head.picture], sizes[head.picture], 48) for head in heads}
    print_rules(heads, facts, verdicts, options.verbose)
    print_copies(heads, facts, truth, verdicts, options.verbose)


def print_rules(heads: list[Head], facts: dict[int, Any], verdicts: dict[int, Any], verbose: bool) -> None:
    """Print the table of rules: heads with the fault, recall, rejects, precision."""
    print(f"\n{'rule':12} {'faulty':>7} {'rejected':>9} {'for this':>9} {'rejects':>8} {'precision':>10}")
    for reason in ("too-small", "blurred", "enlarged", "jpeg", "flat", "dark", "not-a-head", "cut-off"):
        faulty = [head for head in heads if facts[head.id][1].get(reason)]
        any_ = [head for head in faulty if verdicts[head.id].reason not in ("", "duplicate")]
        hit = [head for head in faulty if verdicts[head.id].reason == reason]
        called = [head for head in heads if verdicts[head.id].reason == reason and reason in facts[head.id][1]]
        wrong = [
            head
            for head in called
            if not facts[head.id][1][reason] and not facts[head.id][1].get(KIN.get(reason, reason))
        ]
        print(
            f"{reason:12} {len(faulty):7} {share(len(any_), len(faulty)):>9} {share(len(hit), len(faulty)):>9} "
            f"{len(called):8} {share(len(called) - len(wrong), len(called)):>10}"
        )
        if verbose:
            for name, group in (("missed", [head for head in faulty if head not in any_]), ("wronged", wrong)):
                for head in group:
                    print(f"    {name} {head.file} {verdicts[head.id].detail}")
    good = [head for head in heads if facts[head.id][0] >= 0 and not any(facts[head.id][1].values())]
    lost = [head for head in good if verdicts[head.id].reason not in ("", "duplicate")]
    print(f"good heads rejected by any rule: {len(lost)} of {len(good)} ({share(len(lost), len(good))})")


def print_copies(
    heads: list[Head], facts: dict[int, Any], truth: dict[str, Any], verdicts: dict[int, Any], verbose: bool
) -> None:
    """Print how many copies of each kind were found, and how many heads without a copy were rejected as duplicates."""
    groups: dict[tuple[str, int], list[Head]] = defaultdict(list)
    for head in heads:
        if facts[head.id][0] >= 0 and verdicts[head.id].reason in ("", "duplicate"):
            entry = truth[head.picture]
            groups[entry["of"] or head.picture, facts[head.id][0]].append(head)
    planted: Counter[str] = Counter()
    found: Counter[str] = Counter()
    lost = single = 0
    for members in groups.values():
        names = {head.file for head in members}
        called = [head for head in members if verdicts[head.id].reason == "duplicate"]
        foreign = [head for head in called if verdicts[head.id].detail.removeprefix("of ") not in names]
        single += 1
        lost += bool(foreign) and len(foreign) == len(members)
        kinds = [truth[head.picture]["kind"] for head in members if truth[head.picture]["of"]]
        if len(members) < 2 or not kinds:
            continue
        kind = kinds[0] if len(members) == 2 else "several"
        planted[kind] += len(members) - 1
        found[kind] += min(len(called), len(members) - 1)
        if verbose and len(called) < len(members) - 1:
            print(f"    copy missed: {[head.file for head in members]}")
        if verbose and foreign:
            print(f"    mistaken for a copy: {[(head.file, verdicts[head.id].detail) for head in foreign]}")
    print("\ncopies found")
    for kind, count in sorted(planted.items()):
        print(f"  {kind:20} {found[kind]:4} of {count:4} ({share(found[kind], count)})")
    print(f"  {'all':20} {found.total():4} of {planted.total():4} ({share(found.total(), planted.total())})")
    print(f"distinct heads lost as duplicates: {lost} of {single} ({share(lost, single, 2)})")


def share(part: int, whole: int, digits: int = 1) -> str:
    return f"{part / whole:.{digits}%}" if whole else "-"


if __name__ == "__main__":
    main()
