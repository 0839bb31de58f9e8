"""Raw label arrays -> Targets: raw values become class ids by one look-up, unknown values are errors."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from vfmseg.data.spec import MAX_CLASSES, LabelMap
from vfmseg.errors import LabelError
from vfmseg.types import IGNORE_INDEX, Size, Targets

_UNKNOWN: Final = MAX_CLASSES
_SHOWN: Final = 5


class LabelTable:
    """A label map as look-up tables, ready for whole images."""

    def __init__(self, label_map: LabelMap) -> None:
        self.label_map = label_map
        self._ids = np.full(1 << 16, _UNKNOWN, np.uint8)
        for raw, class_id in label_map.raw_to_id.items():
            self._ids[raw] = class_id
        self._ids_8bit = self._ids[:256].copy()
        by_code = {pack_colour(colour): class_id for colour, class_id in label_map.colours.items()}
        self._colour_codes = np.array(sorted(by_code), np.uint32)
        self._colour_ids = np.array([by_code[code] for code in sorted(by_code)], np.uint8)

    def to_ids(self, raw: NDArray[np.uint8] | NDArray[np.uint16], name: str) -> NDArray[np.uint8]:
        """Turn raw values into class ids.

        Args:
            raw: (H, W) uint8 or uint16 values as stored, or (H, W, 3) uint8 colours.
            name: what messages call the label.

        Returns:
            (H, W) uint8 class ids, ``IGNORE_INDEX`` where there is no class.

        Raises:
            LabelError: a value or colour that no class has; the message counts them.
        """
        if raw.ndim == 3:
            return self._colours_to_ids(raw, name)
        is_8bit = raw.dtype == np.uint8
        ids = np.asarray(cv2.LUT(raw, self._ids_8bit), np.uint8) if is_8bit else self._ids[raw]
        if (ids == _UNKNOWN).any():
            values, counts = np.unique(raw[ids == _UNKNOWN], return_counts=True)
            raise LabelError(
                f"{name} holds values that no class has: {_count([str(v) for v in values], counts)}. "
                f"Known are {self.label_map.raw_values}. {self.label_map.remedy}"
            )
        return ids

    def _colours_to_ids(
        self, colours: NDArray[np.uint8] | NDArray[np.uint16], name: str
    ) -> NDArray[np.uint8]:
        if not len(self._colour_codes):
            grey = bool(
                (colours[..., 0] == colours[..., 1]).all() and (colours[..., 0] == colours[..., 2]).all()
            )
            if grey:
                raise LabelError(
                    f"{name} is stored as RGB with three equal channels. Save one of them as a grey PNG."
                )
            raise LabelError(
                f"{name} is stored as RGB, and the colours of the classes are not known. "
                f"{self.label_map.remedy}"
            )
        codes = pack_colours(colours)
        places = np.minimum(np.searchsorted(self._colour_codes, codes), len(self._colour_codes) - 1)
        unknown = self._colour_codes[places] != codes
        if unknown.any():
            values, counts = np.unique(codes[unknown], return_counts=True)
            found = [str(list(unpack_colour(code))) for code in values.tolist()]
            raise LabelError(
                f"{name} holds colours that no class has: {_count(found, counts)}. {self.label_map.remedy}"
            )
        return self._colour_ids[places]


def to_targets(ids: NDArray[np.uint8]) -> Targets:
    """Wrap (H, W) uint8 class ids, without a copy, as the targets of one image."""
    return Targets(torch.from_numpy(ids))


def is_all_void(targets: Targets) -> bool:
    """Tell whether no pixel of a semantic target has a class; such an image gives no signal to learn from."""
    return bool((targets.id_map == IGNORE_INDEX).all())


def is_constant(raw: NDArray[np.uint8] | NDArray[np.uint16]) -> bool:
    """Tell whether a raw label holds one single value, for which published loaders skip it."""
    return bool((raw == raw.reshape(-1, *raw.shape[2:])[0]).all())


def resize_nearest(
    raw: NDArray[np.uint8] | NDArray[np.uint16], size: Size
) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Resize a raw label to (height, width): output pixel i takes input pixel floor(i * input / output)."""
    rows, columns = (np.arange(new) * old // new for new, old in zip(size, raw.shape[:2], strict=True))
    return raw[rows[:, None], columns]


def pack_colour(colour: tuple[int, int, int]) -> int:
    """Return an RGB colour as one number."""
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def unpack_colour(code: int) -> tuple[int, int, int]:
    """Inverse of :func:`pack_colour`."""
    return code >> 16, code >> 8 & 255, code & 255


def pack_colours(colours: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint32]:
    """Return :func:`pack_colour` of each pixel, (H, W, 3) -> (H, W)."""
    red, green, blue = (colours[..., channel].astype(np.uint32) for channel in range(3))
    return (red << 16 | green << 8 | blue).astype(np.uint32, copy=False)


def _count(values: list[str], counts: NDArray[np.int64]) -> str:
    order = np.argsort(-counts, kind="stable")
    shown = ", ".join(f"{values[i]} ({counts[i]} pixels)" for i in order[:_SHOWN])
    return shown + (f" and {len(values) - _SHOWN} more values" if len(values) > _SHOWN else "")
