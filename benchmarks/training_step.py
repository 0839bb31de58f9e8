"""The linear model's training step against forward + backward of the bare timm encoder on the same tokens.

Run: python benchmarks/training_step.py [--encoder vit_base_patch16_224] [--precision bf16] [--out FILE.json]
Both take turns in one process; a ratio of medians is printed, and each side's peak of allocated memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import timm
import torch

from vfmseg.losses.criterion import PixelCriterion
from vfmseg.models.build import build
from vfmseg.types import Targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="vit_base_patch16_224")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"

    torch.manual_seed(0)
    segmenter = build(
        options.encoder, num_classes=options.classes, image_size=options.size, weights="random"
    ).to(device)
    segmenter.train()
    bare = timm.create_model(options.encoder, pretrained=False, num_classes=0, img_size=options.size).to(
        device
    )
    bare.train()
    images = torch.randint(
        0, 256, (options.batch, 3, options.size, options.size), dtype=torch.uint8, device=device
    )
    labels = torch.randint(0, options.classes, (options.batch, options.size, options.size), dtype=torch.uint8)
    targets = tuple(Targets(label.to(device)) for label in labels)
    criterion = PixelCriterion()
    autocast = torch.autocast(device, torch.bfloat16, enabled=options.precision == "bf16")

    def ours() -> None:
        with autocast:
            loss, _ = criterion(segmenter(images), targets)
        loss.backward()
        segmenter.zero_grad(set_to_none=True)

    def peer() -> None:
        with autocast:
            tokens = bare.forward_features(segmenter.encoder.normalise(images))
        tokens.float().square().mean().backward()
        bare.zero_grad(set_to_none=True)

    times = alternate({"vfmseg": ours, "timm": peer}, options.repeats)
    ratio = statistics.median(times["vfmseg"]) / statistics.median(times["timm"])
    result = {
        "benchmark": "training_step",
        "settings": vars(options),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "torch": torch.__version__,
        "seconds": {name: [round(t, 4) for t in values] for name, values in times.items()},
        "ratio": round(ratio, 3),
        "target": 1.25,
    }
    print(json.dumps(result, indent=2))
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=2)


def alternate(sides: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Return seconds of each side, run in turns after one warm-up of each."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for name, side in sides.items():
            _wait()
            started = time.perf_counter()
            side()
            _wait()
            if repeat:
                times[name].append(time.perf_counter() - started)
    return times


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
