"""Read and write images, and convert uint8 to [-1, 1] and back. No other module does either."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps

from figment.base.errors import UnreadableImage
from figment.base.files import atomic

if TYPE_CHECKING:
    import torch

MAX_PIXELS = 120_000_000
"""Images with more pixels are refused before decoding, as a guard against decompression bombs."""

BACKGROUND = (255, 255, 255)
"""Default color behind transparent pixels."""


def open_image(
    path: Path,
    *,
    keep_alpha: bool = False,  # True: return RGBA for files with alpha; False: composite on `background`
    background: tuple[int, int, int] = BACKGROUND,
    max_pixels: int = MAX_PIXELS,  # refuse larger pictures before decoding
) -> Image.Image:
    """Return the image in `path` as upright 8-bit sRGB of mode RGB (or RGBA with `keep_alpha`).

    Animations give their first frame. EXIF orientation is applied; embedded ICC profiles, CMYK, 16-bit, palette and
    gray images are converted. Raises UnreadableImage with a reason, and nothing else.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImage("unreadable", f"{path}: can't be read ({error.strerror})") from None
    if not data:
        raise UnreadableImage("empty-file", f"{path}: the file is empty")
    return decode_image(data, str(path), keep_alpha=keep_alpha, background=background, max_pixels=max_pixels)


def read_size(path: Path) -> tuple[tuple[int, int], int]:
    """Return width and height of the upright image in `path`, and its EXIF orientation, 1 to 8 (1: stored upright).

    Reads the header only, so damaged image data goes unnoticed. Raises UnreadableImage.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(path) as image:
                orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
                # Pillow turns TIFF while it opens the file, the other formats never.
                turned = orientation in (5, 6, 7, 8) and image.format != "TIFF"
                width, height = image.size
        except Exception:
            return open_image(path).size, 1
    if orientation not in range(1, 9):
        orientation = 1
    return ((height, width) if turned else (width, height)), orientation


def decode_image(
    data: bytes,
    name: str,  # for messages
    *,
    keep_alpha: bool = False,
    background: tuple[int, int, int] = BACKGROUND,
    max_pixels: int = MAX_PIXELS,
) -> Image.Image:
    """Return the image in `data`, the content of an image file; see `open_image`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data))
        except Exception as error:
            if "DecompressionBomb" in type(error).__name__:
                raise UnreadableImage("too-large", f"{name}: too many pixels to decode safely") from None
            raise UnreadableImage("not-an-image", f"{name}: not an image in a known format") from None
        width, height = image.size
        if width * height > max_pixels:
            raise UnreadableImage("too-large", f"{name}: {width}x{height} is more than {max_pixels} pixels")
        try:
            image.load()
            return _to_srgb(image, keep_alpha, background)
        except Exception as error:
            raise UnreadableImage("truncated", f"{name}: damaged image data ({error})") from None


def _to_srgb(
    image: Image.Image,
    keep_alpha: bool,
    background: tuple[int, int, int],
) -> Image.Image:
    """Normalize orientation, bit depth, color space and alpha of a decoded image, in this order."""
    profile = image.info.get("icc_profile")
    image = ImageOps.exif_transpose(image)

    # 16-bit and float gray: scale to 8 bits. Pillow's own conversion clips instead.
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image).astype(np.float64)
        top = 65535.0 if image.mode.startswith("I") else max(float(values.max()), 1e-9)
        image = Image.fromarray(np.clip(values / top * 255 + 0.5, 0, 255).astype(np.uint8))
        profile = None

    # Split off alpha: color management applies to the color channels only.
    alpha = None
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    elif image.mode not in ("RGB", "CMYK", "L"):
        image = image.convert("RGB")

    if profile:
        image = _apply_profile(image, profile)
    image = image.convert("RGB")

    if alpha is None:
        return image
    if keep_alpha:
        image.putalpha(alpha)
        return image
    canvas = Image.new("RGB", image.size, background)
    canvas.paste(image, mask=alpha)
    return canvas


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert from the embedded ICC profile to sRGB. A broken profile is ignored, as in image viewers."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return converted if converted is not None else image


def write_png(path: Path, image: Image.Image | np.ndarray) -> None:
    """Write a PNG atomically. Images are of mode L, RGB or RGBA; arrays are uint8 [H, W] or [H, W, C]."""
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    with atomic(path) as temporary:
        image.save(temporary, format="PNG", compress_level=6)


def png_bytes(image: Image.Image) -> bytes:
    """Return `image` as the bytes of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()


def resize_square(image: Image.Image, size: int) -> Image.Image:
    """Return `image` resized to `size` x `size` pixels with an antialiased Lanczos filter."""
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.LANCZOS)


def to_unit(images: torch.Tensor) -> torch.Tensor:
    """Convert uint8 images [..., C, H, W] to float32 in [-1, 1]."""
    import torch

    return images.to(torch.float32) / 127.5 - 1


def to_uint8(images: torch.Tensor) -> torch.Tensor:
    """Convert float images in [-1, 1] to uint8, rounding and clamping as StyleGAN's tools do."""
    import torch

    return (images * 127.5 + 128).clamp(0, 255).to(torch.uint8)
