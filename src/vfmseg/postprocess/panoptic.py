"""Turns the mask logits of one image into a panoptic map: each pixel in one segment at most.

The algorithm is that of MaskFormer (arXiv 2107.06278, sec. 3.4) in its published form: among the confident
queries each pixel goes to the one with the largest class score times mask probability, and a query whose own
mask lost too much to others is rejected. Here, confident queries are selected before anything is resized, and
pixels are computed only where bounds on the logits leave open which query wins, or where its mask ends.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vfmseg.postprocess.mask_tiles import Letterbox, MaskTiles, Tile, check_one_image, count_pixels
from vfmseg.types import MaskLogits, PanopticMap

_MAY_WIN, _MAY_BE_INSIDE, _MAY_BE_OUTSIDE = 1, 2, 4
"""What is still open about a query in some part of the image; bits."""


@torch.no_grad()
def panoptic_map(
    prediction: MaskLogits,
    plan: Letterbox,
    is_thing: Sequence[bool],
    *,
    score_threshold: float = 0.8,
    overlap_threshold: float = 0.8,
    mask_threshold: float = 0.5,
) -> PanopticMap:
    """Return the segments of one image.

    Queries are kept whose best class is not no-object and has a probability above ``score_threshold``. Each
    pixel is won by the kept query with the largest class probability times mask probability, the first of
    equals. A query is accepted if it won, in pixels, at least ``overlap_threshold`` of the size of its mask.
    In query order, an accepted query opens a segment, or joins that of its class if that is stuff. The
    segment holds the pixels that the query won and that are inside its mask; others stay without segment.

    A query with NaN or infinite mask logits, or whose class logits have no softmax (NaN, plus infinity), is
    left out with a warning that counts them.

    Args:
        prediction: mask logits (Q, h, w) and class logits (Q, K + 1) of one image.
        plan: where the image lies in the model's input; ``transforms.letterbox.LetterboxPlan`` is one.
        is_thing: (K,) whether a class is countable, as in ``LabelSpace.is_thing``.
        score_threshold: class probabilities must lie above it.
        overlap_threshold: least share of its mask, in size, that a query must win.
        mask_threshold: mask probability from which on a pixel is inside, in (0, 1).

    Returns:
        The map at ``plan.image_size``, on the device of the logits.
    """
    check_one_image(prediction)
    if prediction.class_logits.shape[1] != len(is_thing) + 1:
        raise ValueError(
            f"is_thing has {len(is_thing)} classes, but there are logits of "
            f"{prediction.class_logits.shape[1]} (classes and no-object)"
        )
    if not 0 < mask_threshold < 1:
        raise ValueError(f"mask_threshold is {mask_threshold}, but must lie between 0 and 1, both excluded")
    device = prediction.mask_logits.device
    kept, scores, classes = _confident(prediction, score_threshold)
    segments_of = np.full(len(kept) + 1, -1, np.int32)
    found_classes: list[int] = []
    found_scores: list[float] = []
    owners = torch.zeros(plan.image_size, dtype=torch.int16, device=device)
    if len(kept):
        masks = prediction.mask_logits[torch.from_numpy(kept).to(device)]
        limit = math.log(mask_threshold / (1 - mask_threshold))  # sigmoid(limit) = mask_threshold
        contest = _Contest(MaskTiles(masks, plan), torch.from_numpy(scores).to(device), limit)
        owners = contest.owners
        inside, won, both = contest.areas.cpu().numpy()
        accepted = (inside > 0) & (both > 0) & (won / np.maximum(inside, 1) >= overlap_threshold)
        stuff_segments: dict[int, int] = {}
        for query in np.flatnonzero(accepted).tolist():
            class_id = int(classes[query])
            if class_id in stuff_segments:
                segments_of[query] = stuff_segments[class_id]
                continue
            segments_of[query] = len(found_classes)
            if not is_thing[class_id]:
                stuff_segments[class_id] = len(found_classes)
            found_classes.append(class_id)
            found_scores.append(float(scores[query]))
    segments = torch.from_numpy(segments_of).to(device).index_select(0, owners.flatten().int())
    return PanopticMap(
        segments.view(plan.image_size),
        torch.tensor(found_classes, dtype=torch.int64, device=device),
        torch.tensor(found_scores, dtype=torch.float32, device=device),
    )


def may_be_confident(class_logits: Tensor, *, score_threshold: float = 0.8) -> Tensor:
    """Return the queries (k,) that :func:`panoptic_map` may keep, so that the masks of others need not be made.

    Args:
        class_logits: (Q, K + 1) of one image.
        score_threshold: as there.
    """
    best, classes = class_logits.float().softmax(-1).max(-1)
    # Negated, so that a query without a number is among them, which the map then leaves out and counts.
    return (
        ~((best <= score_threshold) | (classes == class_logits.shape[1] - 1) & best.isfinite())
    ).nonzero()[:, 0]


def _confident(
    prediction: MaskLogits, threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return number, class probability and class of the queries that compete, in query order, each (k,)."""
    no_object = prediction.class_logits.shape[1] - 1
    best, classes = prediction.class_logits.float().softmax(-1).max(-1)
    # A sum is finite if all its parts are, and costs a fraction of asking each.
    sums = prediction.mask_logits.flatten(1).sum(1, dtype=torch.float32)
    host = torch.stack([best, classes.float(), sums]).cpu().numpy()  # one transfer
    finite = np.isfinite(host[0]) & np.isfinite(host[2])
    if not finite.all():
        warnings.warn(
            f"{np.count_nonzero(~finite)} of {len(finite)} queries have NaN or infinite logits and are left "
            "out of the panoptic map. The weights are damaged, or training diverged: use a checkpoint from "
            "before.",
            RuntimeWarning,
            stacklevel=4,
        )
    kept = np.flatnonzero(finite & (host[1] != no_object) & (host[0] > threshold))
    return kept, host[0, kept], host[1, kept].astype(np.int64)


class _Contest:
    """k confident queries of one image, in query order, competing for its pixels."""

    def __init__(self, tiles: MaskTiles, scores: Tensor, limit: float) -> None:
        """Let queries with ``scores`` (k,) compete; a mask ends where its logits fall below ``limit``."""
        cut = list(tiles.tiles())
        size = cut[-1].rows.stop, cut[-1].columns.stop
        self._tiles, self._scores, self._limit = tiles, scores, limit
        self.owners = torch.empty(size, dtype=torch.int16, device=scores.device)
        """(H, W) number of the query that won the pixel; k where the pixel is outside the winner's mask."""
        self.areas = torch.zeros((3, len(scores)), dtype=torch.int64, device=scores.device)
        """(3, k) pixels: inside the query's mask; won, inside or not; won and inside."""
        for tile, state in zip(cut, _states(tiles, cut, scores, limit), strict=True):
            self._settle(tile, state)

    def _settle(self, tile: Tile, state: NDArray[np.uint8]) -> None:
        """Find the owners in a tile, computing only the queries about which ``state`` (k,) leaves doubt."""
        owner = self.owners[tile.rows, tile.columns]
        is_certain = (state & _MAY_BE_INSIDE == 0) | (state & _MAY_BE_OUTSIDE == 0)
        winners = np.flatnonzero(state & _MAY_WIN)
        asked = np.flatnonzero(~is_certain if len(winners) == 1 else ~is_certain | (state & _MAY_WIN > 0))
        full = np.setdiff1d(np.flatnonzero(state & _MAY_BE_OUTSIDE == 0), asked)
        self.areas[0, full] += owner.numel()
        if len(winners) == 1 and winners[0] not in asked:
            (winner,) = winners.tolist()
            self.areas[1, winner] += owner.numel()
            self.areas[2, winner] += owner.numel() if winner in full else 0
            owner.fill_(winner if winner in full else len(state))
        if not len(asked):
            return
        logits = self._tiles.logits(tile, asked.tolist())
        within = logits >= self._limit
        self.areas[0, asked] += count_pixels(within)
        if len(winners) > 1 or winners[0] in asked:
            self._play(logits, within, np.searchsorted(asked, winners), winners, owner)

    def _play(
        self,
        logits: Tensor,
        within: Tensor,
        places: NDArray[np.int64],
        winners: NDArray[np.int64],
        owner: Tensor,
    ) -> None:
        """Give each pixel of a tile to one of the ``winners``, which are at ``places`` of the logits."""
        at, numbers = (torch.from_numpy(ids).to(logits.device) for ids in (places, winners))
        contenders = (
            logits if len(at) == len(logits) else logits.index_select(0, at)
        )  # logits are not needed again
        best = contenders.sigmoid_().mul_(self._scores[numbers][:, None, None]).max(0).indices
        flat = best.flatten()
        is_inside = within.flatten(1).gather(0, at.index_select(0, flat)[None])[0]
        found = numbers.index_select(0, flat).masked_fill_(~is_inside, len(self._scores))
        owner.copy_(found.view(owner.shape))
        # Counts of won pixels, those outside the winner's mask first; bincount would wait for the device.
        places_won = flat + len(numbers) * is_inside
        won = places_won.new_zeros(2 * len(numbers)).scatter_add_(0, places_won, torch.ones_like(flat))
        outside, inside = won.view(2, -1)
        self.areas[1, numbers] += outside + inside
        self.areas[2, numbers] += inside


def _states(tiles: MaskTiles, cut: Sequence[Tile], scores: Tensor, limit: float) -> list[NDArray[np.uint8]]:
    """Say for each tile what is still open about each query, (k,) bits."""
    if not tiles.is_on_host:
        everything = np.full(len(scores), _MAY_WIN | _MAY_BE_INSIDE | _MAY_BE_OUTSIDE, np.uint8)
        return [everything] * len(cut)
    factor = scores[:, None, None]
    # A pixel may lie outside its bounds by rounding; nobody must lose by that.
    certain = tiles.lowest.sigmoid().mul_(factor).amax(0).mul_(1 - 1e-5)
    bits = (tiles.highest.sigmoid().mul_(factor) >= certain).to(torch.uint8)
    bits += (tiles.highest >= limit).to(torch.uint8) * _MAY_BE_INSIDE
    bits += (tiles.lowest < limit).to(torch.uint8) * _MAY_BE_OUTSIDE
    cells = bits.numpy()  # (k, cell rows, cell columns)
    return [np.bitwise_or.reduce(cells[:, tile.cell_rows, tile.cell_columns], axis=(1, 2)) for tile in cut]
