"""Decoding: images become RGB uint8 as Pillow gives them, labels keep the numbers stored in the file."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from support.archives import encode, encode_palette
from support.errors import raises
from vfmseg.data.images import apply_orientation, decode_image, decode_label, read_orientation
from vfmseg.errors import ImageError, LabelError

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (37, 53, 3)).astype(np.uint8)
INDICES = RNG.integers(0, 256, (37, 53)).astype(np.uint8)
DEEP = RNG.integers(0, 65536, (37, 53)).astype(np.uint16)


def converted(mode: str, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(RGB).convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize(
    ("mode", "file_format", "options"),
    [
        ("RGB", "JPEG", {"subsampling": 0}),
        ("RGB", "JPEG", {"subsampling": 2}),
        ("RGB", "JPEG", {"progressive": True}),
        ("L", "JPEG", {}),
        ("CMYK", "JPEG", {}),
        ("RGB", "PNG", {}),
        ("RGBA", "PNG", {}),
        ("L", "PNG", {}),
        ("LA", "PNG", {}),
        ("1", "PNG", {}),
        ("P", "PNG", {}),
        ("P", "PNG", {"transparency": 3}),
        ("RGB", "BMP", {}),
        ("RGB", "TIFF", {}),
        ("RGB", "WEBP", {"lossless": True}),
        ("P", "GIF", {}),
    ],
)
def test_decode_image__same_pixels_as_pillow(mode: str, file_format: str, options: dict[str, object]):
    data = converted(mode, file_format, **options)
    pixels = decode_image(data, "x")
    assert pixels.dtype == np.uint8
    assert pixels.flags.writeable
    np.testing.assert_array_equal(pixels, by_pillow(data))


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_decode_image__16_bit_keeps_the_high_byte(file_format: str):
    pixels = decode_image(encode(DEEP, file_format), "x")
    np.testing.assert_array_equal(pixels, np.repeat((DEEP >> 8).astype(np.uint8)[..., None], 3, axis=2))


def test_decode_image__16_bit_rgb():
    deep = RNG.integers(0, 65536, (9, 7, 3)).astype(np.uint16)
    data = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode_image(data, "x"), deep >> 8)


def test_decode_image__orientation_is_not_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(converted("RGB", "JPEG", exif=exif), "x").shape == (37, 53, 3)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
def test_decode_image__every_truncation_is_an_error(file_format: str):
    data = encode(RGB, file_format)
    for size in range(0, len(data) - 12, 53):
        with raises(ImageError, "a.zip: x.jpg cannot be decoded as an image: "):
            decode_image(data[:size], "a.zip: x.jpg")


def test_decode_image__damaged_png_is_an_error():
    data = bytearray(encode(RGB, "PNG"))
    data[len(data) // 2] ^= 0x55
    with raises(ImageError, "cannot be decoded as an image"):
        decode_image(bytes(data), "x")


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "TIFF"])
def test_decode_image__animation_is_an_error(file_format: str):
    buffer = io.BytesIO()
    frames = [Image.fromarray(RGB).convert("P"), Image.fromarray(RGB[::-1].copy()).convert("P")]
    frames[0].save(buffer, file_format, save_all=True, append_images=frames[1:])
    with raises(ImageError, "x.gif holds 2 frames (an animation or a stack)"):
        decode_image(buffer.getvalue(), "x.gif")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello", "its content is of no known format, such as JPEG, PNG or TIFF"),
        (
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\0\0\0\0\x05\x08\x02\0\0\0",
            "it has 0 x 5 pixels (width x height)",
        ),
    ],
)
def test_decode__what_is_no_picture_says_why(data: bytes, reason: str, capfd: pytest.CaptureFixture[str]):
    for tail in (b"", b"IEND" * (len(data) > 9)):
        with raises(ImageError, f"x.png cannot be decoded as an image: {reason}."):
            decode_image(data + tail, "x.png")
        with raises(LabelError, f"x.png cannot be decoded as a label: {reason}."):
            decode_label(data + tail, "x.png")
    assert capfd.readouterr().err == ""


def test_decode_image__float_image_is_an_error():
    with raises(ImageError, "holds 32-bit numbers, whose range is unknown"):
        decode_image(encode(RGB[..., 0].astype(np.float32), "TIFF"), "x.tif")


def test_decode_image__enormous_image_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with raises(ImageError, "exceeds limit"):
        decode_image(converted("RGB", "BMP"), "x")


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_decode_label__grey_values(file_format: str):
    np.testing.assert_array_equal(decode_label(encode(INDICES, file_format), "x"), INDICES)


def test_decode_label__palette_indices_whatever_the_palette():
    np.testing.assert_array_equal(decode_label(encode_palette(INDICES), "x"), INDICES)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_decode_label__16_bit(file_format: str):
    label = decode_label(encode(DEEP, file_format), "x")
    assert label.dtype == np.uint16
    np.testing.assert_array_equal(label, DEEP)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_decode_label__few_bits_keep_their_values(bits: int):
    """A grey PNG of 1, 2 or 4 bits, written by hand: Pillow would stretch its levels to 0-255."""

    label = RNG.integers(0, 1 << bits, (6, 8)).astype(np.uint8)
    unpacked = ((label[..., None] >> np.arange(bits - 1, -1, -1)) & 1).reshape(6, -1)
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in unpacked)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 8, 6, bits, 0, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(decode_label(data, "x"), label)


@pytest.mark.parametrize(
    ("bits", "meaning", "is_read"), [(8, 1, True), (4, 1, False), (2, 1, False), (8, 0, False)]
)
def test_decode_label__tiff_whose_values_pillow_would_change(bits: int, meaning: int, is_read: bool):
    label = np.array([[0, 1, 2, 3], [3, 2, 1, 0]], np.uint8)
    pixels = np.packbits((label[..., None] >> np.arange(bits - 1, -1, -1)) & 1).tobytes()
    pixels += bytes(len(pixels) % 2)
    tags = {
        256: 4,
        257: 2,
        258: bits,
        259: 1,
        262: meaning,
        273: 8,
        277: 1,
        278: 2,
        279: label.size * bits // 8,
    }
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = struct.pack("<2sHI", b"II", 42, 8 + len(pixels))
    data = head + pixels + struct.pack("<H", len(tags)) + directory + bytes(4)
    if is_read:
        np.testing.assert_array_equal(decode_label(data, "m.tif"), label)
    else:
        with raises(
            LabelError, "m.tif is a TIFF of less than 8 bits, or one in which 0 is white: its values would"
        ):
            decode_label(data, "m.tif")


def test_decode_label__rgb_stays_colours_and_alpha_is_dropped():
    np.testing.assert_array_equal(decode_label(encode(RGB, "PNG"), "x"), RGB)
    rgba = np.dstack([RGB, INDICES])
    np.testing.assert_array_equal(decode_label(encode(rgba, "PNG"), "x"), RGB)


def test_decode_label__grey_with_alpha():
    np.testing.assert_array_equal(decode_label(encode(np.dstack([INDICES, INDICES]), "PNG"), "x"), INDICES)


def test_decode_label__jpeg_is_refused():
    with raises(LabelError, "m.jpg is a JPEG. JPEG changes values", " Export the labels as PNG"):
        decode_label(encode(INDICES, "JPEG"), "m.jpg")


def test_decode_label__damaged():
    with raises(LabelError, "a.zip: m.png cannot be decoded as a label"):
        decode_label(encode(INDICES, "PNG")[:100], "a.zip: m.png")


def test_decode_label__several_channels_of_16_bits():
    for channels in (3, 4):
        data = cv2.imencode(".png", np.full((4, 5, channels), 7, np.uint16))[1].tobytes()
        with raises(
            LabelError, "m.png has several channels of 16 bits, of which only the high bytes would be read"
        ):
            decode_label(data, "m.png")


def test_decode__tiff_that_promises_a_second_picture():
    whole = encode(INDICES, "TIFF")
    directory = int.from_bytes(whole[4:8], "little")
    at = directory + 2 + 12 * int.from_bytes(whole[directory : directory + 2], "little")
    data = whole[:at] + len(whole).to_bytes(4, "little") + whole[at + 4 :] + bytes(6)
    with raises(ImageError, "a.tif cannot be decoded as an image: Missing dimensions"):
        decode_image(data, "a.tif")
    with raises(LabelError, "a.tif cannot be decoded as a label: Missing dimensions"):
        decode_label(data, "a.tif")


def test_decode_label__animation():
    buffer = io.BytesIO()
    frames = [Image.fromarray(INDICES), Image.fromarray(INDICES[::-1].copy())]
    frames[0].save(buffer, "TIFF", save_all=True, append_images=frames[1:])
    with raises(LabelError, "holds 2 frames; a label is a single picture"):
        decode_label(buffer.getvalue(), "x")


def test_decode_label__floats_and_large_integers():
    with raises(LabelError, "Pillow mode 'F', which holds no class indices"):
        decode_label(encode(INDICES.astype(np.float32), "TIFF"), "x")
    with raises(LabelError, "holds values from -1 to 9; 0 to 65535 can be read"):
        decode_label(encode(np.array([[-1, 9]], np.int32), "TIFF"), "x")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_apply_orientation__same_as_pillow(orientation: int):
    image = Image.fromarray(RGB)
    image.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(apply_orientation(RGB, orientation), expected)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF"])
def test_read_orientation__from_exif(file_format: str):
    exif = Image.Exif()
    exif[0x0112] = 8
    assert read_orientation(converted("RGB", file_format, exif=exif)) == 8
    assert read_orientation(converted("RGB", file_format)) == 1


def test_read_orientation__nonsense_counts_as_none():
    exif = Image.Exif()
    exif[0x0112] = 77
    assert read_orientation(converted("RGB", "JPEG", exif=exif)) == 1
    assert read_orientation(b"no image") == 1
