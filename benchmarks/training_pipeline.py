"""The training pipeline of one worker, read from a zip, decode, augment, crop, collate, against decoding alone.

Run: python benchmarks/training_pipeline.py [--images 24] [--repeats 5] [--out FILE.json]
Pictures are generated (smooth structures at many scales, some grain; labels of about ten regions) and written in the
layouts of ADE20K (683 x 512 JPEG, crop 512) and Cityscapes (2048 x 1024 PNG, crop 1024). Compared with decoding image and
label from memory: our whole pipeline, and the same chain in torchvision's words, on image and one label map. All on one
thread; the times are of all images. Then a loader that is already running, without and with workers: the times are of one
image, the memory is the higher of this process's peak and of what it and its workers held together when a batch came.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from vfmseg.data.collate import collate_batch
from vfmseg.data.dataset import SegmentationDataset, open_dataset
from vfmseg.data.images import decode_image, decode_label
from vfmseg.transforms.geometry import scaled_size
from vfmseg.transforms.pipeline import Augmentation, TrainTransform, draw_plan
from vfmseg.types import Sample, Targets

BASE = "decode"
NO_WORKER = "no worker"


@dataclass(frozen=True)
class Case:
    """One data set's layout."""

    dataset: str
    size: tuple[int, int]
    crop: int
    image_zip: str
    label_zip: str
    image_name: str
    label_name: str
    label_values: tuple[int, ...]


CASES = {
    "ade20k": Case(
        "ade20k",
        (512, 683),
        512,
        "ADEChallengeData2016.zip",
        "ADEChallengeData2016.zip",
        "ADEChallengeData2016/images/training/ADE_train_{:08d}.jpg",
        "ADEChallengeData2016/annotations/training/ADE_train_{:08d}.png",
        tuple(range(151)),
    ),
    "cityscapes": Case(
        "cityscapes",
        (1024, 2048),
        1024,
        "leftImg8bit_trainvaltest.zip",
        "gtFine_trainvaltest.zip",
        "leftImg8bit/train/aachen/aachen_{:06d}_000019_leftImg8bit.png",
        "gtFine/train/aachen/aachen_{:06d}_000019_gtFine_labelIds.png",
        tuple(range(34)),
    ),
}


def picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw (H, W, 3) uint8 with the falling spectrum of photographs, which sets what a JPEG or PNG weighs."""
    pixels = np.full((height, width, 3), 120, np.float32)
    for cells in (2, 4, 8, 16, 32, 64):
        shape = (cells + 1, cells * width // height + 1)
        grey = rng.normal(size=(*shape, 1)) + 0.4 * rng.normal(size=(*shape, 3))
        pixels += cv2.resize(
            (60 / cells**0.6 * grey).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
        )
    pixels += rng.normal(scale=2, size=(height, width, 1))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def regions(rng: np.random.Generator, height: int, width: int, values: tuple[int, ...]) -> np.ndarray:
    """Draw (H, W) uint8 of about ten blobs: the strongest of ten smooth fields at each pixel."""
    fields = rng.normal(size=(10, 6, 8)).astype(np.float32)
    smooth = [cv2.resize(field, (width, height), interpolation=cv2.INTER_CUBIC) for field in fields]
    return rng.choice(values, 10).astype(np.uint8)[np.argmax(smooth, 0)]


def write(case: Case, folder: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(folder / case.image_zip, "a") as images:
        for i in range(count):
            name = case.image_name.format(i)
            pixels = picture(rng, *case.size)
            quality = [cv2.IMWRITE_JPEG_QUALITY, 90] if name.endswith(".jpg") else []
            images.writestr(name, cv2.imencode(Path(name).suffix, pixels, quality)[1])
    with zipfile.ZipFile(folder / case.label_zip, "a") as labels:
        for i in range(count):
            label = regions(rng, *case.size, case.label_values)
            labels.writestr(case.label_name.format(i), cv2.imencode(".png", label)[1])


def torchvision_chain(sample: Sample, rng: np.random.Generator, settings: Augmentation) -> Sample:
    """Apply what ``TrainTransform`` would draw, by torchvision's functions on whole images."""
    plan = draw_plan(settings, sample, rng)
    image, ids = sample.image, sample.targets.id_map[None]
    draws = plan.color
    contrast = partial(tv.adjust_contrast, contrast_factor=draws.contrast) if draws.contrast else None
    if draws.brightness is not None:
        image = tv.adjust_brightness(image, draws.brightness)
    if contrast and draws.contrast_first:
        image = contrast(image)
    if draws.saturation is not None:
        image = tv.adjust_saturation(image, draws.saturation)
    if draws.hue is not None:
        image = tv.adjust_hue(image, draws.hue)
    if contrast and not draws.contrast_first:
        image = contrast(image)
    if plan.flip:
        image, ids = tv.horizontal_flip(image), tv.horizontal_flip(ids)
    size = scaled_size((image.shape[1], image.shape[2]), settings.size, plan.scale)
    image = tv.resize(image, list(size), antialias=True)
    ids = tv.resize(ids, list(size), interpolation=InterpolationMode.NEAREST)
    padding = [0, 0, max(0, settings.size[1] - size[1]), max(0, settings.size[0] - size[0])]
    image, ids = tv.pad(image, padding), tv.pad(ids, padding, fill=[255])
    image, ids = (tv.crop(part, plan.top, plan.left, *settings.size) for part in (image, ids))
    return Sample(image, Targets(ids[0]), sample.name)


def compare(dataset: SegmentationDataset, crop: int, repeats: int) -> measuring.Group:
    settings = Augmentation(size=(crop, crop))
    transform = TrainTransform(settings)
    stored = [(dataset.read_image_bytes(i), dataset.read_label_bytes(i)) for i in range(len(dataset))]

    def decode() -> None:
        for image, label in stored:
            decode_image(image, "image")
            decode_label(label, "label")

    def ours(i: int, seed: int) -> Sample:
        sample = transform(dataset[i], np.random.default_rng(seed))
        collate_batch([sample])
        return sample

    def theirs(i: int, seed: int) -> Sample:
        sample = torchvision_chain(dataset[i], np.random.default_rng(seed), settings)
        collate_batch([sample])
        return sample

    for i in range(min(4, len(dataset))):
        one, other = ours(i, i), theirs(i, i)
        off = (one.image != other.image).float().mean().item()
        if off > 1e-4 or not torch.equal(one.targets.id_map, other.targets.id_map):
            raise SystemExit(f"the two pipelines differ in {off:.2%} of the pixels of image {i}")

    def each_image(augmented: Callable[[int, int], Sample]) -> Callable[[], None]:
        seeds = itertools.count()  # each round draws anew, and the same for both

        def side() -> None:
            for i in range(len(dataset)):
                augmented(i, next(seeds))

        return side

    sides = {BASE: decode, "torchvision": each_image(theirs), "vfmseg": each_image(ours)}
    group = measuring.compare(sides, BASE, repeats=repeats)
    for kind, sizes in zip(("image", "label"), zip(*stored, strict=True), strict=True):
        group[BASE][f"{kind}_kb"] = round(statistics.mean(map(len, sizes)) / 1e3, 1)
    return group


class Endless(Dataset[Sample]):
    """As many augmented samples as wanted."""

    def __init__(self, dataset: SegmentationDataset, crop: int, length: int) -> None:
        self.dataset, self.length = dataset, length
        self.transform = TrainTransform(Augmentation(size=(crop, crop)))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        return self.transform(self.dataset[index % len(self.dataset)], np.random.default_rng(index))


def one_thread(worker: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def loader(dataset: SegmentationDataset, crop: int, workers: int, count: int) -> DataLoader[Sample]:
    return DataLoader(
        Endless(dataset, crop, count),
        batch_size=4,
        collate_fn=collate_batch,
        num_workers=workers,
        worker_init_fn=one_thread,
    )


def seconds_an_image(batches: DataLoader[Sample]) -> float:
    running = iter(batches)
    next(running)
    start, images = time.perf_counter(), 0
    for batch in running:
        images += len(batch.names)
    return (time.perf_counter() - start) / images


def peak_mib(batches: DataLoader[Sample]) -> float:
    seen: list[float] = []

    def watch() -> None:
        before = held_mib()
        seen.extend(held_mib() - before for _ in batches)

    return round(max(measuring.peak_mib(watch), *seen), 1)


def held_mib() -> float:
    """Return the memory of this process and its workers; what they share counts once."""
    processes = [os.getpid(), *(worker.pid for worker in multiprocessing.active_children())]
    texts = [Path(f"/proc/{process}/smaps_rollup").read_text() for process in processes]
    return sum(int(text.partition("\nPss:")[2].split()[0]) for text in texts) / 2**10


def compare_workers(dataset: SegmentationDataset, crop: int, count: int, repeats: int) -> measuring.Group:
    numbers = {NO_WORKER: 0, "one worker": 1, "two workers": 2}
    loaders = {name: loader(dataset, crop, workers, count) for name, workers in numbers.items()}
    seconds = measuring.rounds(
        {name: partial(seconds_an_image, batches) for name, batches in loaders.items()}, repeats
    )
    return {
        name: {
            **measuring.ratios(times, seconds[NO_WORKER]),
            "peak_mib": peak_mib(loaders[name]),
            "img_s": round(1 / statistics.median(times), 1),
        }
        for name, times in seconds.items()
    }


def main() -> None:
    parser = measuring.parser(__doc__, repeats=5, threads=1, cases=list(CASES))
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument(
        "--loader_images", type=int, default=400, help="of 683 x 512; fewer where they are larger"
    )
    options = measuring.parse(parser)
    found = {}
    for name in options.cases:
        case = CASES[name]
        with tempfile.TemporaryDirectory() as folder:
            write(case, Path(folder), options.images)
            dataset = open_dataset(case.dataset, folder, "train")
            found[name] = compare(dataset, case.crop, options.repeats)
            count = options.loader_images * 512 * 683 // (case.size[0] * case.size[1])
            found[f"{name}, loader"] = compare_workers(dataset, case.crop, count, options.repeats)
    base = "decoding alone, or the loader without workers, in the same round"
    measuring.report("training_pipeline", options, base, found)


if __name__ == "__main__":
    main()
