import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vfmseg.training.schedule import ema_decay, layer_factor, polynomial_decay


def test_polynomial_decay__is_torchs_polynomial_lr() -> None:
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=0.3)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=12, power=0.9)
    for step in range(15):
        expected = optimizer.param_groups[0]["lr"]
        assert 0.3 * polynomial_decay(step, total_steps=12, power=0.9) == pytest.approx(
            expected, rel=1e-12, abs=0
        )
        optimizer.step()
        schedule.step()


@given(total=st.integers(2, 10_000), share=st.floats(0, 0.9), power=st.floats(0.1, 3))
def test_polynomial_decay__rises_then_falls_to_zero(total: int, share: float, power: float) -> None:
    warmup = min(int(share * total), total - 1)
    steps = sorted({0, warmup // 2, warmup, (warmup + total) // 2, total - 1, total, total + 7})
    factors = [polynomial_decay(s, total_steps=total, power=power, warmup_steps=warmup) for s in steps]
    peak = factors.index(max(factors))
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert max(factors) == 1.0
    assert factors[-1] == 0.0
    inside = [
        factor for step, factor in zip(steps, factors, strict=True) if (step or not warmup) and step < total
    ]
    assert min(inside) > 0.0


def test_polynomial_decay__holds_then_rises() -> None:
    factors = [
        polynomial_decay(step, total_steps=10, power=1.0, warmup_steps=2, hold_steps=3) for step in range(8)
    ]
    assert factors == pytest.approx([0, 0, 0, 0, 0.5, 1, 0.8, 0.6])


def test_layer_factor__spares_the_last_blocks() -> None:
    factors = [layer_factor(block, num_blocks=4, decay=0.5, num_spared=2) for block in range(5)]
    assert factors == [0.125, 0.25, 1.0, 1.0, 1.0]


def test_ema_decay__forgets_half_after_the_half_life() -> None:
    assert ema_decay(0.25, 400) ** 100 == pytest.approx(0.5)


def test_ema_decay__of_a_half_life_below_one_step_is_one_step() -> None:
    assert ema_decay(0.001, 10) == 0.5


def test_layer_factor__counts_down_from_the_last_block() -> None:
    factors = [layer_factor(block, num_blocks=4, decay=0.5) for block in (-1, 0, 1, 2, 3, 4)]
    assert factors == [0.125, 0.125, 0.25, 0.5, 1.0, 1.0]
