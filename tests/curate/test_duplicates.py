"""Duplicates: copies are found, characters of one style are not taken for copies of each other."""

import numpy as np
import pytest

from figment.curate.duplicates import candidates, find_pairs, join_groups
from figment.curate.prints import SIDE, Prints, fingerprint
from figment.curate.verdicts import Thresholds
from tests.curate.conftest import COPIES, STYLES, crop, picture

LIMIT = Thresholds().max_difference
SEEDS = range(12)


@pytest.fixture(scope="module")
def collection():
    """Every character with its copies, cut a few per cent differently: names and prints."""
    rng = np.random.RandomState(0)
    names, measures = [], []
    for style in STYLES:
        for seed in SEEDS:
            image = picture(style, seed, int(rng.randint(110, 320)))
            for kind in ("original", *COPIES):
                cut = crop(COPIES[kind](image), rng, 0.03) if kind in COPIES else crop(image, rng)
                names.append((style, seed))
                measures.append(fingerprint(cut))
    return names, Prints.of(measures)


@pytest.mark.slow
def test_copies_are_found_and_characters_stay_apart(collection):
    names, prints = collection
    groups = join_groups(find_pairs(prints), LIMIT)
    assert all(len({names[index] for index in group}) == 1 for group in groups), "two characters in one group"
    found = sum(len(group) - 1 for group in groups)
    assert found >= 0.95 * len(STYLES) * len(SEEDS) * len(COPIES)


def test_prints_come_back_from_the_catalog_as_they_were():
    image = crop(picture("micah", 1), np.random.RandomState(0))
    measures = fingerprint(image)
    assert all(isinstance(value, str) for value in measures.values())
    prints = Prints.of([measures, measures])
    assert prints.thumbs.shape == (2, SIDE, SIDE, 3) and len(prints) == 2
    assert (prints.thumbs[0] == np.asarray(image.resize((SIDE, SIDE), 4))).all()
    assert prints.hashes["phash"][0] == int(measures["phash"], 16)


@pytest.mark.slow
def test_a_pair_names_each_mirror_once(collection):
    pairs = candidates(collection[1])
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert len({tuple(pair) for pair in pairs}) == len(pairs)
    found = find_pairs(collection[1])
    assert len({pair[:2] for pair in found}) == len(found)


def test_few_or_no_crops_have_no_pairs():
    one = [fingerprint(picture("micah", 1))]
    assert find_pairs(Prints.of([])) == [] == find_pairs(Prints.of(one))


def test_groups_hang_together_within_the_limit():
    pairs = [(1, 2, 3.0), (2, 9, 4.0), (5, 6, 1.0), (6, 1, 20.0)]
    assert join_groups(pairs, 5) == [[1, 2, 9], [5, 6]]
    assert join_groups(pairs, 20) == [[1, 2, 5, 6, 9]]
    assert join_groups(pairs, 0) == []
