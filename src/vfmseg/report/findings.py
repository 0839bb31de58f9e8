"""Turns the record of a run into what its owner should know: what is missing, suspicious or was skipped."""

from __future__ import annotations

from collections.abc import Iterator

from vfmseg.metrics.scores import SegmentationScores
from vfmseg.report.numbers import percent
from vfmseg.report.run_folder import Finding, History, Level, RunRecord, ValidationRecord

_SLOW_LOADING = 0.2
"""Share of the time spent waiting for data from which it is worth saying so."""
_FORGETTING = 0.01
"""Fall of the mIoU from its best to its last value from which it is worth saying so."""


def find(run: RunRecord, scores: SegmentationScores | None, baseline: float | None) -> list[Finding]:
    """Return all findings, problems first, then warnings, then notes.

    Args:
        run: The run.
        scores: Of its validation, or None where there was none.
        baseline: mIoU of predicting the most frequent class, 0..1, or None where it is unknown.
    """
    found = [*run.noted, *_missing(run), *_skipped(run)]
    if run.validation is not None:
        found += _of_images(run, run.validation)
    if run.history is not None:
        found += _of_history(run, run.history)
    if scores is not None:
        found += _of_scores(scores, baseline)
    order: list[Level] = ["problem", "warning", "note"]
    return sorted(found, key=lambda one: order.index(one.level))


def _missing(run: RunRecord) -> Iterator[Finding]:
    if run.result is None:
        yield Finding(
            "warning",
            "result.json is not there yet: the run is still training, or it was stopped. If it was stopped, "
            f"go on with `vfmseg fit --out {run.folder} --resume`.",
        )
    if run.validation is None:
        yield Finding(
            "warning", "validation.json is missing: no validation has finished, so nothing is scored."
        )
    if run.history is None:
        yield Finding("warning", "metrics.csv is missing, so there are no curves.")
    if run.environment is None:
        yield Finding("warning", "environment.json is missing, so versions, machine and command are unknown.")


def _skipped(run: RunRecord) -> Iterator[Finding]:
    for key, count in (run.result or {}).items():
        if key.startswith("skipped/") and count:
            yield Finding("warning", f"{count:,} {key.removeprefix('skipped/').replace('_', ' ')} skipped")


def _of_images(run: RunRecord, validation: ValidationRecord) -> Iterator[Finding]:
    pictures = [one.picture for one in validation.images if one.picture]
    lost = tuple(picture for picture in pictures if not (run.folder / picture).is_file())
    if lost:
        yield Finding("warning", f"{_count(len(lost), 'picture')} that validation.json names not found", lost)
    if validation.unscored:
        what = _count(len(validation.unscored), "validation image")
        yield Finding(
            "note", f"{what} without a labelled pixel, predicted but not scored", validation.unscored
        )


def _of_history(run: RunRecord, history: History) -> Iterator[Finding]:
    for column, (count, first) in history.not_finite.items():
        rows = _count(count, "row")
        yield Finding("warning", f"{column} was no number in {rows} of metrics.csv, first at step {first:,}")
    waits = [share for _, share in history.columns.get("data_wait_share", ())]
    if waits and sum(waits) / len(waits) > _SLOW_LOADING:
        workers = run.setting("data.num_workers")
        now = "" if workers is None else f" (now {workers})"
        yield Finding(
            "warning",
            f"{percent(sum(waits) / len(waits))} of the training time went into waiting for data: raise "
            f"`data.num_workers`{now}, or put the data on a faster disk.",
        )
    curve = history.columns.get("val/miou", ())
    if curve:
        best_step, best = max(curve, key=lambda point: point[1])
        last_step, last = curve[-1]
        if best - last > _FORGETTING:
            yield Finding(
                "note",
                f"The mIoU was highest at step {best_step:,.0f} ({percent(best, 1)}) and fell to "
                f"{percent(last, 1)} by step {last_step:,.0f}; `checkpoints/best` holds the former.",
            )


def _of_scores(scores: SegmentationScores, baseline: float | None) -> Iterator[Finding]:
    if baseline is not None and scores.miou <= baseline:
        yield Finding(
            "problem",
            f"The mIoU ({percent(scores.miou, 1)}) is not above that of predicting the most frequent class "
            f"everywhere ({percent(baseline, 1)}): nothing useful was learned. Check the labels with "
            "`vfmseg check-data`, and the learning rate.",
        )
    per_class = zip(scores.names, scores.confusion.sum(1), scores.iou, strict=True)
    never = tuple(name for name, pixels, iou in per_class if pixels and iou == 0)
    if never:
        yield Finding("warning", f"{_count(len(never), 'class', 'classes')} never found (IoU 0)", never)
    if scores.absent_classes:
        what = _count(len(scores.absent_classes), "class", "classes")
        text = f"{what} in neither ground truth nor prediction, left out of every mean"
        yield Finding("note", text, scores.absent_classes)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
