"""From window logits to classes: ``merge_to_classes`` against the published steps.

Run: python benchmarks/validation_merge.py [--threads 1] [--repeats 7] [--out FILE.json]
The published way upsamples every window, adds up, divides, resizes and takes the argmax, on whole arrays. Logits at the
patch grid are random (an untrained model, the worst case: every class may win anywhere) or generated as a trained
model's (regions that stand out, noise between the other classes). Before timing, both must agree.
"""

from __future__ import annotations

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vfmseg.transforms.sliding_window import WindowPlan, plan_windows
from vfmseg.transforms.window_merge import merge, merge_to_classes

CASES = {  # image size, crop, classes
    "683x512, 150 classes": ((512, 683), 512, 150),
    "512x683 portrait, 150 classes": ((683, 512), 512, 150),
    "640x480, 150 classes": ((480, 640), 512, 150),
    "2048x1024, 19 classes": ((1024, 2048), 1024, 19),
}
PATCH = 16
BASE = "published"


def published(logits: Tensor, plan: WindowPlan) -> Tensor:
    """Merge step by step on whole arrays: (n, K, h, w) -> (K, H, W)."""
    crops = F.interpolate(logits, plan.crop_size, mode="bilinear")
    summed = torch.zeros(logits.shape[1], *plan.resized_size)
    counts = torch.zeros(1, *plan.resized_size)
    places = [(top, left) for top in plan.rows.starts for left in plan.columns.starts]
    for crop, (top, left) in zip(crops, places, strict=True):
        place = np.s_[:, top : top + plan.crop_size[0], left : left + plan.crop_size[1]]
        summed[place] += crop
        counts[place] += 1
    return F.interpolate((summed / counts)[None], plan.image_size, mode="bilinear")[0]


def random_logits(plan: WindowPlan, num_classes: int) -> Tensor:
    grid = [crop // PATCH for crop in plan.crop_size]
    return torch.randn(plan.num_windows, num_classes, *grid)


def trained_logits(plan: WindowPlan, num_classes: int) -> Tensor:
    """Give ten a patch's class (its share of the patch, where regions meet), and noise to every class."""
    logits = 1.5 * random_logits(plan, num_classes)
    few = torch.randint(num_classes, (1, 1, 5, 7)).float()
    regions = F.interpolate(few, plan.resized_size, mode="nearest")[0, 0].long()
    places = [(top, left) for top in plan.rows.starts for left in plan.columns.starts]
    for window, (top, left) in zip(logits, places, strict=True):
        seen = regions[top : top + plan.crop_size[0], left : left + plan.crop_size[1]]
        shares = F.one_hot(seen, num_classes).permute(2, 0, 1).float()
        window += 10 * F.avg_pool2d(shares, PATCH)
    return logits


def compare(logits: Tensor, plan: WindowPlan, repeats: int) -> measuring.Group:
    expected = published(logits, plan)
    agreement = (merge_to_classes(logits, plan).classes == expected.argmax(0)).float().mean().item()
    off = (merge(logits, plan) - expected).abs().max().item()
    if agreement < 0.9999 or off > 1e-5:
        raise SystemExit(f"{agreement:.4%} of the classes agree, logits differ by {off:.1e}")
    del expected
    sides = {
        BASE: lambda: published(logits, plan).argmax(0),
        "merge_to_classes": lambda: merge_to_classes(logits, plan),
        "with softmax confidence": lambda: merge_to_classes(logits, plan, confidence="softmax"),
        "merge (logits only)": lambda: merge(logits, plan),
    }
    group = measuring.compare(sides, BASE, repeats=repeats)
    group["merge_to_classes"]["agreement"] = agreement
    group["merge (logits only)"]["largest_difference"] = off
    return group


def main() -> None:
    options = measuring.parse(measuring.parser(__doc__, repeats=7, threads=1, cases=list(CASES)))
    torch.manual_seed(0)
    found = {}
    for case in options.cases:
        size, crop, num_classes = CASES[case]
        plan = plan_windows(size, (crop, crop))
        for kind, make in (("untrained", random_logits), ("trained", trained_logits)):
            found[f"{case}, {kind}"] = compare(make(plan, num_classes), plan, options.repeats)
    measuring.report("validation_merge", options, "the published steps in the same round", found)


if __name__ == "__main__":
    main()
