"""The index: all near pairs of a few hashes, nearly all of many, no heap of equal ones blows it up."""

import numpy as np

from benchmarks.group_hashes import group_hashes
from figment.curate import index
from figment.curate.index import near_embeddings, near_pairs


def random_hashes(count, seed=0):
    return np.random.RandomState(seed).randint(0, 2**63, count, np.int64).astype(np.uint64) << np.uint64(1)


def flip(hashes, bits, seed=1):
    rng = np.random.RandomState(seed)
    return np.array(
        [
            value ^ np.bitwise_or.reduce(np.uint64(1) << rng.permutation(64)[:bits].astype(np.uint64))
            for value in hashes
        ],
        np.uint64,
    )


def test_pairs_of_a_few_hashes_are_those_of_counting_bits():
    hashes = random_hashes(300)
    hashes[200:] = flip(hashes[:100], 5)
    pairs = near_pairs(hashes, 9)
    bits = np.bitwise_count(hashes[:, None] ^ hashes[None])
    expected = {(int(i), int(j)) for i, j in zip(*np.nonzero(np.triu(bits <= 9, 1)), strict=True)}
    assert {(row[0], row[1]) for row in pairs.tolist()} == expected
    assert (pairs[:, 3] == bits[pairs[:, 0], pairs[:, 1]]).all() and not pairs[:, 2].any()


def test_mirrored_copies_are_pairs_of_their_own_kind():
    hashes, mirrors = random_hashes(50), random_hashes(50, 2)
    hashes[7], mirrors[7] = flip(mirrors[3:4], 2)[0], flip(hashes[3:4], 2)[0]
    assert near_pairs(hashes, 4, mirrors)[:, :3].tolist() == [[3, 7, 1]]


def test_sorted_tables_find_nearly_all(monkeypatch):
    monkeypatch.setattr(index, "EXACT", 100)
    hashes = random_hashes(20_000)
    hashes[10_000:11_000] = flip(hashes[:1000], 8)
    pairs = {(row[0], row[1]) for row in near_pairs(hashes, 10).tolist()}
    assert sum((at, at + 10_000) in pairs for at in range(1000)) >= 995


def test_a_heap_of_equal_hashes_is_one_group_of_few_pairs(monkeypatch):
    monkeypatch.setattr(index, "EXACT", 100)
    hashes = random_hashes(6_000)
    hashes[1000:5000] = hashes[0]
    pairs = near_pairs(hashes, 6)
    assert len(pairs) < 4000 * 2 * index.MOST
    groups = group_hashes(hashes, 6)
    assert len(np.unique(groups[1000:5000])) == 1 and groups[0] == groups[1000]
    assert len(np.unique(groups)) == 2000 - 1 + 1


def test_near_embeddings_are_pairs_and_few_have_none():
    units = np.random.RandomState(0).randn(200, 32).astype(np.float32)
    units[150] = units[20] + 0.1
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    assert near_embeddings(units, 0.9).tolist() == [[20, 150]]
    assert near_embeddings(units[:1], 0.9).shape == (0, 2)


def test_no_hashes_have_no_pairs():
    assert near_pairs(np.zeros(0, np.uint64), 8).shape == (0, 4)
