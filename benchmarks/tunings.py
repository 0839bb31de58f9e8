"""Every tuning beside the frozen encoder's forward pass, and a training step of each beside that of full tuning.

Run: python benchmarks/tunings.py [--encoder dinov2-l] [--size 512] [--precision bf16] [--only rein lora] [--out FILE]
The decoder is linear, and the loss a mean of squares: what is compared is the encoder and what tunings add to it. The
frozen encoder's training step is compared with its own inference, too.
"""

from __future__ import annotations

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import torch

from vfmseg.models.build import build
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.tuning.catalog import TUNINGS


def main() -> None:
    parser = measuring.parser(__doc__, repeats=5)
    parser.add_argument("--encoder", default="dinov2-l")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--only", nargs="+", choices=tuple(TUNINGS), help="beside full and frozen")
    options = measuring.parse(parser)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    autocast = torch.autocast(device, torch.bfloat16, enabled=options.precision == "bf16")
    images = torch.randint(
        0, 256, (options.batch, 3, options.size, options.size), dtype=torch.uint8, device=device
    )
    names = [name for name in TUNINGS if options.only is None or name in ("full", "frozen", *options.only)]
    models = {name: tuned(options.encoder, options.size, name).to(device) for name in names}
    for segmenter in models.values():
        share_weights(models["frozen"], segmenter)

    def forward(segmenter: Segmenter) -> measuring.Run:
        def run() -> None:
            with torch.inference_mode(), autocast:
                segmenter.eval()(images)

        return run

    def step(segmenter: Segmenter) -> measuring.Run:
        def run() -> None:
            with autocast:
                output = segmenter.train()(images)
            output.logits.float().square().mean().backward()
            segmenter.zero_grad(set_to_none=True)

        return run

    steps = {name: step(segmenter) for name, segmenter in models.items()}
    frozen = {"inference": forward(models["frozen"]), "training step": steps["frozen"]}
    groups = {
        "inference, to the frozen encoder's": measuring.compare(
            {name: forward(segmenter) for name, segmenter in models.items()},
            "frozen",
            repeats=options.repeats,
        ),
        "training step, to that of full tuning": measuring.compare(steps, "full", repeats=options.repeats),
        "the frozen encoder's training step, to its inference": measuring.compare(
            frozen, "inference", repeats=options.repeats
        ),
    }
    measuring.report("tunings", options, "as each group's title says, in the same round", groups)


def share_weights(first: Segmenter, other: Segmenter) -> None:
    """Let both have the encoder's weights in one place, so that all models fit into memory; nothing here changes them."""
    weights = dict(first.encoder.named_parameters())
    for name, parameter in other.encoder.named_parameters():
        if name in weights:
            parameter.data = weights[name].data


def tuned(encoder: str, size: int, name: str) -> Segmenter:
    return build(encoder, num_classes=19, tuning=name, image_size=size, weights="random", seed=0)


if __name__ == "__main__":
    main()
