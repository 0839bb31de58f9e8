"""What is counted while training is also said: once each, with the number, the remedy and where to look."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vfmseg.training.callbacks.history import History, read_rows


def steps(history: History, *rows: dict[str, float]) -> None:
    trainer: Any = SimpleNamespace(
        max_steps=9,
        loggers=[],
        is_global_zero=True,
        optimizers=[SimpleNamespace(param_groups=[{"name": "decoder", "initial_lr": 1.0}])],
    )
    for step, losses in enumerate(rows, start=1):
        module: Any = SimpleNamespace(
            mean_train_loss=lambda losses=losses: {"loss": 1.0, **losses},
            rate_factor=lambda step, encoder: 1.0,
            masks=SimpleNamespace(probabilities=lambda step: ()),
        )
        history.on_step(trainer, module, step)


@pytest.mark.parametrize(
    ("column", "what", "remedy"),
    [
        (
            "nonfinite_costs",
            "the matcher met 3.5 costs a batch that are no numbers",
            "training.gradient_clip",
        ),
        ("unmatched_segments", "3.5 segments a batch were learned by no query", "Raise decoder.num_queries"),
    ],
)
def test_history__says_once_what_was_counted(
    column: str, what: str, remedy: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    history = History(tmp_path / "metrics.csv", every=1, images_per_step=1)
    steps(history, {column: 0.0}, {column: 3.5}, {column: 7.0})
    (said,) = caplog.messages
    assert said.startswith(f"step 2: {what}")
    assert remedy in said
    assert f"(train/{column} in metrics.csv)" in said
    assert [row[f"train/{column}"] for row in read_rows(tmp_path / "metrics.csv")] == [0.0, 3.5, 7.0]
