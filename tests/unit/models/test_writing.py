"""Files that are there whole or not at all, also where two processes write them at once."""

import errno
import multiprocessing
import os
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
import torch

from vfmseg.errors import ResourceError
from vfmseg.models.writing import partial_of, whole_file, writing


def test_whole_file__disk_full_leaves_what_was_there_and_no_partial_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("before")

    def fail_halfway() -> None:
        with whole_file(path) as partial:
            partial.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ResourceError, match=r"The disk is full: .* What was saved there before is untouched"):
        fail_halfway()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_whole_file__leaves_what_another_process_writes_alone(tmp_path: Path) -> None:
    other = tmp_path / "table.csv.elsewhere-1.partial"
    other.write_text("half of another")
    with pytest.raises(ValueError, match="mine"), whole_file(tmp_path / "table.csv"):
        raise ValueError("mine")
    assert list(tmp_path.iterdir()) == [other]


def test_whole_file__a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(ResourceError, match=r"missing could not be written: .* Choose another --out"),
        whole_file(tmp_path / "missing" / "file") as partial,
    ):
        partial.write_text("text")


def _write(path: Path, both_have_begun: Barrier, answers: "multiprocessing.Queue[str]") -> None:
    try:
        with whole_file(path) as partial:
            partial.write_text(f"{os.getpid()}\n" * 1000)
            both_have_begun.wait(10)
        answers.put("")
    except Exception as error:  # noqa: BLE001 - told to the test, which fails by it
        answers.put(repr(error))


def test_whole_file__two_processes_at_once_end_well(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    both_have_begun, answers = context.Barrier(2), context.Queue()
    path = tmp_path / "trials.csv"
    processes = [context.Process(target=_write, args=(path, both_have_begun, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [answers.get(timeout=10) for _ in processes] == ["", ""]
    for process in processes:
        process.join(10)
    lines = path.read_text().split()
    assert len(lines) == 1000
    assert set(lines) in [{str(process.pid)} for process in processes]
    assert list(tmp_path.iterdir()) == [path]


def test_partial_of__is_of_this_process(tmp_path: Path) -> None:
    partial = partial_of(tmp_path / "plan.json")
    assert partial.parent == tmp_path
    assert partial.name.startswith("plan.json.")
    assert partial.name.endswith(f"-{os.getpid()}.partial")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_writing__a_really_full_device(tmp_path: Path) -> None:
    with (
        pytest.raises(ResourceError, match="The disk is full"),
        writing(tmp_path),
        open("/dev/full", "wb") as file,
    ):
        torch.save({"a": torch.zeros(100_000)}, file)


def test_whole_file__deletes_what_a_killed_process_has_left_of_it_long_ago(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    old, new, other = (
        tmp_path / name
        for name in (
            "model.safetensors.host-1.partial",
            "model.safetensors.host-2.partial",
            "result.json.host-1.partial",
        )
    )
    for one in (old, new, other):
        one.write_text("half")
    for one in (old, other):
        os.utime(one, (time.time() - 7200,) * 2)
    with whole_file(path) as partial:
        partial.write_text("whole")
    assert sorted(tmp_path.iterdir()) == [path, new, other]
