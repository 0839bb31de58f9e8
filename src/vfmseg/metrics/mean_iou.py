"""Turns pairs of class map and label map into one confusion matrix, image by image, in constant memory.

The matrix is all that mean IoU needs (:mod:`vfmseg.metrics.scores` makes the numbers), sums over images
and over processes, and never depends on how many images were seen. Everything that ends in a class map
per image can be counted here: nothing of the model or its logits is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from vfmseg.errors import LabelError
from vfmseg.metrics.scores import (
    Absent,
    ImageScore,
    SegmentationScores,
    image_score,
    majority_baseline,
    scores,
)
from vfmseg.types import IGNORE_INDEX

__all__ = [
    "ConfusionMatrix",
    "ImageScore",
    "SegmentationScores",
    "confusion_of",
    "image_score",
    "majority_baseline",
    "scores",
]

_EXACT_PIXELS = 2**24
"""OpenCV hands its counts out as float32, which holds every whole number up to this one."""


class ConfusionMatrix:
    """Counts, over all images shown to it, how often each class was predicted as each class.

    Attributes:
        state: (K, K) int64, rows ground truth, columns predictions; sums over processes.
    """

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        """Start from zero.

        Args:
            num_classes: K, at most 255, as id 255 means ignore.
            device: Where to count; maps that live elsewhere are moved there.

        Raises:
            LabelError: ``num_classes`` is outside 1..255.
        """
        if not 1 <= num_classes <= IGNORE_INDEX:
            raise LabelError(
                f"{num_classes} classes cannot be scored: 1..{IGNORE_INDEX} are possible, "
                f"as the id {IGNORE_INDEX} means ignore."
            )
        self.state = torch.zeros((num_classes, num_classes), dtype=torch.int64, device=device)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.state)

    def update(self, classes: Tensor, id_map: Tensor, *, name: str = "") -> Tensor:
        """Count one image, and return its own confusion so that :func:`image_score` needs no second pass.

        Args:
            classes: (H, W) predicted class ids 0..K-1, uint8 or any other whole-number type.
            id_map: (H, W) true class ids 0..K-1, 255 = ignore.
            name: What to call the image in an error.

        Returns:
            (K, K) int64 confusion of this image alone, on the CPU.

        Raises:
            LabelError: The sizes differ, or a map holds an id that no class has. Nothing is counted then.
        """
        device = self.state.device
        own = confusion_of(classes.to(device), id_map.to(device), self.num_classes, name=name)
        self.state += own
        return own.cpu()

    def merge(self, other: ConfusionMatrix) -> None:
        """Add what another matrix over the same classes has counted.

        Raises:
            LabelError: The other matrix has another number of classes.
        """
        if other.num_classes != self.num_classes:
            raise LabelError(
                f"Counts of {other.num_classes} classes cannot be added to counts of {self.num_classes}: "
                "both must be over the same label space."
            )
        self.state += other.state.to(self.state.device)

    def all_reduce(self) -> None:
        """Replace the counts by their sum over all processes; does nothing outside distributed runs."""
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(self.state)

    def reset(self) -> None:
        """Forget everything counted so far."""
        self.state.zero_()

    def scores(self, names: Sequence[str], *, absent: Absent = "exclude") -> SegmentationScores:
        """Return the scores of everything counted so far, see :func:`vfmseg.metrics.scores.scores`."""
        return scores(self.state.cpu().numpy(), names, absent=absent)


def confusion_of(classes: Tensor, id_map: Tensor, num_classes: int, *, name: str = "") -> Tensor:
    """Return the (K, K) int64 confusion of one image; arguments and errors as :meth:`ConfusionMatrix.update`.

    Every true byte is counted against the K classes, so wrong ids cost no extra pass: what is missing
    from the rows of the classes and of ignore are pixels that hold one.
    """
    where = f" of image {name!r}" if name else ""
    if classes.shape != id_map.shape:
        raise LabelError(
            f"The prediction{where} has size {tuple(classes.shape)}, its label {tuple(id_map.shape)}: "
            "scores are counted at the label's own size. Resize the prediction to it first."
        )
    classes = _bytes(classes, f"The prediction{where}", f"0..{num_classes - 1}")
    id_map = _bytes(id_map, f"The label{where}", f"0..{num_classes - 1} and {IGNORE_INDEX} (ignore)")
    count = _count_on_cpu if classes.device.type == "cpu" else _count
    table = count(classes, id_map, num_classes)
    own = table[:num_classes].to(torch.int64)
    if int(own.sum() + table[IGNORE_INDEX].sum(dtype=torch.float64)) != classes.numel():
        _refuse(classes, id_map, num_classes, where)
    return own


def _count_on_cpu(classes: Tensor, id_map: Tensor, num_classes: int) -> Tensor:
    """Return (256, K) counts of (true byte, predicted class) as float32, or float64 beyond 2**24 pixels.

    OpenCV's joint histogram reads each byte once through a look-up table, without building an index per
    pixel as ``bincount`` does; unlike counting run lengths it is not slower on noise.
    """
    truth, predicted = id_map.reshape(1, -1).numpy(), classes.reshape(1, -1).numpy()
    tables = []
    for start in range(0, max(truth.shape[1], 1), _EXACT_PIXELS):
        pair = [np.ascontiguousarray(m[:, start : start + _EXACT_PIXELS]) for m in (truth, predicted)]
        tables.append(cv2.calcHist(pair, [0, 1], None, [256, num_classes], [0, 256, 0, num_classes]))
    return torch.from_numpy(tables[0] if len(tables) == 1 else np.sum(tables, axis=0, dtype=np.float64))


def _count(classes: Tensor, id_map: Tensor, num_classes: int) -> Tensor:
    """Return the same counts as int64, counted on the device of the maps."""
    pairs = id_map.flatten().to(torch.int32) * 256 + classes.flatten()
    return torch.bincount(pairs, minlength=65536).view(256, 256)[:, :num_classes]


def _bytes(ids: Tensor, what: str, allowed: str) -> Tensor:
    if ids.dtype == torch.uint8:
        return ids
    if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise LabelError(f"{what} holds {ids.dtype} values; class ids are whole numbers, {allowed}.")
    outside = ids[(ids < 0) | (ids > 255)]
    if outside.numel():
        raise LabelError(f"{what} holds the id {int(outside[0])}; allowed are {allowed}.")
    return ids.to(torch.uint8)


def _refuse(classes: Tensor, id_map: Tensor, num_classes: int, where: str) -> None:
    """Raise the LabelError that says which ids no class has, and on how many pixels."""
    truth, predicted = torch.bincount(id_map.flatten()).tolist(), torch.bincount(classes.flatten()).tolist()
    strange = {id_: n for id_, n in enumerate(truth) if n and num_classes <= id_ < IGNORE_INDEX}
    if strange:
        raise LabelError(
            f"The label{where} holds {_listed(strange)}, which no class has: the ids are "
            f"0..{num_classes - 1} and {IGNORE_INDEX} (ignore). "
            "Map or ignore it in the data set's class list; `vfmseg check-data` shows all ids that occur."
        )
    strange = {id_: n for id_, n in enumerate(predicted) if n and id_ >= num_classes}
    raise LabelError(
        f"The prediction{where} holds {_listed(strange)}, which no class has: the ids are "
        f"0..{num_classes - 1}. The model was trained on another label space than this data set's."
    )


def _listed(strange: dict[int, int]) -> str:
    """Return ``"the id 7 (12 px)"``, or up to five of them."""
    shown = [f"{id_} ({n} px)" for id_, n in list(strange.items())[:5]]
    more = f" and {len(strange) - 5} more" if len(strange) > 5 else ""
    return f"the id{'s' if len(strange) > 1 else ''} {', '.join(shown)}{more}"
