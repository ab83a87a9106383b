"""MP4 files that play everywhere: H.264, 4:2:0, even sides."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from figment.base.files import atomic

QUALITY = "16"
"""x264's constant rate factor: 0 lossless, 51 worst; 16 shows no loss on flat art."""


def write_mp4(
    path: Path,
    frames: Iterable[Image.Image],    # all of one size
    fps: int,
    side: int | None = None,          # pixels of the longer side; None keeps the frames' size
) -> int:
    """Write `frames` to `path`, whole or not at all; returns how many there were."""
    import av

    count = 0
    with atomic(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": QUALITY})
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = np.asarray(_fit(frame.convert("RGB"), side))
            if count == 0:
                stream.height, stream.width = picture.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            count += 1
        container.mux(stream.encode())
    return count


def _fit(frame: Image.Image, side: int | None) -> Image.Image:
    """`frame` at `side` pixels, both sides even, resampled by Lanczos."""
    scale = side / max(frame.size) if side else 1.0
    width, height = (max(2, round(length * scale / 2) * 2) for length in frame.size)
    return frame if (width, height) == frame.size else frame.resize((width, height), Image.Resampling.LANCZOS)
