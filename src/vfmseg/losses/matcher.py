"""Turns predicted masks and the segments of each image into pairs: which query is to learn which segment.

The cost of a pair is that of Mask2Former (mask cross-entropy, dice and class, at random points); the cheapest
one-to-one assignment is found on the host (Hungarian method). Costs are float32 whatever autocast says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from vfmseg.losses.masks import Segments

# What a cost that is no number is replaced by: no finite cost comes near it, so such a pair is made last.
_COST_OF_NONSENSE = 1e10


@dataclass(frozen=True)
class Assignment:
    """One-to-one pairs of one image at one layer, on the host."""

    queries: Tensor
    """(n,) int64, ascending; n = min(Q, M)."""
    segments: Tensor
    """(n,) int64 index into the image's M segments."""


@dataclass(frozen=True)
class Pairs:
    """The pairs of all layers and images: int64 tensors of shape (L, n), image-major, query-ascending."""

    image: Tensor
    query: Tensor
    id: Tensor
    """The segment's value in its image's id map."""
    label: Tensor
    """The segment's class."""

    def to(self, device: torch.device) -> Pairs:
        """Return the pairs on ``device``."""
        image, query, ids, label = torch.stack([self.image, self.query, self.id, self.label]).to(device)
        return Pairs(image, query, ids, label)


def matching_cost(
    mask_values: Tensor,
    segment_values: Tensor,
    class_logits: Tensor,
    labels: Tensor,
    *,
    mask_weight: float,
    dice_weight: float,
    class_weight: float,
) -> Tensor:
    """Return (Q, M) float32 cost of giving each segment to each query (Mask2Former, section 3.1).

    Args:
        mask_values: (P, Q) mask logits at P points.
        segment_values: (M, P) share of each segment at the same points, in [0, 1].
        class_logits: (Q, K + 1) float.
        labels: (M,) int64 class of each segment.
        mask_weight: weight of the binary cross-entropy, averaged over the points.
        dice_weight: weight of the dice cost.
        class_weight: weight of minus the probability of the segment's class.
    """
    with torch.no_grad(), torch.autocast(device_type=mask_values.device.type, enabled=False):
        mask_values, segment_values = mask_values.float(), segment_values.float()
        # Cross-entropy of logit m against t is softplus(m) - m t: only the last term depends on the pair.
        cross = F.softplus(mask_values).sum(0) - segment_values @ mask_values  # M Q
        probability = mask_values.sigmoid()  # P Q
        overlap = segment_values @ probability  # M Q
        areas = probability.sum(0) + segment_values.sum(1, keepdim=True)  # M Q
        dice = 1 - (2 * overlap + 1) / (areas + 1)
        class_probability = class_logits.detach().float().softmax(-1)[:, labels].t()  # M Q
        cost = mask_weight * cross / len(mask_values) + dice_weight * dice - class_weight * class_probability
        return cost.t()


def assign(costs: Sequence[Tensor]) -> tuple[list[Assignment], int]:
    """Return the cheapest pairs for every cost matrix, all fetched in one transfer to the host.

    Args:
        costs: (Q, M) float matrices, of any layers and images.

    Returns:
        One assignment per matrix, and how many of all costs were not finite. Those count as dearer than any
        other, so that a prediction of NaN stops neither the run nor the other queries' matches.
    """
    if not costs:
        return [], 0
    host = torch.cat([cost.flatten() for cost in costs]).cpu().numpy()
    finite = np.isfinite(host)
    host = np.where(finite, host, np.float32(_COST_OF_NONSENSE))
    assignments, start = [], 0
    for cost in costs:
        matrix = host[start : start + cost.numel()].reshape(cost.shape)
        start += cost.numel()
        queries, segments = linear_sum_assignment(matrix)
        assignments.append(
            Assignment(
                torch.from_numpy(queries.astype(np.int64)), torch.from_numpy(segments.astype(np.int64))
            )
        )
    return assignments, int(finite.size - finite.sum())


def join(assignments: Sequence[Assignment], segments: Sequence[Segments], num_layers: int) -> Pairs:
    """Return all assignments as one table.

    Args:
        assignments: L * B of them, layer by layer and image by image.
        segments: what there is to find in each of the B images.
        num_layers: L.
    """
    of_image = list(segments) * num_layers
    image = [torch.full_like(a.queries, i % len(segments)) for i, a in enumerate(assignments)]
    ids = [s.ids[a.segments] for a, s in zip(assignments, of_image, strict=True)]
    labels = [s.labels[a.segments] for a, s in zip(assignments, of_image, strict=True)]
    num_pairs = sum(len(a.queries) for a in assignments) // num_layers

    def by_layer(items: list[Tensor]) -> Tensor:
        return torch.cat(items).view(num_layers, num_pairs)

    return Pairs(by_layer(image), by_layer([a.queries for a in assignments]), by_layer(ids), by_layer(labels))
