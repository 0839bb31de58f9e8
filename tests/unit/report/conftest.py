"""A run folder of each task as `vfmseg fit` leaves it, small and made up, for every test of the report."""

import csv
import json

import numpy as np
import pytest
import yaml
from PIL import Image

NAMES = ["road", "<b>sky & sea</b>", "tree", "pole", "never seen"]
COLOURS = [[128, 64, 128], [70, 130, 180], [0, 128, 0], [153, 153, 153], [1, 2, 3]]
CONFUSION = [
    [700, 50, 50, 0, 0],
    [10, 480, 10, 0, 0],
    [100, 0, 300, 0, 0],
    [20, 0, 80, 0, 0],
    [0, 0, 0, 0, 0],
]
IS_THING = [False, False, True, True, True]
PANOPTIC_COUNTS = [[3.2, 0.9, 4.5, 0.0, 0.0], [4, 1, 6, 0, 0], [0, 1, 2, 3, 0], [0, 2, 2, 4, 0]]
"""PQ 80, 36, 56.2 (4.5 / 8), 0 and none."""
AP_BY_THRESHOLD = [[0.8] * 5 + [0.6] * 5, [0.1] * 10, [0.5] + [0.0] * 9, [0.0] * 10, [None] * 10]
"""AP 70, 10, 5, 0 and none."""
NUM_OBJECTS = [10, 1200, 3, 4, 0]
STEPS = 200


def write_picture(path, colour=(10, 200, 30), size=(90, 20)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, quality=85)


def write_history(path, rows):
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def history_rows():
    rng = np.random.default_rng(0)
    rows = []
    for step in range(2, STEPS + 1, 2):
        rows.append(
            {
                "step": step,
                "time_s": step * 0.5,
                "train/loss": 2 / step + rng.random() / 10,
                "train/loss_extra": 0.1,
                "gradient_norm": rng.random(),
                "lr/decoder": 1e-4 * (1 - step / STEPS),
                "lr/encoder": 1e-5 * (1 - step / STEPS),
                "images_per_s": 20 + rng.random(),
                "data_wait_share": 0.05,
                "memory_gib": 3.5,
            }
        )
        if step % 20 == 0:
            miou = 0.5 if step == 160 else 0.4 * step / STEPS
            scores = {"val/miou": miou, "val/pixel_accuracy": 0.8, "val/f1": 0.6, "val/iou/road": 0.7}
            rows.append({"step": step, "time_s": step * 0.5 + 1, **scores, "val/seconds": 3.0})
    return rows


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "my_run"
    folder.mkdir()
    recipe = {
        "task": "semantic",
        "encoder": {"name": "dinov2-s", "image_size": [64, 96], "patch_size": 16, "weights": "pretrained"},
        "tuning": {"method": "full"},
        "decoder": {"name": "linear"},
        "data": {"name": "scenes", "path": "some/where/data.zip", "batch_size": 2, "num_workers": 3},
        "training": {"steps": STEPS, "effective_batch_size": 16, "learning_rate": 0.0001},
        "seed": 7,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    environment = {
        "vfmseg": "0.1.0",
        "torch": "2.6.0",
        "device": "a card",
        "host": None,
        "command": "vfmseg fit -c some.yaml --seed 7",
        "commit": "0123456789abcdef",
        "started": "2026-01-02T03:04:05+0000",
    }
    (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    write_history(folder / "metrics.csv", history_rows())
    result = {
        "val/miou": 0.4,
        "best/miou": 0.5,
        "best_step": 160,
        "steps": STEPS,
        "seconds": 4370.0,
        "images_per_s": 20.5,
        "peak_memory_gib": 3.51,
        "parameters_total": 22_056_576,
        "parameters_trainable": 1_234_567,
        "num_devices": 2,
    }
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")
    noted = [
        {"level": "warning", "text": "2 training files left out, as asked", "items": ["a.jpg: cut", "b"]}
    ]
    (folder / "findings.json").write_text(json.dumps(noted), encoding="utf-8")
    images = []
    for place in range(12):
        image = {
            "name": f"val/{place:02d}.png",
            "score": 0.2 + place / 20,
            "pixel_accuracy": 0.3 + place / 20,
        }
        if place < 2 or place >= 10:
            image["picture"] = f"predictions/{'worst' if place < 2 else 'best'}/{place:02d}.jpg"
            write_picture(folder / image["picture"])
        images.append(image)
    for step in range(20, STEPS + 1, 20):
        write_picture(folder / f"predictions/step_{step:06d}/00.jpg", (step, 0, 0))
    validation = {
        "step": 160,
        "task": "semantic",
        "class_names": NAMES,
        "colours": COLOURS,
        "confusion": CONFUSION,
        "absent": ["never seen"],
        "unscored": ["val/empty.png"],
        "images": images,
    }
    (folder / "validation.json").write_text(json.dumps(validation), encoding="utf-8")
    return folder


def rewrite(path, **changes):
    """Change keys of a JSON file; None takes one away."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}), encoding="utf-8")


def mask_rows(key, further):
    """Rows of a run whose attention masks are gone by step 160; validated at steps 80, 160 and 200."""
    rows = []
    for step in range(20, STEPS + 1, 20):
        masks = {f"mask_probability/{block}": max(0.0, 1 - step / (80 * (block + 1))) for block in range(2)}
        rows.append({"step": step, "time_s": step * 0.5, "train/loss": 2 / step, "lr/decoder": 1e-4, **masks})
        if step in (80, 160, 200):
            score = {80: 0.1, 160: 0.5, 200: 0.43}[step]
            scores = {f"val/{key}": score, f"val/{key}/tree": 0.5, **{f"val/{k}": 0.3 for k in further}}
            if step == 80:
                scores |= {f"val_masked/{name[4:]}": value + 0.1 for name, value in scores.items()}
            rows.append({"step": step, "time_s": step * 0.5, **scores, "val/seconds": 3.0})
    return rows


def of_task(folder, task, key, further, details, **counts):
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8"))
    recipe |= {"task": task, "decoder": {"name": "eomt"}}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False), encoding="utf-8")
    write_history(folder / "metrics.csv", mask_rows(key, further))
    scores = {"val/miou": None, "best/miou": None, "task": task, f"val/{key}": 0.43, f"best/{key}": 0.5}
    rewrite(folder / "result.json", **scores)
    path = folder / "validation.json"
    images = json.loads(path.read_text(encoding="utf-8"))["images"]
    for image in images:
        del image["pixel_accuracy"]
        image |= dict.fromkeys(details, 0.75)
    rewrite(path, step=STEPS, task=task, confusion=None, images=images, **counts)
    return folder


@pytest.fixture
def panoptic_folder(run_folder):
    further = ("sq", "rq", "pq_things", "pq_stuff", "sq_things")
    counts = {"panoptic_counts": PANOPTIC_COUNTS, "is_thing": IS_THING}
    return of_task(run_folder, "panoptic", "pq", further, ("sq", "rq"), **counts)


@pytest.fixture
def instance_folder(run_folder):
    further = ("ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar100")
    counts = {"ap_by_threshold": AP_BY_THRESHOLD, "num_objects": NUM_OBJECTS}
    return of_task(run_folder, "instance", "ap", further, ("ap50",), **counts)
