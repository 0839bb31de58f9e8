"""Turns class map, label map and confidence of one image into what confidence is judged by: right, wrong, unknown.

Every pixel of the label is void (nobody says what it is: left out everywhere), unknown (an object of none of the
classes) or known. Where unknown pixels come from is the caller's: a value in the label map, or a map of their own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vfmseg.errors import LabelError
from vfmseg.metrics.checks import of_image, refuse_other_size
from vfmseg.types import IGNORE_INDEX


def unknown_pixels(labels: Tensor, value: int | None = None) -> Tensor:
    """Return (H, W) bool: which pixels show an object of none of the classes.

    Args:
        labels: (H, W) whole numbers: a label map as annotated, or a mask of unknown objects.
        value: What says unknown; None takes everything but 0, as masks of the BRAVO challenge do.
    """
    return labels != 0 if value is None else labels == value


def void_pixels(id_map: Tensor, is_unknown: Tensor | None = None) -> Tensor:
    """Return (H, W) bool: which pixels are left out of everything.

    Args:
        id_map: (H, W) class ids, 255 = none.
        is_unknown: (H, W) bool. Where given, 255 is no void where this is True, as a label map of classes cannot say
            otherwise what is unknown. BRAVO's maps can: there 255 is void, and this is None.
    """
    is_void = id_map == IGNORE_INDEX
    return is_void if is_unknown is None else is_void & ~is_unknown


def right_pixels(
    confidence: Tensor, classes: Tensor, id_map: Tensor, is_unknown: Tensor | None, name: str
) -> tuple[Tensor, Tensor]:
    """Return (H, W) bool twice: where the class is right, and where it counts: neither 255 nor unknown.

    Raises:
        LabelError: The sizes differ, or ``is_unknown`` is not bool.
    """
    refuse_other_size(classes.shape, id_map.shape, name)
    refuse_misfit(confidence, id_map, "confidence", name)
    is_known = id_map != IGNORE_INDEX
    if is_unknown is not None:
        refuse_misfit(is_unknown, id_map, "mask of unknown pixels", name)
        refuse_numbers(is_unknown, "mask of unknown pixels", name)
        is_known &= ~is_unknown.to(id_map.device)
    return classes.to(id_map.device) == id_map, is_known


def refuse_misfit(map_: Tensor, other: Tensor, what: str, name: str) -> None:
    """Raise LabelError unless the map that is called ``what`` has the (H, W) of the other."""
    if map_.shape != other.shape:
        raise LabelError(
            f"The {what}{of_image(name)} has size {tuple(map_.shape)}, the other maps {tuple(other.shape)}: all maps "
            "of an image are compared at the label's own size. Resize it first."
        )


def refuse_numbers(mask: Tensor, what: str, name: str) -> None:
    """Raise LabelError unless the mask that is called ``what`` is bool."""
    if mask.dtype != torch.bool:
        raise LabelError(
            f"The {what}{of_image(name)} holds {mask.dtype} values; it must be bool. "
            "`vfmseg.metrics.judged_pixels.unknown_pixels` makes it of ids."
        )
