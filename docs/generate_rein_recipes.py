"""Writes the recipes of configs/rein, which differ in few words: encoder, tuning, source and crop (arXiv 2312.04265).

Usage: ``python docs/generate_rein_recipes.py`` (``make docs`` does it). A test compares the recipes with its output.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[1] / "configs" / "rein"
PAPER = (
    '"Stronger, Fewer, & Superior: Harnessing Vision Foundation Models for Domain Generalized Semantic Segmentation" '
    "(arXiv 2312.04265)"
)


class Encoder(NamedTuple):
    """One of the published encoders."""

    name: str
    """In a recipe."""
    title: str
    taps: tuple[int, ...]
    differs: str = ""
    """What is not as published, beside the resampling of its weights."""


class Source(NamedTuple):
    """What is trained on."""

    folder: str
    title: str
    name: str
    """Of the data set in a recipe, whose validation split is scored."""
    files: str
    mixed: str = ""
    """Sources in a recipe, where there are several."""
    differs: str = ""


class Crop(NamedTuple):
    """One of the two published sets of sizes."""

    stride: int
    test_size: str
    batch_size: int
    effective_batch_size: int
    schedule: tuple[str, ...]
    """Lines of the section `training`."""
    devices: str
    """Options of the command."""
    acdc: str
    """Test size of ACDC."""


class Run(NamedTuple):
    """One recipe."""

    encoder: str
    tuning: str
    published: str
    """Its scores."""
    learned: str = ""
    """Of the encoder or added to it, as printed; empty: not printed."""
    cost: str = ""
    note: str = ""
    source: str = "gta5"
    crop: int = 512


L, H, TWELVE = (7, 11, 15, 23), (7, 15, 23, 31), (2, 5, 8, 11)
ENCODERS = {
    "dinov2_small": Encoder(
        "dinov2-s", "DINOv2-S", TWELVE, "the blocks whose maps are used (not in what we read)"
    ),
    "dinov2_base": Encoder(
        "dinov2-b", "DINOv2-B", TWELVE, "the blocks whose maps are used (not in what we read)"
    ),
    "dinov2_large": Encoder("dinov2-l", "DINOv2-L", L),
    "eva02_large": Encoder(
        "eva02-l", "EVA-02-L", L, "how Rein's linear maps are drawn (theirs with EVA-02: normal, 0.02)"
    ),
    "clip_large": Encoder("clip-l", "CLIP-L", L, "the class embedding (theirs is added twice)"),
    "mae_large": Encoder("mae-l", "MAE-L", L),
    "sam_huge": Encoder("sam-h", "SAM-H", H),
}
TUNINGS = {
    "full": ("fully tuned", "{method: full}", ""),
    "frozen": ("frozen", "{method: frozen}", ""),
    "rein": ("Rein", "{method: rein, num_tokens: 100, rank: 16}", ""),
    "lora": ("LoRA", "{method: lora, rank: 8}", "the rank is inferred from the parameter count"),
    "adaptformer": (
        "AdaptFormer",
        "{method: adaptformer, bottleneck: 64}",
        "the bottleneck is inferred from the parameter count",
    ),
    "vpt": (
        "VPT (deep)",
        "{method: vpt, num_tokens: 150}",
        "the number of prompts is inferred from the parameter count",
    ),
}
GTA_FILES = "01_images.zip ... 10_images.zip, 01_labels.zip ... 10_labels.zip"
SYNTHIA_FILES = "the unpacked folder RAND_CITYSCAPES"
URBANSYN_FILES = "rgb and ss of UrbanSyn, as zips or folders,"
SYNTHIA_COUNT = "SYNTHIA has 9,400 images here (the paper counts 25,000)"
SOURCES = {
    "gta5": Source("", "GTA V", "gta5", f"{GTA_FILES} and Cityscapes' two zips"),
    "gta5_synthia": Source(
        "gta5_synthia",
        "GTA V and SYNTHIA",
        "cityscapes",
        f"{GTA_FILES}, {SYNTHIA_FILES} and Cityscapes' two zips",
        "[{name: gta5}, {name: synthia}]",
        SYNTHIA_COUNT,
    ),
    "gta5_synthia_urbansyn": Source(
        "gta5_synthia_urbansyn",
        "GTA V, SYNTHIA and UrbanSyn",
        "cityscapes",
        f"{GTA_FILES}, {SYNTHIA_FILES}, {URBANSYN_FILES} and Cityscapes' two zips",
        "[{name: gta5}, {name: synthia}, {name: urbansyn}]",
        f"{SYNTHIA_COUNT}; crop and mixture of these sources are not in what we read",
    ),
    "gta5_synthia_urbansyn_cityscapes16": Source(
        "gta5_synthia_urbansyn_cityscapes16",
        "GTA V, SYNTHIA, UrbanSyn and a sixteenth of Cityscapes",
        "cityscapes",
        f"{GTA_FILES}, {SYNTHIA_FILES}, {URBANSYN_FILES} and Cityscapes' two zips",
        "[{name: gta5}, {name: synthia}, {name: urbansyn}, {name: cityscapes, fraction: 1/16}]",
        f"{SYNTHIA_COUNT}; which images of Cityscapes, crop and mixture are not in what we read",
    ),
    "cityscapes": Source("cityscapes", "Cityscapes", "cityscapes", "Cityscapes' two zips"),
}
CROPS = {
    512: Crop(341, "[512, 1024]", 4, 4, ("learning_rate: 1.0e-4",), "", "[540, 960]"),
    1024: Crop(
        683,
        "[1024, 2048]",
        2,
        8,
        ("learning_rate: 6.0e-5", "warmup: 10000", "warmup_start: 1.0e-6"),
        " --trainer.devices 4",
        "[1080, 1920]",
    ),
}
V1 = "v1, Tables 2 and 3"
HARDWARE = "Table 8; the paper trains on an RTX 3090 Ti"


def cbm(cityscapes: float, bdd: float, mapillary: float, mean: float, where: str = V1) -> str:
    """Return the scores on the three usual targets."""
    return f"Cityscapes {cityscapes}, BDD100K {bdd}, Mapillary {mapillary}, mean {mean} ({where})"


def bm(bdd: float, mapillary: float, mean: float) -> str:
    """Return the scores of a model of Cityscapes."""
    return f"BDD100K {bdd}, Mapillary {mapillary}, mean {mean} (v1, Table 5)"


REPRODUCED = "A reproduction gave about 63 on average (w1oves/Rein, issue 48)."
CONDITIONS = "On ACDC's validation images, as a later paper (Vireo) quotes: night 55.9, fog 79.5, rain 72.5, snow 70.6."
RUNS = [
    Run("dinov2_small", "rein", "Cityscapes 55.3 (w1oves/Rein, readme)"),
    Run("dinov2_base", "rein", "Cityscapes 64.3 (w1oves/Rein, readme)"),
    Run("dinov2_large", "full", cbm(63.7, 57.4, 64.2, 61.7), "304.20M", "11.2 hours, 14.7 GB"),
    Run("dinov2_large", "frozen", cbm(63.3, 56.1, 63.9, 61.1), "none", note=REPRODUCED),
    Run("dinov2_large", "rein", cbm(66.4, 60.4, 66.1, 64.3), "2.99M", "9.5 hours, 10.0 GB"),
    Run("dinov2_large", "lora", cbm(65.2, 58.3, 64.6, 62.7), "0.79M"),
    Run("dinov2_large", "adaptformer", cbm(64.9, 59.0, 64.2, 62.7), "3.17M"),
    Run("dinov2_large", "vpt", cbm(65.2, 59.4, 65.5, 63.3), "3.69M"),
    Run("eva02_large", "full", cbm(62.1, 56.2, 64.6, 60.9), "304.24M", "11.8 hours, 15.9 GB"),
    Run("eva02_large", "frozen", cbm(56.5, 53.6, 58.6, 56.2), "none"),
    Run("eva02_large", "rein", cbm(65.3, 60.5, 64.9, 63.6), "2.99M", "10.5 hours, 12.5 GB"),
    Run("eva02_large", "lora", cbm(55.5, 52.7, 58.3, 55.5), "1.18M"),
    Run("eva02_large", "adaptformer", cbm(63.7, 59.9, 64.2, 62.6), "3.17M"),
    Run("eva02_large", "vpt", cbm(62.2, 57.7, 62.5, 60.8), "3.69M"),
    Run("clip_large", "full", cbm(51.3, 47.6, 54.3, 51.1), "304.15M"),
    Run("clip_large", "frozen", cbm(53.7, 48.7, 55.0, 52.4), "none"),
    Run("clip_large", "rein", cbm(57.1, 54.7, 60.5, 57.4), "2.99M"),
    Run("mae_large", "full", cbm(53.7, 50.8, 58.1, 54.2), "330.94M"),
    Run("mae_large", "frozen", cbm(43.3, 37.8, 48.0, 43.0), "none"),
    Run("mae_large", "rein", cbm(55.0, 49.3, 58.6, 54.3), "2.99M"),
    Run("sam_huge", "full", cbm(57.6, 51.7, 61.5, 56.9), "632.18M"),
    Run("sam_huge", "frozen", cbm(57.0, 47.1, 58.4, 54.2), "none"),
    Run("sam_huge", "rein", cbm(59.6, 52.0, 62.1, 57.9), "4.51M"),
    Run(
        "dinov2_large",
        "rein",
        "none for this crop in what we read; of a crop not stated, Cityscapes 66.7, BDD100K 60.0 (w1oves/Rein, readme)",
        "2.99M",
        crop=1024,
    ),
    *(
        Run(
            encoder,
            tuning,
            cbm(*scores, "v1, Table 4"),
            "2.99M" if tuning == "rein" else "none",
            source="gta5_synthia",
        )
        for encoder, tuning, scores in (
            ("eva02_large", "frozen", (55.8, 55.1, 59.1, 56.7)),
            ("eva02_large", "rein", (63.5, 60.7, 63.9, 62.7)),
            ("dinov2_large", "frozen", (64.8, 60.2, 65.2, 63.4)),
            ("dinov2_large", "rein", (68.1, 60.5, 67.1, 65.2)),
        )
    ),
    Run(
        "dinov2_large",
        "rein",
        "Cityscapes 78.4 (w1oves/Rein, readme); mean of Cityscapes, BDD100K and Mapillary 71.7 (an older readme)",
        "2.99M",
        source="gta5_synthia_urbansyn",
    ),
    Run(
        "dinov2_large",
        "rein",
        "Cityscapes 82.5 (w1oves/Rein, readme)",
        "2.99M",
        source="gta5_synthia_urbansyn_cityscapes16",
    ),
    Run("eva02_large", "frozen", bm(57.8, 63.8, 60.8), "none", source="cityscapes"),
    Run("eva02_large", "rein", bm(64.1, 69.5, 66.8), "2.99M", source="cityscapes"),
    Run("dinov2_large", "frozen", bm(63.4, 69.7, 66.7), "none", source="cityscapes"),
    Run("dinov2_large", "rein", bm(65.0, 72.3, 68.7), "2.99M", note=CONDITIONS, source="cityscapes"),
    Run(
        "dinov2_large",
        "rein",
        "ACDC's test images 77.6, Cityscapes-C 60.0 (w1oves/Rein, readme; crop not stated)",
        "2.99M",
        source="cityscapes",
        crop=1024,
    ),
]


def recipes() -> dict[str, str]:
    """Return the text of each recipe by its path below ``configs/rein``."""
    return {path_of(run): recipe(run) for run in RUNS}


def path_of(run: Run) -> str:
    """Return where a recipe stands below ``configs/rein``."""
    folder = SOURCES[run.source].folder
    return f"{folder}/{run.encoder}_{run.crop}_{run.tuning}.yaml".lstrip("/")


def recipe(run: Run) -> str:
    """Return the text of one recipe."""
    encoder, source, crop = ENCODERS[run.encoder], SOURCES[run.source], CROPS[run.crop]
    tuning, method, inferred = TUNINGS[run.tuning]
    learned = f"; learned of the encoder or added to it: {run.learned}" if run.learned else ""
    differs = [
        "how patches and positions are resampled (give their converted file to --encoder.weights for equal numbers)",
        *filter(
            None, (encoder.differs if "Rein" not in encoder.differs or run.tuning == "rein" else "", inferred)
        ),
        *filter(None, (source.differs,)),
    ]
    said = [
        f"{source.title}, validated on Cityscapes, {encoder.title} {tuning}, crops of {run.crop}: the protocol of "
        f"{PAPER}.",
        f"  vfmseg fit -c configs/rein/{path_of(run)} --data.path DIR{crop.devices}",
        f"DIR holds {source.files}.",
        *elsewhere(run),
        f"Published mIoU: {run.published}{learned}. Not measured by us yet.",
        *filter(None, (run.note,)),
        f"Published cost: {run.cost} ({HARDWARE})." if run.cost else "Cost: not published.",
        "As published: augmentation, decoder, loss, optimiser, schedule, batch, pixel statistics, test size, windows. "
        f"Not: {'; '.join(differs)}.",
    ]
    lines = [
        f"encoder: {{name: {encoder.name}, image_size: {run.crop}, patch_size: 16, statistics: imagenet}}",
        f"tuning: {method}",
        f"decoder: {{name: mask2former_full, adapter: false, taps: {list(encoder.taps)}, num_queries: 100}}",
        f"data: {{name: {source.name}, batch_size: {crop.batch_size}, test_size: {crop.test_size}}}"
        if not source.mixed
        else f"data:\n  name: {source.name}\n  sources: {source.mixed}\n  batch_size: {crop.batch_size}\n"
        f"  test_size: {crop.test_size}",
        "augmentation: {method: rein}",
        f"windows: {{stride: {crop.stride}}}",
        "training:",
        "  steps: 40000",
        f"  effective_batch_size: {crop.effective_batch_size}",
        *(f"  {line}" for line in crop.schedule),
        "  encoder_lr_factor: 0.1",
        "  weight_decay: 0.05",
        "  decay_norms: false",
        "  poly_power: 0.9",
        "  inclusive_spans: true",
        "  precision: 32-true",
        "  loss_average: batch",
        "  count_empty_images: true",
        "  validate_every: 10000",
        "  checkpoint_every: 4000",
        "seed: 42",
    ]
    return "".join(f"{line}\n" for line in [*_comment(said), *lines])


def elsewhere(run: Run) -> list[str]:
    """Return how a run is scored on the published targets."""
    acdc = CROPS[run.crop].acdc
    bdd = "'bdd={name: bdd100k, path: DIR, test_size: [720, 1280]}'"
    mapillary = "'mapillary={name: mapillary, path: DIR, test_size: [512, 1024], test_halved: true}'"
    targets = [bdd, mapillary]
    if run.source == "cityscapes":
        targets.append(f"'night={{name: acdc, path: DIR, split: val_night, test_size: {acdc}}}'")
    commands = [f"  vfmseg validate RUN --target {target}" for target in targets]
    more = " (fog, rain and snow alike)" if run.source == "cityscapes" else ""
    found = [f"Scored elsewhere by, with as many --target as you like{more}:", *commands]
    if run.source == "cityscapes":
        found += [
            "Under Cityscapes-C's corruptions, made on the fly:",
            "  vfmseg validate RUN --corruptions all",
        ]
    return found


def _comment(said: list[str]) -> list[str]:
    """Return lines of a comment; what begins with a space is a command and stays on its line."""
    found: list[str] = []
    for line in said:
        wrapped = [line] if line.startswith(" ") else textwrap.wrap(line, 118, break_on_hyphens=False)
        found += [f"# {one}" for one in wrapped]
    return found


if __name__ == "__main__":
    for name, text in recipes().items():
        (FOLDER / name).parent.mkdir(exist_ok=True, parents=True)
        (FOLDER / name).write_text(text, encoding="utf-8")
