"""EoMT against the bare encoder it runs on and against transformers' EoMT with the same weights.

Run: python benchmarks/eomt.py [--encoder vit_base_patch14_reg4_dinov2] [--size 640] [--precision fp32] [--out FILE.json]
Compared with the bare encoder's forward pass: inference without and with attention masks; with its forward and
backward pass: a training step (forward, loss of all layers, backward). Our forward pass leaves masks to be multiplied
out where it is known which can win, transformers' multiplies all: "all masks" does so, too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import torch
from transformers import EomtConfig, EomtForUniversalSegmentation

from vfmseg.interop.transformers_eomt import to_transformers
from vfmseg.losses.criterion import MaskCriterion
from vfmseg.models.build import build
from vfmseg.types import Targets

CLASSES = 133
BASE = "bare encoder"


def main() -> None:
    parser = measuring.parser(__doc__, repeats=9)
    parser.add_argument("--encoder", default="vit_base_patch14_reg4_dinov2")
    parser.add_argument("--size", type=int, default=640)
    parser.add_argument("--train_size", type=int, default=320)
    parser.add_argument("--batch", type=int, default=2, help="of the training step; inference has one image")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="fp32")
    parser.add_argument("--skip", choices=("inference", "training"))
    options = measuring.parse(parser)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    autocast = torch.autocast(device, torch.bfloat16, enabled=options.precision == "bf16")
    found = {}
    if options.skip != "inference":
        found["inference"] = inference(options, device, autocast)
    if options.skip != "training":
        found["training step"] = training(options, device, autocast)
    measuring.report("eomt", options, "the bare encoder's pass in the same round", found)


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


def inference(options: argparse.Namespace, device: str, autocast: torch.autocast) -> measuring.Group:
    segmenter, peer = pair(options, options.size, device)
    segmenter.eval(), peer.eval()
    encoder, blocks = segmenter.encoder, segmenter.decoder.num_blocks
    images = torch.randint(0, 256, (1, 3, options.size, options.size), dtype=torch.uint8, device=device)
    pixels = encoder.normalise(images)

    def bare() -> None:
        encoder.forward_grid(pixels)

    def ours(probability: float, *, all_masks: bool = False) -> Callable[[], None]:
        def side() -> None:
            segmenter.decoder.mask_probabilities = (probability,) * blocks
            output = segmenter(images)
            if all_masks:
                assert output[-1].mask_logits is not None

        return side

    def theirs(probability: float) -> Callable[[], None]:
        def side() -> None:
            peer.attn_mask_probs.fill_(probability)
            peer(pixel_values=pixels)

        return side

    sides = {
        BASE: bare,
        "vfmseg": ours(0.0),
        "vfmseg, all masks": ours(0.0, all_masks=True),
        "transformers": theirs(0.0),
        "vfmseg, masked": ours(1.0),
        "transformers, masked": theirs(1.0),
    }
    with torch.inference_mode(), autocast:
        return measuring.compare(sides, BASE, repeats=options.repeats)


def training(options: argparse.Namespace, device: str, autocast: torch.autocast) -> measuring.Group:
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

    sides = {BASE: bare, "vfmseg": ours, "transformers": theirs}
    return measuring.compare(sides, BASE, repeats=options.repeats)


if __name__ == "__main__":
    main()
