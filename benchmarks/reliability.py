"""Reliability scores of a set of images: vfmseg image by image against torchmetrics, which keeps every pixel.

Run: python benchmarks/reliability.py [--images 20] [--size 1024 2048] [--repeats 3] [--out FILE.json]
Confidences are generated, as sure as networks are: most pixels near 1, right as often as a little less than they say.
Images are made anew for each side, which costs all the same, and is timed apart as the floor. Memory is above that.
Calibration is ECE in 15 bins; misclassification is AUROC, FPR95 (read off torchmetrics' curve) and both AUPR. What
torchmetrics has for constant memory, 200 thresholds, takes four times as long as keeping all, and is no side here.
`off` is how far a side's worst number is from that of all pixels, sorted, and summed in float64; `error` is how far
vfmseg's may be, by its own account, and nothing is timed if they are further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import numpy as np
import torch
from torchmetrics.classification import BinaryCalibrationError
from torchmetrics.functional.classification import binary_average_precision, binary_roc

from vfmseg.metrics.calibration import Calibration
from vfmseg.metrics.misclassification import Misclassification

BASE = "torchmetrics, all kept"
FLOOR = "images alone"
Image = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
CASES = ("calibration", "misclassification")


def images(number: int, height: int, width: int) -> Iterator[Image]:
    """Give confidence (H, W) float32, classes and labels (H, W) uint8, of which a twentieth is void."""
    for seed in range(number):
        generator = torch.Generator().manual_seed(seed)
        confidence = 1 - 0.5 * torch.rand((height, width), generator=generator).pow_(6)
        id_map = torch.ones((height, width), dtype=torch.uint8)
        classes = (torch.rand((height, width), generator=generator) < confidence - 0.02).to(torch.uint8)
        id_map[: height // 20] = 255
        yield confidence, classes, id_map


def right_of(image: Image) -> tuple[torch.Tensor, torch.Tensor]:
    confidence, classes, id_map = image
    counted = id_map != 255
    return confidence[counted], (classes == id_map)[counted]


def generate_only(made: Callable[[], Iterator[Image]]) -> list[float]:
    return [0.0 for _ in made()]


def calibration(made: Callable[[], Iterator[Image]]) -> list[float]:
    metric = Calibration()
    for image in made():
        metric.update(*image)
    return [metric.diagram().ece]


def calibration_of_torchmetrics(made: Callable[[], Iterator[Image]]) -> list[float]:
    metric = BinaryCalibrationError(15, validate_args=False)
    for image in made():
        confidence, is_right = right_of(image)
        metric.update(confidence, is_right.long())
    return [float(metric.compute())]


def misclassification(made: Callable[[], Iterator[Image]], scale: str = "probability") -> list[float]:
    metric = Misclassification(scale)
    for image in made():
        metric.update(*image)
    found = metric.scores()
    numbers = (found.auroc, found.fpr95, found.aupr_success, found.aupr_error)
    return [number.value for number in numbers] + [max(number.error for number in numbers)]


def misclassification_all_kept(made: Callable[[], Iterator[Image]]) -> list[float]:
    kept = [right_of(image) for image in made()]
    confidence = torch.cat([scores for scores, _ in kept])
    is_right = torch.cat([right for _, right in kept]).long()
    del kept
    false, found, _ = binary_roc(confidence, is_right)
    area = float(torch.trapezoid(found.double(), false.double()))
    rate = float(false[int((found >= 0.95).int().argmax())])
    del false, found
    success = float(binary_average_precision(confidence, is_right))
    return [area, rate, success, float(binary_average_precision(1 - confidence, 1 - is_right))]


def exact_calibration(made: Callable[[], Iterator[Image]]) -> list[float]:
    confidence, is_right = map(np.concatenate, zip(*map(right_of, made()), strict=True))
    places = np.minimum(confidence.astype(np.float64) * 15, 14).astype(np.int64)
    gaps = np.bincount(places, confidence.astype(np.float64)) - np.bincount(places, is_right)
    return [float(np.abs(gaps).sum() / len(confidence))]


def exact_misclassification(made: Callable[[], Iterator[Image]]) -> list[float]:
    confidence, is_right = map(np.concatenate, zip(*map(right_of, made()), strict=True))
    order = np.argsort(confidence)[::-1]
    confidence, is_right = confidence[order], is_right[order]
    del order
    ends = np.append(np.flatnonzero(np.diff(confidence)), len(confidence) - 1)  # last of each confidence
    found = is_right.cumsum()[ends]
    claimed = ends + 1
    del confidence, is_right
    right, everything = found[-1], claimed[-1]
    recall, rate = found / right, (claimed - found) / (everything - right)
    area = float(np.trapezoid(np.append(0, recall), np.append(0, rate)))
    success = float(np.diff(recall, prepend=0) @ (found / claimed))
    # From the other end: pixels below and including each confidence.
    below = everything - np.append(0, claimed[:-1])
    wrong_below = (everything - right) - np.append(0, (claimed - found)[:-1])
    error = float(np.diff(rate, prepend=0) @ (wrong_below / below))
    return [area, float(rate[np.argmax(recall >= 0.95)]), success, error]


EXACT = {"calibration": exact_calibration, "misclassification": exact_misclassification}
SIDES: dict[str, dict[str, Callable[[Callable[[], Iterator[Image]]], list[float]]]] = {
    "calibration": {
        BASE: calibration_of_torchmetrics,
        "vfmseg": calibration,
        FLOOR: generate_only,
    },
    "misclassification": {
        BASE: misclassification_all_kept,
        "vfmseg, probability": misclassification,
        "vfmseg, real": partial(misclassification, scale="real"),
        FLOOR: generate_only,
    },
}


def accuracy_of(numbers: list[float], exact: np.ndarray) -> tuple[float, float]:
    """Return how far the worst number is off, and how far it may be by the side's own account, 0 if it gives none."""
    off = float(np.abs(np.array(numbers[: len(exact)]) - exact).max())
    return off, sum(numbers[len(exact) :])


def main() -> None:
    made = measuring.parser(__doc__, repeats=3, threads=1, cases=CASES)
    made.add_argument("--images", type=int, default=20, help="images of the set (default: 20)")
    made.add_argument("--size", type=int, nargs=2, default=(1024, 2048), help="H W (default: 1024 2048)")
    options = measuring.parse(made)
    shown = partial(images, options.images, *options.size)
    found = {}
    for case in options.cases:
        sides = {name: partial(side, shown) for name, side in SIDES[case].items()}
        exact = np.array(EXACT[case](shown))
        accuracy = {name: accuracy_of(side(), exact) for name, side in sides.items() if name != FLOOR}
        for name, (off, error) in accuracy.items():
            if name.startswith("vfmseg") and off > error + 1e-7:
                raise SystemExit(f"{name} is off by {off:g} on {case}, more than {error:g}")
        group = measuring.compare(sides, BASE, repeats=options.repeats)
        for name, (off, error) in accuracy.items():
            group[name] |= {"off": off, "error": error} if name.startswith("vfmseg") else {"off": off}
        found[f"{case}, {options.images} x {options.size[1]}x{options.size[0]}"] = group
    measuring.report("reliability", options, f"{BASE} in the same round", found)


if __name__ == "__main__":
    main()
