"""Bytes of an image file -> pixels: RGB uint8 for images, indices for labels; never both rules at once.

Images are decoded by libjpeg-turbo and libpng through OpenCV, which gives the pixels Pillow gives and is
faster; what is rare (CMYK, TIFF, WebP, GIF) goes through Pillow. Labels always go through Pillow, because
a palette must stay unread: the index is the label.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from vfmseg.errors import ImageError, LabelError

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_TAIL: Final = 4096
"""Bytes in which the end mark of a complete file is looked for: OpenCV fills up what is cut short."""

_EXIF_ORIENTATION: Final = 0x0112
_TIFF_BITS: Final = 258
_TIFF_MEANING: Final = 262
_WHITE_IS_ZERO: Final = 0
_DECODING_ERRORS: Final = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, MemoryError,
    struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow raises on damaged and on enormous files, depending on the format."""


class RawSample(NamedTuple):
    """An image and its label as stored, before raw values become class ids."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 RGB."""
    label: NDArray[np.uint8] | NDArray[np.uint16]
    """(H, W) raw values, or (H, W, 3) colours."""
    orientation: int
    """EXIF orientation that was applied to the image: 1 (none), unless only then it fits its label."""
    is_resized: bool
    """The label had another size and was resized (nearest)."""


def decode_image(data: bytes, name: str) -> NDArray[np.uint8]:
    """Decode an image as stored, without turning it as its EXIF orientation asks.

    Grey, palette, CMYK, 16-bit images and such with transparency become RGB; alpha is dropped, 16-bit
    values keep their high byte.

    Args:
        data: the file.
        name: what messages call it.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ImageError: damaged, animated or of no known format.
    """
    is_whole_jpeg = (
        data.startswith(_JPEG) and b"\xff\xd9" in data[-_TAIL:] and _jpeg_components(data) in (1, 3)
    )
    is_whole_png = data.startswith(_PNG) and b"IEND" in data[-_TAIL:] and b"acTL" not in data[:_TAIL]
    is_whole_png = is_whole_png and 0 not in _png_size(data)  # libpng would complain on stderr
    pixels = _decode_with_opencv(data) if is_whole_jpeg or is_whole_png else None
    # whatever OpenCV refuses is decoded again by Pillow, which says why
    return _decode_with_pillow(data, name) if pixels is None else pixels


def decode_label(
    data: bytes, name: str, channel: int | None = None
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decode a label into the values stored in the file: palette indices are indices, grey levels are values.

    Args:
        data: the file.
        name: what messages call it.
        channel: of a PNG with several channels, of 8 or 16 bits, the one that holds the values (0: red); None
            where labels have one channel, or colours.

    Returns:
        (H, W) uint8 or uint16; (H, W, 3) uint8 where the label is stored as RGB.

    Raises:
        LabelError: damaged, lossy (JPEG), animated, or of a kind that holds no indices.
    """
    if data.startswith(_JPEG):
        raise LabelError(
            f"{name} is a JPEG. JPEG changes values, so a label stored in it is lost at every border. "
            "Export the labels as PNG."
        )
    if channel is not None:
        return _decode_channel(data, name, channel)
    try:
        with Image.open(io.BytesIO(data)) as image:
            frames = getattr(image, "n_frames", 1)
            mode = image.mode
            tags = dict(getattr(image, "tag_v2", {}))
            values = np.asarray(image)
    except _DECODING_ERRORS as error:
        raise LabelError(f"{name} cannot be decoded as a label: {_reason(error, data)}.") from error
    if frames != 1:
        raise LabelError(f"{name} holds {frames} frames; a label is a single picture.")
    if data.startswith(_PNG) and data[24] == 16 and mode in ("RGB", "RGBA", "LA"):
        raise LabelError(
            f"{name} has several channels of 16 bits, of which only the high bytes would be read. "
            "Export the labels as PNG with one channel, or as RGB of 8 bits."
        )
    if mode == "L" and tags and (tags.get(_TIFF_BITS) != (8,) or tags.get(_TIFF_MEANING) == _WHITE_IS_ZERO):
        raise LabelError(
            f"{name} is a TIFF of less than 8 bits, or one in which 0 is white: its values would be changed. "
            "Export the labels as PNG, or as TIFF of 8 bits in which 0 is black."
        )
    if mode in ("P", "L", "1"):
        return values.astype(np.uint8, copy=False) // _grey_step(data, mode)
    if mode in ("RGB", "RGBA"):
        return values[..., :3]
    if mode in ("LA", "PA"):
        return values[..., 0]
    if mode == "I" or mode.startswith("I;16"):
        if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
            raise LabelError(
                f"{name} holds values from {values.min()} to {values.max()}; 0 to 65535 can be read."
            )
        return values.astype(np.uint16)
    raise LabelError(
        f"{name} is of Pillow mode {mode!r}, which holds no class indices. "
        "Export the labels as 8-bit or 16-bit PNG with one channel."
    )


def read_orientation(data: bytes) -> int:
    """Return the EXIF orientation, 1 (as stored) to 8; 1 where there is none or it cannot be read."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _DECODING_ERRORS:
        return 1
    return value if value in range(1, 9) else 1


def apply_orientation(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn and mirror an (H, W, C) image the way an EXIF orientation of 1 to 8 asks for display."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _decode_channel(data: bytes, name: str, channel: int) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Decode one channel of a PNG by OpenCV: Pillow reads three channels of 16 bits as 8 bits."""
    is_whole_png = data.startswith(_PNG) and b"IEND" in data[-_TAIL:] and 0 not in _png_size(data)
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if is_whole_png else None
    except cv2.error:  # more pixels than OpenCV allows
        values = None
    if values is None:
        why = "it is damaged or cut short" if data.startswith(_PNG) else "it is no PNG"
        raise LabelError(f"{name} cannot be decoded as a label: {why}. Fetch it again.")
    if values.ndim != 3:
        raise LabelError(
            f"{name} has one channel; as released, labels of this data set have three, the classes in number "
            f"{channel + 1}. Use the released files, not converted ones."
        )
    ids = np.ascontiguousarray(values[..., 2 - channel])  # OpenCV gives blue, green, red
    return ids.astype(np.uint8 if ids.dtype == np.uint8 else np.uint16, copy=False)


def _decode_with_opencv(data: bytes) -> NDArray[np.uint8] | None:
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # more pixels than OpenCV allows
        return None
    return None if pixels is None else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels)


def _decode_with_pillow(data: bytes, name: str) -> NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data)) as image:
            frames = getattr(image, "n_frames", 1)
            mode = image.mode
            pixels = np.array(image if mode.startswith("I;16") else image.convert("RGB"))
    except _DECODING_ERRORS as error:
        raise ImageError(f"{name} cannot be decoded as an image: {_reason(error, data)}.") from error
    if frames != 1:
        raise ImageError(
            f"{name} holds {frames} frames (an animation or a stack); an image is a single picture."
        )
    if mode in ("I", "F"):
        raise ImageError(f"{name} holds 32-bit numbers, whose range is unknown. Convert it to 8 or 16 bits.")
    if pixels.ndim == 2:
        pixels = np.repeat((pixels >> 8).astype(np.uint8)[..., None], 3, axis=2)
    return pixels


def _reason(error: BaseException, data: bytes) -> str:
    """Return why bytes are no picture; Pillow names the object it was given where it does not know the format."""
    if not isinstance(error, UnidentifiedImageError):
        return str(error)
    if not data:
        return "the file is empty"
    if data.startswith(_PNG) and 0 in (size := _png_size(data)):
        return f"it has {size[0]} x {size[1]} pixels (width x height)"
    return "its content is of no known format, such as JPEG, PNG or TIFF"


def _png_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) as the header of a PNG says; zeros where it is cut short."""
    header = data[16:24].ljust(8, b"\0")
    return int.from_bytes(header[:4], "big"), int.from_bytes(header[4:], "big")


def _jpeg_components(data: bytes) -> int:
    """Return the number of colour components in the frame header; 0 where none is found."""
    at = 2
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return data[at + 9]
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return 0


def _grey_step(data: bytes, mode: str) -> int:
    """Return by what Pillow multiplied grey levels of 2 or 4 bits, so that the stored values come back."""
    is_grey_png = mode == "L" and data.startswith(_PNG) and data[25] == 0
    return {2: 85, 4: 17}.get(data[24], 1) if is_grey_png else 1
