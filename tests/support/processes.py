"""Commands in processes of their own that share their start: loading the libraries takes longer than what most do.

A process that has loaded them, and done nothing else, is forked for each. What the start itself is the point of, or the
end of the interpreter, still needs ``python -m vfmseg``.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import runpy
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch.multiprocessing

_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(["vfmseg.runs.fit", "vfmseg.runs.targets", "vfmseg.report.study"])


T = TypeVar("T")


def wait_until(found: Callable[[], T], timeout: float = 240) -> T:
    """Return the first true value of ``found``, which is asked often, for a busy machine's minutes."""
    deadline = time.monotonic() + timeout
    while not (value := found()):
        assert time.monotonic() < deadline, f"nothing after {timeout} s"
        time.sleep(0.01)
    return value


class Command:
    """``python -m vfmseg`` in a process of its own, with a process group of its own.

    Args:
        words: of the command line, from the verb on.
        folder: made, if need be; what the command says is written there.
        environment: changes of this process's variables. Those that libraries read when they are loaded have no effect.
        first: called in the process before the command.
    """

    def __init__(
        self,
        words: Sequence[object],
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        first: Callable[[], Any] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._said = [folder / "stdout.txt", folder / "stderr.txt"]
        whole = {**os.environ, **(environment or {})}
        arguments = ([str(word) for word in words], [str(file) for file in self._said], whole, first)
        self._process = _FORKED.Process(target=_command, args=arguments)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Return its exit status, minus the number of the signal that killed it; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float = 240) -> int:
        """Wait for its end, and return its exit status; see :meth:`poll`."""
        self._process.join(timeout)
        status = self.poll()
        assert status is not None, f"still running after {timeout} s: {self.stderr}"
        return status

    def wait_for(self, found: Callable[[], T]) -> T:
        """Return the first true value of ``found``, which is asked often while the command runs."""

        def asked() -> T:
            assert self.poll() is None, self.stderr
            return found()

        return wait_until(asked)

    @property
    def stdout(self) -> str:
        """What it has printed."""
        return self._said[0].read_text()

    @property
    def stderr(self) -> str:
        """What it has printed as errors and progress."""
        return self._said[1].read_text()


def elsewhere(function: Callable[..., T], *arguments: object) -> T:
    """Return what a function of a module returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=_FORKED) as pool:
        return pool.submit(function, *arguments).result()


def in_two_processes(function: Callable[..., object], *arguments: object) -> None:
    """Call a function of a module in two processes, with their rank before the arguments, and wait for both."""
    torch.multiprocessing.start_processes(
        function, arguments, nprocs=2, start_method=_FORKED.get_start_method()
    )


def _command(
    words: list[str], files: list[str], environment: Mapping[str, str], first: Callable[[], Any] | None
) -> None:
    os.setsid()
    gc.freeze()  # nothing of what is loaded is garbage
    for number, file in enumerate(files, 1):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    multiprocessing.set_start_method(
        None, force=True
    )  # for loader workers, as in a command that a shell begins
    of_method = multiprocessing.get_context
    # a trial's process, too, is forked from what is loaded
    multiprocessing.get_context = lambda method=None: of_method("fork" if method == "spawn" else method)  # type: ignore[assignment]
    if first is not None:
        first()
    sys.argv = ["vfmseg", *words]
    runpy.run_module("vfmseg", run_name="__main__", alter_sys=True)
