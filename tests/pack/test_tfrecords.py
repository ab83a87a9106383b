import hashlib
import io
import struct
from pathlib import Path

import numpy as np
import pytest

from figment.base.pixels import open_image
from figment.pack.tfrecords import (
    DamagedRecord,
    checked,
    decode_picture,
    encode_picture,
    frame,
    index_records,
    levels,
    masked_crc,
    original_order,
)

DATA = Path(__file__).parents[1] / "data"
DIGESTS = {
    5: "045e266ed496b8b3fe97f204c2d3256251f7adc19f989ebd9b321cf44343c3bb",
    6: "df09d22ef3dc0be094117bb6d23d1f5f1dc060854e684778c0cb7c1cd18b105d",
}


def picture(side=8, seed=0):
    return np.random.RandomState(seed).randint(0, 256, (3, side, side), np.uint8)


# A second reader, written from the specifications alone; it processes single bits and shares no code with figment.


def slow_crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def slow_records(data):
    def masked(part):
        crc = slow_crc32c(part)
        return ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32

    stream = io.BytesIO(data)
    while head := stream.read(8):
        assert struct.unpack("<I", stream.read(4))[0] == masked(head)
        body = stream.read(struct.unpack("<Q", head)[0])
        assert struct.unpack("<I", stream.read(4))[0] == masked(body)
        yield body


def slow_message(data):
    """Return {field: [value, ...]} of a protocol buffer that has only length-delimited fields."""
    found, stream = {}, io.BytesIO(data)

    def number():
        value, shift = 0, 0
        while True:
            byte = stream.read(1)[0]
            value += (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while stream.tell() < len(data):
        tag = number()
        assert tag & 7 == 2
        found.setdefault(tag >> 3, []).append(stream.read(number()))
    return found


def slow_picture(body):
    features = {}
    for entry in slow_message(slow_message(body)[1][0])[1]:
        fields = slow_message(entry)
        features[fields[1][0].decode()] = slow_message(fields[2][0])
    shape = list(slow_message(features["shape"][3][0])[1][0])  # sides below 128 take one byte each
    return np.frombuffer(slow_message(features["data"][1][0])[1][0], np.uint8).reshape(shape)


# ---------------------------------------------------------------------- figment's reader and writer


def read_all(data, name="x"):
    places = index_records(io.BytesIO(data), name)
    return [decode_picture(checked(memoryview(data), place, name), name) for place in places]


def test_the_checksum_is_castagnoli_s_masked():
    assert slow_crc32c(b"123456789") == 0xE3069283  # the check value in catalogs of CRCs
    assert masked_crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) % 2**32


def test_a_reader_from_the_specification_agrees():
    pictures = [picture(8, seed) for seed in range(3)]
    data = b"".join(frame(encode_picture(array)) for array in pictures)
    bodies = list(slow_records(data))
    for body, array, ours in zip(bodies, pictures, read_all(data), strict=True):
        assert np.array_equal(slow_picture(body), array) and np.array_equal(ours, array)


def test_pictures_make_the_bytes_that_the_original_program_made():
    pictures = [np.asarray(open_image(path)).transpose(2, 0, 1) for path in sorted((DATA / "rgb64_png").iterdir())]
    sheets = [levels(array) for array in pictures]
    for level in range(2, 7):
        data = b"".join(frame(encode_picture(sheet[6 - level])) for sheet in sheets)
        reference = DATA / "rgb64" / f"rgb64-r{level:02d}.tfrecords"
        if level in DIGESTS:
            assert hashlib.sha256(data).hexdigest() == DIGESTS[level]
        else:
            assert data == reference.read_bytes()
            assert [array.tolist() for array in read_all(data)] == [sheet[6 - level].tolist() for sheet in sheets]
    assert [
        slow_picture(body).tolist() for body in slow_records((DATA / "rgb64/rgb64-r02.tfrecords").read_bytes())
    ] == [sheet[4].tolist() for sheet in sheets]


def test_a_sum_is_halved_to_even():
    flat = np.zeros((1, 8, 8), np.uint8)
    flat[0, 0, :2] = 1  # mean 0.5
    flat[0, 0, 2:4] = 3  # mean 1.5
    small = levels(flat)[1]
    assert (small[0, 0, 0], small[0, 0, 1]) == (0, 2)


def test_damage_is_named():
    data = bytearray(b"".join(frame(encode_picture(picture(8, seed))) for seed in range(3)))
    size = len(data) // 3
    assert len(read_all(bytes(data))) == 3
    data[size + 60] ^= 1
    places = list(index_records(io.BytesIO(data), "a.tfrecords"))
    assert len(places) == 3
    with pytest.raises(DamagedRecord, match="record 1: the checksum of its data"):
        checked(memoryview(data), places[1], "a.tfrecords record 1")
    assert len(checked(memoryview(data), places[2], "x")) == size - 16
    data[size] ^= 1
    with pytest.raises(DamagedRecord, match=f"record 1 at byte {size}: the checksum of its length"):
        list(index_records(io.BytesIO(data), "a.tfrecords"))
    for cut in (5, 20, size - 2):
        with pytest.raises(DamagedRecord, match="is cut off"):
            list(index_records(io.BytesIO(data[:cut]), "a.tfrecords"))


@pytest.mark.parametrize("body", [b"", b"\x0a\x05", b"\xff" * 30, b"\x0a\x02\x0a\x00", b"\x0b"])
def test_what_is_no_picture_is_named(body):
    with pytest.raises(DamagedRecord, match="not a picture"):
        decode_picture(memoryview(body), "x")


def test_a_shape_of_other_size_is_no_picture():
    good = encode_picture(picture(8))
    with pytest.raises(DamagedRecord, match="reshape"):
        decode_picture(memoryview(good[:-2] + b"\x08\x09"), "x")


def test_the_order_is_the_original_tool_s():
    assert sorted(original_order(40).tolist()) == list(range(40))
    rng = np.random.RandomState(123)
    expected = np.arange(10)
    rng.shuffle(expected)
    assert original_order(10).tolist() == expected.tolist() == [4, 0, 7, 5, 8, 3, 1, 6, 9, 2]
