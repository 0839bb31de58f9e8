"""What `vfmseg validate --out` leaves, small and made up, for tests of the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

NAMES = ["road", "<i>sky</i>", "tree"]


def model(**changes: Any) -> dict[str, Any]:
    """Return the facts of a model."""
    facts = {
        "checkpoint": "runs/a/checkpoints/best/model.safetensors",
        "checkpoint_bytes": 1_500_000,
        "step": 100,
        "task": "semantic",
        "encoder": "dinov2-s",
        "tuning": "full",
        "decoder": "linear",
        "data": "gta5",
        "seed": 0,
        "source": 0.7,
        "recipe_id": "aaa",
        "parameters_total": 22_000_000,
        "parameters_trainable": 1_000_000,
        "classes": NAMES,
    }
    return facts | changes


def reliability() -> dict[str, Any]:
    """Return a diagram of three bins, one of them empty."""
    bins = [
        {"low": 0.0, "high": 0.25, "count": 0, "mean_confidence": None, "accuracy": None},
        {"low": 0.25, "high": 0.5, "count": 100, "mean_confidence": 0.4, "accuracy": 0.6},
        {"low": 0.5, "high": 1.0, "count": 300, "mean_confidence": 0.9, "accuracy": 0.7},
    ]
    numbers = {"ece": 0.2, "auroc": 0.8, "aupr_success": 0.9, "aupr_error": 0.3, "fpr95": 0.5}
    return {"confidence": "max_probability", "bins": bins, **numbers, "unknown": None}


def write_targets(folder: Path, scores: dict[str, float | None], **changes: Any) -> Path:
    """Write ``targets.json`` and a folder a target, with one picture each."""
    folder.mkdir(exist_ok=True)
    facts = model(**changes)
    rows = {
        name: {"val/miou": score, "data": "bdd100k", "split": "val", "images": 4}
        for name, score in scores.items()
    }
    for name in scores:
        picture = folder / name / "predictions" / "worst" / "00.jpg"
        picture.parent.mkdir(parents=True)
        Image.new("RGB", (90, 20), (9, 9, 9)).save(picture)
        images = [
            {"name": f"{name}/0.png", "score": 0.1, "picture": "predictions/worst/00.jpg"},
            {"name": f"{name}/1.png", "score": 0.9},
        ]
        content = {
            "task": "semantic",
            "class_names": NAMES,
            "colours": [[1, 2, 3]] * 3,
            "confusion": [[6, 2, 0], [2, 6, 0], [0, 0, 0]],
            "images": images,
        }
        (folder / name / "validation.json").write_text(json.dumps(content), encoding="utf-8")
        (folder / name / "reliability.json").write_text(json.dumps(reliability()), encoding="utf-8")
    content = {"headline": "val/miou", "targets": rows, "model": facts}
    (folder / "targets.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def write_corruptions(folder: Path, scores: dict[str, dict[str, float | None]], **changes: Any) -> Path:
    """Write ``corruptions.json`` with 0.8 without corruption."""
    folder.mkdir(exist_ok=True)
    content = {
        "headline": "val/miou",
        "data": "bdd100k",
        "split": "val",
        "images": 4,
        "clean": 0.8,
        "corruptions": scores,
        "model": model(**changes),
    }
    (folder / "corruptions.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
