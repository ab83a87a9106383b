"""Group a million hashes with planted copies and many equal ones: time, peak memory, share of found copies.

python benchmarks/group_hashes.py --count 1000000
python benchmarks/group_hashes.py --count 1000000 --mirrors --embeddings 100000
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from figment.curate.index import near_embeddings, near_pairs

FLIPS = (0, 2, 4, 6, 8, 10, 12)


def group_hashes(
    hashes: np.ndarray,  # uint64 [N]
    radius: int,  # bits that may differ between neighbors in a group
    mirrors: np.ndarray | None = None,  # uint64 [N]; None: mirror images don't count as copies
) -> np.ndarray:
    """Return the group of each hash, int64 [N]: the connected components of pairs within `radius`."""
    pairs = near_pairs(hashes, radius, mirrors)
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(hashes), len(hashes)))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def planted(count: int, equal: int, rng: np.random.RandomState) -> tuple[np.ndarray, ...]:
    """Return random hashes, a tenth of them copies with some bits flipped, and `equal` identical ones.

    Also returns the indices of originals and copies, and the number of flipped bits of each copy.
    """
    hashes = rng.randint(0, 2**63, count, np.int64).astype(np.uint64) << np.uint64(1)
    hashes ^= rng.randint(0, 2, count).astype(np.uint64)
    order = rng.permutation(count)
    hashes[order[:equal]] = hashes[order[0]]
    copies = order[equal : equal + count // 10]
    originals = order[equal + count // 10 : equal + 2 * (count // 10)]
    flips = rng.choice(FLIPS, len(copies))
    places = np.argsort(rng.rand(len(copies), 64), axis=1)[:, : max(FLIPS)].astype(np.uint64)  # [C, 12]
    masks = np.where(np.arange(max(FLIPS))[None] < flips[:, None], np.uint64(1) << places, np.uint64(0))
    hashes[copies] = hashes[originals] ^ np.bitwise_xor.reduce(masks, axis=1)
    return hashes, originals, copies, flips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--equal", type=int, default=10_000)
    parser.add_argument("--radius", type=int, default=12)
    parser.add_argument("--mirrors", action="store_true", help="also look for mirrored copies")
    parser.add_argument("--embeddings", type=int, default=0, help="also search this many embeddings")
    options = parser.parse_args()
    rng = np.random.RandomState(7)
    hashes, originals, copies, flips = planted(options.count, options.equal, rng)
    mirrors = rng.randint(0, 2**63, options.count, np.int64).astype(np.uint64) if options.mirrors else None

    start, used = time.monotonic(), time.process_time()
    groups = group_hashes(hashes, options.radius, mirrors)
    sec, cpu = time.monotonic() - start, time.process_time() - used
    print(
        f"grouped {options.count} hashes in {sec:.1f} s ({cpu:.1f} s of one core's time), "
        f"peak memory {peak_gb():.2f} GB, {groups.max() + 1} groups"
    )
    same = groups[originals] == groups[copies]
    for bits in FLIPS:
        print(f"  planted copies {bits:2d} bits away: {same[flips == bits].mean():.2%} found")
    heap = np.unique(hashes, return_inverse=True)[1]
    together = np.unique(groups[heap == np.bincount(heap).argmax()])
    print(f"  the {options.equal} equal hashes are in {len(together)} group")

    if options.embeddings:
        time_embeddings(options.embeddings, rng)


def time_embeddings(count: int, rng: np.random.RandomState) -> None:
    """Print the time to find near embeddings, and the share of planted ones (cosine 0.95) that are found."""
    units = rng.standard_normal((count, 128)).astype(np.float32)
    noise = rng.standard_normal((count // 10, 128)).astype(np.float32)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    units[: count // 10] = units[-(count // 10) :] + 0.33 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    start, used = time.monotonic(), time.process_time()
    pairs = near_embeddings(units, 0.8)
    found = {tuple(pair) for pair in pairs.tolist()}
    hit = np.mean([(row, count - count // 10 + row) in found for row in range(count // 10)])
    print(
        f"near pairs of {count} embeddings in {time.monotonic() - start:.1f} s "
        f"({time.process_time() - used:.1f} s of one core's time), "
        f"{hit:.2%} of planted pairs found, peak memory {peak_gb():.2f} GB"
    )


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
