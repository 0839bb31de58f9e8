"""Turns the mask logits of one image into scored instance masks, best first, at one bit a pixel.

The published selection (Mask2Former, arXiv 2112.01527): the best pairs of query and class, each with the
query's whole mask and a score that is the class probability times the mean mask probability inside the mask.
A query that is chosen with several classes is resized once, in tiles, and only where its mask can be.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.postprocess.mask_tiles import Letterbox, MaskTiles, check_one_image, count_pixels
from vfmseg.types import Instances, MaskLogits


@torch.no_grad()
def instances(prediction: MaskLogits, plan: Letterbox, *, max_instances: int = 100) -> Instances:
    """Return the best instances of one image; there is no score threshold, and nothing suppresses overlaps.

    The ``max_instances`` pairs of query and class with the largest class probability (softmax over K + 1,
    no-object left out) are kept; of equals, the lower query, then the lower class. A mask is where the
    query's logit is above 0. Scores are the class probability times the mean mask probability inside the
    mask, 0 for empty masks. The result is sorted by score; equals stay in the order of class probability.

    A query with NaN or infinite mask logits, or whose class logits have no softmax (NaN, plus infinity), is
    left out with a warning that counts them.

    Args:
        prediction: mask logits (Q, h, w) and class logits (Q, K + 1) of one image.
        plan: where the image lies in the model's input; ``transforms.letterbox.LetterboxPlan`` is one.
        max_instances: most pairs to return, S; fewer where there are fewer.

    Returns:
        S instances at ``plan.image_size``, on the device of the logits.
    """
    check_one_image(prediction)
    device = prediction.mask_logits.device
    queries, classes, class_scores = _best_pairs(prediction, max_instances)
    used, mask_of_pair = np.unique(queries, return_inverse=True)
    masks = prediction.mask_logits[torch.from_numpy(used).to(device)]
    packed, mask_scores = _packed_masks(MaskTiles(masks, plan), len(used), plan)
    pair = torch.from_numpy(mask_of_pair.reshape(-1)).to(device)
    scores = torch.from_numpy(class_scores).to(device) * mask_scores[pair]
    order = scores.argsort(descending=True, stable=True)
    return Instances(
        packed[pair[order]],
        torch.from_numpy(classes).to(device)[order],
        scores[order],
        plan.image_size,
    )


def may_be_selected(class_logits: Tensor, *, max_instances: int = 100) -> Tensor:
    """Return the queries (q,), ascending, that :func:`instances` may select, so that other masks need not be made.

    Args:
        class_logits: (Q, K + 1) of one image.
        max_instances: as there.
    """
    probabilities = class_logits.float().softmax(-1)[:, :-1]  # Q K
    is_finite = probabilities.isfinite().all(1)
    ranked = torch.where(is_finite[:, None], probabilities, -1).flatten()
    best = ranked.sort(descending=True, stable=True).indices[:max_instances]
    return torch.cat([best // probabilities.shape[1], (~is_finite).nonzero()[:, 0]]).unique()


def _best_pairs(
    prediction: MaskLogits, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return query, class and class probability of the best pairs, best first, each (S,)."""
    num_classes = prediction.class_logits.shape[1] - 1
    probabilities = prediction.class_logits.float().softmax(-1)[:, :-1]  # Q K
    # A sum is finite if all its parts are, and costs a fraction of asking each.
    sums = prediction.mask_logits.flatten(1).sum(1, dtype=torch.float32)
    is_finite = probabilities.isfinite().all(1) & sums.isfinite()
    ranked = torch.where(is_finite[:, None], probabilities, -1).flatten()
    best, pairs = ranked.sort(descending=True, stable=True)
    kept = best[:count]
    # Pair numbers fit float64, so that one transfer brings all.
    host = torch.cat([kept.double(), pairs[:count].double(), is_finite.double()]).cpu().numpy()
    finite = host[2 * len(kept) :]
    if not finite.all():
        warnings.warn(
            f"{np.count_nonzero(finite == 0)} of {len(finite)} queries have NaN or infinite logits and are "
            "left out of the instances. The weights are damaged, or training diverged: use a "
            "checkpoint from before.",
            RuntimeWarning,
            stacklevel=4,
        )
    usable = host[: len(kept)] >= 0
    found = host[len(kept) : 2 * len(kept)][usable].astype(np.int64)
    return found // num_classes, found % num_classes, host[: len(kept)][usable].astype(np.float32)


def _packed_masks(tiles: MaskTiles, count: int, plan: Letterbox) -> tuple[Tensor, Tensor]:
    """Return ``count`` masks (count, H, ceil(W / 8)) uint8 and their mean probabilities inside (count,)."""
    height, width = plan.image_size
    packed = torch.zeros((count, height, -(-width // 8)), dtype=torch.uint8, device=tiles.device)
    totals = torch.zeros((2, count), dtype=torch.float64, device=tiles.device)  # probability, pixels
    if not count:
        return packed, totals[0].float()
    for tile in tiles.tiles():
        asked = np.arange(count)
        if tiles.is_on_host:
            highest = tiles.highest[:, tile.cell_rows, tile.cell_columns].amax((1, 2))
            asked = np.flatnonzero(highest.numpy() > 0)
        if not len(asked):
            continue
        logits = tiles.logits(tile, asked.tolist())
        is_inside = logits > 0
        columns = slice(tile.columns.start // 8, -(-tile.columns.stop // 8))  # tiles start at whole bytes
        packed[asked, tile.rows, columns] = _pack(is_inside)
        totals[0, asked] += logits.sigmoid_().mul_(is_inside).sum((1, 2))
        totals[1, asked] += count_pixels(is_inside)
    return packed, (totals[0] / (totals[1] + 1e-6)).float()


def _pack(masks: Tensor) -> Tensor:
    """Pack (n, h, w) bool into (n, h, ceil(w / 8)) uint8, the first pixel in the highest bit."""
    if masks.device.type == "cpu":
        return torch.from_numpy(np.packbits(masks.numpy(), axis=-1))
    return _pack_by_arithmetic(masks)


def _pack_by_arithmetic(masks: Tensor) -> Tensor:
    """Do as ``_pack`` on the device of the masks, which then need not travel at a byte a pixel."""
    missing = -masks.shape[-1] % 8
    octets = F.pad(masks, (0, missing)).unflatten(-1, (-1, 8))
    values = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8, device=masks.device)
    return (octets * values).sum(-1, dtype=torch.uint8)
