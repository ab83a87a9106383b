"""Draw curves as an image with Pillow alone."""

from __future__ import annotations

import math

from PIL import Image, ImageDraw, ImageFont

COLORS = ("#1f6fb4", "#e0632c", "#2f9a4b", "#b03a8f", "#8a6d1f", "#d02f3f", "#4b9fae", "#6a55c2")
SCALE = 2
"""Supersampling factor for smooth lines."""
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 34, 44


def draw_curves(
    curves: dict[str, tuple[list[float], list[float]]],  # x (rising) and y by name
    title: str,
    x_label: str,
    size: tuple[int, int] = (900, 480),  # width and height in pixels
) -> Image.Image:
    """Return a chart of the curves over an x axis from 0; y is logarithmic if it spans more than a factor of 20."""
    image = Image.new("RGB", (size[0] * SCALE, size[1] * SCALE), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(13 * SCALE)
    xs = [x for curve in curves.values() for x in curve[0]]
    ys = [y for curve in curves.values() for y in curve[1] if math.isfinite(y)]
    high, low = max(ys, default=1.0), min(ys, default=0.0)
    logarithmic = low > 0 and high / low > 20
    x_ticks = ticks(0.0, max(xs, default=1.0) or 1.0)
    y_ticks = decades(low, high) if logarithmic else ticks(min(low, 0.0), high if high > min(low, 0.0) else 1.0)

    def at(x: float, y: float) -> tuple[float, float]:
        bottom, top = (math.log(value) if logarithmic else value for value in (y_ticks[0], y_ticks[-1]))
        share = ((math.log(y) if logarithmic else y) - bottom) / (top - bottom)
        return (LEFT + x / x_ticks[-1] * (size[0] - LEFT - RIGHT)) * SCALE, (
            size[1] - BOTTOM - share * (size[1] - TOP - BOTTOM)
        ) * SCALE

    # Grid lines with their numbers.
    for x in x_ticks:
        draw.line([at(x, y_ticks[0]), at(x, y_ticks[-1])], fill="#e4e4e4", width=SCALE)
        draw.text((at(x, y_ticks[0])[0], (size[1] - BOTTOM + 5) * SCALE), f"{x:g}", "#444", font, anchor="ma")
    for y in y_ticks:
        draw.line([at(0, y), at(x_ticks[-1], y)], fill="#e4e4e4", width=SCALE)
        draw.text(((LEFT - 7) * SCALE, at(0, y)[1]), f"{y:g}", "#444", font, anchor="rm")
    draw.text((LEFT * SCALE, 8 * SCALE), title, "black", font)
    draw.text(((size[0] - RIGHT) * SCALE, (size[1] - 6) * SCALE), x_label, "#444", font, anchor="rs")

    # Curves, with their names at the right edge.
    for i, (name, (curve_x, curve_y)) in enumerate(curves.items()):
        color = COLORS[i % len(COLORS)]
        points = [
            at(x, y) for x, y in zip(curve_x, curve_y, strict=True) if math.isfinite(y) and (y > 0 or not logarithmic)
        ]
        if len(points) > 1:
            draw.line(points, fill=color, width=2 * SCALE, joint="curve")
        for x, y in points[-1:] if len(points) > 60 else points:
            draw.ellipse((x - 3 * SCALE, y - 3 * SCALE, x + 3 * SCALE, y + 3 * SCALE), fill=color)
        where = ((size[0] - RIGHT - 6) * SCALE, (TOP + 6 + 18 * i) * SCALE)
        draw.text(where, name, color, font, anchor="ra")
    return image.resize(size, Image.Resampling.LANCZOS)


def ticks(low: float, high: float) -> list[float]:
    """Return about six round values from at most `low` to at least `high` (steps of 1, 2 or 5 times a power of 10)."""
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * nice for nice in (1, 2, 5, 10) if power * nice >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, last + 1)]


def decades(low: float, high: float) -> list[float]:
    """Return 1, 2, 5, 10... from at most `low` to at least `high`."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    values = [float(f"{nice * 10.0**power:.12g}") for power in range(first, last + 1) for nice in (1, 2, 5)]
    start = max(i for i, value in enumerate(values) if value <= low * (1 + 1e-9))
    stop = min(i for i, value in enumerate(values) if value >= high * (1 - 1e-9))
    return values[start : max(stop, start + 1) + 1]
