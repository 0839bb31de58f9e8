"""Turns id maps into the segments they hold, and those, where someone needs them, into binary masks.

The loss itself never makes masks: it reads the id map at the sampled points (``point_sampling``), so a target
costs one byte a pixel however many segments an image has.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vfmseg.errors import LabelError
from vfmseg.types import IGNORE_INDEX, Targets


@dataclass(frozen=True)
class Segments:
    """The segments of one image that are to be found: M ids with their classes, on the host."""

    ids: Tensor
    """(M,) int64, ascending: the value of the segment's pixels in the id map."""
    labels: Tensor
    """(M,) int64 class of each segment."""

    def __len__(self) -> int:
        return len(self.ids)


def present_segments(targets: tuple[Targets, ...], num_classes: int) -> tuple[Segments, ...]:
    """Return what each image's id map holds: every id that has a pixel, crowds and ignored pixels left out.

    All images are looked at together and come to the host in one transfer.

    Args:
        targets: B images, of any sizes.
        num_classes: K, to check the labels against.

    Raises:
        LabelError: an id map holds a number that is no segment, or a segment has a class the model lacks.
    """
    if not targets:
        return ()
    tables = [_segment_table(t, num_classes) for t in targets]
    num_ids = [len(labels) for labels, _ in tables]
    width = max(*num_ids, IGNORE_INDEX + 1) + 1  # the last column collects ids that no table can hold
    device = targets[0].id_map.device
    present = torch.zeros(len(targets) * width, dtype=torch.bool, device=device)
    for image, target in enumerate(targets):
        ids = target.id_map.flatten().long()
        if target.id_map.dtype != torch.uint8:
            ids = torch.where(ids < 0, width - 1, ids).clamp_(max=width - 1)
        present.index_fill_(0, ids + image * width, True)
    known = torch.cat([torch.cat([labels, crowd.long()]) for labels, crowd in tables])
    host = torch.cat([present.long(), known]).cpu()  # the one transfer
    present, known = host[: len(present)].bool().view(len(targets), width), host[len(present) :]

    segments, start = [], 0
    for image, count in enumerate(num_ids):
        labels, crowd = known[start : start + count], known[start + count : start + 2 * count].bool()
        start += 2 * count
        ids = present[image].nonzero().flatten()
        ids = ids[ids != IGNORE_INDEX]
        _check(image, ids, labels, count, num_classes)
        ids = ids[~crowd[ids]]
        segments.append(Segments(ids, labels[ids]))
    return tuple(segments)


def semantic_masks(id_map: Tensor) -> tuple[Tensor, Tensor]:
    """Return one binary mask per class that occurs in a semantic id map.

    Args:
        id_map: (H, W) integer class ids; 255 = ignored, which belongs to no mask.

    Returns:
        ``labels`` (M,) int64, ascending, and ``masks`` (M, H, W) bool, on the map's device.
    """
    labels = torch.unique(id_map).long()
    labels = labels[labels != IGNORE_INDEX]
    return labels, id_map == labels[:, None, None]


def _segment_table(target: Targets, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return class and crowd flag of every id an image may hold, on the device of the id map."""
    device = target.id_map.device
    labels = target.segment_classes
    if labels is None:
        labels = torch.arange(num_classes, device=device)
    crowd = target.segment_is_crowd
    if crowd is None:
        crowd = torch.zeros(len(labels), dtype=torch.bool, device=device)
    return labels.to(device), crowd.to(device)


def _check(image: int, ids: Tensor, labels: Tensor, num_ids: int, num_classes: int) -> None:
    """Raise if an id has no segment, or a segment that occurs has no class of the model."""
    unknown = ids[ids >= num_ids]
    if len(unknown):
        raise LabelError(
            f"the label map of image {image} of the batch holds an id outside its {num_ids} segments or "
            f"classes (first: {int(unknown[0])}): allowed are 0 to {num_ids - 1}, and {IGNORE_INDEX} for "
            "ignored pixels. Run `vfmseg check-data` on the data set."
        )
    wrong = labels[ids][(labels[ids] < 0) | (labels[ids] >= num_classes)]
    if len(wrong):
        raise LabelError(
            f"a segment of image {image} of the batch has class {int(wrong[0])}, but the model has "
            f"{num_classes} classes: allowed are 0 to {num_classes - 1}. "
            "Run `vfmseg check-data` on the data set."
        )
