"""What a resumed run takes for its best so far."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import nn

from vfmseg.models.checkpoint import CheckpointHeader, save_model
from vfmseg.training.callbacks.checkpoints import Checkpoints
from vfmseg.types import LabelSpace


def _resumed(folder: Path, *, at: int, on_disk: tuple[int, float | None] | None) -> Checkpoints:
    """Return the callback of a run whose resume file, of step ``at``, knows of a best of 0.5 at step 10."""
    space = LabelSpace(names=("a",), colours=((0, 0, 0),), is_thing=(False,))
    if on_disk is not None:
        header = CheckpointHeader({}, space, (0.0,), (1.0,), on_disk[0], {"val/miou": on_disk[1]})
        save_model(folder / "best", nn.Linear(1, 1), header)
    checkpoints = Checkpoints(folder, every=5, headline="val/miou", describe=pytest.fail, average=None)
    checkpoints.load_state_dict({"best": 0.5, "best_step": 10})
    checkpoints.begin(SimpleNamespace(global_step=at))
    return checkpoints


@pytest.mark.parametrize(
    ("at", "on_disk", "best"),
    [
        (
            20,
            (20, 0.75),
            (0.75, 20),
        ),  # of the validation after the last step, or killed before the resume file
        (20, (10, 0.5), (0.5, 10)),
        (20, (30, 0.75), (0.5, 10)),  # of steps that will be gone through again
        (20, (20, None), (0.5, 10)),
        (20, None, (None, 0)),  # it was removed: the next validation makes it anew
    ],
)
def test_begin__takes_over_the_best_there_is(
    at: int, on_disk: tuple[int, float | None] | None, best: tuple[float | None, int], tmp_path: Path
) -> None:
    checkpoints = _resumed(tmp_path, at=at, on_disk=on_disk)
    assert (checkpoints.best, checkpoints.best_step) == best
