"""How much of a validation image's time is not the encoder: decoding, windows, decoder, merging, counting.

Run: python benchmarks/validation_share.py [--encoder vit_base_patch16_224] [--out FILE.json]
One 683 x 512 JPEG with a 150-class label, crops of 512, the linear decoder; medians of repeats in one process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vfmseg.data.dataset import open_dataset
from vfmseg.metrics.mean_iou import ConfusionMatrix
from vfmseg.models.build import build
from vfmseg.tasks.semantic import predict_windows
from vfmseg.transforms.sliding_window import cut, plan_windows

CLASSES, SIZE = 150, (512, 683)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="vit_base_patch16_224")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out")
    options = parser.parse_args()
    torch.manual_seed(0)
    segmenter = build(options.encoder, num_classes=CLASSES, image_size=512, weights="random").eval()
    with tempfile.TemporaryDirectory() as folder:
        dataset = open_dataset("folder", write_folder(Path(folder)), "val")
        whole, encoder = [], []
        for repeat in range(options.repeats + 1):
            started = time.perf_counter()
            sample = dataset[0]
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                (found,) = predict_windows(segmenter, [sample.image], (512, 512))
            ConfusionMatrix(CLASSES).update(found.classes, sample.targets.id_map)
            middle = time.perf_counter()
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                crops = cut(sample.image, plan_windows(SIZE, (512, 512)))
                pixels = segmenter.encoder.normalise(crops)
                before = time.perf_counter()
                segmenter.encoder.forward_grid(pixels)
            if repeat:
                whole.append(middle - started)
                encoder.append(time.perf_counter() - before)
    share = 1 - statistics.median(encoder) / statistics.median(whole)
    result = {
        "benchmark": "validation_share",
        "encoder": options.encoder,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "whole_s": [round(t, 4) for t in whole],
        "encoder_s": [round(t, 4) for t in encoder],
        "share_outside_encoder": round(share, 3),
        "target": 0.2,
    }
    print(json.dumps(result, indent=2))
    if options.out:
        Path(options.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def write_folder(root: Path) -> Path:
    """Write one image with its label in the usual layout and return the YAML file that describes it."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)
    image = np.asarray(Image.fromarray(small).resize((SIZE[1], SIZE[0]), Image.Resampling.BICUBIC))
    label = np.kron(rng.integers(0, CLASSES, (4, 5)), np.ones((128, 137))).astype(np.uint8)[:, : SIZE[1]]
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (root / kind / split).mkdir(parents=True)
        Image.fromarray(image).save(root / "images" / split / f"{split}.jpg", quality=90)
        Image.fromarray(label).save(root / "masks" / split / f"{split}.png")
    names = ", ".join(f"class{i}" for i in range(CLASSES))
    (root / "data.yaml").write_text(f"names: [{names}]\n", encoding="utf-8")
    return root / "data.yaml"


if __name__ == "__main__":
    main()
