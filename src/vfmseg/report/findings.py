"""Turns the record of a run into what its owner should know: what is missing, wrong, suspicious or skipped."""

from __future__ import annotations

from vfmseg.metrics.scores import SegmentationScores
from vfmseg.report.numbers import percent
from vfmseg.report.run_folder import Finding, History, Level, RunRecord

_SLOW_LOADING = 0.2
"""Share of the time spent waiting for data from which it is worth saying so."""
_FORGETTING = 0.01
"""Fall of the mIoU from its best to its last value from which it is worth saying so."""


def find(run: RunRecord, scores: SegmentationScores | None, baseline: float | None) -> list[Finding]:
    """Return all findings, problems first.

    Args:
        run: The run.
        scores: Of its validation, or None where there was none.
        baseline: mIoU of predicting the most frequent class, 0..1.
    """
    found = [*run.noted, *_missing(run), *_skipped(run)]
    if run.history is not None:
        found += _of_history(run, run.history)
    if scores is not None:
        found += _of_scores(run, scores, baseline)
    order: list[Level] = ["problem", "warning", "note"]
    return sorted(found, key=lambda one: order.index(one.level))


def _missing(run: RunRecord) -> list[Finding]:
    found = []
    if run.result is None:
        command = f"vfmseg fit --out {run.folder} --resume"
        found.append(
            Finding(
                "warning",
                "result.json is not there yet: the run is still training, or it was stopped. If it was stopped, "
                f"go on with `{command}`.",
            )
        )
    if run.validation is None:
        found.append(
            Finding(
                "warning",
                "validation.json is not there: no validation has finished, so nothing is scored yet.",
            )
        )
    if run.history is None:
        found.append(Finding("warning", "metrics.csv is missing, so there are no curves."))
    if run.environment is None:
        found.append(
            Finding("warning", "environment.json is missing, so versions, machine and command are unknown.")
        )
    if run.validation is not None:
        lost = [one.picture for one in run.validation.images if one.picture]
        lost = [picture for picture in lost if not (run.folder / picture).is_file()]
        if lost:
            found.append(
                Finding(
                    "warning",
                    f"{_count(len(lost), 'picture')} named in validation.json not found",
                    tuple(lost),
                )
            )
    return found


def _skipped(run: RunRecord) -> list[Finding]:
    found = [
        Finding("warning", f"{value:,} {key.removeprefix('skipped/').replace('_', ' ')} skipped")
        for key, value in (run.result or {}).items()
        if key.startswith("skipped/") and value
    ]
    if run.validation is not None and run.validation.unscored:
        names = run.validation.unscored
        text = f"{_count(len(names), 'validation image')} without a labelled pixel: predicted, but not scored"
        found.append(Finding("note", text, names))
    return found


def _of_history(run: RunRecord, history: History) -> list[Finding]:
    found = [
        Finding(
            "warning",
            f"{column} was not a number in {_count(count, 'row')} of metrics.csv, first at step {first:,}",
        )
        for column, (count, first) in history.not_finite.items()
    ]
    waits = [share for _, share in history.columns.get("data_wait_share", ())]
    if waits:
        wait = sum(waits) / len(waits)
        if wait > _SLOW_LOADING:
            workers = run.setting("data.num_workers")
            now = "" if workers is None else f" (now {workers})"
            found.append(
                Finding(
                    "warning",
                    f"{percent(wait)} of the training time went into waiting for data: raise data.num_workers{now}, "
                    "or put the data on a faster disk.",
                )
            )
    curve = history.columns.get("val/miou", ())
    if curve:
        best_step, best = max(curve, key=lambda point: point[1])
        last_step, last = curve[-1]
        if best - last > _FORGETTING:
            found.append(
                Finding(
                    "note",
                    f"The mIoU was highest at step {best_step:,.0f} ({percent(best, 1)}) and fell to "
                    f"{percent(last, 1)} by step {last_step:,.0f}. checkpoints/best holds the former.",
                )
            )
    return found


def _of_scores(run: RunRecord, scores: SegmentationScores, baseline: float | None) -> list[Finding]:
    found = []
    if baseline is not None and scores.miou <= baseline:
        found.append(
            Finding(
                "problem",
                f"The mIoU ({percent(scores.miou, 1)}) is not above predicting the most frequent class everywhere "
                f"({percent(baseline, 1)}): the model has learned nothing useful. Check the labels with "
                "`vfmseg check-data` and the learning rate.",
            )
        )
    truth = scores.confusion.sum(1)
    never = tuple(
        name for name, pixels, iou in zip(scores.names, truth, scores.iou, strict=True) if pixels and iou == 0
    )
    if never:
        found.append(
            Finding("warning", f"{_count(len(never), 'class', 'classes')} never found (IoU 0)", never)
        )
    if scores.absent_classes:
        found.append(
            Finding(
                "note",
                f"{_count(len(scores.absent_classes), 'class', 'classes')} in neither ground truth nor prediction, "
                "left out of every mean",
                scores.absent_classes,
            )
        )
    return found


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
