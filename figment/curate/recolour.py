"""Is one picture the other with its hue turned? Find the turn, and turn a picture by it."""

from __future__ import annotations

import numpy as np

STEP = 15
"""Degrees between the turns that are tried first."""
WAYS = 2
"""Programs turn hues in two ways: along the hexagon of HSV, or around the grey axis (CSS, SVG)."""
TO_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], np.float32)


def find_turn(
    fixed: np.ndarray,  # float [P, H, W, 3] in 0..255
    moving: np.ndarray,  # float [P, H, W, 3] in 0..255
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The turn of hue that brings each `moving` nearest its `fixed`: degrees, way, the mean difference left."""
    pairs = len(fixed)
    degrees, ways, best = np.zeros(pairs), np.zeros(pairs, np.int64), np.full(pairs, np.inf)
    around = [(np.full(pairs, float(turn)), np.full(pairs, way)) for way in range(WAYS) for turn in range(0, 360, STEP)]
    for turns, way in around:
        degrees, ways, best = _better(fixed, moving, turns, way, degrees, ways, best)
    for reach in (6, 3, 1.5):
        for sign in (-1, 1):
            degrees, ways, best = _better(fixed, moving, degrees + sign * reach, ways, degrees, ways, best)
    return degrees, ways, best


def turn_hue(
    images: np.ndarray,  # float or uint8 [P, H, W, 3] in 0..255
    degrees: np.ndarray,  # [P]
    ways: np.ndarray,  # [P]: 0 along HSV's hexagon, 1 around the grey axis
) -> np.ndarray:
    """The pictures with their hues turned, float32 [P, H, W, 3] in 0..255."""
    turned = np.empty(images.shape, np.float32)
    for way, function in enumerate((_turn_hsv, _turn_yiq)):
        chosen = ways == way
        turned[chosen] = function(images[chosen].astype(np.float32), degrees[chosen].astype(np.float32))
    return turned


def _better(
    fixed: np.ndarray,
    moving: np.ndarray,
    turns: np.ndarray,  # degrees to try [P]
    way: np.ndarray,  # [P]
    degrees: np.ndarray,  # the best so far [P]
    ways: np.ndarray,
    best: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The best turns so far, with `turns` where they are better."""
    difference = np.abs(turn_hue(moving, turns, way) - fixed).mean((1, 2, 3))
    won = difference < best
    return np.where(won, turns, degrees), np.where(won, way, ways), np.where(won, difference, best)


def _turn_hsv(images: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Hue turned along the hexagon; the largest and the smallest channel keep their values."""
    value = images.max(-1)
    chroma = value - images.min(-1)
    safe = np.maximum(chroma, 1e-3)
    red, green, blue = images[..., 0], images[..., 1], images[..., 2]
    hue = np.where(
        value == red, (green - blue) / safe, np.where(value == green, 2 + (blue - red) / safe, 4 + (red - green) / safe)
    )
    hue = hue + degrees[:, None, None] / 60
    place = (np.array([5, 3, 1], np.float32) + hue[..., None]) % 6
    return np.asarray(value[..., None] - chroma[..., None] * np.clip(np.minimum(place, 4 - place), 0, 1))


def _turn_yiq(images: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Colours turned around the grey axis, their luminance kept."""
    angle = np.deg2rad(degrees)
    turn = np.zeros((len(images), 3, 3), np.float32)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = np.cos(angle)
    turn[:, 1, 2], turn[:, 2, 1] = -np.sin(angle), np.sin(angle)
    matrix = np.linalg.inv(TO_YIQ) @ turn @ TO_YIQ  # [P, 3, 3]
    count, high, wide, _ = images.shape
    flat = images.reshape(count, high * wide, 3) @ matrix.transpose(0, 2, 1)  # [P, H*W, 3]
    return np.clip(flat, 0, 255).reshape(images.shape)
