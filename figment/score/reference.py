"""Gather the statistics of a set of images in one pass; those of the data are cached beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from figment.base.errors import FigmentError
from figment.base.files import atomic
from figment.base.progress import track
from figment.score.copies import THUMB, closeness, thumbnail
from figment.score.features import FeatureNetwork
from figment.score.sources import FolderSource, Source, StoreSource
from figment.score.statistics import Moments, Sample, key_of

VERSION = "2"
"""Version of the cached contents; caches of other versions are measured again."""
BATCH = 32
"""Images in memory at once."""
SAMPLE = 5000
"""Default number of images of each set for scores that compare pairs."""


@dataclass(frozen=True)
class Statistics:
    """Statistics of a set of images."""

    count: int
    """Number of images."""
    mean: np.ndarray
    """Mean of all features, float64 [D]."""
    cov: np.ndarray
    """Covariance of all features, float64 [D, D]."""
    sample: np.ndarray
    """Features of some or all images, float32 [n, D], chosen and sorted by a hash of their pixels."""


@dataclass(frozen=True)
class Reference:
    """Statistics of the data that fakes are compared with."""

    all: Statistics
    halves: tuple[Statistics, Statistics]
    """Statistics of two halves, split by a hash of the pixels: their distance is a floor for scores."""
    thumbs: np.ndarray
    """Thumbnail of each image, float32 [N, K]."""
    names: list[str]
    """Names of the images."""
    close: float
    """1st percentile of the nearest-neighbor distance between them (see `copies.closeness`)."""


class Gathering:
    """Collects the statistics of images batch by batch; neither their order nor the batch size changes the result.

    Memory beyond the network: eight D x D float64 matrices (268 MB at D = 2048) and the sample (41 MB at 5000 x 2048).
    The thumbnails of the data come on top: 154 MB for 50,000 images.
    """

    def __init__(
        self,
        features: FeatureNetwork,
        sample: int = SAMPLE,  # rows to keep for scores that compare pairs
    ) -> None:
        self.features = features
        self.parts = [Moments(features.dim, features.scale) for _ in range(2)]
        self.kept = Sample(sample)

    def add(self, images: list[np.ndarray]) -> None:
        """Add images uint8 [C, H, W]."""
        self.add_features(self.features(images), [key_of(image.tobytes()) for image in images])

    def add_features(self, found: np.ndarray, keys: list[bytes]) -> None:
        """Add features [n, D] of images with these keys (see `key_of`)."""
        self.kept.add(found, keys)
        side = np.array([key[0] & 1 for key in keys], bool)
        self.parts[0].add(found[~side])
        self.parts[1].add(found[side])

    def result(self) -> tuple[Statistics, tuple[Statistics, Statistics]]:
        """Return the statistics of all and of the two halves; nothing can be added afterwards.

        Raises FigmentError for fewer than two images.
        """
        none = np.zeros((0, self.features.dim), np.float32)
        one, two = [
            Statistics(part.count, part.mean, part.cov, none)
            if part.count > 1
            else Statistics(part.count, part.mean, np.zeros((0, 0)), none)
            for part in self.parts
        ]
        whole = self.parts[0]
        whole.merge(self.parts.pop())
        if whole.count < 2:
            raise FigmentError("a score needs at least two images on each side")
        return Statistics(whole.count, whole.mean, whole.cov, self.kept.rows()), (one, two)


def batches(source: Source, label: str, size: int = BATCH) -> Iterable[tuple[list[str], list[np.ndarray]]]:
    """Yield names and images of `source` in batches, with a progress bar."""
    names: list[str] = []
    images: list[np.ndarray] = []
    for name, image in track(source, label, len(source)):
        names.append(name)
        images.append(image)
        if len(images) == size:
            yield names, images
            names, images = [], []
    if images:
        yield names, images


def measure_reference(
    source: Source,
    features: FeatureNetwork,
    *,
    sample: int = SAMPLE,
    batch: int = BATCH,  # images in memory at once
    cache: Path | None = None,  # file to keep the result in; None means a hidden file beside the data
) -> Reference:
    """Return the statistics of `source`, from the cache if it fits; raises FigmentError for fewer than two images."""
    path = cache or cache_path(source, features)
    digest = f"{VERSION} {features.name} {source.digest} {sample}"
    if path and (found := _read(path, digest)):
        return found
    gathering = Gathering(features, sample)
    names: list[str] = []
    thumbs = np.zeros((len(source), 3 * THUMB * THUMB), np.float32)
    for some, images in batches(source, "data", batch):
        gathering.add(images)
        thumbs[len(names) : len(names) + len(some)] = [thumbnail(image) for image in images]
        names += some
    if len(names) < 2:
        raise FigmentError(f"DATA {source.name}: {len(names)} readable pictures; a score needs at least two")
    thumbs = thumbs[: len(names)]
    whole, halves = gathering.result()
    del gathering
    reference = Reference(whole, halves, thumbs, names, closeness(thumbs))
    if path:
        _write(path, digest, reference)
    return reference


def cache_path(source: Source, features: FeatureNetwork) -> Path | None:
    """Return the hidden file beside a zip or folder that caches its reference; None for other sources."""
    if not isinstance(source, (StoreSource, FolderSource)):
        return None
    path = source.path.resolve()
    return path.with_name(f".{path.name}.{features.name}.scores.safetensors")


def _write(path: Path, digest: str, reference: Reference) -> None:
    """Write `reference`; a folder that can't be written is not an error."""
    tensors = {"thumbs": reference.thumbs}
    for name, part in zip(("all", "one", "two"), (reference.all, *reference.halves), strict=True):
        tensors |= {f"{name}.mean": part.mean, f"{name}.cov": part.cov, f"{name}.sample": part.sample}
    record = {
        "digest": digest,
        "names": json.dumps(reference.names),
        "close": repr(reference.close),
        "counts": json.dumps([part.count for part in (reference.all, *reference.halves)]),
    }
    try:
        with atomic(path) as temporary:
            save_file(tensors, temporary, metadata=record)
    except OSError:
        return


def _read(path: Path, digest: str) -> Reference | None:
    """Return the reference in `path`; None if it is missing, damaged, or of another version or other images."""
    try:
        with safe_open(path, "numpy") as file:
            record = file.metadata() or {}
            if record.get("digest") != digest:
                return None
            counts = json.loads(record["counts"])
            parts = [
                Statistics(count, *(file.get_tensor(f"{name}.{what}") for what in ("mean", "cov", "sample")))
                for name, count in zip(("all", "one", "two"), counts, strict=True)
            ]
            return Reference(
                parts[0],
                (parts[1], parts[2]),
                file.get_tensor("thumbs"),
                json.loads(record["names"]),
                float(record["close"]),
            )
    except (SafetensorError, OSError, KeyError, ValueError):
        return None
