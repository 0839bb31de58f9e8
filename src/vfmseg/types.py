"""The nouns that travel between the rooms, and the legend of shape letters.

Shape letters, used in every annotation and comment of the package:

``B`` images, ``H W`` image pixels, ``h w`` patch grid, ``N`` tokens (queries + prefix + patches),
``C`` channels, ``Q`` queries, ``K`` classes (mask-classification logits have ``K + 1``: the last is
no-object), ``M`` target masks, ``S`` segments, ``P`` sampled points, ``L`` supervised layers.
Sizes are (height, width). Pixels are uint8 0-255, RGB, until the segmenter normalises them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # annotations only: the nouns must be importable without waiting for torch
    import torch
    from torch import Tensor

IGNORE_INDEX = 255
"""The one value that means "no class here" in every id map inside the package."""

Size = tuple[int, int]
"""(height, width)"""


@dataclass(frozen=True)
class Targets:
    """What is known about the pixels of one image: one id map, from which masks are made last.

    A semantic id map holds class ids (train ids) directly. Where instances matter, the map holds
    segment numbers ``0..S-1`` and ``segment_classes`` says which class each segment has. No segment has
    the number ``IGNORE_INDEX``: where there are that many, the tables have an entry there that nothing uses.
    """

    id_map: Tensor
    """(H, W) uint8 or int32; class ids or segment numbers; ``IGNORE_INDEX`` = neither."""
    segment_classes: Tensor | None = None
    """(S,) int64 class of each segment, or None where the ids are the classes."""
    segment_is_crowd: Tensor | None = None
    """(S,) bool, or None where no segment is a crowd."""


@dataclass(frozen=True)
class InstanceTruth:
    """The true masks of one image, at the image's own size; they may overlap."""

    packed_masks: Tensor
    """(G, H, ceil(W / 8)) uint8, as in :class:`Instances`."""
    classes: Tensor
    """(G,) int64."""
    is_crowd: Tensor | None
    """(G,) bool, or None where no mask is a crowd."""
    areas: Tensor | None
    """(G,) float pixels that decide whether an object is small, medium or large, such as the ``area`` of a COCO
    annotation (its polygon's); None takes the area of the mask."""
    size: Size
    """(H, W) in pixels."""


@dataclass(frozen=True)
class Sample:
    """One image with its targets, as read from disk or as augmented."""

    image: Tensor
    """(3, H, W) uint8 RGB; the memory may be laid out channels-last."""
    targets: Targets
    name: str
    """Member path inside the data set, unique in its split; what errors and reports call the image."""
    truth: InstanceTruth | None = None
    """The objects as annotated, where evaluation needs more than the flat map of ``targets``."""
    unknown: Tensor | None = None
    """(H, W) bool: pixels of objects of none of the classes; None where nobody says."""


@dataclass(frozen=True)
class Batch:
    """Samples of one size, stacked."""

    images: Tensor
    """(B, 3, H, W) uint8 RGB."""
    targets: tuple[Targets, ...]
    """B items."""
    names: tuple[str, ...]
    """B items."""

    def to(self, device: torch.device | str) -> Batch:
        """Return the batch with its tensors on ``device``."""
        return self._with(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Return the batch in page-locked memory, from which a GPU reads while it computes; loaders call this."""
        return self._with(lambda tensor: tensor.pin_memory())

    def _with(self, change: Callable[[Tensor], Tensor]) -> Batch:
        def changed(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else change(tensor)

        targets = tuple(
            Targets(change(t.id_map), changed(t.segment_classes), changed(t.segment_is_crowd))
            for t in self.targets
        )
        return Batch(change(self.images), targets, self.names)


@dataclass(frozen=True)
class PixelLogits:
    """What a per-pixel decoder says: one score per class and grid cell."""

    logits: Tensor
    """(B, K, h, w) float, at the patch grid; not upsampled."""


@dataclass(frozen=True)
class MaskLogits:
    """What a mask decoder says at one layer: Q masks, each with scores over K + 1 classes."""

    mask_logits: Tensor
    """(B, Q, h, w) float."""
    class_logits: Tensor
    """(B, Q, K + 1) float; the last column is no-object."""


@dataclass(frozen=True)
class MaskFactors:
    """As :class:`MaskLogits`, with the masks not yet multiplied out.

    The product is the dearest part of a prediction, and is wanted for few: training compares the masks that were
    matched, and inference draws those that can win.
    """

    embeddings: Tensor
    """(B, Q, C) float: what each query looks for."""
    features: Tensor
    """(B, C, h, w) float: what each cell holds; their product is the mask logit."""
    class_logits: Tensor
    """(B, Q, K + 1) float; the last column is no-object."""

    @property
    def mask_logits(self) -> Tensor:
        """(B, Q, h, w) float: all masks, multiplied out anew at each call."""
        product = self.embeddings @ self.features.flatten(2).to(self.embeddings.dtype)
        return product.unflatten(2, self.features.shape[2:])

    def of_image(self, image: int, queries: Tensor) -> MaskLogits:
        """Return what some queries (q,) say of one image: masks (q, h, w) and classes (q, K + 1)."""
        features = self.features[image].flatten(1).to(self.embeddings.dtype)
        masks = (self.embeddings[image, queries] @ features).unflatten(1, self.features.shape[2:])
        return MaskLogits(masks, self.class_logits[image, queries])


Output = PixelLogits | tuple[MaskLogits, ...] | tuple[MaskFactors, ...]
"""A decoder's output: pixel logits, or mask logits of every supervised layer (the last one is final)."""


@dataclass(frozen=True)
class SemanticMap:
    """The class of every pixel of one image, at the image's own size."""

    classes: Tensor
    """(H, W) uint8 (int16 above 255 classes): class ids ``0..K-1``."""
    confidence: Tensor | None = None
    """(H, W) how sure the prediction is, None where not asked for: float16 in [0, 1], probability of the chosen class; or
    float32, a measure of :mod:`vfmseg.postprocess.confidence`."""


@dataclass(frozen=True)
class PanopticMap:
    """The segment of every pixel of one image, at the image's own size; no two segments share a pixel."""

    segments: Tensor
    """(H, W) int32 segment numbers ``0..S-1``; -1 = no segment."""
    segment_classes: Tensor
    """(S,) int64 class of each segment; a stuff class has one segment at most."""
    segment_scores: Tensor
    """(S,) float32 in [0, 1]: class probability of the query that opened the segment."""


@dataclass(frozen=True)
class Instances:
    """Scored masks of one image, at the image's own size; they may overlap, best score first.

    Masks are kept at one bit a pixel: a hundred of them at 2048x1024 take 26 MB, not 210.
    """

    packed_masks: Tensor
    """(S, H, ceil(W / 8)) uint8: eight pixels of a row to a byte, the first in the highest bit (``numpy.packbits``)."""
    classes: Tensor
    """(S,) int64."""
    scores: Tensor
    """(S,) float32 in [0, 1]."""
    size: Size
    """(H, W) in pixels."""


Prediction = SemanticMap | PanopticMap | Instances
"""What a task makes of a decoder's output for one image."""


@dataclass(frozen=True)
class LabelSpace:
    """The classes of a data set or model, in the order of their ids."""

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    """RGB 0-255 per class."""
    is_thing: tuple[bool, ...]
    """True for countable classes (things), False for stuff."""
    category_ids: tuple[int, ...] = ()
    """What the data set's own annotations call each class, such as 1..200 of COCO panoptic, and what predictions call it
    in COCO's formats; where they are not given, the class ids ``0..K-1``."""

    def __post_init__(self) -> None:
        if not self.category_ids:
            object.__setattr__(self, "category_ids", tuple(range(len(self.names))))
        lengths = {len(values) for values in (self.names, self.colours, self.is_thing, self.category_ids)}
        if len(lengths) > 1:
            raise ValueError("names, colours, is_thing and category_ids must have one entry per class")
        if len(set(self.category_ids)) < len(self.category_ids):
            raise ValueError("category_ids must differ from class to class")

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.names)

    def as_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form; ``LabelSpace.from_dict`` reads it back."""
        return {
            "names": list(self.names),
            "colours": [list(c) for c in self.colours],
            "is_thing": list(self.is_thing),
            "category_ids": list(self.category_ids),
        }

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> LabelSpace:
        """Inverse of :meth:`as_dict`."""
        return cls(
            tuple(raw["names"]),
            tuple((int(r), int(g), int(b)) for r, g, b in raw["colours"]),
            tuple(bool(t) for t in raw["is_thing"]),
            tuple(int(i) for i in raw.get("category_ids", ())),
        )
