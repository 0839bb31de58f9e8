"""Turns class logits at the patch grid and id maps at image size into the cross-entropy of every pixel.

The published protocol upsamples the logits bilinearly to image size and takes the cross-entropy there, which
costs several full-size copies of (B, K, H, W). Here loss and gradient are computed together, a slice of the
image at a time, and only the gradient at the grid is kept.

Image rows that lie between the same two grid rows form one *cell*; the m-th row of a cell is its *phase* m.
All rows of one phase are one step of work: neighbouring grid rows are mixed, the softmax is taken, and its
gradient is added back to the same two grid rows. Sums run in a fixed order, so results repeat bit for bit on
every device, and no product of matrices is involved, so no matmul precision setting reaches them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vfmseg.errors import LabelError, RecipeError
from vfmseg.losses.settings import Average, check_average
from vfmseg.types import IGNORE_INDEX

# Elements in one working buffer: few enough for a CPU's caches, enough to keep an accelerator's cores busy.
_BUFFER_ELEMENTS = {"cpu": 2**20}
_BUFFER_ELEMENTS_ACCELERATOR = 2**24


def pixel_cross_entropy(
    logits: Tensor,
    id_maps: Tensor,
    *,
    class_weights: Tensor | None = None,
    average: Average = "image",
) -> Tensor:
    """Return the cross-entropy of bilinearly upsampled logits, without ever holding them at full size.

    Equal to ``F.cross_entropy(F.interpolate(logits, (H, W), mode="bilinear"), id_maps, ignore_index=255)``
    for ``average="batch"``. With ``"image"`` each image is averaged over its own labelled pixels and the
    images are averaged: what a batch of one image with accumulation computes (benchmark protocol), and the
    same number however a batch is cut into micro-batches or spread over processes.

    Computed in float32 (float64 for float64 logits), also under autocast. Differentiable once: a backward
    pass with ``create_graph`` is refused.

    Args:
        logits: (B, K, h, w) float, at the patch grid.
        id_maps: (B, H, W) integer class ids ``0..K-1``; 255 = ignored.
        class_weights: (K,) float weight of each class, or None for all ones. Normalised as in
            ``F.cross_entropy``: by the sum of the weights of the pixels that count.
        average: ``"image"`` or ``"batch"`` (this process's batch).

    Returns:
        Scalar. An image without any labelled pixel contributes 0, and counts as an image.

    Raises:
        LabelError: an id is neither a class nor 255. On a GPU, where looking would stall the queue, the loss
            is NaN instead.
        RecipeError: ``class_weights`` has another length than K, or ``average`` is unknown.
    """
    num_classes = logits.shape[1]
    check_average(average)
    if id_maps.device.type == "cpu":
        _check_ids(id_maps, num_classes)
    with torch.autocast(device_type=logits.device.type, enabled=False):
        if logits.dtype != torch.float64:
            logits = logits.float()
        weight_of_id = _weight_table(class_weights, num_classes, logits)
        loss: Tensor = _UpsampledCrossEntropy.apply(logits, id_maps, weight_of_id, average)
    return loss


class _UpsampledCrossEntropy(torch.autograd.Function):
    """Keeps the gradient that the forward pass computed along with the loss."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, id_maps: Tensor, weight_of_id: Tensor, average: str) -> Tensor:
        loss, gradient = _loss_and_gradient(
            logits, id_maps, weight_of_id, average, with_gradient=ctx.needs_input_grad[0]
        )
        ctx.save_for_backward(*([] if gradient is None else [gradient]))
        return loss

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor, None, None, None]:
        if torch.is_grad_enabled():  # the gradient of the gradient would silently be missing
            raise RuntimeError(
                "pixel_cross_entropy is differentiable once: call backward without create_graph"
            )
        (gradient,) = ctx.saved_tensors
        return gradient * grad_loss, None, None, None


def _check_ids(id_maps: Tensor, num_classes: int) -> None:
    """Raise if an id is neither a class nor ``IGNORE_INDEX``."""
    wrong = (id_maps != IGNORE_INDEX) & ((id_maps < 0) | (id_maps >= num_classes))
    if bool(wrong.any()):
        ids = sorted(set(id_maps[wrong].tolist()))
        raise LabelError(
            f"the label maps hold id {', '.join(map(str, ids[:5]))}{' ...' if len(ids) > 5 else ''}, but the "
            f"model has {num_classes} classes: allowed are 0 to {num_classes - 1}, and {IGNORE_INDEX} for "
            "ignored pixels. Run `vfmseg check-data` on the data set."
        )


def _weight_table(class_weights: Tensor | None, num_classes: int, like: Tensor) -> Tensor:
    """Return the weight of every id: ``class_weights``, 0 for ignored pixels, NaN for ids no class has."""
    if class_weights is not None and class_weights.shape != (num_classes,):
        raise RecipeError(
            f"class_weights has {class_weights.numel()} entries, but the model has {num_classes} classes: "
            f"give one weight per class."
        )
    table = like.new_full((max(num_classes, IGNORE_INDEX) + 2,), float("nan"))
    table[:num_classes] = 1.0 if class_weights is None else class_weights.to(like)
    table[IGNORE_INDEX] = 0.0
    return table


def _look_up(weight_of_id: Tensor, ids: Tensor) -> Tensor:
    """Return the weight of every id; ids outside the table get its last entry, NaN."""
    outside = weight_of_id.shape[0] - 1
    index = ids.flatten().int()
    index = torch.where(index < 0, outside, index).clamp_(max=outside)
    return weight_of_id.index_select(0, index).view(ids.shape)


def _axis_plan(cells: int, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return which image rows lie between which grid rows (bilinear, align_corners=False).

    With the grid rows repeated once at either edge, cell ``j`` lies between padded rows ``j`` and ``j + 1``.

    Returns:
        ``rows`` (h + 1, phases) int64: the image row of each phase of each cell; ``size`` = none.
        ``fraction`` (h + 1, phases) in [0, 1): its share of the lower grid row.
    """
    # Image row y lies at grid position ((2y + 1) h - H) / 2H; all in integers, so that no row is lost to
    # rounding when the ratio is not whole. `first` is the first row at or after a grid row: a ceiling.
    cell = torch.arange(-1, cells + 1, device=like.device)
    first = -((cells - (2 * cell + 1) * size) // (2 * cells))
    rows = first[:-1, None] + torch.arange(-(-size // cells), device=like.device)
    exists = (rows >= 0) & (rows < size) & (rows < first[1:, None])
    numerator = (2 * rows + 1) * cells - size - 2 * cell[:-1, None] * size
    fraction = torch.where(exists, numerator, 0).to(like.dtype) / (2 * size)
    return torch.where(exists, rows, size), fraction


def _repeat_edges(tensor: Tensor, dim: int) -> Tensor:
    """Return ``tensor`` with its first and last slice along ``dim`` repeated once."""
    last = tensor.shape[dim] - 1
    return torch.cat([tensor.narrow(dim, 0, 1), tensor, tensor.narrow(dim, last, 1)], dim)


def _fold_edges(tensor: Tensor, dim: int) -> Tensor:
    """Transpose of :func:`_repeat_edges`: add the edge slices to their neighbours and drop them."""
    inner = tensor.narrow(dim, 1, tensor.shape[dim] - 2)
    inner.narrow(dim, 0, 1).add_(tensor.narrow(dim, 0, 1))
    inner.narrow(dim, inner.shape[dim] - 1, 1).add_(tensor.narrow(dim, tensor.shape[dim] - 1, 1))
    return inner


def _loss_and_gradient(
    logits: Tensor, id_maps: Tensor, weight_of_id: Tensor, average: str, *, with_gradient: bool
) -> tuple[Tensor, Tensor | None]:
    """Return the loss and, if asked for, its gradient (B, K, h, w) with respect to the grid's logits."""
    B, K, h, w = logits.shape
    H, W = id_maps.shape[1:]
    rows, row_fraction = _axis_plan(h, H, logits)  # (h+1, phases)
    columns, column_fraction = _axis_plan(w, W, logits)  # (w+1, phases)
    row_fraction = row_fraction[:, :, None, None]

    ids = F.pad(id_maps, (0, 1, 0, 1), value=IGNORE_INDEX)  # one row and column that stand for "none"
    ids = ids.index_select(1, rows.flatten()).index_select(2, columns.flatten())
    ids = ids.view(B, *rows.shape, columns.numel())  # B h+1 phases W'
    weights = torch.stack([_look_up(weight_of_id, image_ids) for image_ids in ids])
    total = weights.sum((1, 2, 3), keepdim=True)  # B 1 1 1
    total = total.sum(0, keepdim=True) if average == "batch" else total * B
    weights /= torch.where(total == 0, torch.ones_like(total), total)

    budget = _BUFFER_ELEMENTS.get(logits.device.type, _BUFFER_ELEMENTS_ACCELERATOR)
    cells_at_once = max(1, min(h + 1, budget // (K * columns.numel())))
    images_at_once = max(1, budget // (K * columns.numel() * (h + 1)))

    loss = logits.new_zeros(())
    gradient = torch.empty(B, K, h, w, dtype=logits.dtype, device=logits.device) if with_gradient else None
    for start in range(0, B, images_at_once):
        images = slice(start, start + images_at_once)
        grid = _repeat_edges(_repeat_edges(logits[images].transpose(1, 2), 1), 3)  # b h+2 K w+2
        wide = torch.lerp(grid[..., :-1, None], grid[..., 1:, None], column_fraction).flatten(3)  # b h+2 K W'
        grad_wide = torch.zeros_like(wide) if with_gradient else None
        for cell in range(0, h + 1, cells_at_once):
            cells = slice(cell, min(cell + cells_at_once, h + 1))
            part = _cells_loss(
                wide, grad_wide, cells, row_fraction[cells], ids[images, cells], weights[images, cells]
            )
            loss += part
        if gradient is not None and grad_wide is not None:
            gradient[images] = _narrow(grad_wide, column_fraction).transpose(1, 2)
    return loss, gradient


def _cells_loss(
    wide: Tensor, grad_wide: Tensor | None, cells: slice, fraction: Tensor, ids: Tensor, weights: Tensor
) -> Tensor:
    """Return the weighted loss of the image rows in ``cells`` and add their gradient to ``grad_wide``.

    Args:
        wide: (b, h+2, K, W') logits at full width, rows repeated at the edges.
        grad_wide: like ``wide``, added to in place; None where no gradient is needed.
        cells: which of the h+1 cells; n of them.
        fraction: (n, phases, 1, 1) share of the lower grid row.
        ids: (b, n, phases, W') class ids.
        weights: (b, n, phases, W') weight of each pixel in the loss; 0 = ignored.
    """
    upper, lower = wide[:, cells], wide[:, cells.start + 1 : cells.stop + 1]  # b n K W'
    last_class = wide.shape[2] - 1
    loss = wide.new_zeros(())
    grad_all, grad_lower = (None, None) if grad_wide is None else (torch.zeros_like(upper) for _ in range(2))
    scores = torch.empty_like(upper)
    for phase in range(ids.shape[2]):
        weight = weights[:, :, phase, None]  # b n 1 W'
        target = ids[:, :, phase, None].long().clamp_(0, last_class)  # any class will do where weight is 0
        torch.lerp(upper, lower, fraction[:, phase], out=scores)
        scores -= scores.amax(2, keepdim=True)
        target_score = scores.gather(2, target)
        scores.exp_()
        total = scores.sum(2, keepdim=True)  # b n 1 W'
        loss += (weight * (total.log() - target_score)).sum()
        if grad_all is not None and grad_lower is not None:
            scores *= weight / total
            scores.scatter_(2, target, scores.gather(2, target) - weight)  # weight * (softmax - one-hot)
            grad_all += scores
            grad_lower.addcmul_(scores, fraction[:, phase])
    if grad_wide is not None and grad_all is not None and grad_lower is not None:
        grad_wide[:, cells] += grad_all - grad_lower
        grad_wide[:, cells.start + 1 : cells.stop + 1] += grad_lower
    return loss


def _narrow(grad_wide: Tensor, column_fraction: Tensor) -> Tensor:
    """Transpose of upsampling the width and repeating the edges: (b, h+2, K, W') -> (b, h, K, w)."""
    by_cell = grad_wide.unflatten(3, column_fraction.shape)  # b h+2 K w+1 phases
    right = (by_cell * column_fraction).sum(-1)
    left = by_cell.sum(-1) - right
    return _fold_edges(_fold_edges(F.pad(left, (0, 1)) + F.pad(right, (1, 0)), 3), 1)
