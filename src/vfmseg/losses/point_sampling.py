"""Turns maps and points into the maps' values at the points, and logits into the points worth looking at.

Points are (x, y) in [0, 1], corner to corner of the map, so one set of points reads a prediction at the grid
and a target at image size alike, and nothing is ever resized. Values are bilinear with zeros outside, as of
``grid_sample(align_corners=False)`` (Mask2Former, PointRend).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from vfmseg.types import IGNORE_INDEX, MaskFactors, MaskLogits


def sample_maps(maps: Tensor, points: Tensor) -> Tensor:
    """Return (N, P) values of N maps, each at its own points; differentiable in the maps.

    Args:
        maps: (N, h, w) float.
        points: (N, P, 2) as (x, y) in [0, 1].
    """
    if len(maps) == 0:  # grid_sample refuses an empty batch; the sum keeps the maps in the graph
        return maps.sum() + points[..., 0]
    values = F.grid_sample(maps[:, None], 2 * points[:, :, None] - 1, align_corners=False)  # N 1 P 1
    return values[:, 0, :, 0]


def sample_queries(maps: Tensor, points: Tensor) -> Tensor:
    """Return (P, Q) values of Q maps at the same points, in float32; not differentiable.

    All maps of one cell lie side by side, so that a point is a weighted sum of four rows.

    Args:
        maps: (Q, h, w) float.
        points: (P, 2) as (x, y) in [0, 1].
    """
    Q, h, w = maps.shape
    x, y, fraction_x, fraction_y = _corners(points, (h, w))
    indices, weights = [], []
    for dy, share_y in ((0, 1 - fraction_y), (1, fraction_y)):
        for dx, share_x in ((0, 1 - fraction_x), (1, fraction_x)):
            inside = (x + dx >= 0) & (x + dx < w) & (y + dy >= 0) & (y + dy < h)
            indices.append((y + dy).clamp(0, h - 1) * w + (x + dx).clamp(0, w - 1))
            weights.append(share_y * share_x * inside)
    by_cell = torch.empty(h * w, Q, dtype=torch.float32, device=maps.device)
    by_cell.copy_(maps.detach().flatten(1).t())
    return F.embedding_bag(
        torch.stack(indices, 1), by_cell, per_sample_weights=torch.stack(weights, 1), mode="sum"
    )


def query_values(layer: MaskLogits | MaskFactors, image: int, points: Tensor) -> Tensor:
    """Return (P, Q) mask logits of all queries of one image at the same points, in float32; not differentiable.

    Masks are multiplied out first, even where there are fewer points than cells: reading four cells a point is slow,
    the product is not, and a cell has fewer queries than channels.
    """
    if isinstance(layer, MaskLogits):
        return sample_queries(layer.mask_logits[image], points)
    embeddings = layer.embeddings[image].detach()  # Q C
    cells = layer.features[image].detach().permute(1, 2, 0).to(embeddings.dtype)  # h w C
    return sample_queries((cells @ embeddings.t()).permute(2, 0, 1), points)


def pair_maps(layer: MaskLogits | MaskFactors, queries: Tensor, counts: Sequence[int]) -> Tensor:
    """Return (n, h, w) float32 mask logits of the matched queries; differentiable.

    Args:
        layer: of B images.
        queries: (n,) int64, those of the first image first.
        counts: B numbers of pairs, together n.
    """
    if isinstance(layer, MaskLogits):
        # one index for all images: the backward pass of each fills a gradient of the size of all masks
        images = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        return layer.mask_logits[images.to(queries.device), queries].float()
    # All images in one product, cell by cell as the features lie in memory, so that their gradient comes in one piece
    # that lies like them. Images with fewer pairs than others are filled up with query 0, whose maps are dropped.
    chosen = pad_sequence(list(queries.split(list(counts))), batch_first=True)  # B n'
    embeddings = layer.embeddings.gather(
        1, chosen[..., None].expand(-1, -1, layer.embeddings.shape[2])
    )  # B n' C
    cells = layer.features.permute(0, 2, 3, 1).flatten(1, 2).to(embeddings.dtype)  # B hw C
    maps = (cells @ embeddings.transpose(1, 2)).transpose(1, 2)  # B n' hw
    of_pairs = torch.cat([of_image[:count] for of_image, count in zip(maps, counts, strict=True)])
    return of_pairs.float().unflatten(1, layer.features.shape[2:])


def sample_segments(id_maps: Tensor, image: Tensor, ids: Tensor, points: Tensor) -> Tensor:
    """Return the share of each segment at points of its image: what sampling its binary mask would give.

    Shapes broadcast: (M, 1) ids against (P, 2) points for all segments of one image, (N, 1) ids against
    (N, P, 2) points for N segments with points of their own.

    Args:
        id_maps: (B, H + 2, W + 2) integer, framed by :func:`frame`.
        image: int64 index of the id map to read, broadcasting against ``ids``.
        ids: value of the segment in the id map; not 255.
        points: (..., 2) as (x, y) in [0, 1].

    Returns:
        float in [0, 1], of the broadcast shape.
    """
    rows, columns = id_maps.shape[1:]
    x, y, fraction_x, fraction_y = _corners(points, (rows - 2, columns - 2))
    index = (y + 1) * columns + (x + 1) + image * (rows * columns)
    flat = id_maps.flatten()
    ids = ids.to(id_maps.dtype)

    def of_row(start: int) -> Tensor:
        left, right = ((flat[start + dx :].take(index) == ids).to(points.dtype) for dx in (0, 1))
        return torch.lerp(left, right, fraction_x)

    return torch.lerp(of_row(0), of_row(columns), fraction_y)


def frame(id_maps: Tensor) -> Tensor:
    """Return (B, H, W) id maps with one pixel of "no segment" around them, so that no point falls outside."""
    return F.pad(id_maps, (1, 1, 1, 1), value=IGNORE_INDEX)


def uncertain_points(maps: Tensor, candidates: Tensor, extra: Tensor, *, num_uncertain: int) -> Tensor:
    """Return for each map the candidates nearest to its decision boundary, and the extra points.

    Args:
        maps: (N, h, w) float mask logits.
        candidates: (N, P', 2) float32 points to choose from.
        extra: (N, P'', 2) float32 points taken as they are.
        num_uncertain: how many candidates to keep: those of smallest absolute logit.

    Returns:
        (N, num_uncertain + P'', 2) points, in no particular order.
    """
    with torch.no_grad():
        chosen = _smallest(sample_maps(maps.detach(), candidates).abs(), num_uncertain)
        # x and y of a point move as one 8-byte item, which is several times faster than two floats
        chosen_points = candidates.view(torch.int64)[..., 0].gather(1, chosen)[..., None].view(torch.float32)
        return torch.cat([chosen_points, extra], 1)


def _smallest(values: Tensor, count: int) -> Tensor:
    """Return the int64 columns of each row's ``count`` smallest values, in no particular order."""
    if values.device.type == "cpu" and 0 < count < values.shape[1]:
        # numpy selects several times as fast as topk
        return torch.from_numpy(np.argpartition(values.numpy(), count, axis=1)[:, :count])
    return values.topk(count, dim=1, largest=False, sorted=False).indices


def _corners(points: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the pixel up and left of each point (int64 x, y, from -1) and the point's offset from it."""
    height, width = size
    x, y = points[..., 0] * width - 0.5, points[..., 1] * height - 0.5
    left, top = x.floor(), y.floor()
    return left.long(), top.long(), x - left, y - top
