"""Images in, the tokens of a frozen encoder out: computed once, kept in files, read where the same images come again.

What is read is bit for bit what would have been computed. Files hold the tokens of whole batches, as it may depend on
the size of a batch in which order a sum is made; they are named by a hash of the images and of all else that decides
the tokens; and the first batch of each shape that is found is computed all the same, and compared.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vfmseg.models.writing import partial_of

_LEFT_FREE = 2 * 2**30
"""Bytes of the disk that others may still need."""
_LOOK_SECONDS = 5.0
"""After which the folder is measured again: other processes write and delete there, too."""
_MOST_LOST = 1.0
"""Seconds that reading, or writing, may have taken in all beyond what computing would have, before it ends."""


@dataclass
class FeatureCount:
    """What was read, and what that has saved."""

    computed: int = 0
    """Batches computed while features were kept, those that were compared included."""
    read: int = 0
    """Batches read."""
    read_bytes: int = 0
    written_bytes: int = 0
    saved_seconds: float = 0.0
    """By the clock: what computing took when it was written down, less hashing, reading and writing; may be negative."""
    saved_cpu_seconds: float = 0.0
    """The same over all threads."""
    ended: str = ""
    """Why features are no longer read or written; empty while they are."""


class FeatureStore:
    """Keeps tokens of a frozen encoder in a folder; any number of processes may use it at once.

    Args:
        folder: made where it is missing.
        identity: gives what decides the tokens of an image beside the image itself: weights, sizes, device. Asked at
            the first images, when a resumed run has its weights.
        whole: holds ``folder`` and those of other encoders.
        most_bytes: that ``whole`` may hold.
        keeps_training: also keep batches seen in training; False keeps those of validations only.
        count: is gone on with.
    """

    def __init__(
        self,
        folder: Path,
        identity: Callable[[], str],
        *,
        whole: Path,
        most_bytes: int,
        keeps_training: bool,
        count: FeatureCount | None = None,
    ) -> None:
        self.count = count or FeatureCount()
        self._folder, self._most_bytes, self._whole = folder, most_bytes, whole
        self._identity = functools.cache(identity)
        self._keeps_training = keeps_training
        self._images: Tensor | None = None
        self._compared: set[tuple[object, ...]] = set()
        self._size = 0
        """Of all that is kept, when it was last measured and what was written since."""
        self._looked_at = -_LOOK_SECONDS
        self._gained = 0.0
        """Seconds by reading."""
        self._lost = 0.0
        """Seconds by which writing took longer than computing."""

    @contextlib.contextmanager
    def seeing(self, images: Tensor, *, training: bool) -> Iterator[None]:
        """Keep the tokens that the encoder gives inside.

        Args:
            images: (B, 3, H, W) uint8, as they are before they are normalised.
            training: whether they are a batch to learn from.
        """
        self._images = images if self._keeps_training or not training else None
        try:
            yield
        finally:
            self._images = None

    def tokens(self, stops: Sequence[int], compute: Callable[[], list[Tensor]]) -> list[Tensor]:
        """Return what ``compute`` gives for the images seen, read where it is known.

        Args:
            stops: numbers of blocks after which tokens are asked for.
            compute: gives them, one (B, N, C) each.
        """
        images = self._images
        if images is None or self.count.ended:
            return compute()
        _settle()  # or hashing, which needs the images on the CPU, would be charged with the steps before
        began, cpu = time.perf_counter(), time.process_time()
        path = self._path(images, stops)
        found = self._read(path, images.device)
        taken, cpu_taken = time.perf_counter() - began, time.process_time() - cpu
        if found is None:
            self._saved(-taken, -cpu_taken)
            return self._computed(path, compute)
        tokens, seconds, cpu_seconds = found
        kind = (tuple(images.shape), tuple(stops), *_autocast(images.device))
        if kind not in self._compared:
            self._compared.add(kind)
            self._saved(-taken, -cpu_taken)
            return self._compare(tokens, compute())
        gained = seconds - taken
        self._saved(gained, cpu_seconds - cpu_taken)
        self._gained += gained
        self.count.read += 1
        if self._gained < -_MOST_LOST:
            self.count.ended = "reading them takes longer than computing them"
        return tokens

    def _path(self, images: Tensor, stops: Sequence[int]) -> Path:
        about = [self._identity(), tuple(images.shape), list(stops), *map(str, _autocast(images.device))]
        found = hashlib.blake2b(json.dumps(about).encode(), digest_size=20)
        found.update(images.detach().cpu().contiguous().numpy().data)
        return self._folder / f"{found.hexdigest()}.safetensors"

    def _computed(self, path: Path, compute: Callable[[], list[Tensor]]) -> list[Tensor]:
        _settle()
        began, cpu = time.perf_counter(), time.process_time()
        tokens = compute()
        _settle()
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu
        self.count.computed += 1
        began, cpu = time.perf_counter(), time.process_time()
        self._write(path, tokens, seconds, cpu_seconds)
        taken = time.perf_counter() - began
        self._saved(-taken, -(time.process_time() - cpu))
        self._lost += taken - seconds
        if self._lost > _MOST_LOST and not self.count.ended:
            self.count.ended = "writing them takes longer than computing them"
        return tokens

    def _compare(self, tokens: list[Tensor], computed: list[Tensor]) -> list[Tensor]:
        """Return what was computed; end where what was read is anything else."""
        self.count.computed += 1
        for read, ours in zip(tokens, computed, strict=True):
            if read.dtype != ours.dtype or not torch.equal(read, ours):
                self.count.ended = "this machine computes others, so it computes all of them"
        return computed

    def _read(self, path: Path, device: torch.device) -> tuple[list[Tensor], float, float] | None:
        """Return tokens, and the seconds by the clock and over all threads that computing them took; None: not there."""
        try:
            with safe_open(path, framework="pt") as file:
                about = file.metadata() or {}
                # copies: what a decoder does to its tokens must not reach the file
                tokens = [file.get_tensor(str(i)).to(device, copy=True) for i in range(len(file.keys()))]
            self.count.read_bytes += sum(one.nbytes for one in tokens)
            return tokens, float(about["seconds"]), float(about["cpu_seconds"])
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, KeyError, ValueError):  # damaged: computed, and written anew
            return None

    def _write(self, path: Path, tokens: list[Tensor], seconds: float, cpu_seconds: float) -> None:
        size = sum(one.nbytes for one in tokens)
        if not self._has_room(size):
            return
        partial = partial_of(path)
        about = {
            "seconds": f"{seconds:.6f}",
            "cpu_seconds": f"{cpu_seconds:.6f}",
            "identity": self._identity(),
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(
                {str(i): one.detach().cpu().contiguous() for i, one in enumerate(tokens)}, partial, about
            )
            partial.replace(path)
        except (SafetensorError, OSError) as error:  # features are a convenience: the run goes on without
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            if not self._folder.exists():  # deleted meanwhile, as all trials of another driver are done
                return
            self.count.ended = f"they could not be written ({error})"
            return
        self.count.written_bytes += size
        self._size += size

    def _has_room(self, size: int) -> bool:
        if time.monotonic() - self._looked_at > _LOOK_SECONDS:
            self._size, self._looked_at = folder_bytes(self._whole), time.monotonic()
            with contextlib.suppress(OSError):  # the writing says it
                self._whole.mkdir(parents=True, exist_ok=True)
                if shutil.disk_usage(self._whole).free < _LEFT_FREE + size:
                    self._size = self._most_bytes
        return self._size + size <= self._most_bytes

    def _saved(self, seconds: float, cpu_seconds: float) -> None:
        self.count.saved_seconds += seconds
        self.count.saved_cpu_seconds += cpu_seconds


def folder_bytes(folder: Path) -> int:
    """Return what the files below a folder hold; 0 where it is missing. Files may come and go meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.stat(os.path.join(place, name)).st_size
    return total


def _autocast(device: torch.device) -> tuple[object, ...]:
    """Return the precision that the tokens are computed in beside that of the weights."""
    on = torch.is_autocast_enabled(device.type)
    return (torch.get_autocast_dtype(device.type),) if on else ("none",)


def _settle() -> None:
    """Wait for what the GPU still does: the time of what follows is then its own."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
