"""A Ray cluster in, lanes out: as many trials at once as its nodes hold, gone on with when workers or nodes are lost."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from vfmseg.errors import RecipeError, ResourceError
from vfmseg.runs.version import vfmseg_version
from vfmseg.studies.lanes import lost
from vfmseg.studies.shares import Node, Share, host_of
from vfmseg.studies.worker import Job, Outcome, begin_worker, run_job

LOCAL = "local"
"""The address of a Ray that is started here, on all cores and GPUs of this machine, and ends with the study."""
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # its words on lost workers; the study says what it does about them
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",  # at Ray's 15, whatever else the machine does brings a trial to a halt
}
"""Variable -> value, read when Ray is loaded; whatever the user has set stays."""
_HANDED_ON = ("OMP_WAIT_POLICY", "THP_MEM_ALLOC_ENABLE", "MKL_NUM_THREADS")
"""Variables that torch reads and that workers on other machines would lack."""
_STORE_BYTES = 100 * 2**20
"""What a Ray started here sets aside for objects, of which a study has none; Ray's least is 75 MiB."""
_CONNECT_SECONDS = 5
_PROBE_SECONDS = 120
_PATIENCE_SECONDS = 60
"""How long what is left of a lost worker may hold a trial's folder."""
_LOOK_SECONDS = 30


@contextlib.contextmanager
def ray_lanes(
    address: str, results: Path, share: Share, *, say: Callable[[str], None]
) -> Iterator[list[RayLane]]:
    """Connect to a cluster and give a lane for every trial that it holds at once; leave it at the end.

    Args:
        address: ``local``, ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``.
        results: folder of results, which every node must see under the same path.
        share: what one trial takes.
        say: where a line on the cluster goes.

    Raises:
        RecipeError: the address is none.
        ResourceError: Ray is not installed, no cluster answers, no node is large enough, or a node lacks the folder of
            results or this version of vfmseg. Nothing has run then.
    """
    ray = _connected(address)
    try:
        found = [node for node in ray.nodes() if node["Alive"]]
        nodes = _usable(ray, found, results.resolve(), say)
        share = share.of(nodes)
        num_lanes = share.held_by(nodes)
        say(f"Ray: {num_lanes} trials at once on {len(nodes)} node{'s' * (len(nodes) != 1)}")
        yield [RayLane(ray, share, say) for _ in range(num_lanes)]
    finally:
        ray.shutdown()


class RayLane:
    """A place for one trial at a time somewhere on a Ray cluster.

    Args:
        ray: the module, connected.
        share: what a trial takes.
        say: where a line goes when no node is left.
        retries: how often a trial is gone on with that was lost with its worker or node and had come no further.
    """

    def __init__(self, ray: Any, share: Share, say: Callable[[str], None], *, retries: int = 2) -> None:
        self._ray, self._share, self._say, self._retries = ray, share, say, retries
        threads = os.environ.get("OMP_NUM_THREADS", str(max(1, int(share.cpus))))
        environment = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
        hidden = {} if share.gpus else {"CUDA_VISIBLE_DEVICES": ""}
        self._environment = {**environment, **hidden, "OMP_NUM_THREADS": threads}
        # Ray's own retries are off: they would not wait for a folder that a lost worker still holds.
        self._task = ray.remote(num_cpus=share.cpus, num_gpus=share.gpus, max_retries=0)(_run)
        self._guard = threading.Lock()
        self._running: Any = None
        self._closed = False

    def run(self, job: Job) -> Outcome:
        """Run a trial; see :class:`vfmseg.studies.lanes.Lane`."""
        started = time.perf_counter()
        in_vain, patient_until, reached = 0, 0.0, _reached(job)
        while in_vain <= self._retries:
            outcome, words = self._once(job)
            if outcome is None:
                before, reached = reached, _reached(job)
                in_vain = in_vain + 1 if reached == before else 1
                patient_until = time.monotonic() + _PATIENCE_SECONDS
            elif outcome.status == "elsewhere" and time.monotonic() < patient_until:
                time.sleep(1)
            else:
                return outcome
        return lost(
            job,
            time.perf_counter() - started,
            f"its worker or node was lost {in_vain} times before the next checkpoint (Ray: {words}). Its log: "
            f"{job.folder}/log.txt. Give it more memory, a smaller data.batch_size, or fewer trials on a node by a "
            "larger --cpus_per_trial or --gpus_per_trial.",
        )

    def close(self) -> None:
        """Have the trial stop, which a fit in its steps does by saving; :meth:`run` returns when it has."""
        with self._guard:
            self._closed = True
            if self._running is not None:
                self._ray.cancel(self._running, force=False)

    def _once(self, job: Job) -> tuple[Outcome | None, str]:
        """Run a trial until it ends or is lost: no outcome then, and what Ray says of it."""
        started = time.perf_counter()
        with self._guard:
            if self._closed:
                return Outcome("stopped", 0.0, "stopped"), ""
            self._running = self._task.remote(job, self._environment)
        errors = self._ray.exceptions
        try:
            said = False
            while not self._ray.wait([self._running], timeout=_LOOK_SECONDS)[0]:
                if not said and not self._share.held_by(self._ray.nodes()):
                    self._say("Ray: no node is left that holds a trial; waiting for one (Ctrl-C stops)")
                    said = True
            return self._ray.get(self._running), ""
        except errors.TaskCancelledError:
            return Outcome("stopped", time.perf_counter() - started, "stopped"), ""
        except errors.RayTaskError as error:  # of the study's folder or the disk: the end, as on this machine
            raise error.cause from None
        except errors.RayError as error:
            return None, (str(error).splitlines() or [type(error).__name__])[0]
        finally:
            with self._guard:
                self._running = None


def _run(job: Job, environment: Mapping[str, str]) -> Outcome:
    """Run a trial in a Ray worker, which stays for the next one and which Ray ends with the driver."""
    begin_worker(environment, None)
    return run_job(job)


def _connected(address: str) -> Any:
    """Return the module ``ray``, connected."""
    if address not in (LOCAL, "auto") and not re.fullmatch(r"(ray://)?\S+:\d+", address):
        raise RecipeError(
            f"--ray {address} is no address of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT. Without one, Ray is "
            "started here; --ray must then stand behind the study."
        )
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise ResourceError(
            "--ray needs Ray, which is not installed: pip install 'vfmseg[ray]'. Without it, --jobs N runs trials side "
            "by side on this machine, and --slurm prints a job for Slurm."
        ) from None
    keys: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        keys |= {
            "num_cpus": len(os.sched_getaffinity(0)),
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
        }
    try:
        with _signals_kept():
            if address not in (LOCAL, "auto"):
                host, _, port = address.removeprefix("ray://").rpartition(":")
                socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()
            ray.init(address=address, **keys)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        remedy = (
            "Ray's temporary folder has its logs, below session_latest. Without it, --jobs N runs trials side by side."
            if address == LOCAL
            else "Start it (`ray start --head` here, `ray start --address HOST:PORT` on other nodes) and start the study "
            "on one of its nodes, or leave the address out to start Ray here."
        )
        raise ResourceError(f"No Ray cluster answers at {address} ({reason}). {remedy}") from None
    return ray


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Keep SIGTERM ours: Ray would leave with another exit code."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _usable(ray: Any, nodes: Sequence[Node], results: Path, say: Callable[[str], None]) -> list[Node]:
    """Return the nodes that answer: Ray lists one that was lost for some time still.

    Raises:
        ResourceError: a node does not see the folder of results, or has another vfmseg.
    """
    pin_to = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    word = uuid.uuid4().hex
    token = results / f"ray-{word}.partial"
    token.write_text(word, encoding="utf-8")
    usable, answers = [], []
    try:
        for node in nodes:
            where = pin_to(node_id=node["NodeID"], soft=False)
            asked = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=where)(_answer)
            answers.append((node, asked.remote(str(token), node["NodeID"])))
        for node, answer in answers:
            try:
                found, wrong = ray.get(answer, timeout=_PROBE_SECONDS)
            except ray.exceptions.RayTaskError as error:
                raise ResourceError(
                    f"Node {host_of(node)} of the Ray cluster cannot run vfmseg: {_last_line(error)} Install vfmseg "
                    f"{vfmseg_version()} there, in the Python that Ray runs in, or take the node off the cluster."
                ) from None
            except ray.exceptions.RayError:
                say(f"Ray: node {host_of(node)} does not answer and is left out")
                continue
            if found != vfmseg_version():
                raise ResourceError(
                    f"Node {host_of(node)} of the Ray cluster has vfmseg {found}, this machine {vfmseg_version()}. "
                    "Install the same on all."
                )
            if wrong:
                raise ResourceError(
                    f"Node {host_of(node)} of the Ray cluster cannot use the folder of results {results}: {wrong}. Put "
                    "it on a file system that all nodes share under the same path (--out DIR)."
                )
            usable.append(node)
        return usable
    finally:
        token.unlink(missing_ok=True)


def _answer(token: str, node: str) -> tuple[str, str]:
    """Return this node's version of vfmseg, and what keeps it from using the folder of the token, if anything does."""
    file = Path(token)
    try:
        if not file.is_file():
            return vfmseg_version(), "it is not the one of this machine"
        own = file.with_name(f"{file.stem}-{node}.partial")
        own.touch()
        own.unlink()
    except OSError as error:
        return vfmseg_version(), f"it cannot be written there ({error.strerror})"
    return vfmseg_version(), ""


def _reached(job: Job) -> int:
    """Return when a trial last saved, in nanoseconds; 0 before its first checkpoint."""
    try:
        return (Path(job.folder) / "checkpoints" / "last").stat().st_mtime_ns
    except OSError:
        return 0


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1].rstrip(".") + "."
