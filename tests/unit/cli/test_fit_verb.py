"""What fit says at its end, in the words of the run's task."""

from __future__ import annotations

import pytest

from vfmseg.cli.fit_verb import finish
from vfmseg.report.measures import MEASURES
from vfmseg.tasks.catalog import build_task


@pytest.mark.parametrize(
    ("task", "key", "title"),
    [("semantic", "miou", "mIoU"), ("panoptic", "pq", "PQ"), ("instance", "ap", "mask AP")],
)
def test_finish__prints_the_headline_number_of_the_task(
    task: str, key: str, title: str, capsys: pytest.CaptureFixture[str]
) -> None:
    finish("runs/x", {"task": task, f"val/{key}": 0.25, f"best/{key}": None, "best_step": 0}, report=False)
    assert capsys.readouterr().out.splitlines()[0] == f"{title} 25.00 %, best - at step 0"


@pytest.mark.parametrize("task", MEASURES)
def test_measures__are_judged_by_what_the_task_says(task: str) -> None:
    assert build_task(task).headline == f"val/{MEASURES[task].key}"
