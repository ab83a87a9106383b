"""Prepare one image for a data set: crop the central square, keep or composite alpha, resize to the resolution."""

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
"""Timeout of the upscaling command in seconds, per image."""


@dataclass(frozen=True)
class Fit:
    """How the images of a data set are prepared."""

    resolution: int
    """Side of the square images in pixels."""
    alpha: str = "white"
    """`keep` for RGBA images, or the color behind transparent pixels: a name or #rrggbb."""
    upscale: str = "lanczos"
    """How to enlarge smaller images: `lanczos`, a command with {in} and {out}, or `none` to leave them out."""
    form: str = "zip"
    """Format of the data set: `zip` or `tfrecord`."""

    def check(self) -> None:
        """Raise FigmentError for invalid or contradictory settings."""
        if self.form not in ("zip", "tfrecord"):
            raise FigmentError(f"--format {self.form}: must be zip or tfrecord")
        if self.alpha != "keep":
            _parse_color(self.alpha)
        elif self.form == "tfrecord":
            raise FigmentError(
                "--alpha keep: StyleGAN's TFRecords hold 1 or 3 channels; use --format zip, or give a color"
            )
        if self.upscale not in ("lanczos", "none"):
            _command(self.upscale, Path("in.png"), Path("out.png"))


def fit_picture(path: Path, fit: Fit) -> tuple[Image.Image, float]:
    """Return the prepared image of the file `path` and its enlargement factor (0: not enlarged).

    The image is square with `fit.resolution` pixels per side, of mode RGBA if alpha is kept, else RGB. Raises
    UnreadableImage with the reason if the image cannot be used.
    """
    keep = fit.alpha == "keep"
    image = open_image(path, keep_alpha=True) if keep else open_image(path, background=_parse_color(fit.alpha))
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if side < fit.resolution:
        image = _enlarge(image, path, fit)
    image = resize_square(image, fit.resolution)
    return (_clean_alpha(image) if keep else image), (fit.resolution / side if side < fit.resolution else 0.0)


def _clean_alpha(image: Image.Image) -> Image.Image:
    """Return an image as RGBA with black in fully transparent pixels, where editors leave arbitrary colors."""
    pixels = np.array(image.convert("RGBA"))  # [H, W, 4]
    pixels[pixels[..., 3] == 0] = 0
    return Image.fromarray(pixels)


def _enlarge(image: Image.Image, path: Path, fit: Fit) -> Image.Image:
    """Return a small square image enlarged by the user's command, or unchanged for `lanczos`.

    The caller resizes the result to the exact resolution. Raises UnreadableImage if the command fails, or for `none`.
    """
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
        sizes = f"{image.width}x{image.height} into {larger.width}x{larger.height}"
        raise UnreadableImage("upscale", f"{path}: {command[0]} turned {sizes}; must be square and no smaller")
    return larger


def _parse_color(text: str) -> tuple[int, int, int]:
    """Return the RGB values, 0 to 255, of a color given by name or #rrggbb. Raises FigmentError for anything else."""
    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError:
        raise FigmentError(f"--alpha {text}: must be keep or a color such as white or #20304f") from None


def _command(text: str, before: Path, after: Path) -> list[str]:
    """Return the upscaling command as a list of arguments, with {in} and {out} replaced by the paths.

    Raises FigmentError if the command cannot be parsed or lacks one of the two.
    """
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
