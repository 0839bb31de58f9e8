"""A study of ten thousand finished trials: what is left to run, its table, SQL over it, and its report.

Run: python benchmarks/studies.py [--trials 10000] [--repeats 3] [--cases CASE ...] [--keep DIR] [--out FILE.json]
The folder of results is generated: JSON files, curves and counts of images of the sizes that real trials leave, of 25
models, 20 seeds, and as many settings as make up the number. In one process, compared with reading the four JSON files
of every trial once: the decision what is left to run, with the plan made anew and read back; what the runner itself
takes to run all of them; the rows of the table, and writing it. As commands in processes of their own, compared with
`vfmseg list studies`: SQL and the report; their peaks are of the whole process. Limits are seconds (`limit_s`) and MiB
(`limit_mib`), meant for 10,000 trials: 2 s for the resume decision, 20 s and 1 GiB for the report.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import msgspec
import numpy as np

from vfmseg.runs.folder import environment
from vfmseg.studies.folder import COST, RESULT, SPEED, TRIAL, trial_folder
from vfmseg.studies.known_plan import planned
from vfmseg.studies.plan_file import PLAN, plan_of, write_plan
from vfmseg.studies.runner import job_of, open_results, run_trials, what_is_left
from vfmseg.studies.store import rows_of, write_rows
from vfmseg.studies.study_file import Study, study_of
from vfmseg.studies.trials import Trial
from vfmseg.studies.worker import Job, Outcome

BASE, COMMAND_BASE = "reading the JSON files", "vfmseg list studies"
CASES = ("resume", "table", "commands")
MODELS, SEEDS, IMAGES = 25, 20, 40
CLASSES = [f"class {n:02}" for n in range(16)]
ENVIRONMENT = "environment.json"
# the kernel counts the peak anew in a new program, which what a parent is told of its children does not
PROGRAM = """
import sys
from vfmseg.cli.program import main
code = main(sys.argv[1:])
print(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
sys.exit(code)
"""
QUERY = 'select "axis.model", avg("val/miou") as miou from trials group by 1 order by 2 desc'


def study_of_size(trials: int) -> Study:
    tree = {
        "base": "configs/scenes_linear_semantic.yaml",
        "axes": {
            "model": {f"m{n:02}": {"encoder.overrides": {"embed_dim": 96 + 12 * n}} for n in range(MODELS)},
            "training.learning_rate": [1e-4 * (1 + n) for n in range(trials // (MODELS * SEEDS))],
            "seed": list(range(SEEDS)),
        },
        "ranked": "model",
    }
    return study_of(tree, name="big")


def finish(study: Study, trial: Trial, results: Path, surroundings: dict[str, Any], seed: int) -> None:
    """Write what a trial leaves behind."""
    draw = np.random.default_rng(seed)
    model, setting = int(trial.levels["model"][1:]), float(trial.levels["training.learning_rate"])
    folder = trial_folder(results, trial.id)
    folder.mkdir(parents=True)
    quality = np.clip(0.3 + 0.01 * model - 20 * setting + draw.normal(0, 0.02, len(CLASSES)), 0.01, 0.99)
    unions = draw.integers(50, 500, (IMAGES, len(CLASSES)))
    scores = {"val/miou": float(quality.mean()), "val/pixel_accuracy": 0.7, "val/f1": 0.4}
    scores |= {f"val/iou/{name}": float(value) for name, value in zip(CLASSES, quality, strict=True)}
    result = {"task": "semantic", "encoder": "vit_tiny_patch16_224", "tuning": "full", "decoder": "linear"}
    result |= {"data": "scenes", "seed": int(trial.levels["seed"]), "steps": 600, "best_step": 600}
    result |= {"best/miou": scores["val/miou"], **scores, "seconds": float(draw.normal(60, 2))}
    result |= {"images_per_s": 80.0, "peak_memory_gib": 0.9, "parameters_total": 400_000 + model}
    result |= {"image_size": "(96, 160)", "patch_size": 8, "precision": "bf16-mixed", "num_devices": 1}
    files = {
        RESULT: result,
        SPEED: {"gflops": 0.5 + 0.02 * model, "latency_ms": 9.0 + model, "latency_device": "box"},
        COST: {
            "seconds": result["seconds"],
            "cpu_hours": 0.02,
            "gpu_hours": 0.0,
            "energy_kwh": None,
            "attempts": 1,
        },
        ENVIRONMENT: surroundings,
        TRIAL: job_of(trial, study, results).described,
        "validation.json": {"classes": CLASSES, "confusion": draw.integers(0, 9999, (16, 16)).tolist()},
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2))
    lines = ["step,time_s,val/miou,train/loss"]
    lines += [f"{60 * n},{6.0 * n},{scores['val/miou'] * n / 10},{3 / n}" for n in range(1, 11)]
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    counts = {"intersections": (unions * quality).astype(np.int64), "unions": unions}
    names = np.array([f"images/val/day_{n:05}.jpg" for n in range(IMAGES)])
    np.savez_compressed(folder / "image_counts.npz", names=names, **counts)


def generate(study: Study, results: Path) -> None:
    trials, _ = planned(study, results)
    open_results(study, results)
    surroundings = environment("vfmseg benchmark big.yaml")
    for seed, trial in enumerate(trials):
        finish(study, trial, results, surroundings, seed)


def read_all(results: Path) -> None:
    for folder in os.scandir(results / "trials"):
        for name in (RESULT, SPEED, COST, ENVIRONMENT):
            msgspec.json.decode(Path(folder.path, name).read_bytes())


def decide(study: Study, results: Path, *, anew: bool) -> None:
    if anew:
        (results / PLAN).unlink(missing_ok=True)
    trials, made_from = planned(study, results)
    open_results(study, results)
    if made_from is not None:
        write_plan(study, trials, results, fingerprint=made_from)
    tally, left = what_is_left(study, trials, results)
    if left or len(tally.before) != len(trials):
        raise SystemExit(f"{len(left)} of {len(trials)} trials are left, and none should be")


class IdleLane:
    """Has done every trial at once."""

    def run(self, job: Job) -> Outcome:
        """Say that it is done."""
        return Outcome("done", 0.0)

    def close(self) -> None:
        """Hold nothing that could be given back."""


def run_idle(study: Study, trials: tuple[Trial, ...], results: Path) -> None:
    run_trials(study, trials, results, [IdleLane()], say=lambda line: None)


def command(words: list[str]) -> tuple[float, float, float]:
    """Run vfmseg in a process of its own; return its seconds by the clock and of the processor, and its peak in MiB."""
    started, started_cpu = time.perf_counter(), sum(os.times()[2:4])
    child = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], capture_output=True, text=True, check=False
    )
    seconds, cpu = time.perf_counter() - started, sum(os.times()[2:4]) - started_cpu
    if child.returncode:
        raise SystemExit(f"vfmseg {' '.join(words)} ended with {child.returncode}: {child.stderr}")
    return seconds, cpu, int(child.stdout.split()[-1]) / 2**10


def compare_commands(sides: dict[str, list[str]], repeats: int) -> measuring.Group:
    taken = measuring.rounds({name: partial(command, words) for name, words in sides.items()}, repeats)
    base_wall, base_cpu = ([one[n] for one in taken[COMMAND_BASE]] for n in (0, 1))
    return {
        name: {
            **measuring.ratios([one[0] for one in found], base_wall),
            "cpu_s": round(float(np.median([one[1] for one in found])), 3),
            "cpu_ratio": measuring.ratios([one[1] for one in found], base_cpu)["ratio"],
            "peak_mib": round(max(one[2] for one in found), 1),
        }
        for name, found in taken.items()
    }


def main() -> None:
    parser = measuring.parser(__doc__, repeats=3, cases=CASES)
    parser.add_argument("--trials", type=int, default=10_000, help=f"a multiple of {MODELS * SEEDS}")
    parser.add_argument("--keep", type=Path, help="where to generate the folder, or where an earlier run did")
    options = measuring.parse(parser)
    study = study_of_size(options.trials)
    found: dict[str, measuring.Group] = {}
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stderr(io.StringIO()):
        results = options.keep or Path(name) / "results"
        if not results.is_dir():
            generate(study, results)
        decide(study, results, anew=True)
        plan = plan_of(study, planned(study, results)[0])
        rows = rows_of(plan, results)
        write_rows(rows, results)
        sides = {BASE: partial(read_all, results)}
        if "resume" in options.cases:
            sides["resume decision"] = partial(decide, study, results, anew=False)
            sides["resume decision, planned anew"] = partial(decide, study, results, anew=True)
            trials = planned(study, results)[0]
            sides["running them, work left out"] = partial(run_idle, study, trials, Path(name) / "none")
        if "table" in options.cases:
            sides["rows of the table"] = partial(rows_of, plan, results)
            sides["writing the table"] = partial(write_rows, rows, results)
        if len(sides) > 1:
            found[f"{len(rows)} trials, in one process"] = group = measuring.compare(
                sides, BASE, repeats=options.repeats
            )
            if "resume decision" in group:
                group["resume decision"]["limit_s"] = 2.0
        if "commands" in options.cases:
            words = {
                COMMAND_BASE: ["list", "studies"],
                "report --sql": ["report", str(results), "--sql", QUERY],
                "report": ["report", str(results)],
            }
            group = compare_commands(words, options.repeats)
            group["report"] |= {"limit_s": 20.0, "limit_mib": 1024.0}
            found[f"{len(rows)} trials, as commands"] = group
    measuring.report("studies", options, f"{BASE}, or {COMMAND_BASE}, in the same round", found)


if __name__ == "__main__":
    main()
