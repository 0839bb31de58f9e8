"""A study on a Ray cluster of two nodes on this machine: nodes and drivers killed, and the results of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.tiny import tiny_recipe
from vfmseg.models.checkpoint import read_tensors

pytestmark = pytest.mark.slow
COSTS = {"seconds", "images_per_s", "peak_memory_gib"}
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
ENVIRONMENT = {**os.environ, **RAY, "OMP_NUM_THREADS": "1"}
STEPS, NUM_TRIALS = 100, 5


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study of four trials and a preparation."""
    folder = tmp_path_factory.mktemp("study")
    base = tiny_recipe(training={"steps": STEPS, "overlays": 0, "checkpoint_every": 2, "validate_every": 1.0})
    base["trainer"]["progress"] = False
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    tree = {
        "name": "tiny",
        "base": str(folder / "base.yaml"),
        "prepare": {"first": {"keys": {"training.steps": 3}}},
        "axes": {
            "tuning.method": {
                name: {"tuning.method": name, "encoder.weights": "prepared:first"}
                for name in ("full", "bitfit")
            },
            "seed": [0, 1],
        },
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tree, sort_keys=False))
    return folder / "tiny.yaml"


@pytest.fixture(scope="module")
def whole(study: Path) -> Path:
    """Return what one process makes of it."""
    out = study.parent / "whole"
    done = subprocess.run(command(study, out), env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


NODES = """
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
other = cluster.add_node(num_cpus=1)
print(cluster.address, other.all_processes["raylet"][0].process.pid, flush=True)
input()
cluster.remove_node(other, allow_graceful=False)
cluster.add_node(num_cpus=1)
print("replaced", flush=True)
input()
cluster.shutdown()
"""
"""A cluster of two nodes with a core each, the second of which is killed and replaced after a line of input."""
SAID: dict[int, Path] = {}
"""Process id of a driver -> where its output goes."""


def command(study: Path, out: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "vfmseg", "benchmark", str(study), "--out", str(out), *words]


def start(study: Path, out: Path, *words: str) -> subprocess.Popen[str]:
    path = out.with_name(f"said-{time.monotonic_ns()}.txt")
    with open(path, "w") as said:
        driver = subprocess.Popen(
            command(study, out, *words), env=ENVIRONMENT, stdout=said, stderr=subprocess.STDOUT, text=True
        )
    SAID[driver.pid] = path
    return driver


def end(driver: subprocess.Popen[str]) -> str:
    """Wait for a driver; return what it said."""
    driver.wait(timeout=240)
    return SAID[driver.pid].read_text()


def wait_for(
    found: Callable[[], Any], driver: subprocess.Popen[str] | None = None, seconds: float = 240
) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline
        assert driver is None or driver.poll() is None, end(driver)
        time.sleep(0.02)
    return result


def under_way(out: Path, *, parent: int | None = None) -> list[Path]:
    """Return the trials that have a checkpoint and no result, of workers of this process."""
    trials = [file.parents[1] for file in sorted(out.glob("trials/*/checkpoints/last"))]
    return [
        trial
        for trial in trials
        if not (trial / "result.json").exists() and (parent is None or parent_of(worker_of(trial)) == parent)
    ]


def prepares(trial: Path) -> bool:
    return json.loads((trial / "trial.json").read_text())["prepares"] is not None


def worker_of(trial: Path) -> int:
    return int((trial / "lock").read_text().split()[1])


def parent_of(process: int) -> int:
    """Return the id of the process that started this one; -1 when it has ended."""
    try:
        state, parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
    except FileNotFoundError:
        return -1
    return -1 if state == "Z" else int(parent)


def results(out: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for file in sorted(out.glob("trials/*/result.json")):
        found[file.parent.name] = {k: v for k, v in json.loads(file.read_text()).items() if k not in COSTS}
    return found


def assert_same(out: Path, whole: Path) -> None:
    assert results(out) == results(whole)
    assert len(results(out)) == NUM_TRIALS
    for name in results(out):
        last = Path("trials") / name / "checkpoints" / "last"
        expected = read_tensors(whole / last)
        found = read_tensors(out / last)
        assert found.keys() == expected.keys()
        assert all(tensor.equal(expected[key]) for key, tensor in found.items())


def test_ray__a_lost_node_and_a_killed_driver_change_nothing(
    study: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", NODES], env=ENVIRONMENT, stdin=pipe, stdout=pipe, text=True
    ) as nodes:
        assert nodes.stdin is not None
        assert nodes.stdout is not None
        address, raylet = nodes.stdout.readline().split()
        driver = start(study, out, "--ray", address)
        trial = wait_for(lambda: under_way(out, parent=int(raylet)), driver)[0]
        print(file=nodes.stdin, flush=True)
        assert nodes.stdout.readline() == "replaced\n"
        wait_for(lambda: "resume: going on" in (trial / "log.txt").read_text(), driver)
        begun = wait_for(lambda: under_way(out), driver)
        workers = [worker_of(one) for one in begun]
        driver.kill()
        driver.wait()
        for worker in workers:  # they must not go on by themselves
            wait_for(lambda worker=worker: parent_of(worker) == -1)
        assert len(results(out)) < NUM_TRIALS
        again = start(study, out, "--ray", address)
        said = end(again)
        assert again.returncode == 0, said
        assert "Ray: 2 trials at once on 2 nodes" in said
        assert "(raylet)" not in said
        assert_same(out, whole)
        print(file=nodes.stdin, flush=True)


def test_ray__two_drivers_share_the_trials_of_a_folder(study: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    drivers = [start(study, out, *words) for words in (("--ray",), ())]
    said = [end(driver) for driver in drivers]
    rest = start(study, out)
    words = end(rest)
    assert rest.returncode == 0, words
    assert_same(out, whole)
    for trial in results(out):
        attempts = json.loads((out / "trials" / trial / "cost.json").read_text())["attempts"]
        assert attempts == 1, said


def test_ray__a_stop_saves_what_runs(study: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    driver = start(study, out, "--ray")
    wait_for(lambda: [one for one in under_way(out) if not prepares(one)], driver)
    driver.send_signal(signal.SIGTERM)
    said = end(driver)
    assert driver.returncode == 128 + signal.SIGTERM, said
    assert "everything up to it is saved" in said
    assert not list(out.glob("trials/*/failure.json"))
    again = start(study, out, "--ray")
    said = end(again)
    assert again.returncode == 0, said
    assert_same(out, whole)
