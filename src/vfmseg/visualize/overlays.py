"""Images and id maps in, pictures for people out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vfmseg.types import IGNORE_INDEX, LabelSpace
from vfmseg.visualize.palette import colour_table

Picture = NDArray[np.uint8]
"""(H, W, 3) RGB."""

_INK, _PAPER = (28, 30, 34), (255, 255, 255)
_BORDER = 245


def overlay(
    image: Picture,
    classes: NDArray[np.integer],
    label_space: LabelSpace,
    *,
    alpha: float = 0.5,
    borders: bool = True,
    segments: NDArray[np.integer] | None = None,
) -> Picture:
    """Return the image with its classes laid over it.

    Args:
        image: (H, W, 3) RGB.
        classes: (H, W) ids; where they are 255 (ignore) the image stays as it is.
        label_space: colours.
        alpha: weight of the colours in [0, 1].
        borders: draw a light line between classes, or between segments where they are given.
        segments: (H, W) segment numbers, any number for no segment; parts two objects of one class.
    """
    mixed = cv2.addWeighted(image, 1 - alpha, colour_table(label_space)[classes], alpha, 0)
    is_ignored = classes == IGNORE_INDEX
    mixed[is_ignored] = image[is_ignored]
    if borders:
        parts = classes if segments is None else segments
        edge = np.zeros(classes.shape, bool)
        edge[:, 1:] |= parts[:, 1:] != parts[:, :-1]
        edge[1:] |= parts[1:] != parts[:-1]
        mixed[edge] = (mixed[edge].astype(np.uint16) + _BORDER) // 2
    return mixed


def legend(label_space: LabelSpace, present: Iterable[int], *, width: int) -> Picture:
    """Return a strip (., width, 3) with a swatch and the name of each class in ``present``."""
    font = ImageFont.load_default(size=13)
    items, x, y = [], 8, 6
    for index in sorted(set(present) - {IGNORE_INDEX}):
        name = label_space.names[index]
        space = 18 + int(font.getlength(name)) + 16
        if x + space > width and x > 8:
            x, y = 8, y + 20
        items.append((x, y, index, name))
        x += space
    canvas = Image.new("RGB", (width, y + 22), _PAPER)
    draw = ImageDraw.Draw(canvas)
    for left, top, index, name in items:
        draw.rectangle((left, top + 1, left + 12, top + 13), fill=label_space.colours[index], outline=_INK)
        draw.text((left + 18, top - 1), name, fill=_INK, font=font)
    return np.asarray(canvas)


def name_segments(
    picture: Picture,
    segments: NDArray[np.integer],
    names: Sequence[str],
    *,
    min_share: float = 0.002,
    font_size: float = 12,
) -> Picture:
    """Return the picture with each segment's name at its innermost point, moved sideways where it would be cut.

    Args:
        picture: (H, W, 3) RGB.
        segments: (H, W) numbers ``0..S-1``; others have no name.
        names: S texts.
        min_share: segments below this share of the picture stay without a name.
        font_size: of the names, in pixels.
    """
    canvas = Image.fromarray(picture)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=font_size)
    for number, name in enumerate(names):
        mask = (segments == number).astype(np.uint8)
        if mask.sum() < max(1, min_share * mask.size):
            continue
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        # The point farthest from the border lies inside whatever the shape; a centroid may not.
        inner = cv2.distanceTransform(
            cv2.copyMakeBorder(part, 1, 1, 1, 1, cv2.BORDER_CONSTANT), cv2.DIST_L2, 3
        )
        y, x = np.unravel_index(int(inner.argmax()), inner.shape)
        half = font.getlength(name) / 2 + 2
        # Whole, where the picture is wide enough.
        centre = max(half, min(float(columns[0] + x) - 1, mask.shape[1] - half))
        middle = float(rows[0] + y) - 1
        draw.text(
            (centre, middle), name, fill=_PAPER, font=font, anchor="mm", stroke_width=2, stroke_fill=_INK
        )
    return np.asarray(canvas)


@dataclass(frozen=True)
class Painted:
    """What is drawn over an image: classes, and where objects matter their segments and names."""

    classes: NDArray[np.integer]
    """(H, W) ids; 255 (ignore) shows the bare image."""
    segments: NDArray[np.integer] | None = None
    """(H, W) segment numbers, below 0 or unnamed = no segment."""
    names: tuple[str, ...] = ()
    """One text a segment."""


def side_by_side(image: Picture, truth: Painted, prediction: Painted, label_space: LabelSpace) -> Picture:
    """Return image, truth and prediction in one row with captions, and a legend of the classes below.

    Args:
        image: (H, W, 3) RGB.
        truth: what is known.
        prediction: what was found.
        label_space: names and colours.
    """
    height, width = image.shape[:2]
    scale = min(1.0, 640 / width) if width > 640 else max(1.0, np.ceil(200 / width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    panels = []
    for caption, painted in (("image", None), ("truth", truth), ("prediction", prediction)):
        shown = np.asarray(cv2.resize(image, size, interpolation=smooth), np.uint8)
        if painted is not None:
            shown = _painted(shown, painted, size, label_space)
        panels.append(np.vstack([_caption(caption, size[0]), shown]))
    gap = np.full((panels[0].shape[0], 6, 3), 255, np.uint8)
    row = np.hstack([panels[0], gap, panels[1], gap, panels[2]])
    present = np.union1d(np.unique(truth.classes), np.unique(prediction.classes)).tolist()
    return np.vstack([row, legend(label_space, (int(i) for i in present), width=row.shape[1])])


def _painted(shown: Picture, painted: Painted, size: tuple[int, int], label_space: LabelSpace) -> Picture:
    def scaled(ids: NDArray[np.integer]) -> NDArray[np.integer]:
        return np.asarray(cv2.resize(ids.astype(np.int16), size, interpolation=cv2.INTER_NEAREST))

    segments = None if painted.segments is None else scaled(painted.segments)
    shown = overlay(shown, scaled(painted.classes), label_space, alpha=0.6, segments=segments)
    return shown if segments is None else name_segments(shown, segments, painted.names)


def confidence_image(confidence: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return (H, W) grey values for confidence in [0, 1]: 0 is black, as is what is no number; 1 is white."""
    return np.clip(np.rint(np.nan_to_num(confidence.astype(np.float32)) * 255), 0, 255).astype(np.uint8)


def _caption(text: str, width: int) -> Picture:
    canvas = Image.new("RGB", (width, 22), _PAPER)
    ImageDraw.Draw(canvas).text((4, 3), text, fill=_INK, font=ImageFont.load_default(size=13))
    return np.asarray(canvas)
