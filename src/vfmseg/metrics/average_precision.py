"""Turns pairs of scored and true masks into average precision, image by image, without keeping a mask.

Masks are compared when an image is shown (:mod:`vfmseg.metrics.instance_matching`); what is kept is 32 bytes per
scored mask, 16 MB for the 5,000 images of COCO val, and :mod:`vfmseg.metrics.average_precision_scores` makes the
numbers. They are those of pycocotools' COCOeval for segmentation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.errors import LabelError
from vfmseg.metrics.average_precision_scores import (
    RECALL_LEVELS,
    AveragePrecisionScores,
    average_precision_scores,
)
from vfmseg.metrics.checks import of_image, refuse_other_size, refuse_unknown_classes
from vfmseg.metrics.instance_matching import IOU_THRESHOLDS, NUM_FLAGS, RECORD, SIZE_RANGES, match_image
from vfmseg.types import IGNORE_INDEX, Instances, InstanceTruth, Size, Targets

__all__ = [
    "AveragePrecision",
    "AveragePrecisionScores",
    "average_precision_scores",
    "truth_of_masks",
    "truth_of_targets",
]


_ROUNDED_THRESHOLDS = torch.linspace(0.5, 0.95, len(IOU_THRESHOLDS)).double().numpy()
_ROUNDED_LEVELS = torch.linspace(0, 1, len(RECALL_LEVELS)).double().numpy()
"""What torchmetrics hands to pycocotools: float32, and computed in float32, not rounded to it."""


def truth_of_masks(
    masks: Tensor,
    classes: Tensor,
    is_crowd: Tensor | None = None,
    areas: Tensor | None = None,
) -> InstanceTruth:
    """Pack (G, H, W) masks, bool or whole numbers of which 0 is outside; the rest as in the fields."""
    packed = torch.from_numpy(np.packbits(masks.cpu().numpy() != 0, axis=-1))
    return InstanceTruth(packed, classes, is_crowd, areas, (masks.shape[1], masks.shape[2]))


def truth_of_targets(targets: Targets, is_thing: Sequence[bool] | None = None) -> InstanceTruth:
    """Make the masks of the segments in a flat map of segment numbers.

    Segments without a pixel do not exist. Official AP wants masks that overlap, where the annotations do.

    Args:
        targets: An (H, W) map of segment numbers, 255 = none, with the class of each.
        is_thing: K flags; where given, only segments of things become masks.

    Raises:
        LabelError: The map holds classes rather than segments, or a number that has no segment.
    """
    if targets.segment_classes is None:
        raise LabelError(
            "The label has no table of segments: average precision needs to know the instances, and a map of "
            "classes does not tell them apart."
        )
    classes = targets.segment_classes.cpu().numpy()
    id_map = targets.id_map.cpu().numpy()
    numbers = np.unique(id_map)
    numbers = numbers[numbers != IGNORE_INDEX].astype(np.int64)
    if len(numbers) and not 0 <= numbers[0] <= numbers[-1] < len(classes):
        raise LabelError(
            f"The label holds segment numbers {numbers[0]}..{numbers[-1]}, but its table has {len(classes)} "
            f"segments: allowed are the numbers from 0 that the table has, and {IGNORE_INDEX} (none)."
        )
    if is_thing is not None:
        refuse_unknown_classes(classes[numbers], len(is_thing), "label", "")
        numbers = numbers[np.array(is_thing, bool)[classes[numbers]]]
    masks = np.zeros((len(numbers), id_map.shape[0], -(-id_map.shape[1] // 8)), np.uint8)
    for mask, number in zip(
        masks, numbers, strict=True
    ):  # one at a time: at a byte a pixel all are gigabytes
        mask[:] = np.packbits(id_map == number, axis=1)
    crowd = targets.segment_is_crowd
    return InstanceTruth(
        torch.from_numpy(masks),
        torch.from_numpy(classes[numbers]),
        None if crowd is None else crowd.cpu()[torch.from_numpy(numbers)],
        None,
        (id_map.shape[0], id_map.shape[1]),
    )


class AveragePrecision:
    """Collects, over all images shown to it, which scored masks find which true ones.

    ``published=True`` counts as torchmetrics does in EoMT's evaluation, to compare with its printed numbers. It
    differs from pycocotools, which is right, in three points: images without a true mask are dropped, and false
    positives on them with it; recall levels and IoU thresholds are float32, so that a recall of exactly 0.07, say,
    misses its level; and the size range of an object goes by its mask even where the annotation has an area.

    Attributes:
        num_objects: (K, 4) int64 objects to find per class and size range (all, small, medium, large).
    """

    def __init__(
        self, num_classes: int, device: torch.device | str = "cpu", *, published: bool = False
    ) -> None:
        """Start from nothing.

        Args:
            num_classes: K.
            device: Where to meet other processes (NCCL wants a GPU); masks are compared on the CPU.
            published: Count as EoMT's published numbers were counted, see above.

        Raises:
            LabelError: ``num_classes`` is less than 1.
        """
        if num_classes < 1:
            raise LabelError(f"{num_classes} classes cannot be scored: give 1 or more.")
        self.num_objects = torch.zeros((num_classes, len(SIZE_RANGES)), dtype=torch.int64)
        self.published = published
        self._device = torch.device(device)
        self._records: list[NDArray[np.void]] = []
        self._images = 0

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.num_objects)

    def update(self, prediction: Instances, truth: InstanceTruth, *, name: str = "") -> None:
        """Match the masks of one image.

        Args:
            prediction: Scored masks at the label's own size; of each class the 100 best scores take part.
            truth: The true masks.
            name: What to call the image in an error.

        Raises:
            LabelError: The sizes differ, a table does not fit its masks, a score is no number, or a class does not
                exist. Nothing is counted then.
        """
        refuse_other_size(prediction.size, truth.size, name)
        masks = _bytes(prediction.packed_masks, prediction.size, "prediction", name)
        true_masks = _bytes(truth.packed_masks, truth.size, "label", name)
        labels = _table(prediction.classes, len(masks), self.num_classes, "prediction", name)
        true_labels = _table(truth.classes, len(true_masks), self.num_classes, "label", name)
        scores = prediction.scores.to("cpu", torch.float32).numpy()
        if len(scores) != len(masks) or np.isnan(scores).any():
            raise LabelError(
                f"The prediction{of_image(name)} has {len(masks)} masks and {len(scores)} scores, of which "
                f"{np.isnan(scores).sum()} are not numbers: every mask needs a score to be ranked by."
            )
        image = self._images
        self._images += 1
        if self.published and not len(true_masks):
            return
        crowd, areas = truth.is_crowd, None if self.published else truth.areas
        records, ignored = match_image(
            masks,
            labels,
            scores,
            true_masks,
            true_labels,
            np.zeros(len(true_masks), bool) if crowd is None else crowd.cpu().numpy().astype(bool),
            None if areas is None else areas.cpu().numpy().astype(np.float64),
            iou_thresholds=_ROUNDED_THRESHOLDS if self.published else IOU_THRESHOLDS,
        )
        records["image"] = image
        self._records.append(records)
        for column, flag in enumerate(range(0, NUM_FLAGS, NUM_FLAGS // len(SIZE_RANGES))):
            objects = true_labels[(ignored >> np.uint64(flag) & np.uint64(1)) == 0]
            counts = np.bincount(objects, minlength=self.num_classes)
            self.num_objects[:, column] += torch.from_numpy(counts)

    def merge(self, other: AveragePrecision) -> None:
        """Add what another metric over the same classes has collected, as if its images had come after.

        Raises:
            LabelError: The other metric has another number of classes, or counts by the other rules.
        """
        if (other.num_classes, other.published) != (self.num_classes, self.published):
            raise LabelError(
                "Records of two average precisions can only be added over the same classes and with the same "
                "`published`."
            )
        theirs = other.records()
        theirs["image"] += self._images
        self._records.append(theirs)
        self._images += other._images
        self.num_objects += other.num_objects

    def all_reduce(self) -> None:
        """Collect the records of all processes in each of them; does nothing outside distributed runs.

        Image i of process r is taken to be image i * processes + r of the data set, as the validation loader
        deals them out. This only matters where two images have masks with exactly equal scores.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return
        world = dist.get_world_size()
        objects = self.num_objects.to(self._device)
        dist.all_reduce(objects)
        self.num_objects = objects.cpu()
        own = torch.from_numpy(self.records().view(np.uint8))
        size = torch.tensor([len(own), self._images], device=self._device)
        sizes = [torch.empty_like(size) for _ in range(world)]
        dist.all_gather(sizes, size)
        lengths, images = torch.stack(sizes).T.tolist()
        padded = torch.zeros(max(*lengths, 1), dtype=torch.uint8)
        padded[: len(own)] = own
        padded = padded.to(self._device)
        shares = [torch.empty_like(padded) for _ in range(world)]
        dist.all_gather(shares, padded)
        self._records = [
            share[:length].cpu().numpy().view(RECORD) for share, length in zip(shares, lengths, strict=True)
        ]
        for rank, records in enumerate(self._records):
            records["image"] = records["image"] * world + rank
        self._images = max(images) * world

    def reset(self) -> None:
        """Forget everything collected so far."""
        self.num_objects.zero_()
        self._records.clear()
        self._images = 0

    def records(self) -> NDArray[np.void]:
        """Return a copy of what is kept of every scored mask, see ``RECORD``."""
        return np.concatenate([np.zeros(0, RECORD), *self._records])

    def scores(self, names: Sequence[str]) -> AveragePrecisionScores:
        """Return the scores of everything collected so far, see :func:`average_precision_scores`."""
        levels = _ROUNDED_LEVELS if self.published else RECALL_LEVELS
        return average_precision_scores(
            self.records(), self.num_objects.numpy().copy(), names, recall_levels=levels
        )


def _bytes(packed: Tensor, size: Size, what: str, name: str) -> NDArray[np.uint8]:
    """Return (S, H, ceil(W / 8)) packed masks as (S, N) bytes, checked."""
    masks = packed.cpu().numpy()
    expected = (size[0], -(-size[1] // 8))
    if masks.dtype != np.uint8 or masks.ndim != 3 or masks.shape[1:] != expected:
        raise LabelError(
            f"The masks of the {what}{of_image(name)} are {masks.dtype} of shape {masks.shape}; for size {size} they "
            f"must be uint8 of shape (masks, {expected[0]}, {expected[1]}), eight pixels to a byte."
        )
    if size[1] % 8 and (masks[..., -1] & (0xFF >> size[1] % 8)).any():
        raise LabelError(
            f"The masks of the {what}{of_image(name)} have pixels beyond the right edge: the last {-size[1] % 8} "
            "bits of every row must be 0. Pack them with numpy.packbits."
        )
    return np.ascontiguousarray(masks).reshape(len(masks), expected[0] * expected[1])  # (S, N)


def _table(classes: Tensor, masks: int, num_classes: int, what: str, name: str) -> NDArray[np.int64]:
    """Return (S,) classes, checked."""
    labels = classes.cpu().numpy()
    if labels.shape != (masks,):
        raise LabelError(
            f"The {what}{of_image(name)} has {masks} masks, but {labels.size} classes: give one class per mask."
        )
    refuse_unknown_classes(labels, num_classes, what, name)
    return labels.astype(np.int64)
