"""Write videos, by the file's ending: H.264 in MP4, GIF with one palette, animated WebP.

write_film(Path("loop.webp"), frames, fps=30)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from figment.base.errors import FigmentError
from figment.base.files import atomic
from figment.base.pixels import BACKGROUND

QUALITY = "16"
"""x264's constant rate factor: 0 is lossless, 51 worst; 16 shows no loss on flat art."""
ENDINGS = (".mp4", ".gif", ".webp")
PALETTE_FRAMES = 24
"""Most frames of a GIF that its palette is made from."""
WEBP_QUALITY = 90


def need_film(path: Path, flag: str = "--output") -> Path:
    """Return `path` if its ending is a kind of video; raises FigmentError that names `flag` otherwise."""
    if path.suffix not in ENDINGS:
        raise FigmentError(f"{flag} {path}: must end in {', '.join(ENDINGS)}")
    return path


def film_fps(path: Path, fps: int) -> float:
    """Return the frame rate that `path` can have: GIFs count in 1/100 s, and players slow down above 50 fps."""
    return 100 / max(2, round(100 / fps)) if path.suffix == ".gif" else fps


def write_film(
    path: Path,
    frames: Iterable[Image.Image],  # all of one size; MP4 and WebP take them one by one
    fps: float,
    side: int | None = None,  # longer side in pixels; None keeps the size of the frames
) -> int:
    """Write `frames` as MP4, GIF or WebP by the ending of `path`; return the number of frames.

    The file appears when it is complete. Raises FigmentError for another ending.
    """
    if need_film(path).suffix == ".mp4":
        return write_mp4(path, frames, round(fps), side)
    counted = _Counted(_fit(_opaque(frame), side) for frame in frames)
    with atomic(path) as temporary:
        if path.suffix == ".gif":
            _write_gif(temporary, counted, fps)
        else:
            first = next(counted)
            first.save(
                temporary,
                format="WEBP",
                save_all=True,
                append_images=counted,
                duration=_durations(fps),
                loop=0,
                quality=WEBP_QUALITY,
                method=2,
            )
    return counted.count


class _Counted(Iterator[Image.Image]):
    """An iterator of frames that counts them."""

    def __init__(self, frames: Iterable[Image.Image]) -> None:
        self.frames, self.count = iter(frames), 0

    def __next__(self) -> Image.Image:
        frame = next(self.frames)
        self.count += 1
        return frame


def _durations(fps: float) -> int:
    """Return the duration of a frame in milliseconds."""
    return max(1, round(1000 / fps))


def _write_gif(path: Path, frames: Iterable[Image.Image], fps: float) -> None:
    """Write an endless GIF with one palette for all frames and no dithering, so that still parts don't flicker."""
    images = list(frames)
    shown = images[:: max(1, len(images) // PALETTE_FRAMES)]
    strip = Image.fromarray(np.concatenate([np.asarray(image) for image in shown]))
    palette = strip.quantize(256, Image.Quantize.MEDIANCUT)
    small = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
    small[0].save(
        path,
        format="GIF",
        save_all=True,
        append_images=small[1:],
        duration=_durations(fps),
        loop=0,
        optimize=False,
        disposal=1,
    )


def write_mp4(
    path: Path,
    frames: Iterable[Image.Image],  # all of one size
    fps: int,
    side: int | None = None,  # longer side in pixels; None keeps the size of the frames
) -> int:
    """Write `frames` to `path` and return their number; the file appears when it is complete."""
    import av

    count = 0
    with atomic(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": QUALITY})
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = np.asarray(_fit(_opaque(frame), side))
            if count == 0:
                stream.height, stream.width = picture.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            count += 1
        container.mux(stream.encode())
    return count


def _opaque(frame: Image.Image) -> Image.Image:
    """Return `frame` as RGB, transparent parts over the background color."""
    if frame.mode != "RGBA":
        return frame.convert("RGB")
    canvas = Image.new("RGB", frame.size, BACKGROUND)
    canvas.paste(frame, mask=frame.getchannel("A"))
    return canvas


def _fit(frame: Image.Image, side: int | None) -> Image.Image:
    """Return `frame` with a longer side of `side` pixels and both sides even, resampled by Lanczos."""
    scale = side / max(frame.size) if side else 1.0
    width, height = (max(2, round(length * scale / 2) * 2) for length in frame.size)
    return frame if (width, height) == frame.size else frame.resize((width, height), Image.Resampling.LANCZOS)
