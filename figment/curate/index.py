"""Near pairs among any number of 64-bit hashes, without comparing all with all; and near embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

MOST = 24
"""Nearest neighbours of a crop that are handed on, so that ten thousand equal hashes give no hundred million pairs."""
EXACT = 8_000
"""Up to so many hashes all pairs are compared; it takes a second."""
TABLES, WINDOW = 48, 96
"""Sorted tables, and how many following entries of each table a hash is compared with."""
FLUSH = 4_000_000
"""Pairs that are held before repeated ones are thrown out."""
SHIFT = np.uint64(40)
"""A pair is packed into 64 bits as first << 40 | second."""


def near_pairs(
    hashes: np.ndarray,  # uint64 [N]
    radius: int,  # bits that may differ
    mirrors: np.ndarray | None = None,  # uint64 [N], the hashes of the mirror images; None: pairs as they are alone
    most: int = MOST,  # nearest neighbours of each that are kept
) -> np.ndarray:
    """Pairs of hashes within `radius`: int64 [P, 4] of first, second (first < second), mirrored (0 or 1) and bits.

    A few hashes are compared all with all. Many are sorted, in each of 48 tables by another order of their bits, and
    each is compared with the entries after it: near hashes share most prefixes and so lie side by side in some table
    (the sorted tables of Charikar 2002, "Similarity estimation techniques from rounding algorithms"). The work is
    tables x window x N whatever the hashes are. Of a million hashes it finds 99.9% of the pairs 8 bits apart and
    95% of those 12 bits apart, more where there are fewer.
    """
    count = len(hashes)
    values = hashes if mirrors is None else np.concatenate([hashes, mirrors])
    source = _all_pairs if len(values) <= EXACT else _table_pairs

    # Keep each pair once; of a mirrored one either half says the same.
    packed = np.zeros(0, np.uint64)
    waiting: list[np.ndarray] = []
    held = 0
    for first, second in source(values, radius):
        first, second, mirrored = _fold(first, second, count)
        waiting.append((first << np.uint64(1) | mirrored) << (SHIFT - np.uint64(1)) | second)
        held += len(first)
        if held > FLUSH:
            packed, waiting, held = _once(np.concatenate([packed, *waiting])), [], 0
    packed = _once(np.concatenate([packed, *waiting]))

    second = (packed & np.uint64((1 << 39) - 1)).astype(np.int64)
    first = (packed >> SHIFT).astype(np.int64)
    mirrored = (packed >> (SHIFT - np.uint64(1)) & np.uint64(1)).astype(np.int64)
    bits = np.bitwise_count(hashes[first] ^ values[second + mirrored * count]).astype(np.int64)
    pairs = np.stack([first, second, mirrored, bits], 1)
    return np.asarray(pairs[_nearest(pairs, count, most)])


def near_embeddings(
    units: np.ndarray,  # float32 [N, D], rows of unit length
    least: float,  # cosine of the angle
    most: int = 12,  # nearest neighbours of each
) -> np.ndarray:
    """Pairs whose embeddings are near: int64 [P, 2], first < second. An inverted file above 30,000 crops."""
    import faiss

    count, dim = units.shape
    if count < 2:
        return np.zeros((0, 2), np.int64)
    flat = faiss.IndexFlatIP(dim)
    index: faiss.Index = flat
    if count > 30_000:
        cells = int(2 * count**0.5)
        inverted = faiss.IndexIVFFlat(flat, dim, cells, faiss.METRIC_INNER_PRODUCT)
        inverted.cp.max_points_per_centroid = 64
        inverted.train(units)
        inverted.nprobe = max(8, cells // 40)
        index = inverted
    index.add(units)
    found = []
    for start in range(0, count, 10_000):
        cosine, other = index.search(units[start : start + 10_000], min(most + 1, count))  # [n, most + 1]
        row, column = np.nonzero((cosine >= least) & (other >= 0))
        found.append(np.stack([row + start, other[row, column]], 1))
    pairs = np.sort(np.concatenate(found), 1)
    return np.unique(pairs[pairs[:, 0] < pairs[:, 1]], axis=0)


def _all_pairs(values: np.ndarray, radius: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every pair within `radius`, a block of rows at a time."""
    for start in range(0, len(values), 256):
        bits = np.bitwise_count(values[start : start + 256, None] ^ values[None, start:])
        first, second = np.nonzero(np.triu(bits <= radius, 1))
        yield (first + start).astype(np.uint64), (second + start).astype(np.uint64)


def _table_pairs(values: np.ndarray, radius: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs within `radius` that lie near each other in one of the sorted tables, a table at a time."""
    rng = np.random.RandomState(0)
    orders = [rng.permutation(64) for _ in range(TABLES)]
    bits = np.unpackbits(values.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1)  # [N, 64]

    def table(order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        packed = np.ascontiguousarray(np.packbits(bits[:, order], axis=1))  # [N, 8]
        keys = packed.view(">u8")[:, 0].astype(np.uint64)
        rank = np.argsort(keys, kind="stable")
        inline = values[rank]
        firsts, seconds = [], []
        for step in range(1, min(WINDOW, len(values) - 1) + 1):
            apart = np.bitwise_count(inline[step:] ^ inline[:-step])
            # Equal hashes lie side by side in every table; the first one's word on them is enough.
            near = np.flatnonzero((apart <= radius) & ((apart > 0) | (order is orders[0])))
            firsts.append(rank[near])
            seconds.append(rank[near + step])
        return np.concatenate(firsts).astype(np.uint64), np.concatenate(seconds).astype(np.uint64)

    # numpy lets go of the interpreter while it sorts and counts, so two threads share the tables.
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, TABLES, 2):
            yield from pool.map(table, orders[start : start + 2])


def _fold(first: np.ndarray, second: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs among hashes and mirrored hashes as pairs of crops: first < second, and whether one is mirrored."""
    size = np.uint64(count)
    mirrored = ((first >= size) != (second >= size)).astype(np.uint64)
    one, two = first % size, second % size
    use = (one != two) & ~((first >= size) & (second >= size))
    return np.minimum(one, two)[use], np.maximum(one, two)[use], mirrored[use]


def _once(packed: np.ndarray) -> np.ndarray:
    """Each of the packed pairs once, in rising order."""
    packed.sort()
    return np.asarray(packed[np.concatenate([[True], packed[1:] != packed[:-1]])[: len(packed)]])


def _nearest(pairs: np.ndarray, count: int, most: int) -> np.ndarray:
    """Which pairs are among the `most` nearest of either of their two crops: bool [P]."""
    keep = np.zeros(len(pairs), bool)
    for column in (0, 1):
        order = np.lexsort((pairs[:, 1 - column], pairs[:, 3], pairs[:, column]))
        owner = pairs[order, column]
        start = np.searchsorted(owner, np.arange(count))
        keep[order[np.arange(len(pairs)) - start[owner] < most]] = True
    return keep
