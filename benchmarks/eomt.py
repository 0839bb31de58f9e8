"""EoMT against the bare encoder it runs on and against transformers' EoMT with the same weights.

Run: python benchmarks/eomt.py [--encoder vit_base_patch14_reg4_dinov2] [--size 640] [--precision fp32] [--out FILE.json]
All sides take turns in one process; ratios of medians to the bare encoder are printed: inference without and with
attention masks, and a training step (forward, loss of all layers, backward) with the peak of allocated memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from transformers import EomtConfig, EomtForUniversalSegmentation

from vfmseg.interop.transformers_eomt import to_transformers
from vfmseg.losses.criterion import MaskCriterion
from vfmseg.models.build import build
from vfmseg.types import Targets

CLASSES = 133


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", default="vit_base_patch14_reg4_dinov2")
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--train_size", type=int, default=320)
    parser.add_argument("--batch", type=int, default=2, help="of the training step; inference has one image")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="fp32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--skip", choices=("inference", "training"))
    parser.add_argument("--out")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    autocast = torch.autocast(device, torch.bfloat16, enabled=options.precision == "bf16")
    result = {
        "benchmark": "eomt",
        "settings": vars(options),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    if options.skip != "inference":
        result["inference"] = inference(options, device, autocast)
    if options.skip != "training":
        result["training"] = training(options, device, autocast)
    print(json.dumps(result, indent=2))
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=2)


def pair(options: argparse.Namespace, size: int, device: str):  # type: ignore[no-untyped-def]
    """Return our model and transformers' with the same random weights."""
    segmenter = build(
        options.encoder,
        num_classes=CLASSES,
        decoder="eomt",
        image_size=size,
        patch_size=16,
        weights="random",
        decoder_options={"num_queries": options.queries},
        seed=0,
    )
    encoder = segmenter.encoder
    config = EomtConfig(
        hidden_size=encoder.embed_dim,
        num_hidden_layers=encoder.num_blocks,
        num_attention_heads=encoder.blocks[0].attn.num_heads,
        image_size=size,
        patch_size=16,
        num_blocks=segmenter.decoder.num_blocks,
        num_queries=options.queries,
        num_register_tokens=4,
        num_labels=CLASSES,
    )
    peer = EomtForUniversalSegmentation(config)
    peer.load_state_dict(to_transformers(segmenter), strict=False)
    return segmenter.to(device), peer.to(device)


def inference(options: argparse.Namespace, device: str, autocast: torch.autocast) -> dict[str, object]:
    segmenter, peer = pair(options, options.size, device)
    segmenter.eval(), peer.eval()
    encoder, blocks = segmenter.encoder, segmenter.decoder.num_blocks
    images = torch.randint(0, 256, (1, 3, options.size, options.size), dtype=torch.uint8, device=device)
    pixels = encoder.normalise(images)

    def bare() -> None:
        encoder.forward_grid(pixels)

    def ours(probability: float) -> Callable[[], None]:
        def side() -> None:
            segmenter.decoder.mask_probabilities = (probability,) * blocks
            segmenter(images)

        return side

    def theirs(probability: float) -> Callable[[], None]:
        def side() -> None:
            peer.attn_mask_probs.fill_(probability)
            peer(pixel_values=pixels)

        return side

    sides = {
        "bare encoder": bare,
        "vfmseg": ours(0.0),
        "transformers": theirs(0.0),
        "vfmseg, masked": ours(1.0),
        "transformers, masked": theirs(1.0),
    }
    with torch.inference_mode(), autocast:
        return summary(alternate(sides, options.repeats), "bare encoder")


def training(options: argparse.Namespace, device: str, autocast: torch.autocast) -> dict[str, object]:
    segmenter, peer = pair(options, options.train_size, device)
    segmenter.train(), peer.train()
    encoder, blocks, size = segmenter.encoder, segmenter.decoder.num_blocks, options.train_size
    images = torch.randint(0, 256, (options.batch, 3, size, size), dtype=torch.uint8, device=device)
    ids = (torch.arange(size)[:, None] // (size // 3) * 5 + torch.arange(size)[None] // (size // 5)).clamp(
        max=14
    )
    labels = torch.arange(15) * 7 % CLASSES
    targets = tuple(Targets(ids.to(torch.uint8).to(device), labels.to(device)) for _ in range(options.batch))
    masks = [torch.stack([(ids == i).float() for i in range(15)]).to(device)] * options.batch
    criterion = MaskCriterion(num_classes=CLASSES, average="batch")
    segmenter.decoder.mask_probabilities = (1.0,) * blocks
    peer.attn_mask_probs.fill_(1.0)

    def bare() -> None:
        with autocast:
            features = encoder.forward_grid(encoder.normalise(images))
        features.float().square().mean().backward()
        encoder.zero_grad(set_to_none=True)

    def ours() -> None:
        with autocast:
            loss, _ = criterion(segmenter(images), targets)
        loss.backward()
        segmenter.zero_grad(set_to_none=True)

    def theirs() -> None:
        with autocast:
            loss = peer(
                pixel_values=encoder.normalise(images),
                mask_labels=masks,
                class_labels=[labels.to(device)] * options.batch,
            ).loss
        loss.backward()
        peer.zero_grad(set_to_none=True)

    sides = {"bare encoder": bare, "vfmseg": ours, "transformers": theirs}
    found = summary(alternate(sides, options.repeats), "bare encoder")
    if device == "cuda":
        found["peak_gib"] = {name: peak(side) for name, side in sides.items()}
    return found


def peak(side: Callable[[], None]) -> float:
    """Return the GPU's peak of allocated memory in GiB while ``side`` runs once."""
    torch.cuda.reset_peak_memory_stats()
    side()
    return round(torch.cuda.max_memory_allocated() / 2**30, 3)


def alternate(sides: dict[str, Callable[[], None]], repeats: int) -> dict[str, list[float]]:
    """Return seconds of each side, run in turns after one warm-up of each."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for repeat in range(repeats + 1):
        for name, side in sides.items():
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            started = time.perf_counter()
            side()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat:
                times[name].append(time.perf_counter() - started)
    return times


def summary(times: dict[str, list[float]], base: str) -> dict[str, object]:
    """Return seconds and the ratios of medians to ``base``."""
    median = {name: statistics.median(values) for name, values in times.items()}
    return {
        "seconds": {name: [round(t, 4) for t in values] for name, values in times.items()},
        "ratio": {name: round(value / median[base], 3) for name, value in median.items()},
    }


if __name__ == "__main__":
    main()
