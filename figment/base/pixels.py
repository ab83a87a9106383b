"""Read and write images, and convert uint8 to [-1, 1] and back. No other module does either."""

from __future__ import annotations

import errno
import io
import logging
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from figment.base.errors import UnreadableImage
from figment.base.files import atomic
from figment.base.formats import ADVICE, HEAD, NEVER, PLUG_INS, advice, enable, jpeg_xl_size, kind_of
from figment.base.metadata import Bare, orientation_in, pixels_only

if TYPE_CHECKING:
    import torch

logging.getLogger("PIL").addHandler(logging.NullHandler())  # damaged files have a reason, not lines on stderr

MAX_PIXELS = 120_000_000
"""Images with more pixels are refused before decoding, as a guard against decompression bombs."""

MAX_BYTES = 1 << 30
"""Larger files are refused before they are read."""

UNUSED = frozenset({"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG"})
"""Formats of Pillow that are never opened: an EPS file is a program, the others hold no pixels that Pillow reads."""

ORIENTATION, NEW_SUBFILE_TYPE, SUB_IFDS = 0x0112, 254, 330
"""Tags of Exif and TIFF."""

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image of this EXIF orientation upright."""

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
    gray images are converted. Metadata that is too large or broken is ignored. Raises UnreadableImage with a reason,
    and nothing else; what is no regular file is not opened.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableImage("unreadable", f"{path}: not a regular file")
        if status.st_size > MAX_BYTES:
            raise UnreadableImage("too-large", f"{path}: {status.st_size} bytes are more than {MAX_BYTES}")
        data = path.read_bytes()
    except OSError as error:
        dead = ", a link to nothing" if error.errno in (errno.ENOENT, errno.ELOOP) and path.is_symlink() else ""
        raise UnreadableImage("unreadable", f"{path}: can't be read ({error.strerror}{dead})") from None
    return decode_image(data, str(path), keep_alpha=keep_alpha, background=background, max_pixels=max_pixels)


def read_size(path: Path) -> tuple[tuple[int, int], int]:
    """Return width and height of the upright image in `path`, and its EXIF orientation, 1 to 8 (1: stored upright).

    Reads the header only, so damaged image data goes unnoticed. Raises UnreadableImage; what is no regular file is not
    opened.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if not path.is_file():
                return open_image(path).size, 1  # raises UnreadableImage with the reason
            with Image.open(path) as image:
                orientation = _orientation(image)
                # Pillow turns TIFF while it opens the file, the other formats never.
                turned = orientation in (5, 6, 7, 8) and image.format != "TIFF"
                width, height = image.size
        except Exception:
            return open_image(path).size, 1
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
    if not data:
        raise UnreadableImage("empty-file", f"{name}: the file is empty")
    kind = kind_of(data[:HEAD])
    if kind in NEVER or (kind in ADVICE and not enable(kind)):
        raise UnreadableImage(kind, f"{name}: {advice(kind)}")
    if kind == "jpeg-xl":  # its decoder decodes at once, however large the image is
        size = jpeg_xl_size(data)
        if size is None:
            raise UnreadableImage(kind, f"{name}: {advice(kind)}")
        if size[0] * size[1] > max_pixels:
            raise _too_large(name, size, max_pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = _decode(Bare(data), name, kind, max_pixels)
        except UnreadableImage as error:
            damaged = error.reason in ("not-an-image", "truncated")
            if damaged and kind in PLUG_INS:  # perhaps the plug-in's fault
                raise UnreadableImage(kind, f"{name}: {advice(kind)}") from None
            bare = pixels_only(data, kind) if damaged else None
            if bare is None:
                raise
            image = _decode(bare, name, kind, max_pixels)
        try:
            return _to_srgb(image, keep_alpha, background)
        except Exception as error:
            raise UnreadableImage("truncated", f"{name}: damaged image data ({error})") from None


def _decode(bare: Bare, name: str, kind: str, max_pixels: int) -> Image.Image:
    """Return the first image of a file as Pillow decodes it. Raises only UnreadableImage."""
    Image.preinit()  # the common formats first
    Image.init()
    try:
        image = Image.open(io.BytesIO(bare.data), formats=[form for form in Image.ID if form not in UNUSED])
        if image.width * image.height > max_pixels:
            raise _too_large(name, image.size, max_pixels)
        if _is_preview(image):
            raise UnreadableImage("camera-raw", f"{name}: {advice('camera-raw')}")
        image.load()
        if image.width * image.height > max_pixels:  # icons may hold other sizes than they list
            raise _too_large(name, image.size, max_pixels)
    except UnreadableImage:
        raise
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except Image.DecompressionBombError:
        raise UnreadableImage("too-large", f"{name}: too many pixels to decode safely") from None
    except MemoryError:
        raise UnreadableImage("too-large", f"{name}: not enough memory to decode it") from None
    except UnidentifiedImageError:
        what = f"begins like a {kind} file, but has no image header" if kind else "not an image in a known format"
        raise UnreadableImage("not-an-image", f"{name}: {what}") from None
    except BaseException as error:  # a decoder in Rust panics with one of these
        reason = str(error).partition("\n")[0]
        raise UnreadableImage("truncated", f"{name}: damaged image data ({reason})") from None
    if bare.profile:
        image.info["icc_profile"] = bare.profile
    if bare.exif:
        image.info["exif"] = b"Exif\0\0" + bare.exif
    return image


def _too_large(name: str, size: tuple[int, int], max_pixels: int) -> UnreadableImage:
    return UnreadableImage("too-large", f"{name}: {size[0]}x{size[1]} is more than {max_pixels} pixels")


def _is_preview(image: Image.Image) -> bool:
    """Return whether a TIFF file starts with a preview of another image in it, as raw files of cameras do."""
    tags = getattr(image, "tag_v2", None)
    try:
        return tags is not None and bool(tags.get(NEW_SUBFILE_TYPE, 0) & 1) and SUB_IFDS in tags
    except TypeError:
        return False


def _orientation(image: Image.Image) -> int:
    """Return the orientation in the Exif data of an image, 1 to 8; damaged Exif data says nothing, which is 1."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:
        exif = image.info.get("exif", b"")
        found = orientation_in(exif.removeprefix(b"Exif\0\0")) if isinstance(exif, bytes) else 1
    return found if isinstance(found, int) and found in TURNS else 1


def _upright(image: Image.Image) -> Image.Image:
    """Return the image turned and mirrored as its Exif data says."""
    turn = TURNS.get(_orientation(image))
    return image if turn is None else image.transpose(turn)


def _to_srgb(
    image: Image.Image,
    keep_alpha: bool,
    background: tuple[int, int, int],
) -> Image.Image:
    """Normalize orientation, bit depth, color space and alpha of a decoded image, in this order."""
    profile = image.info.get("icc_profile")
    transparency = image.info.get("transparency")
    image = _upright(image)

    # Gray of 16 or 32 bits: scale to 8 bits. Pillow's own conversion clips instead.
    alpha = None
    if image.mode.startswith("I") or image.mode == "F":
        image, alpha = _scale_gray(image, transparency)
        profile = transparency = None

    # Split off alpha: color management applies to the color channels only.
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or transparency is not None:
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


def _scale_gray(image: Image.Image, transparency: object) -> tuple[Image.Image, Image.Image | None]:
    """Return gray of more than 8 bits as mode L, and alpha if one value is transparent.

    White is 65535 in files of 16 bits. Others don't say it: white is the first of 1 (float only), 255 and 65535 that no
    value is above, else the largest value.
    """
    pixels = np.asarray(image)  # [H, W]
    values = np.nan_to_num(pixels.astype(np.float32), posinf=0, neginf=0)
    top = float(values.max())
    steps = (65535,) if image.mode.startswith("I;16") else (255, 65535) if image.mode == "I" else (1, 255, 65535)
    white = next((step for step in steps if top <= step), top)
    gray = Image.fromarray(np.clip(values / white * 255 + 0.5, 0, 255).astype(np.uint8))
    if not isinstance(transparency, int):
        return gray, None
    return gray, Image.fromarray(np.where(pixels == transparency, 0, 255).astype(np.uint8))


def _apply_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert from the embedded ICC profile to sRGB. A broken profile is ignored, as in image viewers."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except Exception:
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
