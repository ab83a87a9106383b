"""Alignment: known moves are found again, and what differs is told from what moved."""

import numpy as np
from scipy.ndimage import gaussian_filter

from figment.curate.align import align, coarse, fine_difference, rough_difference, warp


def blobs(count, side=48, seed=0):
    """Soft coloured pictures, uint8 [N, S, S, 3]."""
    noise = np.random.RandomState(seed).rand(count, side, side, 3)
    soft = gaussian_filter(noise, (0, 3, 3, 0))
    return (255 * (soft - soft.min()) / np.ptp(soft)).astype(np.uint8)


def test_no_move_changes_nothing():
    images = blobs(2).astype(np.float32)
    assert np.abs(warp(images, np.zeros((2, 3), np.float32)) - images).max() < 0.05


def test_a_known_move_is_found_again():
    images = blobs(5).astype(np.float32)
    moves = np.array([[0.05, 0.06, -0.04], [-0.04, 0, 0.08], [0, 0, 0], [0.02, -0.08, 0], [0, 0.05, 0.05]], np.float32)
    found = align(warp(images, moves).mean(-1), images.mean(-1), steps=12)
    assert np.abs(found - moves).max() < 0.01


def test_a_moved_picture_is_the_same_and_one_with_another_mouth_is_not():
    images = blobs(3)
    moves = np.array([[0.04, 0.06, -0.04]] * 3, np.float32)
    moved = warp(images.astype(np.float32), moves).astype(np.uint8)
    mouth = moved.copy()
    mouth[:, 30:34, 20:28] = (40, 10, 10)
    rough, found = rough_difference(coarse(moved), coarse(images))
    assert rough.max() < 2
    assert fine_difference(moved, images, found).max() < 6
    assert fine_difference(mouth, images, found).min() > 30


def test_the_order_of_a_pair_matters_little():
    first, second = blobs(4), blobs(4, seed=1)
    zero = np.zeros((4, 3), np.float32)
    there, back = fine_difference(first, second, zero), fine_difference(second, first, zero)
    same = fine_difference(first, first, zero)
    assert same.max() < 0.5
    assert min(there.min(), back.min()) > 20
