"""Features of a frozen encoder: reading them beside computing them, and a study whose trials share them.

Run: python benchmarks/shared_features.py [--threads 2] [--repeats 3] [--cases CASE ...] [--out FILE.json]
`batch`: one batch of two images through the linear decoder on a frozen encoder with random weights, bfloat16 autocast:
computed; computed and written; read. `study`: four trials of a frozen ViT-B/16 at 256 pixels on generated scenes
(linear and Mask2Former, two learning rates; 12 steps of two images, two validations of six), alone
(`features_gib: 0`) and sharing. Scores and trained weights are compared first: they must be equal bit for bit.
"""

from __future__ import annotations

import itertools
import json
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import torch

from vfmseg.models.checkpoint import read_tensors
from vfmseg.models.encoders.features import FeatureStore
from vfmseg.runs.assemble import build_model
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.studies.runner import open_results, run_trials
from vfmseg.studies.study_file import Study, study_of
from vfmseg.studies.trials import plan
from vfmseg.studies.worker import Job, Outcome, run_job

CASES = ("batch", "study")
ENCODERS = {
    "ViT-S/16, 224": ("dinov3-s", 224),
    "ViT-B/16, 512": ("dinov3-b", 512),
    "ViT-L/16, 512": ("dinov3-l", 512),
}
BATCH = 2
TIMES = ("seconds", "images_per_s", "peak_memory_gib")
MASKS = {"decoder.num_queries": 20, "decoder.num_blocks": 2, "decoder.embed_dim": 64, "decoder.num_heads": 4}


def batches(name: str, size: int, options: Any, folder: Path) -> measuring.Group:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tree = {
        "encoder": {"name": name, "image_size": size, "patch_size": 16, "weights": "random"},
        "tuning": {"method": "frozen"},
        "decoder": {"name": "linear"},
        "data": {"name": "scenes"},
    }
    segmenter = build_model(read_recipe(tree).recipe, 19).to(device).eval()
    images = torch.randint(0, 256, (BATCH, 3, size, size), dtype=torch.uint8, device=device)
    numbers = itertools.count()

    def store_in(place: Path) -> FeatureStore:
        return FeatureStore(place, lambda: name, whole=place, most_bytes=2**33, keeps_training=True)

    def run(store: FeatureStore | None) -> torch.Tensor:
        segmenter.encoder.features = store
        with torch.no_grad(), torch.autocast(device, torch.bfloat16):
            logits = segmenter(images).logits
        if device == "cuda":
            torch.cuda.synchronize()
        return logits

    def write() -> torch.Tensor:
        place = folder / f"{name}-{next(numbers)}"
        logits = run(store_in(place))
        shutil.rmtree(place)
        return logits

    kept = store_in(folder / f"{name}-kept")
    first, compared = run(kept), run(kept)
    assert torch.equal(first, run(None))
    assert torch.equal(first, compared)
    assert torch.equal(first, run(kept))
    assert kept.count.read == 1
    sides = {"computed": lambda: run(None), "computed and written": write, "read": lambda: run(kept)}
    found = measuring.compare(sides, "computed", repeats=options.repeats)
    found["read"]["mib"] = round(kept.count.read_bytes / kept.count.read / 2**20, 1)
    return found


class ThisProcess:
    """A lane that starts no process, so that starts are not in the time."""

    def run(self, job: Job) -> Outcome:
        """Run a trial here."""
        return run_job(job)

    def close(self) -> None:
        """Nothing was started."""


def study_with(features_gib: float) -> Study:
    tree = {
        "base": "configs/scenes_linear_semantic.yaml",
        "keys": {
            "encoder": {
                "name": "dinov3-b",
                "image_size": 256,
                "patch_size": 16,
                "weights": "random",
                "overrides": {},
            },
            "tuning.method": "frozen",
            "data.batch_size": BATCH,
            "data.num_workers": 0,
            "data.scenes": {"image_size": [256, 256], "train": 60, "val": 6, "domains": ["day"], "seed": 0},
            "training.steps": 12,
            "training.effective_batch_size": BATCH,
            "training.precision": "bf16-mixed",
            "training.validate_every": 0.5,
            "training.checkpoint_every": 1.0,
            "training.overlays": 0,
            "training.loggers": [],
            "trainer.progress": False,
        },
        "axes": {
            "decoder": {
                "linear": {"decoder.name": "linear"},
                "masks": {"decoder.name": "mask2former", **MASKS},
            },
            "training.learning_rate": [1e-3, 3e-3],
        },
        "budget": {"features_gib": features_gib},
    }
    return study_of(tree, name="shared")


def run_study(features_gib: float, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    study = study_with(features_gib)
    trials = plan(study)
    open_results(study, folder)
    tally = run_trials(study, trials, folder, [ThisProcess()], say=lambda _: None)
    assert len(tally.done) == 4, tally
    return folder


def refuse_differences(shared: Path, alone: Path) -> dict[str, int]:
    """Raise AssertionError unless both have the same scores and weights; return how many batches were read."""
    read = computed = 0
    for folder in sorted(alone.glob("trials/*")):
        other = shared / folder.relative_to(alone)
        ours, theirs = (json.loads((one / "result.json").read_text()) for one in (other, folder))
        assert {k: v for k, v in ours.items() if k not in TIMES} == {
            k: v for k, v in theirs.items() if k not in TIMES
        }
        ours, theirs = (read_tensors(one / "checkpoints/last/model.safetensors") for one in (other, folder))
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        count = json.loads((other / "features.json").read_text())
        read, computed = read + count["read"], computed + count["computed"]
    return {"batches_read": read, "batches_computed": computed}


def studies(options: Any, folder: Path) -> measuring.Group:
    counted = refuse_differences(run_study(10, folder / "shared"), run_study(0, folder / "alone"))
    sides = {
        "alone": partial(run_study, 0, folder / "alone"),
        "shared": partial(run_study, 10, folder / "shared"),
    }
    found = measuring.compare(sides, "alone", repeats=options.repeats)
    found["shared"] |= counted
    return found


def main() -> None:
    made = measuring.parser(__doc__, repeats=3, threads=2, cases=CASES)
    options = measuring.parse(made)
    groups = {}
    with tempfile.TemporaryDirectory() as place:
        if "batch" in options.cases:
            for title, (name, size) in ENCODERS.items():
                groups[title] = batches(name, size, options, Path(place))
        if "study" in options.cases:
            groups["study of four trials"] = studies(options, Path(place))
    measuring.report("shared_features", options, "computing them", groups)


if __name__ == "__main__":
    main()
