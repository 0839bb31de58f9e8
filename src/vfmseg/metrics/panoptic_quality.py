"""Turns pairs of predicted and true panoptic maps into per-class sums of matched segments, image by image.

An image costs one pass that counts how many pixels each pair of segments shares; everything else is arithmetic
on that small table. The sums (IoU of the matches, true positives, false positives, false negatives) add up over
images and processes, and :mod:`vfmseg.metrics.panoptic_scores` makes the numbers.

The rules are those of panopticapi, the evaluator of the COCO panoptic task (Kirillov et al. 2019, section 4.1
and the task's page on cocodataset.org): segments of one class match if their IoU, with unlabelled pixels taken out
of the prediction, exceeds 1/2; a crowd is neither matched nor missed; a predicted segment without a match is
forgiven if more than half of it lies on unlabelled pixels or on the crowd of its class.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.errors import LabelError
from vfmseg.metrics.checks import of_image, refuse_other_size, refuse_unknown_classes
from vfmseg.metrics.panoptic_scores import PanopticScores, Quality, image_quality, panoptic_scores
from vfmseg.metrics.scores import Absent
from vfmseg.types import IGNORE_INDEX, LabelSpace, PanopticMap, Targets

__all__ = [
    "PanopticQuality",
    "PanopticScores",
    "Quality",
    "image_quality",
    "panoptic_scores",
    "segment_counts",
    "shared_pixels",
]


class PanopticQuality:
    """Counts, over all images shown to it, which predicted segments match which true ones.

    ``published=True`` counts as EoMT's evaluation does, to compare with its printed numbers. It differs from
    panopticapi, which is right, in two points. Classes that never occur enter the means as 0. And the crowd
    flag of a stuff segment is read off the image's first segment: in an image whose segment 0 is a crowd, all
    stuff is neither matched nor missed. On all of COCO val the first makes no difference, as every class occurs.

    Attributes:
        state: (4, K) float64 on the CPU: IoU sum, true positives, false positives, false negatives per class
            (whole numbers stay exact up to 2**53); sums over processes.
    """

    def __init__(
        self,
        classes: LabelSpace | Sequence[bool],
        device: torch.device | str = "cpu",
        *,
        published: bool = False,
    ) -> None:
        """Start from zero.

        Args:
            classes: The label space, or K flags that say which class is a thing.
            device: Where to count pixels and to meet other processes; maps that live elsewhere are moved there.
            published: Count as EoMT's published numbers were counted, see above.
        """
        flags = classes.is_thing if isinstance(classes, LabelSpace) else classes
        self.is_thing = tuple(bool(flag) for flag in flags)
        self.published = published
        self._device = torch.device(device)
        self.state = torch.zeros((4, len(self.is_thing)), dtype=torch.float64)

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.is_thing)

    def update(self, prediction: PanopticMap, targets: Targets, *, name: str = "") -> Tensor:
        """Count one image, and return its own counts so that :func:`image_quality` needs no second pass.

        Segments without a pixel do not exist: they are neither missed nor wrong.

        Args:
            prediction: Segments at the label's own size, (H, W).
            targets: An (H, W) map of segment numbers, 255 = unlabelled, with the class of each.
            name: What to call the image in an error.

        Returns:
            (4, K) float64 counts of this image alone, on the CPU, rows as in :attr:`state`.

        Raises:
            LabelError: The sizes differ, a map holds a number that has no segment, or a segment has a class
                that does not exist. Nothing is counted then.
        """
        if targets.segment_classes is None:
            raise LabelError(
                f"The label{of_image(name)} has no table of segments: panoptic quality needs to know the instances, "
                "and a map of classes does not tell them apart."
            )
        predicted_classes = prediction.segment_classes.cpu().numpy()
        true_classes = targets.segment_classes.cpu().numpy()
        crowd = targets.segment_is_crowd
        is_crowd = np.zeros(len(true_classes), bool) if crowd is None else crowd.cpu().numpy()
        pixels = shared_pixels(
            targets.id_map.to(self._device),
            prediction.segments.to(self._device),
            len(true_classes),
            len(predicted_classes),
            name=name,
        )
        true, predicted = pixels[:-1].any(1), pixels[:, :-1].any(0)
        refuse_unknown_classes(true_classes[true], self.num_classes, "label", name)
        refuse_unknown_classes(predicted_classes[predicted], self.num_classes, "prediction", name)
        first_is_crowd = bool(is_crowd[:1].any())
        pixels = pixels[np.append(true, True)][:, np.append(predicted, True)]
        true_classes, is_crowd = true_classes[true], is_crowd[true]
        if self.published:
            pixels, is_crowd = self._as_published(pixels, true_classes, is_crowd, first_is_crowd)
        counts = segment_counts(
            pixels, true_classes, is_crowd, predicted_classes[predicted], self.num_classes
        )
        own = torch.from_numpy(counts)
        self.state += own
        return own

    def merge(self, other: PanopticQuality) -> None:
        """Add what another metric over the same classes has counted.

        Raises:
            LabelError: The other metric has other things and stuff, or counts by the other rules.
        """
        if (other.is_thing, other.published) != (self.is_thing, self.published):
            raise LabelError(
                "Counts of two panoptic qualities can only be added over the same classes, with the same things "
                "and stuff, and with the same `published`."
            )
        self.state += other.state

    def all_reduce(self) -> None:
        """Replace the counts by their sum over all processes; does nothing outside distributed runs."""
        if dist.is_available() and dist.is_initialized():
            total = self.state.to(self._device)
            dist.all_reduce(total)
            self.state = total.cpu()

    def reset(self) -> None:
        """Forget everything counted so far."""
        self.state.zero_()

    def scores(self, names: Sequence[str]) -> PanopticScores:
        """Return the scores of everything counted so far, see :func:`panoptic_scores`."""
        absent: Absent = "zero" if self.published else "exclude"
        return panoptic_scores(self.state.numpy(), names, self.is_thing, absent=absent)

    def _as_published(
        self,
        pixels: NDArray[np.int64],
        true_classes: NDArray[np.int64],
        is_crowd: NDArray[np.bool_],
        first_is_crowd: bool,
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the table with all true stuff of a class in one row, and the crowd flags as EoMT reads them."""
        thing = np.array(self.is_thing, bool)[true_classes]
        row = np.arange(len(true_classes))
        for label in np.unique(true_classes[~thing]):
            of_class = np.flatnonzero(true_classes == label)
            row[of_class] = of_class[0]
        joined = np.zeros_like(pixels)
        np.add.at(joined, np.append(row, len(row)), pixels)
        return joined, np.where(thing, is_crowd, first_is_crowd)


def shared_pixels(
    id_map: Tensor, segments: Tensor, num_true: int, num_predicted: int, *, name: str = ""
) -> NDArray[np.int64]:
    """Return how many pixels each true segment shares with each predicted one.

    Args:
        id_map: (H, W) true segment numbers ``0..num_true - 1``, 255 = unlabelled.
        segments: (H, W) predicted segment numbers ``0..num_predicted - 1``, -1 = no segment; on the same device.
        num_true: True segments, T.
        num_predicted: Predicted segments, P.
        name: What to call the image in an error.

    Returns:
        (T + 1, P + 1) int64; the last row are unlabelled pixels, the last column pixels without a prediction.

    Raises:
        LabelError: The sizes differ, or a map holds another number.
    """
    refuse_other_size(segments.shape, id_map.shape, name)
    if not id_map.numel():
        return np.zeros((num_true + 1, num_predicted + 1), np.int64)
    # Unlabelled pixels keep their own number as row, so that no pass over the pixels has to move them.
    rows, columns = max(num_true, IGNORE_INDEX + 1), num_predicted + 1
    label = (f"The label{of_image(name)}", num_true, f"{IGNORE_INDEX} (unlabelled)")
    _refuse_outside(id_map, (0, rows - 1), *label)
    _refuse_outside(
        segments, (-1, columns - 2), f"The prediction{of_image(name)}", num_predicted, "-1 (no segment)"
    )
    pairs = id_map.to(torch.int32, copy=True).mul_(columns).add_(segments).add_(1).flatten()
    table = torch.bincount(pairs, minlength=rows * columns).view(rows, columns).cpu().numpy()
    unlabelled = table[IGNORE_INDEX].copy()
    table[IGNORE_INDEX] = 0
    strange = np.flatnonzero(table[num_true:].any(1))
    if len(strange):
        _refuse(num_true + int(strange[0]), *label)
    table = np.concatenate([table[:num_true], unlabelled[None]])
    return np.roll(table, -1, axis=1)  # "no segment" from the first column to the last


def segment_counts(
    pixels: NDArray[np.int64],
    true_classes: NDArray[np.int64],
    true_is_crowd: NDArray[np.bool_],
    predicted_classes: NDArray[np.int64],
    num_classes: int,
) -> NDArray[np.float64]:
    """Match the segments of one image.

    Args:
        pixels: (T + 1, P + 1) as :func:`shared_pixels` returns them.
        true_classes: (T,) in ``0..num_classes - 1``.
        true_is_crowd: (T,)
        predicted_classes: (P,) in ``0..num_classes - 1``.
        num_classes: K.

    Returns:
        (4, K): IoU sum, true positives, false positives, false negatives.
    """
    shared, unlabelled = pixels[:-1, :-1], pixels[-1, :-1]
    true_area, area = pixels[:-1].sum(1), pixels[:, :-1].sum(0)
    union = true_area[:, None] + (area - unlabelled) - shared
    # IoU > 1/2 in whole numbers: at most one partner can have it, so there is nothing to assign.
    matched = (true_classes[:, None] == predicted_classes) & ~true_is_crowd[:, None] & (2 * shared > union)
    true, predicted = np.nonzero(matched)
    missed = ~matched.any(1) & ~true_is_crowd & (true_area > 0)

    crowd_of_class = np.full(num_classes, -1)
    crowds = np.flatnonzero(true_is_crowd & (true_area > 0))
    for label, row in zip(true_classes[crowds], crowds, strict=True):
        crowd_of_class[label] = row  # of several crowds of a class the last one counts, as in panopticapi
    crowd = crowd_of_class[predicted_classes]
    forgiven = unlabelled + np.where(crowd >= 0, pixels[crowd, np.arange(len(area))], 0)
    wrong = ~matched.any(0) & (2 * forgiven <= area) & (area > 0)

    pairs = (true, predicted)
    of_class = true_classes[true]
    return np.stack(
        [
            np.bincount(of_class, shared[pairs] / union[pairs], num_classes),
            np.bincount(of_class, minlength=num_classes),
            np.bincount(predicted_classes[wrong], minlength=num_classes),
            np.bincount(true_classes[missed], minlength=num_classes),
        ]
    ).astype(np.float64)


def _refuse_outside(numbers: Tensor, within: tuple[int, int], what: str, count: int, none: str) -> None:
    """Raise LabelError unless the (H, W) map holds whole numbers between two bounds, these included."""
    if numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
        raise LabelError(f"{what} holds {numbers.dtype} values; the numbers of segments are whole.")
    for bound in torch.aminmax(numbers):
        if not within[0] <= int(bound) <= within[1]:
            _refuse(int(bound), what, count, none)


def _refuse(number: int, what: str, count: int, none: str) -> None:
    known = f"0..{count - 1} and {none}" if count else f"{none} alone, as its table of segments is empty"
    raise LabelError(f"{what} holds the segment number {number}; allowed are {known}.")
