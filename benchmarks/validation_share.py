"""How much of a validation image's time is not the encoder: decoding, windows, decoder, merging, counting.

Run: python benchmarks/validation_share.py [--encoder vit_base_patch16_224] [--out FILE.json]
One 683 x 512 JPEG with a 150-class label, crops of 512, the linear decoder. Limit: 20 %.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import numpy as np
import torch
from PIL import Image

from vfmseg.data.dataset import open_dataset
from vfmseg.metrics.mean_iou import ConfusionMatrix
from vfmseg.models.build import build
from vfmseg.tasks.semantic import predict_windows
from vfmseg.transforms.sliding_window import cut, plan_windows

BASE = "whole"
CLASSES, SIZE = 150, (512, 683)


def main() -> None:
    parser = measuring.parser(__doc__, repeats=7)
    parser.add_argument("--encoder", default="vit_base_patch16_224")
    options = measuring.parse(parser)
    torch.manual_seed(0)
    segmenter = build(options.encoder, num_classes=CLASSES, image_size=512, weights="random").eval()
    with tempfile.TemporaryDirectory() as folder:
        dataset = open_dataset("folder", write_folder(Path(folder)), "val")
        crops = cut(dataset[0].image, plan_windows(SIZE, (512, 512)))

        def whole() -> None:
            sample = dataset[0]
            (found,) = predict_windows(segmenter, [sample.image], (512, 512))
            ConfusionMatrix(CLASSES).update(found.classes, sample.targets.id_map)

        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            pixels = segmenter.encoder.normalise(crops)
            sides = {BASE: whole, "encoder": lambda: segmenter.encoder.forward_grid(pixels)}
            group = measuring.compare(sides, BASE, repeats=options.repeats)
    group[BASE] |= {"share_outside_encoder": round(1 - group["encoder"]["ratio"], 4), "limit_share": 0.2}
    base = "the whole validation of the image in the same round"
    measuring.report("validation_share", options, base, {"683 x 512 image": group})


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
