"""Races on the curves that the study `quickstart` left: the same winners as the full study, at what share of its cost.

``tests/support/quickstart_curves.json`` holds its validations (setting -> model -> a list of mIoU for each seed). A
repetition gives each model its mean curve and each of its seeds the error curve of a run drawn from all runs of the
setting: whole curves, so that what the steps of a run have in common stays; grown by sqrt(S / (S - 1)), as errors about
the mean of S seeds are too small.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vfmseg.studies.statistics.racing import race

_FILE = Path(__file__).parents[3] / "support" / "quickstart_curves.json"
_REPETITIONS = 20


def recorded() -> dict[str, tuple[list[str], list[int], np.ndarray]]:
    """Return setting -> models, L steps, (J, L, S) curves."""
    content = json.loads(_FILE.read_text())
    return {
        setting: (list(of_model), content["steps"], np.array(list(of_model.values())).transpose(0, 2, 1))
        for setting, of_model in content["curves"].items()
    }


def repeated(curves: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (J, L, S) curves of as many new seeds."""
    models, steps, seeds = curves.shape
    means = curves.mean(axis=2, keepdims=True)
    errors = (curves - means).transpose(0, 2, 1).reshape(models * seeds, steps)
    drawn = errors[rng.integers(len(errors), size=(models, seeds))]  # (J, S, L)
    return means + drawn.transpose(0, 2, 1) * np.sqrt(seeds / (seeds - 1))


@pytest.mark.parametrize("setting", list(recorded()))
def test_race__on_recorded_curves_names_the_winners_of_the_full_study(setting: str) -> None:
    models, steps, curves = recorded()[setting]
    rungs = [share * steps[-1] for share in (1 / 8, 1 / 4, 1 / 2)]
    rng = np.random.default_rng(0)
    same, shares = 0, []
    for _ in range(_REPETITIONS):
        scores = repeated(curves, rng)
        raced, full = race(models, steps, scores, rungs=rungs), race(models, steps, scores, rungs=[])
        same += set(raced.winners) == set(full.winners)
        shares.append(raced.cost_share)
    print(
        f"{setting}: the same in {same} of {_REPETITIONS}, {np.mean(shares):.0%} ({min(shares):.0%} to {max(shares):.0%})"
    )
    assert same >= _REPETITIONS - 1
    assert np.mean(shares) < 1
