"""The 15 common corruptions of one image, at severities 1, 3 and 5 in turn: vfmseg against imagecorruptions.

Run: python benchmarks/corruptions.py [--cases fog frost] [--size 1024 2048] [--out FILE.json]
imagecorruptions 1.1.2 is timed where it is installed and can make the kind with the versions of NumPy and scikit-image
that are there (NumPy < 2 and scikit-image < 0.23 for all kinds); else vfmseg alone. Both make the same look from other
random numbers, so that results are compared by PSNR: `psnr` and `mean` of severity 3.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import cv2
import numpy as np

from vfmseg.transforms.corruptions import CORRUPTIONS, corrupt

try:
    from imagecorruptions import corrupt as imagecorrupt
except ImportError:
    imagecorrupt = None

PEER = "imagecorruptions"
SEVERITIES = (1, 3, 5)
Corrupt = Callable[[np.ndarray, int], np.ndarray]


def scene(height: int, width: int) -> np.ndarray:
    """Return (H, W, 3) uint8: regions of soft colour with edges, texture and some white."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 64 + 1, width // 64 + 1, 3)).astype(np.uint8)
    fine = rng.normal(0, 12, (height // 2 + 1, width // 2 + 1, 3)).astype(np.float32)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST) * np.float32(0.5)
    image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(0.5)
    return np.clip(image + cv2.resize(fine, (width, height)), 0, 255).astype(np.uint8)


def sides_of(kind: str, image: np.ndarray) -> dict[str, Corrupt]:
    """Return who can make this kind here."""

    def peer(image: np.ndarray, severity: int) -> np.ndarray:
        return np.asarray(imagecorrupt(image, corruption_name=kind, severity=severity))

    found: dict[str, Corrupt] = {"vfmseg": lambda image, severity: corrupt(image, kind, severity, 0)}
    if imagecorrupt is not None:
        try:
            peer(image[:64, :64], 1)
        except (AttributeError, TypeError, ValueError) as error:
            print(f"{kind}: {PEER} cannot make it with the versions here: {error}")
        else:
            found[PEER] = peer
    return found


def all_severities(image: np.ndarray, side: Corrupt) -> None:
    for severity in SEVERITIES:
        side(image, severity)


def main() -> None:
    made = measuring.parser(__doc__, repeats=3, threads=1, cases=CORRUPTIONS)
    made.add_argument(
        "--size", nargs=2, type=int, default=[512, 1024], help="height and width (default: 512 1024)"
    )
    options = measuring.parse(made)
    image = scene(*options.size)
    found = {}
    for kind in options.cases:
        sides = sides_of(kind, image)
        base = PEER if PEER in sides else "vfmseg"
        runs = {name: partial(all_severities, image, side) for name, side in sides.items()}
        group = measuring.compare(runs, base, repeats=options.repeats)
        for name, side in sides.items():
            corrupted = side(image, 3)
            group[name]["img_s"] = round(len(SEVERITIES) / group[name]["median_s"], 2)
            group[name]["psnr"] = round(cv2.PSNR(image, np.ascontiguousarray(corrupted, np.uint8)), 2)
            group[name]["mean"] = round(float(corrupted.mean()), 1)
        found[kind] = group
    measuring.report("corruptions", options, f"{PEER} where it is there, else vfmseg", found)


if __name__ == "__main__":
    main()
