"""Turns the scored and the true masks of one image into one short record per scored mask: what it matched.

Masks are compared at one bit a pixel, in whole numbers, and then forgotten: a record says for every size range
and IoU threshold whether the mask found an object and whether it counts at all. Rules of the COCO detection
task (Lin et al. 2014 and the task's evaluation page on cocodataset.org): the best scores choose first, each the
object of its class that it overlaps most; crowds and objects outside the size range are chosen last, and what
chose them is left out of the count, as is what chose nothing and is itself outside the size range.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""(T,)"""

SIZE_RANGES = ("all", "small", "medium", "large")
"""Names of the A ranges of mask area; an area on a bound is in both ranges."""

AREA_BOUNDS_PX = np.array([[0, 1e10], [0, 32**2], [32**2, 96**2], [96**2, 1e10]])
"""(A, 2) smallest and largest area."""

MAX_DETECTIONS = (1, 10, 100)
"""Scored masks per image and class that recall is told for; none is matched beyond the last number."""

NUM_FLAGS = len(SIZE_RANGES) * len(IOU_THRESHOLDS)
"""Flags in a record: flag ``a * T + t`` is for size range a and threshold t."""

RECORD = np.dtype(
    [
        ("score", np.float32),
        ("label", np.int32),
        ("image", np.int32),
        ("rank", np.int32),  # 0 for the best score of this image and class
        ("matched", np.uint64),  # NUM_FLAGS bits
        ("ignored", np.uint64),  # NUM_FLAGS bits
    ]
)
"""What remains of one scored mask: 32 bytes."""

_RANGE_FLAGS = np.array(
    [(2 ** len(IOU_THRESHOLDS) - 1) << a * len(IOU_THRESHOLDS) for a in range(len(SIZE_RANGES))], np.uint64
)
"""(A,) all flags of one size range."""

_REACHED_FLAGS = [
    sum((2**reached - 1) << a * len(IOU_THRESHOLDS) for a in range(len(SIZE_RANGES)))
    for reached in range(len(IOU_THRESHOLDS) + 1)
]
"""T + 1 sets of flags, for an IoU that reaches the first 0..T thresholds."""


def mask_areas(masks: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the (S,) pixels set in each of (S, N) bytes of bits."""
    return _differing_bits(masks, np.zeros((1, masks.shape[1]), np.uint8))[:, 0]


def intersections(
    one: NDArray[np.uint8],
    one_areas: NDArray[np.int64],
    other: NDArray[np.uint8],
    other_areas: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Return the (S, G) pixels shared by (S, N) and (G, N) bytes of bits, whose (S,) and (G,) areas are known."""
    return (one_areas[:, None] + other_areas - _differing_bits(one, other)) // 2


def _differing_bits(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the (S, G) number of bits in which (S, N) and (G, N) bytes differ.

    OpenCV counts them without writing anything down, unlike ``numpy.bitwise_count``, which NumPy 1 lacks as well.
    """
    differing = np.zeros((len(one), len(other)), np.int64)
    if one.size and other.size:
        # It hands distances out nearest first: ask for all of them, and put them back in their order.
        nearest, places = cv2.batchDistance(one, other, cv2.CV_32S, normType=cv2.NORM_HAMMING, K=len(other))
        np.put_along_axis(differing, places, nearest, axis=1)
    return differing


def match_image(
    masks: NDArray[np.uint8],
    labels: NDArray[np.int64],
    scores: NDArray[np.float32],
    true_masks: NDArray[np.uint8],
    true_labels: NDArray[np.int64],
    is_crowd: NDArray[np.bool_],
    true_areas: NDArray[np.float64] | None,
    *,
    iou_thresholds: NDArray[np.float64] = IOU_THRESHOLDS,
) -> tuple[NDArray[np.void], NDArray[np.uint64]]:
    """Match the masks of one image, class by class.

    Args:
        masks: (S, N) bytes of bits of the scored masks, in any order.
        labels: (S,) their classes.
        scores: (S,); of equal ones the first chooses first.
        true_masks: (G, N) bytes of bits; they may overlap.
        true_labels: (G,)
        is_crowd: (G,)
        true_areas: (G,) areas that decide on the size range, in pixels; None takes the masks' own.
        iou_thresholds: (T,) an IoU matches if it reaches them.

    Returns:
        A ``RECORD`` (image 0) per scored mask, at most 100 per class, best score of each class first; and the
        (G,) flags under which each true mask does not count.
    """
    order = np.lexsort((-scores, labels))
    labels = labels[order]
    rank = np.arange(len(labels)) - np.searchsorted(labels, labels)
    order, labels, rank = (values[rank < MAX_DETECTIONS[-1]] for values in (order, labels, rank))
    areas = mask_areas(masks)[order]
    true_pixels = mask_areas(true_masks)
    outside = _flags_outside(areas)
    true_ignored = _flags_outside(true_pixels if true_areas is None else true_areas)
    true_ignored[is_crowd] = _RANGE_FLAGS.sum()

    records = np.zeros(len(order), RECORD)
    records["score"], records["label"], records["rank"] = scores[order], labels, rank
    for label in np.unique(true_labels):
        found = slice(*np.searchsorted(labels, [label, label + 1]))
        true = np.flatnonzero(true_labels == label)
        shared = intersections(masks[order[found]], areas[found], true_masks[true], true_pixels[true])
        # A crowd stands for unknown objects: a mask inside it is all right however little of it it covers.
        union = areas[found, None] + np.where(is_crowd[true], 0, true_pixels[true] - shared)
        iou = np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)
        records["matched"][found], records["ignored"][found] = _choose(
            np.searchsorted(iou_thresholds, iou, side="right"),
            iou,
            is_crowd[true].tolist(),
            true_ignored[true].tolist(),
        )
    records["ignored"] |= outside & ~records["matched"]
    return records, true_ignored


def _flags_outside(areas: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return the (S,) flags of the size ranges that do not hold each of (S,) areas."""
    outside = (areas[:, None] < AREA_BOUNDS_PX[:, 0]) | (areas[:, None] > AREA_BOUNDS_PX[:, 1])
    return np.where(outside, _RANGE_FLAGS, np.uint64(0)).sum(1, dtype=np.uint64)


def _choose(
    reached: NDArray[np.int64], iou: NDArray[np.float64], is_crowd: list[bool], ignored: list[int]
) -> tuple[list[int], list[int]]:
    """Let each scored mask in turn choose a true one, for all size ranges and thresholds at once.

    Flags are bits of plain integers, so that one step decides for all of them; most masks reach one true mask
    or none, so that steps are few.

    Args:
        reached: (S, G) number of thresholds that the IoU reaches.
        iou: (S, G), best score first.
        is_crowd: G; a crowd may be chosen again and again.
        ignored: G sets of flags.

    Returns:
        S sets of flags under which the mask has a partner, and under which that partner is ignored.
    """
    matched, matched_ignored, taken = [0] * len(iou), [0] * len(iou), [0] * len(ignored)
    for mask in np.flatnonzero(reached.any(1)).tolist():
        near = np.flatnonzero(reached[mask])
        near = near[np.lexsort((near, iou[mask, near]))[::-1]]  # of equal IoUs the later one, as pycocotools
        for last in (False, True):
            for true in near.tolist():
                hit = _REACHED_FLAGS[reached[mask, true]] & ~matched[mask]
                hit &= ignored[true] if last else ~ignored[true]
                if not is_crowd[true]:
                    hit &= ~taken[true]
                matched[mask] |= hit
                taken[true] |= hit
                if last:
                    matched_ignored[mask] |= hit
    return matched, matched_ignored
