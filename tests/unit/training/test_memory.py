"""The peak of memory, of each run of a process."""

import sys

import numpy as np
import pytest

from vfmseg.training.callbacks.memory import forget_peak, peak_memory_gib


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak is that of the process")
def test_peak__begins_anew() -> None:
    forget_peak()
    before = peak_memory_gib()
    held = np.ones(40_000_000)  # 0.3 GiB
    del held
    with_it = peak_memory_gib()
    assert with_it > before + 0.25
    forget_peak()
    assert peak_memory_gib() < with_it - 0.25
