"""Pooled scores, resampled ones and their intervals equal hand examples, loops and scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vfmseg.errors import StudyError
from vfmseg.metrics.scores import scores
from vfmseg.studies.statistics.bootstrap import bca_interval, paired_bootstrap, two_sided_p
from vfmseg.studies.statistics.images import (
    ImageCounts,
    counts_of_scores,
    draw_weights,
    image_influence,
    pooled_scores,
    resampled_scores,
    scores_without_each,
)
from vfmseg.studies.statistics.noise import image_noise, seed_and_image_noise
from vfmseg.studies.statistics.ranks import compare_two


def random_counts(runs: int = 3, images: int = 20, classes: int = 4, *, models: int = 3) -> ImageCounts:
    rng = np.random.default_rng(runs * images)
    unions = rng.integers(1, 1000, size=(runs, images, classes)).astype(float)
    unions[:, rng.random((images, classes)) < 0.4] = 0  # classes that an image has not
    intersections = np.floor(unions * rng.uniform(0.3, 0.9, size=unions.shape))
    return ImageCounts(
        models=tuple("abcdef"[:models]),
        model_of_run=np.arange(runs) % models,
        intersections=intersections,
        unions=unions,
    )


def of_one(intersections: list[list[float]], unions: list[list[float]]) -> ImageCounts:
    return ImageCounts(
        models=("a",),
        model_of_run=np.array([0]),
        intersections=np.array([intersections], dtype=float),
        unions=np.array([unions], dtype=float),
    )


def test_pooled_scores__by_hand() -> None:
    # class 0: (2 + 4) / (4 + 8) = 1/2, class 1: 3 / 4, class 2 is nowhere
    counts = of_one([[2, 0, 0], [4, 3, 0]], [[4, 0, 0], [8, 4, 0]])
    assert pooled_scores(counts).tolist() == [0.625]
    assert scores_without_each(counts).tolist() == [[(1 / 2 + 3 / 4) / 2], [1 / 2]]


def test_pooled_scores__are_those_of_the_metric() -> None:
    pairs = np.random.default_rng(0).integers(0, 4, size=(6, 2, 50))  # the fifth class is nowhere
    confusions = np.zeros((6, 5, 5), dtype=int)
    for confusion, (truth, predicted) in zip(confusions, pairs, strict=True):
        np.add.at(confusion, (truth, predicted), 1)
    found = np.diagonal(confusions, axis1=1, axis2=2)
    unions = confusions.sum(axis=1) + confusions.sum(axis=2) - found
    expected = scores(confusions.sum(axis=0), list("abcde")).miou
    assert pooled_scores(of_one(found.tolist(), unions.tolist())) == pytest.approx([expected])


def test_resampled_scores__equal_a_loop_over_images() -> None:
    counts = random_counts(images=15)
    found = resampled_scores(counts, 50, np.random.default_rng(3))
    (weights,) = draw_weights(15, 50, 1, np.random.default_rng(3))
    assert (weights.sum(axis=1) == 15).all()
    for draw in (0, 17, 49):
        drawn = np.repeat(np.arange(15), weights[draw].astype(int))
        for run in range(3):
            inter, union = counts.intersections[run, drawn].sum(0), counts.unions[run, drawn].sum(0)
            assert found[draw, run] == pytest.approx((inter[union > 0] / union[union > 0]).mean())


def test_resampled_scores__do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = random_counts()
    whole = resampled_scores(counts, 40, np.random.default_rng(0))
    monkeypatch.setattr("vfmseg.studies.statistics.images._CHUNK_VALUES", 100)
    np.testing.assert_allclose(resampled_scores(counts, 40, np.random.default_rng(0)), whole, rtol=1e-12)


def test_scores_without_each__equal_leaving_out() -> None:
    counts = random_counts()
    found = scores_without_each(counts)
    for image in (0, 7):
        rest = np.arange(20) != image
        kept = ImageCounts(
            models=counts.models,
            model_of_run=counts.model_of_run,
            intersections=counts.intersections[:, rest],
            unions=counts.unions[:, rest],
        )
        np.testing.assert_allclose(found[image], pooled_scores(kept))


def test_influence__is_the_slope_of_the_score_in_an_images_weight() -> None:
    counts = random_counts()
    found = image_influence(counts)
    np.testing.assert_allclose(found.sum(axis=1), 0, atol=1e-10)
    step = 1e-6
    for image in (0, 7):
        weights = np.ones(20)
        weights[image] += step
        inter = np.einsum("n,tnk->tk", weights, counts.intersections)
        union = np.einsum("n,tnk->tk", weights, counts.unions)
        slope = ((inter / union).mean(axis=1) - pooled_scores(counts)) / step
        np.testing.assert_allclose(found[:, image] / 20, slope, rtol=1e-3, atol=1e-7)


def test_influence__of_scores_per_image_is_the_score_less_the_mean() -> None:
    values = np.random.default_rng(0).random((2, 12))
    found = image_influence(counts_of_scores(("a", "b"), values))
    np.testing.assert_allclose(found, values - values.mean(axis=1, keepdims=True))


def test_grouped__sums_what_belongs_together() -> None:
    counts = random_counts(images=6)
    found = counts.grouped(["x", "y", "x", "z", "z", "z"])
    assert found.num_images == 3
    np.testing.assert_allclose(pooled_scores(found), pooled_scores(counts))
    np.testing.assert_allclose(found.unions[:, 0], counts.unions[:, [0, 2]].sum(axis=1))


@pytest.mark.parametrize("skew", [0.3, 3.0])
def test_bca__is_scipys_on_the_same_draws(skew: float) -> None:
    sample = np.random.default_rng(0).gamma(1 / skew, size=30)
    expected = stats.bootstrap(
        (sample,), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(1)
    )
    jackknife = (sample.sum() - sample) / (len(sample) - 1)
    found = bca_interval(expected.bootstrap_distribution, float(sample.mean()), jackknife, 0.95)
    assert found == pytest.approx(tuple(expected.confidence_interval))


@pytest.mark.parametrize("method", ["BCa", "percentile"])
def test_paired_bootstrap__is_scipys_within_the_draws(method: str) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.gamma(2, 0.1, size=(2, 40))

    def difference(x: np.ndarray, y: np.ndarray, axis: int = -1) -> np.ndarray:
        return x.mean(axis) - y.mean(axis)

    expected = stats.bootstrap(
        (first, second), difference, paired=True, n_resamples=20_000, method=method, rng=rng
    )
    counts = counts_of_scores(("a", "b"), [first, second])
    found = paired_bootstrap(counts, "a", "b", method=method.lower(), draws=20_000)
    assert found.difference == pytest.approx(first.mean() - second.mean())
    assert found.se == pytest.approx(expected.standard_error, rel=0.03)
    tolerance = 0.06 * expected.standard_error
    assert found.lower == pytest.approx(expected.confidence_interval.low, abs=tolerance)
    assert found.upper == pytest.approx(expected.confidence_interval.high, abs=tolerance)


def test_paired_bootstrap__of_models_with_several_runs_takes_their_mean() -> None:
    counts = random_counts(runs=6)
    values = pooled_scores(counts)
    found = paired_bootstrap(counts, "c", "a", draws=200)
    assert found.difference == pytest.approx((values[2] + values[5]) / 2 - (values[0] + values[3]) / 2)
    assert found.lower < found.difference < found.upper
    back = paired_bootstrap(counts, "a", "c", draws=200)
    assert (back.lower, back.upper, back.p) == pytest.approx((-found.upper, -found.lower, found.p))


@pytest.mark.parametrize("method", ["bca", "percentile"])
def test_paired_bootstrap__of_equal_models_is_zero(method: str) -> None:
    values = np.random.default_rng(0).random(20)
    found = paired_bootstrap(counts_of_scores(("a", "b"), [values, values]), "a", "b", method=method)
    assert (found.difference, found.lower, found.upper, found.p) == (0, 0, 0, 1)


def test_two_sided_p__by_hand() -> None:
    assert two_sided_p(np.array([1.0] * 97 + [-1.0, 0.0])) == pytest.approx(2 * 3 / 100)
    assert two_sided_p(np.ones(99)) == pytest.approx(2 / 100)
    assert two_sided_p(np.zeros(9)) == 1


def test_image_noise__standard_error_is_that_of_paired_differences() -> None:
    first, second = np.random.default_rng(0).random((2, 60))
    noise = image_noise(counts_of_scores(("a", "b"), [first, second]), draws=2_000)
    difference = first - second
    expected = stats.ttest_rel(first, second)
    found = compare_two(noise, "a", "b")
    assert found.se == pytest.approx(difference.std(ddof=1) / 60**0.5)
    assert found.p == pytest.approx(expected.pvalue, abs=0.03)
    low, high = expected.confidence_interval()
    assert (found.lower, found.upper) == pytest.approx((low, high), abs=0.15 * found.se)


def test_two_levels__what_seeds_and_images_share_is_counted_once() -> None:
    """Runs that differ only by luck with images: no variance is left for the seeds, on average."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        values = rng.normal(0.6, 0.1, size=(30, 25))
        counts = counts_of_scores(tuple(f"m{run}" for run in range(30)), values)
        counts = ImageCounts(
            models=("a", "b", "c"),
            model_of_run=np.repeat([0, 1, 2], 10),
            intersections=counts.intersections,
            unions=counts.unions,
        )
        seeds = seed_and_image_noise(counts, draws=10).seeds
        assert seeds is not None
        between = 3 * pooled_scores(counts).reshape(3, 10).var(axis=1, ddof=1).mean() / 3
        assert seeds.variance == pytest.approx(max(0.0, between - seeds.interaction))
        found.append((between, seeds.interaction))
    between_all, interaction_all = np.mean(found, axis=0)
    assert between_all == pytest.approx(0.1**2 / 25, rel=0.1)
    assert interaction_all == pytest.approx(between_all, rel=0.1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: of_one([[1.0]], [[1.0, 2.0]]), "Counts are runs x images x classes"),
        (lambda: of_one([[1.0]] * 2, [[np.nan]] * 2), "A count is missing or infinite."),
        (lambda: of_one([[1.0]] * 2, [[-1.0]] * 2), "A union is negative."),
        (lambda: of_one([[0.0]] * 2, [[0.0]] * 2), "A run has no pixel of any class in any image"),
        (lambda: random_counts(runs=2), "There is no run of c."),
        (lambda: random_counts().grouped([1, 2]), "20 images need as many groups"),
        (lambda: image_noise(random_counts(images=9)), "9 images, or groups of them, say nothing"),
        (lambda: seed_and_image_noise(random_counts()), "No model has two runs"),
        (lambda: paired_bootstrap(random_counts(), "a", "bb"), "There is no model bb. Did you mean b?"),
        (
            lambda: image_noise(of_one([[1.0]] + [[0.0]] * 19, [[1.0]] + [[0.0]] * 19)),
            "resampled sets hold no labelled image",
        ),
    ],
)
def test_mistake__is_named(call, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        call()
