"""A study on a Ray cluster of two nodes on this machine: nodes and drivers killed, and the results of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.tiny import tiny_recipe
from vfmseg.models.checkpoint import read_tensors

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
COSTS = {"seconds", "images_per_s", "peak_memory_gib"}
RAY = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
ENVIRONMENT = {**os.environ, **RAY, "OMP_NUM_THREADS": "1"}
STEPS = 100


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


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Give a cluster of two nodes with a core each."""
    for name, value in RAY.items():
        monkeypatch.setenv(name, value)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    yield cluster
    cluster.shutdown()


def command(study: Path, out: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "vfmseg", "benchmark", str(study), "--out", str(out), *words]


def start(study: Path, out: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(study, out, *words),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(
    found: Callable[[], Any], driver: subprocess.Popen[str] | None = None, seconds: float = 240
) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline
        assert driver is None or driver.poll() is None, driver.communicate()[0]
        time.sleep(0.02)
    return result


def under_way(out: Path, *, parents: set[int] | None = None) -> list[Path]:
    """Return the trials that have a checkpoint and no result, of workers of these processes."""
    found = []
    for file in sorted(out.glob("trials/*/checkpoints/last")):
        trial = file.parents[1]
        if (trial / "result.json").exists():
            continue
        worker = int((trial / "lock").read_text().split()[1])
        if parents is None or parent_of(worker) in parents:
            found.append(trial)
    return found


def parent_of(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except FileNotFoundError:
        return -1


def results(out: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for file in sorted(out.glob("trials/*/result.json")):
        found[file.parent.name] = {k: v for k, v in json.loads(file.read_text()).items() if k not in COSTS}
    return found


def assert_same(out: Path, whole: Path) -> None:
    assert results(out) == results(whole)
    assert len(results(out)) == 5
    for name in results(out):
        last = Path("trials") / name / "checkpoints" / "last"
        expected = read_tensors(whole / last)
        found = read_tensors(out / last)
        assert found.keys() == expected.keys()
        assert all(tensor.equal(expected[key]) for key, tensor in found.items())


def test_ray__a_lost_node_and_a_killed_driver_change_nothing(
    study: Path, whole: Path, cluster: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = start(study, out, "--ray", cluster.address)
    victim = cluster.worker_nodes.copy().pop()
    raylets = {one.process.pid for one in victim.all_processes["raylet"]}
    trial = wait_for(lambda: under_way(out, parents=raylets), driver)[0]
    cluster.remove_node(victim, allow_graceful=False)
    cluster.add_node(num_cpus=1)
    wait_for(lambda: "resume" in (trial / "log.txt").read_text(), driver)
    begun = wait_for(lambda: under_way(out), driver)
    workers = [int((one / "lock").read_text().split()[1]) for one in begun]
    driver.kill()
    driver.wait()
    for worker in workers:  # they must not go on by themselves
        wait_for(lambda worker=worker: parent_of(worker) == -1)
    assert len(results(out)) < 5
    again = start(study, out, "--ray", cluster.address)
    said = again.communicate()[0]
    assert again.returncode == 0, said
    assert "Ray: 2 trials at once on 2 nodes" in said
    assert "raylet" not in said
    assert_same(out, whole)


def test_ray__two_drivers_share_the_trials_of_a_folder(study: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    drivers = [start(study, out, *words) for words in (("--ray",), ())]
    said = [driver.communicate()[0] for driver in drivers]
    rest = start(study, out)
    assert rest.wait(timeout=240) == 0, rest.communicate()[0]
    assert_same(out, whole)
    for trial in results(out):
        attempts = json.loads((out / "trials" / trial / "cost.json").read_text())["attempts"]
        assert attempts == 1, said


def test_ray__a_stop_saves_what_runs(study: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    driver = start(study, out, "--ray")
    begun = wait_for(lambda: [one for one in under_way(out) if (one / "metrics.csv").exists()], driver)
    driver.send_signal(signal.SIGTERM)
    said = driver.communicate(timeout=120)[0]
    assert driver.returncode == 128 + signal.SIGTERM, said
    assert not list(out.glob("trials/*/failure.json"))
    assert "everything up to it is saved" in "".join((one / "log.txt").read_text() for one in begun)
    again = start(study, out, "--ray")
    assert again.wait(timeout=240) == 0, again.communicate()[0]
    assert_same(out, whole)
