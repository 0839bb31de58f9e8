"""Two data sets in, Lightning's loaders out: an endless training stream and a plain validation pass."""

from __future__ import annotations

import atexit
import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from typing import cast

import cv2
import lightning.pytorch as pl
import torch
from torch.utils.data import DataLoader, Dataset

from vfmseg.training.stream import AugmentedStream, SampleSource, ShardSampler, StreamSampler, Transform
from vfmseg.types import Batch, Sample

_PATIENCE_S = 1.0
"""How long a child may take to end when the program does."""


class SegmentationData(pl.LightningDataModule):
    """Loaders for one run.

    Args:
        train: un-augmented training samples, or None where only validation is wanted.
        val: un-augmented validation samples, of any sizes.
        transform: sample and random generator in, sample of the crop size out.
        collate: samples of one size in, batch out.
        batch_size: images a device sees at once.
        effective_batch_size: images an optimiser step, over all devices and accumulation.
        num_workers: loader processes.
        seed: decides order and augmentation.
        shares: (number of samples, weight) of each part of ``train``; empty: every sample is shown as often.
    """

    def __init__(
        self,
        train: SampleSource | None,
        val: SampleSource,
        *,
        transform: Transform,
        collate: Callable[[Sequence[Sample]], Batch],
        batch_size: int,
        effective_batch_size: int,
        num_workers: int,
        seed: int,
        shares: Sequence[tuple[int, float]] = (),
    ) -> None:
        super().__init__()
        self.train = train
        self.val = val
        self.transform = transform
        self.collate = collate
        self.batch_size = batch_size
        self.effective_batch_size = effective_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.shares = shares

    def train_dataloader(self) -> DataLoader[Sample]:
        """Return the endless loader, starting where the restored trainer stands."""
        assert self.trainer is not None
        assert self.train is not None
        sampler = StreamSampler(
            self.batch_size,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            start=self.trainer.global_step * self.effective_batch_size,
        )
        return DataLoader(
            AugmentedStream(self.train, self.transform, self.seed, self.shares),
            batch_sampler=sampler,
            collate_fn=self.collate,
            num_workers=self.num_workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            worker_init_fn=quiet_worker,
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        """Return the loader of this process's share of the validation split, one image at a time."""
        assert self.trainer is not None
        sampler = ShardSampler(
            len(self.val), rank=self.trainer.global_rank, world_size=self.trainer.world_size
        )
        return DataLoader(
            cast("Dataset[Sample]", self.val),
            batch_size=1,
            sampler=sampler,
            collate_fn=list,
            num_workers=self.num_workers,
            worker_init_fn=quiet_worker,
        )


def quiet_worker(worker: int) -> None:
    """Keep a loader worker to one thread (workers are the parallelism) and deaf to signals.

    A signal to the whole process group (Ctrl-C, a cluster's SIGTERM) must reach the run alone: it ends the step,
    saves and then ends its workers, which it could not do if they had died before.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


@atexit.register
def _end_workers() -> None:
    """End the loader workers that an error has left: Python would wait for them, and they are deaf to what it sends."""
    left = [child for child in multiprocessing.active_children() if child.daemon]
    for child in left:
        child.terminate()
    deadline = time.monotonic() + _PATIENCE_S
    for child in left:
        child.join(max(0.0, deadline - time.monotonic()))
        if child.is_alive():
            child.kill()
