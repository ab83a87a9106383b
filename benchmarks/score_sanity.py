"""Check that scores get worse as they should: drawn heads degraded in known ways, and a new sample as baseline.

    python benchmarks/score_sanity.py
    python benchmarks/score_sanity.py --count 400 --reals 800 -o sanity
    python benchmarks/score_sanity.py --features heads --ladders
    python benchmarks/score_sanity.py --features parts --ladders --pictures portraits/

Draws 64x64 heads in four DiceBear styles as the data set, and scores equally many images of each kind: a new sample,
noise, blur, JPEG, fewer styles, a collapse to 50 images, other styles, and planted copies.

`--ladders` scores each change in growing strengths instead and says whether the distance rises with every step.
`--pictures` takes the images of a folder instead of drawings: one half, mirrored too, as data, the other as fakes.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter, map_coordinates

from figment.base.pixels import write_png
from figment.demo.styles import draw_head
from figment.score.backbones import open_features
from figment.score.features import FeatureNetwork, resize_clean
from figment.score.metrics import kernel_distance
from figment.score.reference import Reference, measure_reference
from figment.score.score import compare_statistics, floor_of, score_source
from figment.score.sources import ArraySource, open_source

FRANCHISE = ("avataaars", "adventurer", "toon-head", "lorelei")
OTHER = ("personas", "micah", "big-ears", "open-peeps")
SIZE, DRAWN = 64, 128

Change = Callable[[Image.Image], Image.Image]


def portrait(style: str, seed: int) -> np.ndarray:
    """Return a head on a plain background of random color, uint8 [3, SIZE, SIZE]."""
    drawing, box = draw_head(style, seed, DRAWN)
    ground = tuple(int(value) for value in np.random.default_rng(seed).integers(90, 250, 3))
    image = Image.new("RGBA", drawing.size, (*ground, 255))
    image.alpha_composite(drawing)
    half = max(box.width, box.height) * 1.15 / 2
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    square = tuple(min(max(side, 0), DRAWN) for side in (x - half, y - half, x + half, y + half))
    small = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=square)
    return np.asarray(small).transpose(2, 0, 1)


def collection(styles: tuple[str, ...], first: int, count: int) -> np.ndarray:
    """Return heads of random `styles` from seeds of this collection only, uint8 [N, 3, SIZE, SIZE]."""
    chosen = np.random.default_rng(first).integers(len(styles), size=count)
    return np.stack([portrait(styles[int(style)], first + i) for i, style in enumerate(chosen)])


def changed(images: np.ndarray, change: Change) -> np.ndarray:
    return np.stack(
        [
            np.asarray(change(Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))))).transpose(2, 0, 1)
            for image in images
        ]
    )


def noisy(images: np.ndarray, deviation: float) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, deviation, images.shape)
    return np.clip(images + noise, 0, 255).astype(np.uint8)


def as_jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=30)
    return Image.open(buffer).convert("RGB")


def worsened(fresh: np.ndarray, real: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Return every kind of fakes, `count` images each."""
    copies = fresh.copy()
    for i in range(0, count, 10):
        copies[i] = real[i][:, :, ::-1] if i % 20 else real[i]
    return {
        "fresh sample": fresh,
        "another fresh sample": collection(FRANCHISE, 2_000_000, count),
        "noise, deviation 4": noisy(fresh, 4),
        "noise, deviation 16": noisy(fresh, 16),
        "blur, radius 0.5": changed(fresh, lambda image: image.filter(ImageFilter.GaussianBlur(0.5))),
        "blur, radius 1.5": changed(fresh, lambda image: image.filter(ImageFilter.GaussianBlur(1.5))),
        "JPEG, quality 30": changed(fresh, as_jpeg),
        "three styles of four": collection(FRANCHISE[:3], 3_000_000, count),
        "two styles of four": collection(FRANCHISE[:2], 4_000_000, count),
        "one style of four": collection(FRANCHISE[:1], 5_000_000, count),
        "collapse to 200 pictures": fresh[np.arange(count) % min(200, count // 2)],
        "collapse to 50 pictures": fresh[np.arange(count) % min(50, count // 4)],
        "wrong franchise": collection(OTHER, 6_000_000, count),
        "a tenth copied": copies,
    }


def colored(images: np.ndarray, strength: float) -> np.ndarray:
    """Return images whose red and blue are scaled in opposite directions."""
    gain = np.array([1 - strength, 1, 1 - strength / 4])[:, None, None]
    return (images * gain).astype(np.uint8)


def warped(images: np.ndarray, pixels: float) -> np.ndarray:
    """Return images warped smoothly, each in its own way, by up to `pixels`."""
    rng, found = np.random.default_rng(0), []
    for image in images:
        field = np.stack([gaussian_filter(rng.standard_normal((SIZE, SIZE)), 3) for _ in range(2)])
        where = np.mgrid[:SIZE, :SIZE] + field * pixels / np.abs(field).max()
        found.append(np.stack([map_coordinates(plane, where, order=1, mode="nearest") for plane in image]))
    return np.stack(found)


def ladders(fresh: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    """Return sets of fakes by kind of change and strength, weakest first; all but "modes" keep every image."""

    def blurred(radius: float) -> np.ndarray:
        return changed(fresh, lambda image: image.filter(ImageFilter.GaussianBlur(radius)))

    def collapsed(share: float) -> np.ndarray:
        return fresh[np.arange(len(fresh)) % max(round(len(fresh) * share), 2)]

    return {
        "blur": {f"{radius:g} px": blurred(radius) for radius in (0.3, 0.5, 1, 2, 4)},
        "noise": {f"{deviation:g}": noisy(fresh, deviation) for deviation in (2, 4, 8, 16, 32)},
        "color": {f"{strength:.0%}": colored(fresh, strength) for strength in (0.05, 0.1, 0.2, 0.4)},
        "warp": {f"{pixels:g} px": warped(fresh, pixels) for pixels in (1, 2, 4, 8)},
        "modes": {f"{share:.0%} left": collapsed(share) for share in (0.5, 0.25, 0.1, 0.04)},
    }


def climb(fresh: np.ndarray, reference: Reference, network: FeatureNetwork) -> None:
    """Print the distance of every step of every ladder, relative to undamaged fakes, and whether it always rises."""

    def distance(images: np.ndarray, name: str) -> float:
        statistics, _ = score_source(ArraySource(images, name, name), reference, network)
        return float(compare_statistics(statistics, reference.all)["distance"])

    start = distance(fresh, "fresh")
    print(f"{len(fresh)} fakes, {network.labels[0]} {start:.4f}; each step as a multiple of it:")
    for kind, steps in ladders(fresh).items():
        found = [distance(images, f"{kind} {name}") / start for name, images in steps.items()]
        rises = all(after > before for before, after in zip([1.0, *found], found, strict=False))
        rungs = ", ".join(f"{name} {value:.2f}" for name, value in zip(steps, found, strict=True))
        print(f"{kind:<6} {'rises' if rises else 'DOES NOT RISE'}: {rungs}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--reals", type=int, default=3000)
    parser.add_argument("--features", default="heads")
    parser.add_argument("--ladders", action="store_true", help="changes in growing strengths")
    parser.add_argument("--pictures", type=Path, help="a folder of images instead of drawings, with --ladders")
    parser.add_argument("-o", "--output", type=Path, help="write a strip of each kind to this folder")
    options = parser.parse_args()

    network = open_features(options.features)
    if options.pictures:
        pictures = [resize_clean(image, SIZE) for _, image in open_source(options.pictures, "--pictures")]
        images = np.stack(pictures).round().astype(np.uint8)
        real, fresh_images = np.concatenate([images[::2], images[::2, :, :, ::-1]]), images[1::2]
    else:
        real, fresh_images = collection(FRANCHISE, 0, options.reals), collection(FRANCHISE, 1_000_000, options.count)
    with tempfile.TemporaryDirectory() as folder:
        reference = measure_reference(ArraySource(real, "real", "real"), network, cache=Path(folder, "cache"))
    if options.ladders or options.pictures:
        climb(fresh_images, reference, network)
        return
    one, two = reference.all.sample[::2], reference.all.sample[1::2]
    kernel = kernel_distance(one, two)
    fd, kd = network.labels
    print(
        f"{fd} floor, two halves of {options.reals // 2} reals: {floor_of(reference):.4f}; "
        f"{kd} {kernel.value * 1000:.3f} +- {kernel.error * 1000:.3f} x1000"
    )
    print(f"{options.count} fakes of each kind against {options.reals} reals:\n")
    print(f"| fakes | {fd} | / fresh | {kd} x1000 | precision | recall | density | coverage | copies | close |")
    print("|---" * 10 + "|")
    fresh = 0.0
    for name, images in worsened(fresh_images, real, options.count).items():
        statistics, check = score_source(ArraySource(images, name, name), reference, network)
        found, copies = compare_statistics(statistics, reference.all), check.result()
        fresh = fresh or found["distance"]
        print(
            f"| {name} | {found['distance']:.4f} | {found['distance'] / fresh:.2f} | {found['kernel'] * 1000:.3f} "
            f"+- {found['kernel_error'] * 1000:.3f} | {found['precision']:.3f} | {found['recall']:.3f} | "
            f"{found['density']:.3f} | {found['coverage']:.3f} | {len(copies.copies)} | {copies.share_close:.1%} |",
            flush=True,
        )
        if options.output:
            write_png(options.output / f"{name}.png", np.concatenate(list(images[:12]), 2).transpose(1, 2, 0))


if __name__ == "__main__":
    main()
