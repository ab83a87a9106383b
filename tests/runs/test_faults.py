"""Faults composed from drawings of heads."""

import numpy as np
import pytest
from drawings import attributes, draw_layers, draw_other, kind_of, other_questions
from faults import FAULTS, Subject, masks_of, with_faults

from figment.demo.styles import HEADS
from figment.score.parts import PARTS


@pytest.fixture(scope="module")
def layers():
    """Eight heads, float32 [8, 5, 3, 64, 64]."""
    return np.stack([draw_layers(920_000 + i)[0] for i in range(8)]).astype(np.float32)


def subject(layers, index=0):
    flat = layers[:, 0].reshape(len(layers), -1)
    components = np.linalg.svd(flat - flat.mean(0), full_matrices=False)[2]
    return Subject(layers[index], masks_of(layers[index]), layers[1:6, 0], (flat.mean(0), components[:3]))


def test_layers_differ_where_the_part_is(layers):
    masks = masks_of(layers[0])
    assert masks.shape == (4, 64, 64) and masks.any((1, 2)).all()
    eyes, mouth = (np.nonzero(masks[PARTS.index(name)])[0].mean() for name in ("eyes", "mouth"))
    assert eyes < mouth  # the mouth is below the eyes
    assert masks[PARTS.index("hair")].sum() > masks[PARTS.index("eyes")].sum()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_changes_the_part_that_it_is_for(layers, name):
    rng = np.random.default_rng(0)
    found = 0
    for i in range(24):
        chosen = subject(layers, i % len(layers))
        image, well, part = with_faults(rng, chosen, [name])
        assert image.shape == (3, 64, 64) and image.min() >= 0 and image.max() <= 255
        assert set(well.tolist()) <= {-1.0, 0.0, 1.0} and well[part] != 1
        changed = np.abs(image - chosen.layers[0]).max(0)[chosen.masks[part]]
        assert well[part] == -1 or changed.max() > 12
        found += int(well[part] == 0)
    assert found >= 12  # most faults are plain enough to learn from


def test_a_missing_part_leaves_the_others_alone(layers):
    rng = np.random.default_rng(1)
    for i in range(8):
        chosen = subject(layers, i)
        image, _, part = with_faults(rng, chosen, ["missing"])
        assert np.array_equal(image, chosen.layers[1 + part])


def test_faults_repeat_with_the_same_seed(layers):
    first, second = (with_faults(np.random.default_rng(5), subject(layers), ["melted", "painted"]) for _ in range(2))
    assert np.array_equal(first[0], second[0]) and np.array_equal(first[1], second[1])


def test_kinds_of_drawings_are_known():
    assert list(attributes()) == [*(f"{part}Variant" for part in PARTS), "hairColor", "skinColor"]
    assert (draw_layers(920_000)[1] >= 0).all()
    questions = other_questions()
    image, style, kinds = draw_other(920_003, questions)
    assert image.shape == (4, 64, 64) and list(HEADS)[style] != "adventurer"
    asked = [name == list(HEADS)[style] for name, _, _ in questions]
    assert (kinds[~np.array(asked)] == -1).all() and (kinds[asked] >= 0).any()
    assert kind_of({"skinColor": ["#b"]}, "skinColor", ["#a", "#b"]) == 1
    assert kind_of({}, "glassesVariant", ["round"]) == -1
