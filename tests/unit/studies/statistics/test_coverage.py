"""Simulated studies whose truth is known: 95 % intervals hold it in 95 % of them, within 2 %.

Rank sets promise 95 % or more. They are exact where all models are equal, as a rank set is then wrong just where an
interval of a difference is; that case is among those below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from vfmseg.studies.statistics.bootstrap import paired_bootstrap
from vfmseg.studies.statistics.images import ImageCounts
from vfmseg.studies.statistics.noise import ScoreNoise, image_noise, seed_and_image_noise, seed_noise
from vfmseg.studies.statistics.ranks import compare_two, rank_models
from vfmseg.studies.statistics.seeds import SeedTable

MODELS = tuple("abcdefghij")
SEED_SD = 0.4
"""In points of mIoU, as the truths below."""
EQUAL = np.full(10, 60.0)
SEPARATED = 40 + 4.0 * np.arange(10)
NEAR = 60 + 0.3 * np.arange(10)
FULL, QUICK = 2_000, 150
Study = tuple[ScoreNoise, ImageCounts | None]


def seeds_studies(truth: np.ndarray, seeds: list[int], count: int) -> Iterator[Study]:
    """Yield studies with one score for each of some seeds of each model."""
    rng = np.random.default_rng(sum(seeds))
    missing = np.arange(max(seeds)) >= np.array(seeds)[:, None]
    for study in range(count):
        scores = truth[:, None] + SEED_SD * rng.normal(size=missing.shape)
        scores[missing] = np.nan
        table = SeedTable(models=MODELS, seeds=tuple(range(max(seeds))), scores=scores)
        yield seed_noise(table, draws=2_000, rng_seed=study), None


def image_counts(
    truth: np.ndarray, seeds: int, images: int, rng: np.random.Generator, *, seed_sd: float, own_sd: float
) -> ImageCounts:
    """Return counts of 4 classes of very different sizes; the pooled score of all images there are is ``truth``.

    ``seed_sd`` is what a seed adds to all images, ``own_sd`` what one run has of its own in an image, in points.
    """
    runs = len(truth) * seeds
    model_of_run = np.repeat(np.arange(len(truth)), seeds)
    sizes = rng.gamma(0.7, 1.0, size=(images, 4)) * (rng.random((images, 4)) < 0.8)
    quality = truth[model_of_run, None, None] / 100 + seed_sd / 100 * rng.normal(size=(runs, 1, 1))
    quality = quality + 0.15 * rng.normal(size=(images, 1))  # hard images are hard for all
    model_sd = 0.05  # an image suits one model more than another, whatever the seed
    quality = quality + model_sd * rng.normal(size=(len(truth), images, 1))[model_of_run]
    quality = quality + own_sd / 100 * rng.normal(size=(runs, images, 4))
    unions = np.broadcast_to(sizes, quality.shape)
    return ImageCounts(
        models=MODELS[: len(truth)], model_of_run=model_of_run, intersections=unions * quality, unions=unions
    )


def image_studies(truth: np.ndarray, images: int, count: int) -> Iterator[Study]:
    """Yield studies with one run of each model."""
    rng = np.random.default_rng(images)
    for study in range(count):
        counts = image_counts(truth, 1, images, rng, seed_sd=0.0, own_sd=5.0)
        yield image_noise(counts, draws=1_000, rng_seed=study), counts


def two_level_studies(
    truth: np.ndarray, images: int, count: int, *, seed_sd: float = 1.0, own_sd: float = 10.0
) -> Iterator[Study]:
    """Yield studies of 3 seeds of each model, all on the same images."""
    rng = np.random.default_rng(images)
    for study in range(count):
        counts = image_counts(truth, 3, images, rng, seed_sd=seed_sd, own_sd=own_sd)
        yield seed_and_image_noise(counts, draws=1_000, rng_seed=study), counts


def all_pairs(study: Study, truth: np.ndarray) -> bool:
    """Return whether the intervals of all differences hold at once."""
    scale = 1 if study[1] is None else 100
    found = rank_models(study[0])
    true = (truth[:, None] - truth) / scale
    return bool(((found.lower <= true) & (true <= found.upper)).all())


def one_pair(study: Study, truth: np.ndarray) -> bool:
    """Return whether the interval of one difference holds."""
    scale = 1 if study[1] is None else 100
    found = compare_two(study[0], "a", "b")
    return bool(found.lower <= (truth[0] - truth[1]) / scale <= found.upper)


def bootstrapped(study: Study, truth: np.ndarray, method: str) -> bool:
    """Return whether the bootstrap interval of one difference holds."""
    assert study[1] is not None
    found = paired_bootstrap(study[1], "a", "b", method=method, draws=1_000, rng_seed=1)
    return bool(found.lower <= (truth[0] - truth[1]) / 100 <= found.upper)


def percentile(study: Study, truth: np.ndarray) -> bool:
    return bootstrapped(study, truth, "percentile")


def bca(study: Study, truth: np.ndarray) -> bool:
    return bootstrapped(study, truth, "bca")


def rank_sets(study: Study, truth: np.ndarray, *, stepdown: bool = False) -> bool:
    """Return whether every rank set holds all ranks that the model may truly claim; equal models share them."""
    found = rank_models(study[0], stepdown=stepdown)
    best = 1 + (truth > truth[:, None]).sum(axis=1)
    worst = len(truth) - (truth < truth[:, None]).sum(axis=1)
    return bool(((found.best_ranks <= best) & (worst <= found.worst_ranks)).all())


def stepdown_rank_sets(study: Study, truth: np.ndarray) -> bool:
    return rank_sets(study, truth, stepdown=True)


def winner(study: Study, truth: np.ndarray) -> bool:
    """Return whether the best model is among the possible winners; of equal ones, the last."""
    best = MODELS[len(truth) - 1 - int(np.argmax(truth[::-1]))]
    return best in rank_models(study[0]).possible_winners


Case = tuple[str, Callable[[int], Iterator[Study]], np.ndarray, Callable[[Study, np.ndarray], bool]]

EXACT: list[Case] = [
    ("seeds 3, one pair", lambda n: seeds_studies(EQUAL, [3] * 10, n), EQUAL, one_pair),
    ("seeds 3, all pairs, equal", lambda n: seeds_studies(EQUAL, [3] * 10, n), EQUAL, all_pairs),
    ("seeds 3, all pairs, apart", lambda n: seeds_studies(SEPARATED, [3] * 10, n), SEPARATED, all_pairs),
    ("seeds 4, all pairs, near", lambda n: seeds_studies(NEAR, [4] * 10, n), NEAR, all_pairs),
    ("seeds 5, all pairs, near", lambda n: seeds_studies(NEAR, [5] * 10, n), NEAR, all_pairs),
    (
        "seeds 1 to 5, all pairs",
        lambda n: seeds_studies(NEAR, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5], n),
        NEAR,
        all_pairs,
    ),
    ("seeds 3, rank sets, equal", lambda n: seeds_studies(EQUAL, [3] * 10, n), EQUAL, rank_sets),
    ("seeds 3, winner, equal", lambda n: seeds_studies(EQUAL, [3] * 10, n), EQUAL, winner),
    ("images 100, one pair", lambda n: image_studies(EQUAL, 100, n), EQUAL, one_pair),
    ("images 500, percentile", lambda n: image_studies(EQUAL[:2], 500, n), EQUAL[:2], percentile),
    ("images 500, BCa", lambda n: image_studies(EQUAL[:2], 500, n), EQUAL[:2], bca),
    ("images 100, all pairs, equal", lambda n: image_studies(EQUAL, 100, n), EQUAL, all_pairs),
    ("images 100, all pairs, apart", lambda n: image_studies(SEPARATED, 100, n), SEPARATED, all_pairs),
    ("images 300, all pairs, near", lambda n: image_studies(NEAR, 300, n), NEAR, all_pairs),
    ("images 100, rank sets, equal", lambda n: image_studies(EQUAL, 100, n), EQUAL, rank_sets),
    ("images 100, winner, equal", lambda n: image_studies(EQUAL, 100, n), EQUAL, winner),
    ("both, one pair", lambda n: two_level_studies(EQUAL, 100, n), EQUAL, one_pair),
    ("both, all pairs, equal", lambda n: two_level_studies(EQUAL, 100, n), EQUAL, all_pairs),
    ("both, all pairs, apart", lambda n: two_level_studies(SEPARATED, 100, n), SEPARATED, all_pairs),
    ("both, seeds count most", lambda n: two_level_studies(EQUAL, 100, n, seed_sd=5.0), EQUAL, all_pairs),
    ("both, rank sets, equal", lambda n: two_level_studies(EQUAL, 100, n), EQUAL, rank_sets),
]
AT_LEAST: list[Case] = [
    ("seeds 3, rank sets, near", lambda n: seeds_studies(NEAR, [3] * 10, n), NEAR, rank_sets),
    ("seeds 3, rank sets, stepdown", lambda n: seeds_studies(NEAR, [3] * 10, n), NEAR, stepdown_rank_sets),
    ("seeds 3, rank sets, apart", lambda n: seeds_studies(SEPARATED, [3] * 10, n), SEPARATED, rank_sets),
    ("seeds 3, winner, near", lambda n: seeds_studies(NEAR, [3] * 10, n), NEAR, winner),
    ("images 100, rank sets, near", lambda n: image_studies(NEAR, 100, n), NEAR, rank_sets),
    ("both, seeds count nothing", lambda n: two_level_studies(EQUAL, 100, n, seed_sd=0.0), EQUAL, all_pairs),
]


def coverage(case: Case, count: int) -> float:
    """Return the share of ``count`` studies in which what is promised holds."""
    _, studies, truth, holds = case
    return float(np.mean([holds(study, truth) for study in studies(count)]))


QUICK_CASES = [case for case in EXACT if case[0] in ("seeds 3, all pairs, equal", "both, all pairs, equal")]


@pytest.mark.parametrize("case", QUICK_CASES, ids=lambda case: case[0])
def test_coverage__of_few_studies_is_near(case: Case) -> None:
    """A quick look: of 150 studies, 0.89 to 0.99 are within two and a half standard errors of 0.95."""
    assert 0.89 <= coverage(case, QUICK) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("case", EXACT, ids=lambda case: case[0])
def test_coverage__is_95_percent_within_2(case: Case) -> None:
    assert coverage(case, FULL) == pytest.approx(0.95, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("case", AT_LEAST, ids=lambda case: case[0])
def test_coverage__is_95_percent_or_more(case: Case) -> None:
    assert coverage(case, FULL) >= 0.93
