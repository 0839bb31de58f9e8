"""Where trials run: a process of this machine that stays for the next one, and is replaced when it is lost."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Protocol

from vfmseg.studies.folder import FAILURE
from vfmseg.studies.worker import Job, Outcome, begin_worker, run_job


class Lane(Protocol):
    """Where one trial at a time can run."""

    def run(self, job: Job) -> Outcome:
        """Run it to its end; a lost process is an outcome, too."""
        ...

    def close(self) -> None:
        """Stop what runs, which saves before it ends."""
        ...


class ProcessLane:
    """A process of this machine that stays for the next trial, and is replaced when it is lost.

    Args:
        environment: variables of the process, such as the GPU it may see.
        retries: how often a trial whose process was lost is gone on with.
    """

    def __init__(self, environment: Mapping[str, str], *, retries: int = 2) -> None:
        self._environment, self._retries = dict(environment), retries
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None
        self._runs = self._closed = False

    def run(self, job: Job) -> Outcome:
        """Run a trial; see :class:`Lane`."""
        started = time.perf_counter()
        for _ in range(self._retries + 1):
            if self._closed:
                break
            try:
                if self._pool is None:
                    self._pool = concurrent.futures.ProcessPoolExecutor(
                        1,
                        mp_context=multiprocessing.get_context("spawn"),
                        initializer=begin_worker,
                        initargs=(self._environment, os.getpid()),
                    )
                self._runs = True
                return self._pool.submit(run_job, job).result()
            except BrokenProcessPool:
                self._pool = None
            finally:
                self._runs = False
        if self._closed:
            return Outcome("stopped", time.perf_counter() - started, "stopped")
        return lost(
            job,
            time.perf_counter() - started,
            f"its process was killed {self._retries + 1} times, as the system does when memory runs out. Its log: "
            f"{job.folder}/log.txt. Give it more memory, a smaller data.batch_size, or fewer --jobs.",
        )

    def close(self) -> None:
        """End the process; a fit in its steps saves first."""
        self._closed = True
        if self._pool is None:
            return
        if self._runs:
            for process in list((self._pool._processes or {}).values()):
                if process.pid is not None and process.is_alive():
                    os.kill(process.pid, signal.SIGTERM)
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._pool = None


def lost(job: Job, seconds: float, message: str) -> Outcome:
    """Return, and write down, that a trial's process ended without a word."""
    from vfmseg.runs.folder import write_json

    write_json(
        Path(job.folder) / FAILURE, {"error": message, "type": "ProcessLost", "host": os.uname().nodename}
    )
    return Outcome("failed", seconds, message)
