"""The pixel loss against F.interpolate + F.cross_entropy, forward and backward.

Run: python benchmarks/linear_loss.py [--repeats 7] [--threads 2] [--out FILE.json]
Losses and gradients must agree before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import torch
from torch import Tensor
from torch.nn import functional as F

from vfmseg.losses.pixels import pixel_cross_entropy

CASES = {
    "512x512, 150 classes, batch 2": (2, 150, 32, 512),
    "1024x1024, 19 classes, batch 2": (2, 19, 64, 1024),
}
BASE = "interpolate + cross_entropy"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def ours(logits: Tensor, id_maps: Tensor) -> Tensor:
    return pixel_cross_entropy(logits, id_maps, average="batch")


def usual(logits: Tensor, id_maps: Tensor) -> Tensor:
    size = (id_maps.shape[1], id_maps.shape[2])
    upsampled = F.interpolate(logits, size, mode="bilinear", align_corners=False)
    return F.cross_entropy(upsampled, id_maps.long(), ignore_index=255)


SIDES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {BASE: usual, "vfmseg": ours}


def example(case: str) -> tuple[Tensor, Tensor]:
    batch, classes, grid, image = CASES[case]
    torch.manual_seed(0)
    logits = (3 * torch.randn(batch, classes, grid, grid)).to(DEVICE).requires_grad_()
    id_maps = torch.randint(0, classes, (batch, image, image), dtype=torch.uint8)
    id_maps[torch.rand(id_maps.shape) < 0.1] = 255
    return logits, id_maps.to(DEVICE)


def loss_and_gradient(
    side: Callable[[Tensor, Tensor], Tensor], logits: Tensor, id_maps: Tensor
) -> tuple[Tensor, Tensor]:
    loss = side(logits, id_maps)
    return loss, torch.autograd.grad(loss, logits)[0]


def main() -> None:
    options = measuring.parse(measuring.parser(__doc__, repeats=7, cases=list(CASES)))
    found = {}
    for case in options.cases:
        sides = {name: partial(loss_and_gradient, side, *example(case)) for name, side in SIDES.items()}
        (loss, gradient), (usual_loss, usual_gradient) = (sides[name]() for name in ("vfmseg", BASE))
        torch.testing.assert_close(loss, usual_loss, rtol=1e-5, atol=0)
        torch.testing.assert_close(gradient, usual_gradient, rtol=1e-4, atol=1e-8)
        found[case] = measuring.compare(sides, BASE, repeats=options.repeats)
    measuring.report("linear_loss", options, f"{BASE} in the same round", found)


if __name__ == "__main__":
    main()
