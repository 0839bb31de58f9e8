"""Segments and instances in, what is drawn of them out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vfmseg.types import IGNORE_INDEX, Instances, LabelSpace, PanopticMap, Sample, Targets
from vfmseg.visualize.overlays import Painted, side_by_side

_SHOWN_SCORE = 0.5
"""Instances below it are not drawn: there are always a hundred of them."""


def paint_targets(targets: Targets, label_space: LabelSpace) -> Painted:
    """Paint the true segments."""
    assert targets.segment_classes is not None
    ids = targets.id_map.cpu().numpy().astype(np.int32)
    return _paint(np.where(ids == IGNORE_INDEX, -1, ids), targets.segment_classes.tolist(), label_space)


def paint_panoptic(found: PanopticMap, label_space: LabelSpace) -> Painted:
    """Paint a panoptic map."""
    return _paint(found.segments.cpu().numpy(), found.segment_classes.tolist(), label_space)


def paint_instances(found: Instances, label_space: LabelSpace, *, min_score: float = _SHOWN_SCORE) -> Painted:
    """Paint instances of at least ``min_score``, the best on top."""
    segments = np.full(found.size, -1, np.int32)
    chosen = np.flatnonzero(found.scores.cpu().numpy() >= min_score)
    for place in chosen[::-1].tolist():
        mask = np.unpackbits(found.packed_masks[place].cpu().numpy(), axis=1, count=found.size[1])
        segments[mask.astype(bool)] = place
    labels = found.classes.tolist()
    scores = found.scores.tolist()
    names = [f"{label_space.names[labels[i]]} {100 * scores[i]:.0f}" for i in chosen.tolist()]
    return _paint(segments, [labels[i] for i in chosen.tolist()], label_space, names)


def beside_truth(sample: Sample, found: Painted, label_space: LabelSpace) -> NDArray[np.uint8]:
    """Return image, true segments and ``found`` side by side, (H, W', 3), segments with their names."""
    image = sample.image.permute(1, 2, 0).cpu().numpy()
    return side_by_side(image, paint_targets(sample.targets, label_space), found, label_space)


def _paint(
    segments: NDArray[np.int32],
    classes: Sequence[int],
    label_space: LabelSpace,
    names: Sequence[str] | None = None,
) -> Painted:
    table = np.array([*classes, IGNORE_INDEX], np.int16)  # -1, no segment, reads the last entry
    own = [label_space.names[c] for c in classes] if names is None else names
    return Painted(table[segments], segments, tuple(own))
