"""Images and id maps in, pictures for people out."""

from __future__ import annotations

from collections.abc import Iterable

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
) -> Picture:
    """Return the image with its classes laid over it.

    Args:
        image: (H, W, 3) RGB.
        classes: (H, W) ids; where they are 255 (ignore) the image stays as it is.
        label_space: colours.
        alpha: weight of the colours in [0, 1].
        borders: draw a light line between classes.
    """
    mixed = cv2.addWeighted(image, 1 - alpha, colour_table(label_space)[classes], alpha, 0)
    is_ignored = classes == IGNORE_INDEX
    mixed[is_ignored] = image[is_ignored]
    if borders:
        edge = np.zeros(classes.shape, bool)
        edge[:, 1:] |= classes[:, 1:] != classes[:, :-1]
        edge[1:] |= classes[1:] != classes[:-1]
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


def side_by_side(
    image: Picture, truth: NDArray[np.integer], prediction: NDArray[np.integer], label_space: LabelSpace
) -> Picture:
    """Return image, truth and prediction in one row with captions, and a legend of the classes below.

    Args:
        image: (H, W, 3) RGB.
        truth: (H, W) ids; 255 (ignore) shows the bare image.
        prediction: (H, W) ids.
        label_space: names and colours.
    """
    height, width = image.shape[:2]
    scale = min(1.0, 640 / width) if width > 640 else max(1.0, np.ceil(200 / width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    panels = []
    for caption, ids in (("image", None), ("truth", truth), ("prediction", prediction)):
        shown = np.asarray(cv2.resize(image, size, interpolation=smooth), np.uint8)
        if ids is not None:
            scaled = cv2.resize(ids.astype(np.int16), size, interpolation=cv2.INTER_NEAREST)
            shown = overlay(shown, scaled, label_space, alpha=0.6)
        panels.append(np.vstack([_caption(caption, size[0]), shown]))
    gap = np.full((panels[0].shape[0], 6, 3), 255, np.uint8)
    row = np.hstack([panels[0], gap, panels[1], gap, panels[2]])
    present = np.union1d(np.unique(truth), np.unique(prediction)).tolist()
    return np.vstack([row, legend(label_space, (int(i) for i in present), width=row.shape[1])])


def confidence_image(confidence: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return (H, W) grey values for confidence in [0, 1]: 0 is black, 1 is white."""
    return np.clip(np.rint(confidence.astype(np.float32) * 255), 0, 255).astype(np.uint8)


def _caption(text: str, width: int) -> Picture:
    canvas = Image.new("RGB", (width, 22), _PAPER)
    ImageDraw.Draw(canvas).text((4, 3), text, fill=_INK, font=ImageFont.load_default(size=13))
    return np.asarray(canvas)
