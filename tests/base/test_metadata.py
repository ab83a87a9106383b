"""Pixels do not depend on metadata: what a decoder stumbles over is dropped, and the picture stays the same."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from figment.base.errors import UnreadableImage
from figment.base.formats import kind_of
from figment.base.metadata import orientation_in, pixels_only
from figment.base.pixels import decode_image

BIG = b"n" * 1_500_000
RNG = np.random.default_rng(0)
IMAGE = Image.fromarray(RNG.integers(0, 256, (6, 10, 3), np.uint8))


def encode(form, image=IMAGE, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


PNG, JPEG, TIFF, GIF = encode("PNG"), encode("JPEG", quality=95), encode("TIFF"), encode("GIF")
WEBP = encode("WEBP", lossless=True)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pixels(data, **options):
    return np.asarray(decode_image(data, "picture", **options)).tolist()


def chunk(kind, body, crc=0):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body) ^ crc)


def segment(marker, body):
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def riff(*chunks):
    body = b"".join(name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def webp(flags, *chunks):
    """A WebP file in the extended format with chunks before or after the pixels."""
    pixel_data = (b"VP8L", WEBP[20 : 20 + int.from_bytes(WEBP[16:20], "little")])
    head = (b"VP8X", bytes([flags, 0, 0, 0, 9, 0, 0, 5, 0, 0]))
    before = [each for each in chunks if each[0] == b"ICCP"]
    return riff(head, *before, pixel_data, *(each for each in chunks if each not in before))


def tiff(tag, form, count, value):
    """A TIFF file with this entry in its directory."""
    (at,) = struct.unpack_from("<I", TIFF, 4)
    (length,) = struct.unpack_from("<H", TIFF, at)
    entries = [TIFF[place : place + 12] for place in range(at + 2, at + 2 + 12 * length, 12)]
    entries.append(struct.pack("<HHI", tag, form, count) + value)
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + b"\0" * 4
    return TIFF[:4] + struct.pack("<I", len(TIFF)) + TIFF[8:] + directory


PNG_CHUNKS = {
    "zTXt too large": (b"zTXt", b"workflow\0\0" + zlib.compress(BIG)),
    "zTXt of an unknown method": (b"zTXt", b"workflow\0\5xx"),
    "zTXt damaged": (b"zTXt", b"workflow\0\0xxxx"),
    "iTXt too large": (b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(BIG)),
    "iTXt damaged": (b"iTXt", b"workflow\0\1\0\0\0xxxx"),
    "tEXt large": (b"tEXt", b"workflow\0" + BIG * 8),
    "iCCP too large": (b"iCCP", b"p\0\0" + zlib.compress(BIG)),
    "iCCP damaged": (b"iCCP", b"p\0\0xxxx"),
    "eXIf damaged": (b"eXIf", b"II*\0\xff\xff\xff\xff"),
    "pHYs short": (b"pHYs", b"\0"),
    "gAMA empty": (b"gAMA", b""),
    "cHRM short": (b"cHRM", b"123"),
    "acTL damaged": (b"acTL", b"\xff" * 8),
    "fcTL without acTL": (b"fcTL", b"\0" * 26),
    "private": (b"prVt", b"anything"),
}


@pytest.mark.parametrize("crc", [0, 1], ids=["", "wrong checksum"])
@pytest.mark.parametrize("place", [33, len(PNG) - 12], ids=["before", "after"])
@pytest.mark.parametrize("name", PNG_CHUNKS)
def test_metadata_of_a_png_rejects_no_pixels(name, place, crc):
    assert pixels(PNG[:place] + chunk(*PNG_CHUNKS[name], crc) + PNG[place:]) == pixels(PNG)


def test_a_png_may_hold_much_text_or_end_within_its_text():
    text = chunk(b"zTXt", b"w\0\0" + zlib.compress(BIG[:1_000_000]))
    assert pixels(PNG[:33] + text * 70 + PNG[33:]) == pixels(PNG)
    assert pixels(PNG[:-12] + text[:-100]) == pixels(PNG)
    assert pixels(PNG[:-12] + struct.pack(">I", 2**31 - 1) + b"tEXt" + b"x" * 50) == pixels(PNG)


def test_a_large_profile_of_a_png_is_applied():
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    swapped = bytearray(SRGB)  # red and blue primaries exchanged
    red, blue = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[red], swapped[blue] = swapped[blue], swapped[red]
    large = bytes(swapped) + b"\0" * 1_200_000
    large = len(large).to_bytes(4, "big") + large[4:]
    small = encode("PNG", icc_profile=bytes(swapped))
    assert lab and pixels(small) != pixels(PNG)
    assert pixels(PNG[:33] + chunk(b"iCCP", b"p\0\0" + zlib.compress(large)) + PNG[33:]) == pixels(small)
    beyond = zlib.compress(bytes(swapped) + b"\0" * (17 << 20))
    assert pixels(PNG[:33] + chunk(b"iCCP", b"p\0\0" + beyond) + PNG[33:]) == pixels(PNG)


@pytest.mark.parametrize(
    ("marker", "body"),
    [
        (0xE0, b"JFIF\0"),
        (0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff"),
        (0xE1, b"Exif\0\0nonsense"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0\xff\xfe<"),
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"ICC_PROFILE\0\1\2xx"),
        (0xE2, b"MPF\0MM\0*\0\0\0\x08\xff\xff"),
        (0xED, b"Photoshop 3.0\0" + b"8BIM\3\xed\0\0\0\0\0\1z"),
        (0xEE, b"Adobe"),
        (0xEE, b"Adobe\0"),
        (0xFE, b"\xff" * 60000),
    ],
)
def test_metadata_of_a_jpeg_rejects_no_pixels(marker, body):
    assert pixels(JPEG[:2] + segment(marker, body) * 3 + JPEG[2:]) == pixels(JPEG)


def test_orientation_and_profile_survive_other_broken_metadata():
    exif = Image.Exif()
    exif[0x0112] = 6
    broken = segment(0xE2, b"ICC_PROFILE\0") + segment(0xE0, b"JFIF\0")
    turned = encode("JPEG", quality=95, exif=exif)
    assert pixels(turned[:2] + broken + turned[2:]) == pixels(turned) != pixels(JPEG)

    body = exif.tobytes().removeprefix(b"Exif\0\0")
    text = chunk(b"zTXt", b"w\0\0" + zlib.compress(BIG))
    straight = np.rot90(np.asarray(IMAGE), -1).tolist()
    assert pixels(PNG[:33] + chunk(b"eXIf", body) + text + PNG[33:]) == straight
    assert pixels(webp(0x0C, (b"EXIF", body), (b"XMP ", b"x"))) == straight
    assert pixels(webp(0x0C, (b"EXIF", body), (b"XMP ", b"x" * 99))[:-20]) == straight


@pytest.mark.parametrize("body", [b"", b"nonsense", b"z" * 2_000_000, b"Exif\0\0nonsense"])
@pytest.mark.parametrize(("name", "flag"), [(b"EXIF", 0x08), (b"XMP ", 0x04), (b"ICCP", 0x20), (b"ABCD", 0)])
def test_metadata_of_a_webp_rejects_no_pixels(name, flag, body):
    assert pixels(webp(flag, (name, body))) == pixels(WEBP)


@pytest.mark.parametrize(
    "block",
    [
        b"\x21\xff\x0bNETSCAPE2.0\0",
        b"\x21\xff\0",
        b"\x21\xf9\0",
        b"\x21\xf9\1\0\0",
        b"\x21\xfe" + (b"\xff" + b"z" * 255) * 8000 + b"\0",
        b"\x21\xff\x0bXMP DataXMP" + b"z" * 500 + bytes(range(255, -1, -1)) + b"\0\0",
    ],
)
def test_metadata_of_a_gif_rejects_no_pixels(block):
    at = 13 + 3 * (2 << (GIF[10] & 7))
    assert pixels(GIF[:at] + block + GIF[at:]) == pixels(GIF)


@pytest.mark.parametrize("tag", [254, 269, 270, 272, 274, 282, 296, 306, 700, 33723, 34377, 34665, 34675, 34853, 50706])
@pytest.mark.parametrize("form", [0, 1, 2, 3, 4, 5, 7, 12, 13, 99])
def test_metadata_of_a_tiff_rejects_no_pixels(tag, form):
    for count in (0, 1, 2, 2**20, 2**31 - 1):
        assert pixels(tiff(tag, form, count, b"\xff\xff\xff\x7f")) == pixels(TIFF), count


@pytest.mark.parametrize("data", [PNG, JPEG, WEBP, GIF, TIFF], ids=["png", "jpeg", "webp", "gif", "tiff"])
def test_a_file_that_was_cut_gives_the_whole_picture_or_none(data):
    read = 0
    for length in range(len(data)):
        try:
            found = pixels(data[:length])
        except UnreadableImage:
            continue
        assert found == pixels(data), length
        read += 1
    assert read <= 20  # cut behind the pixels


def test_a_bomb_of_pixels_stays_refused_behind_broken_metadata():
    large = encode("PNG", Image.new("1", (400, 300)))
    with pytest.raises(UnreadableImage) as caught:
        decode_image(large[:33] + chunk(b"iTXt", b"") + large[33:], "picture", max_pixels=100_000)
    assert caught.value.reason == "too-large"


def test_transparency_stays():
    clear = encode("PNG", Image.new("P", (4, 4), 0), transparency=0)
    broken = clear[:33] + chunk(b"zTXt", b"w\0\5") + clear[33:]
    assert pixels(broken, keep_alpha=True)[0][0][3] == 0


def test_the_orientation_is_read_from_damaged_exif_data():
    exif = Image.Exif()
    exif[0x0112], exif[0x0131] = 8, "program"
    body = exif.tobytes().removeprefix(b"Exif\0\0")
    assert orientation_in(body) == orientation_in(body[:-4]) == 8
    assert orientation_in(b"") == orientation_in(b"II*\0\xff\xff\xff\xff") == 1


@settings(max_examples=60)
@given(st.sampled_from([PNG, JPEG, WEBP, GIF, TIFF]), st.data())
def test_what_is_left_of_damaged_files_is_bytes_or_nothing(data, draw):
    changed = bytearray(data[: draw.draw(st.integers(0, len(data)))])
    for place, value in draw.draw(st.lists(st.tuples(st.integers(0, len(data)), st.integers(0, 255)), max_size=4)):
        if place < len(changed):
            changed[place] = value
    bare = pixels_only(bytes(changed), kind_of(data))
    assert bare is None or len(bare.data) <= len(changed) + 1000


@settings(max_examples=60)
@given(
    st.sampled_from([b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"pHYs", b"sPLT", b"tIME", b"prVt"]), st.binary(max_size=60)
)
def test_any_bytes_in_a_chunk_of_a_png_leave_the_pixels(kind, body):
    assert pixels(PNG[:33] + chunk(kind, body) + PNG[33:]) == pixels(PNG)


@settings(max_examples=60)
@given(st.sampled_from([0xE1, 0xE2, 0xE3, 0xED, 0xFE]), st.sampled_from([b"", b"ICC_PROFILE\0", b"MPF\0"]), st.binary())
def test_any_bytes_in_a_segment_of_a_jpeg_leave_the_pixels(marker, start, body):
    assert pixels(JPEG[:2] + segment(marker, start + body) + JPEG[2:]) == pixels(JPEG)


@settings(max_examples=60)
@given(st.sampled_from([270, 305, 700, 33723, 34377, 34665, 65000]), st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_any_entry_in_a_tiff_leaves_the_pixels(tag, form, count):
    assert pixels(tiff(tag, form, count, b"\x10\0\0\0")) == pixels(TIFF)
