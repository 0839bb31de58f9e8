"""What a frozen encoder's tokens are filed under, and where none are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from support.tiny import tiny_recipe
from vfmseg.models.segmenter import Segmenter
from vfmseg.runs import shared_features
from vfmseg.runs.assemble import build_model
from vfmseg.runs.machine import Machine
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.runs.shared_features import SharedFeatures, features_shared

CPU = Machine("cpu", 1, 1, "32-true", 1)


def built(**changes: Any) -> tuple[Segmenter, Any]:
    torch.manual_seed(0)
    recipe = read_recipe(tiny_recipe(**{"tuning": {"method": "frozen"}} | changes)).recipe
    return build_model(recipe, 4), recipe


def identity_of(segmenter: Segmenter, recipe: Any) -> str:
    return shared_features._identity(segmenter, recipe, CPU)


def test_identity__is_of_the_encoder_alone() -> None:
    segmenter, recipe = built()
    before = identity_of(segmenter, recipe)
    other, _ = built()
    with torch.no_grad():
        for parameter in other.decoder.parameters():
            parameter.add_(1)
    assert identity_of(other, recipe) == before


def _weight(segmenter: Segmenter) -> None:
    with torch.no_grad():
        next(segmenter.encoder.parameters()).view(-1)[0].add_(1)


def _statistics(segmenter: Segmenter) -> None:
    segmenter.encoder.mean.add_(0.1)


@pytest.mark.parametrize("change", [_weight, _statistics])
def test_identity__changes_with_what_the_encoder_holds(change: Callable[[Segmenter], None]) -> None:
    segmenter, recipe = built()
    before = identity_of(segmenter, recipe)
    change(segmenter)
    assert identity_of(segmenter, recipe) != before


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        (shared_features, "_processor", "another processor"),
        (shared_features, "vfmseg_version", "another version"),
        (torch, "get_num_threads", -1),
        (torch, "are_deterministic_algorithms_enabled", "no"),
        (torch, "get_float32_matmul_precision", "lowest"),
    ],
)
def test_identity__changes_with_what_computes(
    place: Any, name: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter, recipe = built()
    before = identity_of(segmenter, recipe)
    monkeypatch.setattr(place, name, lambda: value)
    assert identity_of(segmenter, recipe) != before


@pytest.mark.parametrize(
    ("changes", "is_shared"),
    [
        ({}, True),
        ({"tuning": {"method": "full"}}, False),
        ({"tuning": {"method": "lora"}}, False),
        ({"training": {"compile": True}}, False),
        ({"trainer": {"strategy": "fsdp"}}, False),
    ],
)
def test_features__are_shared_of_a_whole_and_frozen_encoder_while_it_runs(
    changes: dict[str, Any], is_shared: bool, tmp_path: Path
) -> None:
    segmenter, recipe = built(**changes)
    shared, said = SharedFeatures(tmp_path / "one", tmp_path, 1.0, keeps_training=True), list[str]()
    with features_shared(segmenter, recipe, CPU, shared, said.append):
        assert (segmenter.encoder.features is not None) == is_shared
        shared.count.ended = "the disk is gone" if is_shared else ""
    assert segmenter.encoder.features is None
    assert said == ["features of the frozen encoder are not shared any more: the disk is gone"] * is_shared
