"""Scores in, what is known of their errors out: from seeds, from images, or from both.

What a ranking needs is how far the differences between models may be off, all of them at once. That is kept as draws
of errors, and of the standard error that the same draw would have shown. Divided, they are studentised errors, whose
distribution hardly depends on the unknown spread. This is what keeps the promise with 3 seeds, where a percentile
bootstrap over seeds takes intervals that are too short by a fifth (the root of 2/3) before t is even thought of, and
with images of which a few large ones decide, whose spread itself is known badly.

The model behind it, for run s of model j on N images: score = truth of j + seed error + image error. Seed errors are
normal, independent, with one variance (pooled over models). Image errors are what resampling of images shows; models
share the images. Conditions under which this fails are in docs/reference/ranking-statistics.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vfmseg.errors import StudyError
from vfmseg.studies.statistics.images import (
    ImageCounts,
    draw_weights,
    image_influence,
    pooled_scores,
    stacked_counts,
    weighted_scores,
)
from vfmseg.studies.statistics.seeds import SeedTable, pooled_spread

Floats = NDArray[np.float64]
Source = Literal["seeds", "images", "seeds and images"]

_ROUNDING = 1e-12
"""Differences between scores below it are none, in any unit from shares to percent."""


@dataclass(frozen=True, kw_only=True)
class SeedErrors:
    """The part of the errors that another seed would change."""

    variance: float
    """Of one run, in the square of the score's unit, with what ``images`` says twice taken out; at least 0."""
    interaction: float
    """Variance between seeds on fixed images that resampling of images shows already; 0 without images."""
    dof: int
    """Degrees of freedom of ``variance + interaction``, as estimated together."""
    per_run: Floats
    """(J,) 1 over the number of seeds of each model."""
    draws: Floats
    """(R, J) drawn errors of the models' means."""
    ratio: Floats
    """(R,) drawn variance over true variance: chi squared over ``dof``."""


@dataclass(frozen=True, kw_only=True)
class ImageErrors:
    """The part of the errors that other images would change."""

    draws: Floats
    """(R, J) resampled scores less the scores, widened to the unbiased variance, N / (N - 1)."""
    squared: Floats
    """(J, J) squared standard errors of differences, from the influence of images on the scores."""
    drawn_squared: Floats
    """(R, J, J) the same of every resampled set of images."""


@dataclass(frozen=True, kw_only=True)
class ScoreNoise:
    """J scores and what is known of their errors; at least one of ``seeds`` and ``images`` is there."""

    models: tuple[str, ...]
    scores: Floats
    """(J,) mean over a model's runs."""
    seeds: SeedErrors | None
    images: ImageErrors | None

    @property
    def source(self) -> Source:
        """What the errors come from, and so what may be claimed to be left to chance."""
        if self.seeds is None:
            return "images"
        return "seeds" if self.images is None else "seeds and images"

    def standard_errors(self) -> Floats:
        """Return (J, J) standard errors of the differences between scores; 0 on the diagonal."""
        squared = np.zeros((len(self.models),) * 2)
        if self.images is not None:
            squared += self.images.squared
        if self.seeds is not None:
            squared += self.seeds.variance * _pairs(self.seeds.per_run)
        np.fill_diagonal(squared, 0)
        return np.sqrt(squared)

    def studentized_errors(self, j: int) -> Floats:
        """Return (R, J) drawn errors of "score j less score k" for every k, each over its own drawn standard error."""
        errors, squared = np.zeros((1, len(self.models))), np.zeros((1, len(self.models)))
        if self.images is not None:
            errors, squared = self.images.draws, self.images.drawn_squared[:, j]
        if self.seeds is not None:
            seeds = self.seeds
            drawn = seeds.ratio * (seeds.variance + seeds.interaction) - seeds.interaction
            errors = errors + seeds.draws
            squared = squared + np.maximum(drawn, 0)[:, None] * _pairs(seeds.per_run)[j]
        # Models that never differ have no error at all, whatever rounding says.
        differences = np.where(self.standard_errors()[j] > 0, errors[:, [j]] - errors, 0.0)
        return over_errors(differences, np.sqrt(squared))

    def plausible_scores(self) -> Floats:
        """Return (R, J) scores around those seen that the data leave possible, were nothing known before.

        Errors of seeds are over the root of the drawn variance: the draws of Student's t that a flat prior gives.
        """
        scores = self.scores
        if self.images is not None:
            scores = scores + self.images.draws
        if self.seeds is not None:
            scores = scores + self.seeds.draws / np.sqrt(self.seeds.ratio)[:, None]
        return scores


def seed_noise(
    table: SeedTable, *, shared_seeds: bool = False, draws: int = 20_000, rng_seed: int = 0
) -> ScoreNoise:
    """Return scores and errors for the question: would other *seeds*, on these images, rank the models so?

    With the same number of seeds for every model, the intervals of all pairs from this are Tukey's.

    Args:
        table: Two seeds for at least one model; models with one seed borrow the spread of the others.
        shared_seeds: A seed moves all models alike; see :func:`~vfmseg.studies.statistics.seeds.pooled_spread`.
        draws: R; 20,000 leave 0.15 % of doubt in a 95 % statement.
        rng_seed: The same seed gives the same result.

    Raises:
        StudyError: no model has two seeds, or all seeds of every model have one score.
    """
    spread = pooled_spread(table, shared_seeds=shared_seeds)
    if spread.variance == 0:
        raise StudyError(
            "All seeds of a model have the same score: nothing was learned yet, or the seed has not reached the runs. "
            "Compare the seeds in their recipes."
        )
    rng = np.random.default_rng(rng_seed)
    seeds = _seed_errors(table.models, table.counts, spread.variance, 0.0, spread.dof, draws, rng)
    return ScoreNoise(models=table.models, scores=table.means, seeds=seeds, images=None)


def image_noise(counts: ImageCounts, *, draws: int = 4_000, rng_seed: int = 0) -> ScoreNoise:
    """Return scores and errors for the question: would other *images* rank these trained models so?

    Args:
        counts: One run a model, or several, whose mean is ranked.
        draws: R, resampled sets of images; 4,000 leave 0.35 % of doubt in a 95 % statement.
        rng_seed: The same seed gives the same result.

    Raises:
        StudyError: fewer than 10 images, or a resampled set that holds no labelled image.
    """
    scores = pooled_scores(counts) @ _mean_of_runs(counts)
    images = _image_errors(counts, draws, rng_seed)
    return ScoreNoise(models=counts.models, scores=scores, seeds=None, images=images)


def seed_and_image_noise(counts: ImageCounts, *, draws: int = 4_000, rng_seed: int = 0) -> ScoreNoise:
    """Return scores and errors for the question: would other seeds *and* other images rank the models so?

    Two levels: images are resampled, the same for all runs; seeds are drawn from a normal distribution with the
    pooled variance, as 3 seeds are too few to be resampled. Runs of one model differ on fixed images in part because
    each is lucky with other images; resampling shows that part, too, so it is taken out of the spread between seeds.

    Args:
        counts: At least one model with two runs.
        draws: R.
        rng_seed: The same seed gives the same result.

    Raises:
        StudyError: no model has two runs, fewer than 10 images, or a resampled set that holds no labelled image.
    """
    scores, per_model = pooled_scores(counts), _mean_of_runs(counts)
    dof = len(scores) - len(counts.models)
    if dof == 0:
        raise StudyError(
            "No model has two runs, so nothing is known about the spread between seeds. Give runs of a second seed "
            "of at least one model, or ask about images alone (image_noise)."
        )
    images = _image_errors(counts, draws, rng_seed)
    influence = image_influence(counts)  # (T, N)
    own = influence - (per_model.T @ influence)[counts.model_of_run]
    interaction = float((own**2).sum()) / dof / (counts.num_images * (counts.num_images - 1))
    between = float(((scores - (scores @ per_model)[counts.model_of_run]) ** 2).sum()) / dof
    variance = max(0.0, between - interaction)
    # The images have used the stream of this seed; seeds must not follow them.
    rng = np.random.default_rng([rng_seed, 1])
    return ScoreNoise(
        models=counts.models,
        scores=scores @ per_model,
        seeds=_seed_errors(counts.models, counts.runs_per_model, variance, interaction, dof, draws, rng),
        images=images,
    )


def over_errors(differences: Floats, standard_errors: Floats) -> Floats:
    """Return differences over their standard errors; a difference without any error is infinitely many of them."""
    infinite = np.where(np.abs(differences) < _ROUNDING, 0.0, np.copysign(np.inf, differences))
    return np.divide(differences, standard_errors, out=infinite, where=standard_errors > 0)


def _image_errors(counts: ImageCounts, draws: int, rng_seed: int) -> ImageErrors:
    """Return what resampled images say of the models' scores and of the standard errors of their differences.

    The standard error of a resampled set is that of the influences of its images, as they are in the whole set.
    """
    per_model, images = _mean_of_runs(counts), counts.num_images
    influence = (per_model.T @ image_influence(counts)).T  # (N, J)
    models = influence.shape[1]
    products = (influence[:, :, None] * influence[:, None]).reshape(images, -1)
    stacked = stacked_counts(counts)
    scores, variances = [], []
    columns = max(stacked.shape[1], products.shape[1])
    for weights in draw_weights(images, draws, columns, np.random.default_rng(rng_seed)):
        scores.append(weighted_scores(weights, stacked, counts))
        means = weights @ influence / images
        moments = (weights @ products / images).reshape(-1, models, models)
        variances.append(_of_differences(moments - means[:, :, None] * means[:, None]))
    scale = 1 / (images - 1)  # sum over N (N - 1): products are already a mean
    widen = (images / (images - 1)) ** 0.5
    return ImageErrors(
        draws=widen * (np.concatenate(scores) - pooled_scores(counts)) @ per_model,
        squared=scale * _of_differences(influence.T @ influence / images),
        drawn_squared=np.concatenate(variances) * scale * widen**2,
    )


def _of_differences(covariances: Floats) -> Floats:
    """Return (..., J, J) variances of the differences between J numbers with (..., J, J) ``covariances``."""
    variances = np.diagonal(covariances, axis1=-2, axis2=-1)
    found = variances[..., :, None] + variances[..., None, :] - 2 * covariances
    # What is not more than rounding is nothing: models that are the same on every image.
    return np.where(found > 1e-12 * (variances[..., :, None] + variances[..., None, :]), found, 0.0)


def _seed_errors(
    models: tuple[str, ...],
    runs: NDArray[np.int64],
    variance: float,
    interaction: float,
    dof: int,
    draws: int,
    rng: np.random.Generator,
) -> SeedErrors:
    per_run = 1 / runs
    normal = np.empty((draws, len(models)))
    # Drawn in the order of the names, so that the order of the rows changes nothing.
    normal[:, np.argsort(models)] = rng.standard_normal((draws, len(models)))
    return SeedErrors(
        variance=variance,
        interaction=interaction,
        dof=dof,
        per_run=per_run,
        draws=normal * np.sqrt(variance * per_run),
        ratio=_ratio(rng, dof, draws),
    )


def _ratio(rng: np.random.Generator, dof: int, draws: int) -> Floats:
    return rng.chisquare(dof, size=draws) / dof


def _mean_of_runs(counts: ImageCounts) -> Floats:
    """Return (T, J) weights that turn scores of runs into means of models."""
    member = counts.model_of_run[:, None] == np.arange(len(counts.models))
    return member / counts.runs_per_model


def _pairs(per_run: Floats) -> Floats:
    """Return (J, J) sums of the entries of every pair."""
    return per_run[:, None] + per_run
