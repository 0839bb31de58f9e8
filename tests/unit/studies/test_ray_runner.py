"""Trials on a cluster that is played: lost workers, held folders, stops; and clusters that are not there."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vfmseg.errors import RecipeError, ResourceError, StudyError
from vfmseg.studies import ray_runner
from vfmseg.studies.ray_runner import RayLane, ray_lanes
from vfmseg.studies.shares import Share
from vfmseg.studies.worker import Job, Outcome


class RayError(Exception):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Any) -> None:
        super().__init__(cause)
        self.cause = cause


class TaskCancelledError(RayError):
    pass


class PlayedRay:
    """Plays what a test says becomes of each attempt: an outcome, an error, or a function that gives one."""

    exceptions = SimpleNamespace(
        RayError=RayError, RayTaskError=RayTaskError, TaskCancelledError=TaskCancelledError
    )

    def __init__(self, *attempts: Any) -> None:
        self.attempts, self.options, self.cancelled = list(attempts), dict[str, Any](), list[Any]()
        self.environments: list[dict[str, str]] = []

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        self.options = options
        return lambda function: SimpleNamespace(remote=self._start)

    def _start(self, job: Job, environment: dict[str, str]) -> Any:
        self.environments.append(environment)
        return self.attempts.pop(0)

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return references, []

    def get(self, reference: Any) -> Outcome:
        if isinstance(reference, Exception):
            raise reference
        return reference() if callable(reference) else reference

    def cancel(self, reference: Any, *, force: bool) -> None:
        assert not force  # a trial that is killed saves nothing
        self.cancelled.append(reference)


DONE = Outcome("done", 1.0)
HELD = Outcome("elsewhere", 0.0, "process 1 on box")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job("abc", str(tmp_path), {}, {}, {})


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_runner.time, "sleep", lambda seconds: None)


def lane(ray: PlayedRay, share: Share | None = None) -> RayLane:
    return RayLane(ray, share or Share(2, 0), lambda line: None)


def save(job: Job, number: int) -> Callable[[], Outcome]:
    """Return an attempt that comes to a checkpoint before it is lost."""

    def attempt() -> Outcome:
        folder = Path(job.folder) / "checkpoints" / "last"
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder, ns=(number, number))
        raise RayError("node died")

    return attempt


def test_lane__goes_on_with_a_trial_whose_worker_was_lost(job: Job) -> None:
    assert lane(PlayedRay(RayError("died"), RayError("died"), DONE)).run(job) == DONE


def test_lane__waits_for_what_is_left_of_a_lost_worker_and_not_for_others(job: Job) -> None:
    assert lane(PlayedRay(HELD)).run(job) == HELD
    assert lane(PlayedRay(RayError("died"), HELD, HELD, DONE)).run(job) == DONE


def test_lane__a_trial_lost_again_and_again_is_a_row_unless_it_comes_further(job: Job) -> None:
    saves = [save(job, number) for number in range(1, 6)]
    assert lane(PlayedRay(*saves, DONE)).run(job) == DONE
    outcome = lane(PlayedRay(*[RayError("worker died\nlong words")] * 3, DONE)).run(job)
    assert outcome.status == "failed"
    assert "lost 3 times before the next checkpoint (Ray: worker died)" in outcome.message
    assert json.loads((Path(job.folder) / "failure.json").read_text())["error"] == outcome.message


def test_lane__stops_its_trial_and_begins_no_other(job: Job) -> None:
    ray = PlayedRay()
    closing = lane(ray)

    def stopped() -> Outcome:
        closing.close()
        return Outcome("stopped", 1.0, "saved")

    ray.attempts = [stopped]
    assert closing.run(job).message == "saved"
    assert ray.cancelled == [stopped]
    assert closing.run(job).status == "stopped"
    assert lane(PlayedRay(TaskCancelledError())).run(job).status == "stopped"


def test_lane__hands_on_what_is_the_users_to_mend(job: Job) -> None:
    with pytest.raises(StudyError, match="damaged"):
        lane(PlayedRay(RayTaskError(StudyError("asked.json is damaged")))).run(job)


def test_lane__takes_its_share(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    ray = PlayedRay(DONE, DONE)
    lane(ray, Share(2.5, 0)).run(job)
    assert (ray.options["num_cpus"], ray.options["num_gpus"]) == (2.5, 0)
    assert ray.environments[0]["OMP_NUM_THREADS"] == "2"
    assert ray.environments[0]["CUDA_VISIBLE_DEVICES"] == ""
    lane(ray, Share(0.5, 0.5)).run(job)
    assert ray.environments[1]["OMP_NUM_THREADS"] == "1"
    assert "CUDA_VISIBLE_DEVICES" not in ray.environments[1]  # Ray says which


def connect(address: str, folder: Path) -> None:
    with ray_lanes(address, folder, Share(), say=print):
        pass


def test_cluster__that_is_none(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"--ray tiny.yaml is no address .*behind the study"):
        connect("tiny.yaml", tmp_path)


def test_cluster__without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ResourceError, match=r"not installed: pip install 'vfmseg\[ray\]'"):
        connect("auto", tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_cluster__that_does_not_answer(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            ResourceError, match=rf"No Ray cluster answers at {address} .*refused.*ray start --head"
        ):
            connect(address, tmp_path)


class Probed(PlayedRay):
    """Answers the probe of each node as the test says; None is our version."""

    util = SimpleNamespace(
        scheduling_strategies=SimpleNamespace(NodeAffinitySchedulingStrategy=lambda **where: where)
    )

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        return lambda function: SimpleNamespace(remote=lambda *words: self.attempts.pop(0))

    def get(self, reference: Any, timeout: float = 0) -> Any:
        if isinstance(reference, Exception):
            raise reference
        return (reference[0] or ray_runner.vfmseg_version(), reference[1])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (("0.0.1", ""), "Node box .* has vfmseg 0.0.1, this machine .*Install the same"),
        (
            (None, "it is not there"),
            "Node box .* cannot use the folder of results .*: it is not there. Put it on a",
        ),
        (
            RayTaskError("ray::_answer\nModuleNotFoundError: No module named 'vfmseg'"),
            "Node box .* cannot run vfmseg: .*Install",
        ),
    ],
)
def test_probe__names_the_node_and_what_it_lacks(answer: Any, message: str, tmp_path: Path) -> None:
    node = {"NodeID": "1", "NodeManagerHostname": "box", "Alive": True, "Resources": {"CPU": 1}}
    with pytest.raises(ResourceError, match=message):
        ray_runner._usable(Probed(answer), [node], tmp_path, print)
    assert not list(tmp_path.iterdir())


def test_probe__a_node_that_was_just_lost_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nodes = [
        {"NodeID": name, "NodeManagerHostname": name, "Alive": True, "Resources": {"CPU": 1}}
        for name in ("box", "lost")
    ]
    ray = Probed((None, ""), RayError("exists no more"))
    assert ray_runner._usable(ray, nodes, tmp_path, print) == nodes[:1]
    assert capsys.readouterr().out == "Ray: node lost does not answer and is left out\n"


def test_answer__of_a_node_that_sees_the_folder_and_of_one_that_does_not(tmp_path: Path) -> None:
    token = tmp_path / "ray-1.partial"
    assert ray_runner._answer(str(token), "a")[1] == "it is not the one of this machine"
    token.touch()
    assert ray_runner._answer(str(token), "a")[1] == ""
    assert list(tmp_path.iterdir()) == [token]
