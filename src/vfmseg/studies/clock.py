"""Knows what a study may take and how far it is, and says so."""

from __future__ import annotations

import time
from collections.abc import Callable

from vfmseg.studies.study_file import Study
from vfmseg.studies.trials import Trial
from vfmseg.studies.worker import Outcome


class Clock:
    """Knows the budget, and says how far the study is and how long it will take."""

    def __init__(
        self, total: int, before: int, todo: int, num_lanes: int, study: Study, say: Callable[[str], None]
    ) -> None:
        self._total, self._finished, self._todo, self._num_lanes = total, before, todo, num_lanes
        self._budget, self._say = study.budget, say
        self._started = time.monotonic()
        self._begun, self._seconds = set[str](), list[float]()
        self._stopped = False

    def is_over(self, trial: Trial) -> bool:
        """Return whether a trial may no more begin; one that a race has paused counted when it began."""
        hours = (time.monotonic() - self._started) / 3600
        most = self._budget.trials
        return self._stopped or (
            (most is not None and len(self._begun) >= most and trial.id not in self._begun)
            or (self._budget.hours is not None and hours >= self._budget.hours)
        )

    def begin(self, trial: Trial) -> None:
        """Count a trial that begins."""
        self._begun.add(trial.id)

    def stop(self) -> None:
        """Let nothing more begin."""
        self._stopped = True

    def leave(self) -> None:
        """Count a trial that will not be finished."""
        self._todo -= 1
        self._total -= 1

    def end(self, trial: Trial, outcome: Outcome) -> None:
        """Say how a trial went, and how long the rest will take."""
        if outcome.status == "paused":  # it counts when it is done
            self._say(f"{trial.label} ({trial.id}): paused {outcome.message}")
            return
        self._todo -= 1
        self._finished += 1
        if outcome.status == "done":
            self._seconds.append(outcome.seconds)
        said = {"done": f"done in {duration(outcome.seconds)}", "elsewhere": "left to"}
        words = said.get(outcome.status, outcome.status)
        message = f" {outcome.message.splitlines()[0]}" if outcome.message else ""
        line = f"[{self._finished}/{self._total}] {trial.label} ({trial.id}): {words}{message}"
        if self._todo and self._seconds:
            left = self._todo * sum(self._seconds) / len(self._seconds) / self._num_lanes
            line += f"; {self._todo} to go, about {duration(left)}"
        self._say(line)


def duration(seconds: float) -> str:
    """Return a length of time as people say it: 45 s, 12 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
