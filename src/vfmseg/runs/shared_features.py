"""A run's frozen encoder in, its tokens kept for the validations to come and for other runs with the same encoder."""

from __future__ import annotations

import contextlib
import functools
import json
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import torch

from vfmseg.models.encoders.features import FeatureCount, FeatureStore
from vfmseg.models.frozen_weights import weights_hash
from vfmseg.models.segmenter import Segmenter
from vfmseg.runs.assemble import Say
from vfmseg.runs.machine import Machine
from vfmseg.runs.recipe import Recipe, can_share_features
from vfmseg.runs.recipe_reader import recipe_tree
from vfmseg.runs.version import vfmseg_version


@dataclass
class SharedFeatures:
    """Where the tokens of frozen encoders are kept, and what has come of it."""

    folder: Path
    """Of runs with this run's encoder."""
    whole: Path
    """Holds that folder and those of other encoders."""
    most_gib: float
    """What ``whole`` may hold."""
    keeps_training: bool
    """Whether other runs will see this run's training batches again."""
    count: FeatureCount = field(default_factory=FeatureCount)


@contextlib.contextmanager
def features_shared(
    segmenter: Segmenter, recipe: Recipe, machine: Machine, shared: SharedFeatures | None, say: Say
) -> Iterator[None]:
    """Let a segmenter read its encoder's tokens from files, and write them there, where that changes no number.

    Args:
        segmenter: with its weights.
        recipe: of the run.
        machine: that it runs on.
        shared: where; None for nowhere.
        say: where it is said that it has ended before its time.
    """
    if shared is None or not can_share_features(recipe) or not segmenter.features_can_be_shared:
        yield
        return
    segmenter.encoder.features = FeatureStore(
        shared.folder,
        functools.partial(_identity, segmenter, recipe, machine),
        whole=shared.whole,
        most_bytes=int(shared.most_gib * 2**30),
        keeps_training=shared.keeps_training,
        count=shared.count,
    )
    try:
        yield
    finally:
        segmenter.encoder.features = None
    if shared.count.ended:
        say(f"features of the frozen encoder are not shared any more: {shared.count.ended}")


def _identity(segmenter: Segmenter, recipe: Recipe, machine: Machine) -> str:
    """Return all that decides an encoder's tokens beside images and autocast, as text."""
    encoder = segmenter.encoder
    asked = {key: value for key, value in recipe_tree(recipe)["encoder"].items() if key != "weights"}
    about = {
        "encoder": asked,
        "weights": weights_hash(encoder.state_dict()),
        "statistics": [encoder.mean.flatten().tolist(), encoder.std.flatten().tolist()],
        "device": [
            machine.accelerator,
            torch.cuda.get_device_name() if machine.accelerator == "cuda" else _processor(),
        ],
        "threads": torch.get_num_threads(),
        "matmul": torch.get_float32_matmul_precision(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "versions": [vfmseg_version(), *map(metadata.version, ("torch", "timm"))],
    }
    return json.dumps(about, sort_keys=True, default=str)


def _processor() -> str:
    """Return what tells processors apart that may round otherwise, as the nodes of a cluster may be mixed."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    model = next((line for line in lines if line.startswith("model name")), "")
    return f"{platform.machine()} {model} {torch.backends.cpu.get_cpu_capability()}"
