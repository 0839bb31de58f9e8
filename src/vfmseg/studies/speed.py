"""A trained segmenter in, what inference on one of its images costs out: counted, and timed on the device at hand."""

from __future__ import annotations

import platform
import statistics
import time
from typing import Any

import torch

from vfmseg.models.segmenter import Segmenter
from vfmseg.models.summary import count_gflops

_PASSES, _MOST_SECONDS = 7, 2.0
"""As many as count, and how long they may take; one, at least, is timed."""
_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def measure_speed(segmenter: Segmenter, *, accelerator: str, precision: str) -> dict[str, Any]:
    """Return ``gflops`` (10^9 multiply-adds), ``latency_ms``, and ``latency_device``, on which the latter was measured.

    Latency is the median over a few forward passes of one image of the segmenter's ``image_size``, uncompiled, after one
    that warms up; the decoder's logits are made, and nothing of them is resized. The segmenter is left as it was.

    Args:
        segmenter: of any device.
        accelerator: ``cpu``, ``cuda`` or ``mps``, where it is timed.
        precision: as in a recipe.
    """
    before = next(segmenter.parameters()).device
    device = torch.device(accelerator)
    learning = [module for module in segmenter.modules() if module.training]
    gflops = count_gflops(segmenter)
    segmenter.to(device).eval()
    images = torch.zeros(1, 3, *segmenter.image_size, dtype=torch.uint8, device=device)
    try:
        with (
            torch.inference_mode(),
            torch.autocast(accelerator, _AUTOCAST.get(precision), enabled=precision in _AUTOCAST),
        ):
            _seconds(segmenter, images)
            taken = [_seconds(segmenter, images)]
            while len(taken) < _PASSES and sum(taken) < _MOST_SECONDS:
                taken.append(_seconds(segmenter, images))
    finally:
        segmenter.to(before)
        for module in learning:
            module.training = True
    name = torch.cuda.get_device_name() if accelerator == "cuda" else platform.machine()
    return {
        "gflops": round(gflops, 4),
        "latency_ms": round(1e3 * statistics.median(taken), 3),
        "latency_device": name,
    }


def _seconds(segmenter: Segmenter, images: torch.Tensor) -> float:
    started = time.perf_counter()
    segmenter.forward(images)  # what a call would compile for this batch takes longer than it saves here
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started
