"""What a picture went through before it was saved: enlargement and JPEG, read from the pixels of its crop."""

from __future__ import annotations

import numpy as np

SHARE = 0.9
"""Share of the edges' energy that lies below the frequency which stands for the resolution."""
RESOLVED = ((0.0, 0.2, 0.3), (0.0, 0.43, 1.0))
"""That frequency, in cycles per pixel, and the share resolved. Art at its own size, drawn or painted, has 0.27 to 0.40;
enlarged by a factor f it has 0.44 to 0.6 over f, by the kernel, which leaves something above the old limit."""
CAP = 12.0
"""Steps above this count no more, in grey levels: an outline of the drawing may not outweigh all blocks' seams."""


def resolved_share(
    grey: np.ndarray,  # float [H, W] in 0..255, unscaled
) -> float:
    """The share of its pixels' side that the crop really resolves, 0 to 1: a picture enlarged twofold has about 0.5.

    Edges, whatever the drawing, have an even share of their energy at every frequency; enlarging leaves the upper
    ones empty. So the frequency below which 90% of the energy of neighbours' differences lies tells the factor. It
    needs strong edges and neither texture nor a clean source: JPEG's noise is far weaker than they are. Enlarging
    that repeats pixels has sharp edges, but all at every second, third... place, which is looked for on its own.
    """
    cut = [_edge_spectrum(grey), _edge_spectrum(grey.T)]
    energy = cut[0] + cut[1]
    if energy[-1] < 1e-3:
        return 1.0
    frequency = float(np.interp(SHARE, energy / energy[-1], np.linspace(0, 0.5, len(energy))))
    return min(float(np.interp(frequency, *RESOLVED)), 1 / _repeated(grey))


def _edge_spectrum(grey: np.ndarray) -> np.ndarray:
    """Energy of the differences along rows, summed up from frequency 0 to each of 129 up to 0.5."""
    steps = np.diff(grey, axis=1)
    count = steps.shape[1]
    power = (np.abs(np.fft.rfft(steps * np.hanning(count + 2)[1:-1], axis=1)) ** 2).sum(0)
    upto = np.concatenate([[0.0], np.cumsum(power)])
    edges = np.concatenate([[0.0], np.fft.rfftfreq(count) + 0.5 / count])
    return np.asarray(np.interp(np.linspace(0, 0.5, 129), edges, upto))


def _repeated(grey: np.ndarray) -> int:
    """How often each pixel is repeated, across and down: 1 for all but pictures enlarged without smoothing."""
    across = (np.diff(grey, axis=1) ** 2).sum(0)
    down = (np.diff(grey, axis=0) ** 2).sum(1)
    for factor in range(8, 1, -1):
        shares = [
            max(line[phase::factor].sum() for phase in range(factor)) / max(line.sum(), 1e-9)
            for line in (across, down)
            if len(line) >= 4 * factor
        ]
        if len(shares) == 2 and min(shares) > 0.97:
            return factor
    return 1


def blocking(
    grey: np.ndarray,  # float [H, W] in 0..255, unscaled
    corner: tuple[int, int],  # where its left upper pixel lay in the picture, x and y: JPEG's blocks start at 0, 0
) -> float:
    """How much steps at the seams of 8 x 8 blocks exceed those within blocks, in grey levels; about 0 without JPEG.

    At a seam the slopes of both blocks end; what remains of the step after the mean slope of its sides is taken off
    is compared with the same at all other places (Wu and Yuen 1997, "A generalized block-edge impairment metric").
    """
    found = []
    for lines, start in ((grey, corner[0]), (grey.T, corner[1])):
        steps = np.diff(lines, axis=1)
        jumps = np.minimum(np.abs(steps[:, 1:-1] - (steps[:, :-2] + steps[:, 2:]) / 2), CAP).mean(0)
        if len(jumps) < 16:
            return 0.0
        phase = (np.arange(len(jumps)) + 2 + start) % 8  # step k+1 ends at pixel k+2; a block starts at phase 0
        means = np.array([jumps[phase == each].mean() for each in range(8)])
        found.append(means[0] - np.median(means[2:7]))
    return float(max(sum(found) / 2, 0.0))
