"""Intersections and unions of every image in, pooled scores and those of resampled sets of images out.

Pooled scores are ratios of sums over images, averaged over classes: mIoU, and in the same form panoptic quality
(sums of IoU over TP + FP/2 + FN/2). A mean of scores per image is the case of one class and unions of one.
Resampling draws images with replacement, the same ones for every run: how hard an image is cancels in a difference.
All draws are one matrix product, of how often each image was drawn with what it counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vfmseg.errors import StudyError
from vfmseg.studies.statistics.seeds import check_names

Floats = NDArray[np.float64]

MIN_IMAGES = 10
"""With fewer, resampled sets are too much alike to tell how others would be."""
_CHUNK_VALUES = 4_000_000
"""Numbers per chunk of resampled sums: 32 MB."""


@dataclass(frozen=True, kw_only=True)
class ImageCounts:
    """What T runs counted in N images for K classes. A model has one run, or one per seed."""

    models: tuple[str, ...]
    """The J models."""
    model_of_run: NDArray[np.int64]
    """(T,) index into ``models`` of each run."""
    intersections: Floats
    """(T, N, K) pixels of a class that were found."""
    unions: Floats
    """(T, N, K) pixels that are of a class in the truth, in the prediction, or in both."""

    def __post_init__(self) -> None:
        """Refuse counts that do not fit together.

        Raises:
            StudyError: shapes that differ, a model without a run, a name that occurs twice,
                negative or missing counts, or a run without any class.
        """
        check_names("Model", self.models)
        shape = self.intersections.shape
        if len(shape) != 3 or self.unions.shape != shape or len(self.model_of_run) != shape[0]:
            raise StudyError(
                "Counts are runs x images x classes, the same of intersections and unions, not "
                f"{shape} and {self.unions.shape} of {len(self.model_of_run)} runs."
            )
        without = set(range(len(self.models))) - set(self.model_of_run.tolist())
        if without:
            raise StudyError(f"There is no run of {', '.join(self.models[j] for j in sorted(without))}.")
        if not (np.isfinite(self.intersections).all() and np.isfinite(self.unions).all()):
            raise StudyError("A count is missing or infinite. Give 0 / 0 for a class that an image has not.")
        if (self.unions < 0).any():
            raise StudyError("A union is negative. Give counts of pixels.")
        if not self.unions.any(axis=(1, 2)).all():
            raise StudyError("A run has no pixel of any class in any image, and so no score.")

    @property
    def num_images(self) -> int:
        """N, or the number of groups after :meth:`grouped`."""
        return self.unions.shape[1]

    @property
    def runs_per_model(self) -> NDArray[np.int64]:
        """(J,) how many runs each model has."""
        return np.bincount(self.model_of_run, minlength=len(self.models))

    def grouped(self, groups: ArrayLike) -> ImageCounts:
        """Return the counts with groups of images in place of images: frames of one video, tiles of one picture.

        Images that resemble each other are drawn together; alone they would promise more than they know.

        Args:
            groups: (N,) group of each image, of any type that sorts.

        Raises:
            StudyError: another number of groups than images.
        """
        labels = np.asarray(groups)
        if labels.shape != (self.num_images,):
            raise StudyError(f"{self.num_images} images need as many groups, not {labels.shape}.")
        _, index = np.unique(labels, return_inverse=True)
        member = (index == np.arange(index.max() + 1)[:, None]).astype(float)  # (G, N)
        return ImageCounts(
            models=self.models,
            model_of_run=self.model_of_run,
            intersections=member @ self.intersections,
            unions=member @ self.unions,
        )


def counts_of_scores(models: tuple[str, ...], scores: ArrayLike) -> ImageCounts:
    """Return per-image scores as counts, one run a model, so that the pooled score is their mean.

    Args:
        models: The J models.
        scores: (J, N) score of each image; NaN where an image has none.
    """
    values = np.asarray(scores, dtype=float)
    has = np.isfinite(values)
    return ImageCounts(
        models=models,
        model_of_run=np.arange(len(models)),
        intersections=np.where(has, values, 0.0)[..., None],
        unions=has.astype(float)[..., None],
    )


def pooled_scores(counts: ImageCounts) -> Floats:
    """Return (T,) the score of each run over all images: the mean over classes of intersection over union.

    A class without a union is left out of the mean of that run (docs/decisions/0006-absent-classes.md).
    """
    return _mean_of_ratios(counts.intersections.sum(axis=1), counts.unions.sum(axis=1))


def draw_weights(images: int, draws: int, columns: int, rng: np.random.Generator) -> Iterator[Floats]:
    """Yield, a few draws at a time, (r, N) how often each image is in a set of N drawn with replacement.

    Args:
        images: N; at least 10.
        draws: R, over all chunks.
        columns: What an image will be multiplied with: the larger, the fewer draws in a chunk.
        rng: Its state alone decides the weights, not the size of the chunks.

    Raises:
        StudyError: too few images.
    """
    if images < MIN_IMAGES:
        raise StudyError(
            f"{images} images, or groups of them, say nothing by resampling: {MIN_IMAGES} are the least, 100 better."
        )
    size = max(1, _CHUNK_VALUES // max(images, columns))
    for start in range(0, draws, size):
        rows = min(size, draws - start)
        drawn = rng.integers(images, size=(rows, images)) + images * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images).astype(float)


def resampled_scores(counts: ImageCounts, draws: int, rng: np.random.Generator) -> Floats:
    """Return (R, T) scores of every run over R sets of N images drawn with replacement, the same for all runs.

    Raises:
        StudyError: fewer than 10 images; a draw in which a run has no class at all, as with few labelled images.
    """
    stacked = stacked_counts(counts)
    chunks = draw_weights(counts.num_images, draws, stacked.shape[1], rng)
    return np.concatenate([weighted_scores(weights, stacked, counts) for weights in chunks])


def stacked_counts(counts: ImageCounts) -> Floats:
    """Return (N, 2 T K) the counts of each image, as :func:`weighted_scores` wants them."""
    both = np.stack([counts.intersections, counts.unions])
    return both.transpose(2, 0, 1, 3).reshape(counts.num_images, -1)


def weighted_scores(weights: Floats, stacked: Floats, counts: ImageCounts) -> Floats:
    """Return (r, T) scores of every run over images with (r, N) weights.

    A class that no drawn image has is left out of the mean of that draw.

    Raises:
        StudyError: weights with which a run has no class at all, as with few labelled images.
    """
    runs, _, classes = counts.unions.shape
    sums = (weights @ stacked).reshape(-1, 2, runs, classes)
    scores = _mean_of_ratios(sums[:, 0], sums[:, 1])
    if np.isnan(scores).any():
        raise StudyError(
            f"{int(np.isnan(scores).any(axis=1).sum())} of {len(weights)} resampled sets hold no labelled image. "
            "Leave images without labels out, or give more images."
        )
    return scores


def scores_without_each(counts: ImageCounts) -> Floats:
    """Return (N, T) scores of every run with one image left out, for the jackknife."""
    intersections = counts.intersections.sum(axis=1, keepdims=True) - counts.intersections
    unions = counts.unions.sum(axis=1, keepdims=True) - counts.unions
    return _mean_of_ratios(intersections, unions).T


def image_influence(counts: ImageCounts) -> Floats:
    """Return (T, N) what each image contributes to the pooled score of each run, with mean 0.

    The first-order (delta-method) part of the score as a function of the weights of images: the standard deviation
    over images of the difference of two runs, over the root of N, is the standard error of the difference. For a mean
    of scores per image it is the score less its mean.
    """
    intersections, unions = counts.intersections.sum(axis=1), counts.unions.sum(axis=1)  # (T, K)
    present = unions > 0
    ratio = np.divide(intersections, unions, out=np.zeros_like(unions), where=present)
    scale = np.divide(counts.num_images, unions, out=np.zeros_like(unions), where=present)
    scale /= present.sum(axis=1, keepdims=True)
    residuals = counts.intersections - ratio[:, None] * counts.unions
    return np.einsum("tnk,tk->tn", residuals, scale)


def _mean_of_ratios(intersections: Floats, unions: Floats) -> Floats:
    """Return the mean over the last axis of intersections over unions, without classes that have no union."""
    # A difference of sums may leave a rounding error where there is nothing.
    present = unions > 1e-9
    ratios = np.divide(intersections, unions, out=np.zeros_like(unions), where=present)
    classes = present.sum(axis=-1)
    total = ratios.sum(axis=-1)
    return np.divide(total, classes, out=np.full(total.shape, np.nan), where=classes > 0)
