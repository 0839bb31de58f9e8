"""The linear model's training step against forward + backward of the bare timm encoder on the same tokens.

Run: python benchmarks/training_step.py [--encoder vit_base_patch16_224] [--precision bf16] [--out FILE.json]
Limit: 1.25 x.
"""

from __future__ import annotations

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import timm
import torch

from vfmseg.losses.criterion import PixelCriterion
from vfmseg.models.build import build
from vfmseg.types import Targets

BASE = "timm"


def main() -> None:
    parser = measuring.parser(__doc__, repeats=5)
    parser.add_argument("--encoder", default="vit_base_patch16_224")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    options = measuring.parse(parser)
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

    group = measuring.compare({BASE: peer, "vfmseg": ours}, BASE, repeats=options.repeats)
    group["vfmseg"]["limit"] = 1.25
    base = "forward + backward of the bare timm encoder in the same round"
    measuring.report("training_step", options, base, {"training step": group})


if __name__ == "__main__":
    main()
