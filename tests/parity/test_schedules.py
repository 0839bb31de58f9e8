"""The published learning rates, step by step (goldens/schedules_bench), and weight decays (schedules_rein)."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from vfmseg.interop.rein import our_names
from vfmseg.models.build import build
from vfmseg.training.param_groups import parameter_groups
from vfmseg.training.schedule import polynomial_decay

GOLDENS = Path(__file__).parents[1] / "goldens"
GOLDEN = GOLDENS / "schedules_bench.safetensors"
REIN = GOLDENS / "schedules_rein.safetensors"


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


def test_learning_rates__equal_those_of_rein() -> None:
    with safe_open(REIN, "pt") as file:
        total = json.loads(file.metadata()["info"])["total_iterations"]
        recorded = file.get_tensor("lr")
    for step, row in enumerate(recorded.tolist()):
        rate = 1e-4 * polynomial_decay(step, total_steps=total, power=0.9, inclusive=True)
        assert [rate, rate] == pytest.approx(row, rel=1e-9, abs=1e-15)


def test_learning_rates__rein_at_1024_warms_up_to_the_last_of_its_steps() -> None:
    """No numbers were recorded of this one: the formula that its configuration stands for."""

    def factor(step: int) -> float:
        return polynomial_decay(
            step, total_steps=40_000, power=0.9, warmup_steps=10_000, warmup_start=1e-6, inclusive=True
        )

    for step in (0, 1, 5000, 9999):
        assert factor(step) == pytest.approx(1e-6 + (1 - 1e-6) * step / 9999)
    for step in (10_000, 10_001, 25_000, 39_998, 39_999):
        assert factor(step) == pytest.approx((1 - (step - 10_000) / 29_999) ** 0.9)


def test_weight_decay__is_that_of_every_parameter_of_rein() -> None:
    with safe_open(REIN, "pt") as file:
        groups = json.loads(file.metadata()["info"])["groups"]
    segmenter = build(
        "vit_tiny_patch16_224",
        num_classes=5,
        decoder="mask2former_full",
        decoder_options={
            "adapter": False,
            "taps": [0, 1, 2, 3],
            "num_queries": 12,
            "num_blocks": 4,
            "embed_dim": 32,
            "num_heads": 4,
        },
        tuning="rein",
        tuning_options={"num_tokens": 12, "rank": 4},
        image_size=64,
        weights="random",
        overrides={"embed_dim": 24, "depth": 4, "num_heads": 2},
    )
    made = parameter_groups(
        segmenter, learning_rate=1e-4, encoder_lr_factor=0.1, layer_decay=1.0, decay_norms=False
    )
    decay = {id(p): group.get("weight_decay", 0.05) for group in made for p in group["params"]}
    checked = set()
    for group in groups:
        names = our_names(group["name"])
        assert names, group["name"]
        for name in names:
            assert decay[id(segmenter.get_parameter(name))] == group["weight_decay"], name
            checked.add(name)
    learned = {name for name, parameter in segmenter.named_parameters() if parameter.requires_grad}
    deeper = {
        name for name in learned if name.startswith("decoder.neck.layers.") and name.split(".")[3] > "1"
    }
    assert checked == learned - deeper  # the recorded pixel decoder has two layers
    assert all(group["lr"] == 1e-4 for group in groups)
