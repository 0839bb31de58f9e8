"""Turns the record of a run into what its owner should know: what is missing, suspicious or was skipped."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from vfmseg.report.evaluation import Evaluation
from vfmseg.report.measures import Measure
from vfmseg.report.numbers import percent
from vfmseg.report.run_folder import Finding, History, Level, RunRecord, ValidationRecord

_SLOW_LOADING = 0.2
"""Share of the time spent waiting for data from which it is worth saying so."""
_FORGETTING = 0.01
"""Fall of the headline number from its best to its last value from which it is worth saying so."""


def find(run: RunRecord, evaluation: Evaluation | None, baseline: float | None) -> list[Finding]:
    """Return all findings, problems first, then warnings, then notes.

    Args:
        run: The run.
        evaluation: Of its validation, or None where there was none.
        baseline: Score of predicting the most frequent class, 0..1, or None where there is no such thing.
    """
    found = [*run.noted, *_missing(run)]
    if run.validation is not None:
        found += _of_images(run, run.validation)
    if run.history is not None:
        found += _of_history(run, run.history)
    if evaluation is not None:
        found += _of_scores(evaluation, run.measure, baseline)
    order: list[Level] = ["problem", "warning", "note"]
    return sorted(found, key=lambda one: order.index(one.level))


def _missing(run: RunRecord) -> Iterator[Finding]:
    if run.result is None:
        yield Finding(
            "warning",
            "result.json is not there yet: the run is still training, or it was stopped. If it was stopped, "
            f"go on with `vfmseg fit --out {shlex.quote(str(run.folder))} --resume`.",
        )
    if run.validation is None:
        yield Finding(
            "warning", "validation.json is missing: no validation has finished, so nothing is scored."
        )
    if run.history is None:
        yield Finding("warning", "metrics.csv is missing, so there are no curves.")
    if run.environment is None:
        yield Finding("warning", "environment.json is missing, so versions, machine and command are unknown.")


def _of_images(run: RunRecord, validation: ValidationRecord) -> Iterator[Finding]:
    pictures = [one.picture for one in validation.images if one.picture]
    lost = tuple(picture for picture in pictures if not (run.folder / picture).is_file())
    if lost:
        yield Finding("warning", f"{_count(len(lost), 'picture')} that validation.json names not found", lost)
    if validation.unscored:
        what = _count(len(validation.unscored), "validation image")
        yield Finding("note", f"{what} {run.measure.unscored}", validation.unscored)


def _of_history(run: RunRecord, history: History) -> Iterator[Finding]:
    for column, (count, first) in history.not_finite.items():
        rows = _count(count, "row")
        yield Finding("warning", f"{column} was no number in {rows} of metrics.csv, first at step {first:,}")
    left = [count for _, count in history.columns.get("train/unmatched_segments", ())]
    if any(left):
        queries = run.setting("decoder.num_queries")
        now = "" if queries is None else f" (now {queries})"
        yield Finding(
            "warning",
            f"{sum(left) / len(left):.3g} segments a batch, on average, were learned by no query, as their images have "
            f"more segments than the decoder has queries: raise `decoder.num_queries`{now}.",
        )
    waits = [share for _, share in history.columns.get("data_wait_share", ())]
    if waits and sum(waits) / len(waits) > _SLOW_LOADING:
        workers = run.setting("data.num_workers")
        now = "" if workers is None else f" (now {workers})"
        yield Finding(
            "warning",
            f"{percent(sum(waits) / len(waits))} of the training time went into waiting for data: raise "
            f"`data.num_workers`{now}, or put the data on a faster disk.",
        )
    curve = history.columns.get(f"val/{run.measure.key}", ())
    if curve:
        best_step, best = max(curve, key=lambda point: point[1])
        last_step, last = curve[-1]
        if best - last > _FORGETTING:
            yield Finding(
                "note",
                f"The {run.measure.title} was highest at step {best_step:,.0f} ({percent(best, 1)}) and fell to "
                f"{percent(last, 1)} by step {last_step:,.0f}; `checkpoints/best` holds the former.",
            )


def _of_scores(evaluation: Evaluation, measure: Measure, baseline: float | None) -> Iterator[Finding]:
    useless = "nothing useful was learned. Check the labels with `vfmseg check-data`, and the learning rate."
    if baseline is not None and evaluation.score <= baseline:
        yield Finding(
            "problem",
            f"The {measure.title} ({percent(evaluation.score, 1)}) is not above that of predicting the most "
            f"frequent class everywhere ({percent(baseline, 1)}): {useless}",
        )
    elif evaluation.score == 0:
        yield Finding("problem", f"The {measure.title} is 0: {useless}")
    never = evaluation.never_found
    if never:
        what = _count(len(never), "class", "classes")
        yield Finding("warning", f"{what} never found ({measure.class_title} 0)", never)
    if evaluation.absent:
        what = _count(len(evaluation.absent), "class", "classes")
        yield Finding("note", f"{what} {measure.absent}", evaluation.absent)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
