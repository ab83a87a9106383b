"""One picture made fit for a data set: its central square, alpha kept or composited, small ones enlarged."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor

from figment.base.errors import FigmentError, UnreadableImage
from figment.base.pixels import open_image, resize_square, write_png

PATIENCE = 600
"""Seconds that an upscaling command may take for one picture."""


@dataclass(frozen=True)
class Fit:
    """What every picture of a data set becomes."""

    resolution: int
    """Side in pixels."""
    alpha: str = "white"
    """`keep` makes RGBA pictures; otherwise the colour that transparent pixels are laid over: a name or #rrggbb."""
    upscale: str = "lanczos"
    """What enlarges smaller ones: `lanczos`, a command with {in} and {out}, or `none`, which leaves them out."""
    form: str = "zip"
    """`zip` or `tfrecord`."""

    def check(self) -> None:
        """Raise FigmentError for what can't work, before any picture is opened."""
        if self.form not in ("zip", "tfrecord"):
            raise FigmentError(f"--format {self.form}: must be zip or tfrecord")
        if self.alpha != "keep":
            _colour(self.alpha)
        elif self.form == "tfrecord":
            raise FigmentError("--alpha keep: StyleGAN's TFRecords hold 1 or 3 channels; pack a zip, or name a colour")
        if self.upscale not in ("lanczos", "none"):
            _command(self.upscale, Path("in.png"), Path("out.png"))


def fit_picture(path: Path, fit: Fit) -> tuple[Image.Image, float]:
    """The picture in `path` made fit, and how many times it was enlarged (0: not at all).

    Raises UnreadableImage with the reason why it is left out.
    """
    keep = fit.alpha == "keep"
    image = open_image(path, keep_alpha=True) if keep else open_image(path, background=_colour(fit.alpha))
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if side < fit.resolution:
        image = _enlarge(image, path, fit)
    image = resize_square(image, fit.resolution)
    return (_clean_alpha(image) if keep else image), (fit.resolution / side if side < fit.resolution else 0.0)


def _clean_alpha(image: Image.Image) -> Image.Image:
    """As RGBA, with black where nothing is seen: what editors left there is no part of the picture."""
    pixels = np.array(image.convert("RGBA"))  # [H, W, 4]
    pixels[pixels[..., 3] == 0] = 0
    return Image.fromarray(pixels)


def _enlarge(image: Image.Image, path: Path, fit: Fit) -> Image.Image:
    """A small picture as the user's command enlarges it; Lanczos comes later, with the exact size."""
    if fit.upscale == "lanczos":
        return image
    if fit.upscale == "none":
        raise UnreadableImage("too-small", f"{path}: {image.width} pixels, smaller than {fit.resolution}")
    with tempfile.TemporaryDirectory(prefix="figment-upscale-") as folder:
        before, after = Path(folder, "in.png"), Path(folder, "out.png")
        write_png(before, image)
        command = _command(fit.upscale, before, after)
        try:
            done = subprocess.run(command, capture_output=True, timeout=PATIENCE, check=False)
        except OSError as error:
            raise UnreadableImage("upscale", f"{path}: {command[0]} can't be run ({error.strerror})") from None
        except subprocess.TimeoutExpired:
            raise UnreadableImage("upscale", f"{path}: {command[0]} took more than {PATIENCE} s") from None
        if done.returncode:
            words = done.stderr.decode(errors="replace").strip().splitlines() or ["no message"]
            raise UnreadableImage("upscale", f"{path}: {command[0]} failed with code {done.returncode} ({words[-1]})")
        if not after.is_file():
            raise UnreadableImage("upscale", f"{path}: {command[0]} wrote no {{out}}")
        larger = open_image(after, keep_alpha=image.mode == "RGBA")
    if larger.width != larger.height or larger.width < image.width:
        raise UnreadableImage(
            "upscale", f"{path}: {command[0]} made {larger.width}x{larger.height} of {image.width}x{image.height}"
        )
    return larger


def _colour(text: str) -> tuple[int, int, int]:
    """A colour by name or #rrggbb."""
    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError:
        raise FigmentError(f"--alpha {text}: must be keep or a colour such as white or #20304f") from None


def _command(text: str, before: Path, after: Path) -> list[str]:
    """The upscaling command's words."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise FigmentError(f"--upscale {text!r}: {error}") from None
    if not any("{in}" in word for word in words) or not any("{out}" in word for word in words):
        raise FigmentError(
            f"--upscale {text!r}: must be lanczos, none, or a command with {{in}} and {{out}}, such as "
            "'realesrgan-ncnn-vulkan -i {in} -o {out}'"
        )
    return [word.replace("{in}", str(before)).replace("{out}", str(after)) for word in words]
