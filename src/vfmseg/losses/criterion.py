"""Turns a decoder's Output and the Targets into one scalar to minimise, and the named parts it is made of.

Both criteria are called alike, ``loss, parts = criterion(output, targets)``. Parts are detached scalars, left
on their device, so that waiting for them is the caller's decision.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from vfmseg.errors import RecipeError
from vfmseg.losses.masks import Segments, present_segments
from vfmseg.losses.matcher import Pairs, assign, join, matching_cost
from vfmseg.losses.pixels import pixel_cross_entropy
from vfmseg.losses.point_sampling import (
    frame,
    pair_maps,
    query_values,
    sample_maps,
    sample_segments,
    uncertain_points,
)
from vfmseg.losses.settings import Average, MaskLossSettings, check_average
from vfmseg.types import MaskFactors, MaskLogits, PixelLogits, Targets

# Points in one working buffer: what a CPU reuses without new pages; an accelerator takes many layers at once.
_BUFFER_ELEMENTS = {"cpu": 2**21}
_BUFFER_ELEMENTS_ACCELERATOR = 2**25

Masks = tuple[MaskLogits, ...] | tuple[MaskFactors, ...]
"""What a mask decoder says at each supervised layer."""
Draw = Callable[[tuple[int, ...]], Tensor]
"""Shape -> uniform random numbers in [0, 1)."""


class PixelCriterion:
    """Cross-entropy of every labelled pixel, for per-pixel decoders. See ``pixel_cross_entropy``."""

    def __init__(self, *, class_weights: Tensor | None = None, average: Average = "image") -> None:
        """Keep the settings.

        Args:
            class_weights: (K,) float, or None for all ones.
            average: within images first (``image``), or over the labelled pixels of the batch.

        Raises:
            RecipeError: ``average`` is neither ``image`` nor ``batch``.
        """
        check_average(average)
        self.class_weights = class_weights
        self.average: Average = average

    def __call__(self, output: PixelLogits, targets: tuple[Targets, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and ``{"loss_pixel": loss}``.

        Raises:
            RecipeError: the targets are segments, of which a per-pixel decoder knows nothing.
        """
        if any(target.segment_classes is not None for target in targets):
            raise RecipeError(
                "a per-pixel decoder learns one class per pixel, but the targets hold segments: use "
                "`task: semantic`, or a mask decoder (mask2former, eomt)."
            )
        id_maps = torch.stack([target.id_map for target in targets])
        loss = pixel_cross_entropy(
            output.logits, id_maps, class_weights=self.class_weights, average=self.average
        )
        return loss, {"loss_pixel": loss.detach()}


class MaskCriterion:
    """The mask classification loss of Mask2Former (section 3.2), of all supervised layers at once.

    Every layer matches its queries to the segments anew. A matched query learns mask and class of its
    segment, the others learn no-object. Ignored pixels and crowds belong to no segment.
    """

    def __init__(
        self,
        settings: MaskLossSettings | None = None,
        *,
        num_classes: int,
        average: Average = "image",
        draw: Draw | None = None,
    ) -> None:
        """Keep the settings.

        Args:
            settings: weights and sampling; None for the published ones.
            num_classes: K of the data; the decoder scores K + 1.
            average: masks and classes within images first (``image``), or over all masks and all queries of
                the batch of all processes (``batch``).
            draw: source of the random points; None for torch's generator on the logits' device. Called in
                the published order: per layer once per image with (1, P, 2), then with (n, 3P, 2) and
                (n, P/4, 2) for the n matched masks of the batch.

        Raises:
            RecipeError: ``average`` is neither ``image`` nor ``batch``.
        """
        check_average(average)
        self.settings = settings or MaskLossSettings()
        self.num_classes = num_classes
        self.average: Average = average
        self.draw = draw

    def __call__(self, output: Masks, targets: tuple[Targets, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, summed over the layers, and its parts.

        Returns:
            The loss, and the unweighted ``loss_mask``, ``loss_dice`` and ``loss_class`` of the last layer;
            those of earlier layers are named ``layer0_loss_mask`` and so on. ``nonfinite_costs`` counts the
            matching costs that were not finite: more than 0 means that the predictions have gone bad.
            ``unmatched_segments`` counts the segments that no query could learn, as there are more than queries.

        Raises:
            LabelError: a label map holds an id or class that the model does not have.
            RecipeError: the decoder scores another number of classes than the data has.
        """
        columns = output[-1].class_logits.shape[-1]
        if columns != self.num_classes + 1:
            raise RecipeError(
                f"the decoder scores {columns - 1} classes and no-object, but the data has "
                f"{self.num_classes} classes: build the decoder with num_classes={self.num_classes}."
            )
        device = output[-1].class_logits.device
        with torch.autocast(device_type=device.type, enabled=False):
            return self._loss(output, targets)

    def _loss(self, output: Masks, targets: tuple[Targets, ...]) -> tuple[Tensor, dict[str, Tensor]]:
        settings = self.settings
        num_queries = output[-1].class_logits.shape[1]
        device = output[-1].class_logits.device
        segments = present_segments(targets, self.num_classes)
        id_maps = frame(torch.stack([target.id_map for target in targets]))
        counts = [min(num_queries, len(image)) for image in segments]  # pairs of each image, at every layer

        match_points, candidates, extra = self._draw_points(len(output), len(targets), sum(counts), device)
        costs = self._matching_costs(output, segments, id_maps, match_points)
        assignments, nonfinite_costs = assign(costs)
        pairs = join(assignments, segments, len(output)).to(device)  # each (L, n)

        losses_class = self._class_losses(output, pairs)

        losses_mask, losses_dice = self._mask_losses(output, pairs, counts, id_maps, candidates, extra)  # L n
        weights = self._pair_weights(counts, pairs.image)  # L n
        losses_mask, losses_dice = (losses_mask * weights).sum(1), (losses_dice * weights).sum(1)  # L

        loss = (
            settings.mask_weight * losses_mask
            + settings.dice_weight * losses_dice
            + settings.class_weight * losses_class
        ).sum()
        parts = {
            **_named("loss_mask", losses_mask),
            **_named("loss_dice", losses_dice),
            **_named("loss_class", losses_class),
            "nonfinite_costs": torch.tensor(nonfinite_costs),
            "unmatched_segments": torch.tensor(sum(len(image) for image in segments) - sum(counts)),
        }
        return loss, parts

    def _draw_points(
        self, num_layers: int, num_images: int, num_pairs: int, device: torch.device
    ) -> tuple[list[list[Tensor]], list[Tensor], list[Tensor]]:
        """Return points for matching, (P, 2) per layer and image, and for the loss, (n, ., 2) per layer."""
        settings = self.settings
        num_extra = settings.num_points - settings.num_uncertain

        def draw(*shape: int) -> Tensor:
            numbers = torch.rand(shape, device=device) if self.draw is None else self.draw(shape)
            return numbers.to(device, torch.float32)

        match_points, candidates, extra = [], [], []
        for _ in range(num_layers):
            match_points.append([draw(1, settings.num_points, 2)[0] for _ in range(num_images)])
            candidates.append(draw(num_pairs, settings.num_candidates, 2))
            extra.append(draw(num_pairs, num_extra, 2))
        return match_points, candidates, extra

    @torch.no_grad()
    def _matching_costs(
        self,
        output: Masks,
        segments: tuple[Segments, ...],
        id_maps: Tensor,
        points: list[list[Tensor]],
    ) -> list[Tensor]:
        """Return the cost matrices (Q, M), layer by layer and image by image."""
        settings = self.settings
        costs = []
        on_device = [(s.ids.to(id_maps.device), s.labels.to(id_maps.device)) for s in segments]
        layers: list[MaskLogits | MaskFactors] = list(output)
        for layer, layer_points in zip(layers, points, strict=True):
            for image, (ids, labels) in enumerate(on_device):
                if len(ids) == 0:
                    costs.append(layer.class_logits.new_zeros(layer.class_logits.shape[1], 0).float())
                    continue
                here = layer_points[image]  # P 2
                share = sample_segments(id_maps[image : image + 1], ids.new_zeros(1), ids[:, None], here)
                costs.append(
                    matching_cost(
                        query_values(layer, image, here),
                        share,
                        layer.class_logits[image],
                        labels,
                        mask_weight=settings.mask_weight,
                        dice_weight=settings.dice_weight,
                        class_weight=settings.class_weight,
                    )
                )
        return costs

    def _mask_losses(
        self,
        output: Masks,
        pairs: Pairs,
        counts: list[int],
        id_maps: Tensor,
        candidates: list[Tensor],
        extra: list[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Return cross-entropy and dice of every pair, (L, n) each; only matched masks are ever looked at."""
        num_layers, num_pairs = pairs.image.shape
        budget = _BUFFER_ELEMENTS.get(id_maps.device.type, _BUFFER_ELEMENTS_ACCELERATOR)
        at_once = max(1, budget // max(1, num_pairs * self.settings.num_candidates))
        cross, dice = [], []
        for start in range(0, num_layers, at_once):
            layers = range(start, min(start + at_once, num_layers))
            image, ids = (
                part[layers[0] : layers[-1] + 1].flatten()[:, None] for part in (pairs.image, pairs.id)
            )
            maps = torch.cat([pair_maps(output[i], pairs.query[i], counts) for i in layers])
            with torch.no_grad():
                points = uncertain_points(
                    maps,
                    torch.cat([candidates[i] for i in layers]),
                    torch.cat([extra[i] for i in layers]),
                    num_uncertain=self.settings.num_uncertain,
                )
                wanted = sample_segments(id_maps, image, ids, points)
            predicted = sample_maps(maps, points)  # layers * n, P
            cross.append(F.binary_cross_entropy_with_logits(predicted, wanted, reduction="none").mean(1))
            dice.append(_dice(predicted, wanted))
        return torch.cat(cross).view_as(pairs.image), torch.cat(dice).view_as(pairs.image)

    def _class_losses(self, output: Masks, pairs: Pairs) -> Tensor:
        """Return the class cross-entropy of every layer, (L,)."""
        logits = torch.stack([layer.class_logits for layer in output]).float()  # L B Q K+1
        wanted = torch.full(logits.shape[:3], self.num_classes, device=logits.device)
        layer = torch.arange(len(output), device=logits.device)[:, None]
        wanted[layer, pairs.image, pairs.query] = pairs.label
        weights = torch.where(wanted == self.num_classes, self.settings.no_object_weight, 1.0)
        cross = F.cross_entropy(logits.flatten(0, 2), wanted.flatten(), reduction="none").view_as(weights)
        total, weight = (cross * weights).sum(2), weights.sum(2)  # L B
        if self.average == "image":
            return (total / _at_least_something(weight)).mean(1)
        return total.sum(1) / _at_least_something(_mean_over_processes(weight.sum(1)))

    def _pair_weights(self, counts: list[int], image: Tensor) -> Tensor:
        """Return the weight of each pair in its layer's mask losses, of the shape of ``image``, (L, n)."""
        per_image = torch.tensor(counts, dtype=torch.float32, device=image.device)  # B
        if self.average == "image":
            return (1 / (per_image.clamp(min=1) * len(counts)))[image]
        if self.settings.count_empty_images:
            per_image = per_image.clamp(min=1)
        # Published code takes one mask a process at least; here fewer are exact, too, and only none at all is 1.
        return (1 / _at_least_something(_mean_over_processes(per_image.sum()))).expand(image.shape)


def _dice(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return (N,) dice loss of (N, P) logits against shares in [0, 1]."""
    probability = logits.sigmoid()
    overlap = (probability * wanted).sum(1)
    return 1 - (2 * overlap + 1) / (probability.sum(1) + wanted.sum(1) + 1)


def _at_least_something(weight: Tensor) -> Tensor:
    """Return weights to divide by: 1 where nothing weighs anything, as without objects if no-object weighs 0."""
    return torch.where(weight > 0, weight, 1.0)


def _mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of ``value`` over all training processes, or ``value`` where there is one."""
    if not (dist.is_available() and dist.is_initialized()):
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value / dist.get_world_size()


def _named(name: str, losses: Tensor) -> dict[str, Tensor]:
    """Return one entry per layer; the last layer, the one that predicts, has the bare name."""
    *earlier, last = losses.detach().unbind()
    return {f"layer{i}_{name}": value for i, value in enumerate(earlier)} | {name: last}
