"""The published learning rates, step by step (goldens/schedules_bench)."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from vfmseg.training.schedule import polynomial_decay

GOLDEN = Path(__file__).parents[1] / "goldens" / "schedules_bench.safetensors"


@pytest.mark.parametrize("run", ["default", "frozen", "mult1_power1"])
def test_learning_rates__equal_the_published_run(run: str) -> None:
    with safe_open(GOLDEN, "pt") as file:
        info = json.loads(file.metadata()["info"])
        recorded = file.get_tensor(f"{run}/lr")
    arguments = info["runs"][run]["args"]
    rate = arguments.get("lr", 1e-4)
    factors = (1.0, arguments.get("lr_multiplier_encoder", 0.1))
    for step, row in enumerate(recorded.tolist()):
        decay = polynomial_decay(
            step,
            total_steps=info["runs"][run]["total_steps"],
            power=arguments.get("poly_lr_decay_power", 0.9),
        )
        assert [rate * f * decay for f in factors] == pytest.approx(row, rel=1e-9, abs=0)
