"""Mask AP against recorded pycocotools and torchmetrics results, and against both of them on random masks."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchmetrics.detection import MeanAveragePrecision

from vfmseg.metrics.average_precision import AveragePrecision, truth_of_masks
from vfmseg.types import Instances

GOLDEN = np.load(Path(__file__).parents[1] / "goldens" / "metrics_mask_ap.npz")
IMAGES, NUM_CLASSES = range(8), 3
NAMES = [str(i) for i in range(NUM_CLASSES)]
EXACT = 1e-12
HEIGHT, WIDTH = 100, 109  # rows of 13 bytes and 5 bits; large enough for an object that counts as large


def counted(images, published=False):
    metric = AveragePrecision(NUM_CLASSES, published=published)
    for masks, labels, scores, true_masks, true_labels, is_crowd, areas in images:
        metric.update(
            Instances(
                torch.from_numpy(np.packbits(masks, axis=-1)),
                torch.from_numpy(labels),
                torch.from_numpy(scores),
                masks.shape[1:],
            ),
            truth_of_masks(
                torch.from_numpy(true_masks),
                torch.from_numpy(true_labels),
                torch.from_numpy(is_crowd.astype(bool)),
                None if areas is None else torch.from_numpy(areas),
            ),
        )
    return metric.scores(NAMES)


def stats(scores):
    """Return the twelve numbers in the order of pycocotools, -1 where undefined."""
    row = list(scores.row().values())[:12]
    return np.array([-1 if value is None else value for value in row])


def golden_images():
    for i in IMAGES:
        keys = ("pred_masks", "pred_labels", "pred_scores", "gt_masks", "gt_labels", "gt_iscrowd")
        yield *(GOLDEN[f"{key}/{i}"] for key in keys), None


def test_scores__pycocotools():
    scores = counted(golden_images())
    np.testing.assert_allclose(stats(scores), GOLDEN["stats"], rtol=0, atol=EXACT)
    for ours, theirs in (
        (scores.precision[..., 0], "precision_area_all_max100"),
        (scores.recall[..., 2], "recall_max100"),
        (scores.ap_per_class, "ap_per_class"),
    ):
        np.testing.assert_allclose(np.nan_to_num(ours, nan=-1), GOLDEN[theirs], rtol=0, atol=EXACT)


def test_scores__pycocotools_without_crowds_and_on_images_with_objects_only():
    images = [(*image[:5], np.zeros_like(image[5]), None) for image in golden_images()]
    expected = GOLDEN["stats_if_crowd_flags_are_ignored"]
    np.testing.assert_allclose(stats(counted(images)), expected, rtol=0, atol=EXACT)
    images = [image for image in golden_images() if len(image[3])]
    expected = GOLDEN["stats_images_with_ground_truth_only"]
    np.testing.assert_allclose(stats(counted(images)), expected, rtol=0, atol=EXACT)


def test_scores__published_are_those_of_torchmetrics():
    ours = stats(counted(golden_images(), published=True))
    expected = GOLDEN["stats_images_with_ground_truth_only_float32_thresholds"]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=EXACT)
    expected = GOLDEN["torchmetrics_first_six"]
    np.testing.assert_allclose(ours[:6], expected, rtol=0, atol=1e-6)  # float32


def rectangle(rng, largest):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    height, width = rng.integers(1, int(largest) + 1, 2)
    top, left = rng.integers(0, max(HEIGHT - height, 1)), rng.integers(0, max(WIDTH - width, 1))
    mask[top : top + height, left : left + width] = True
    return mask


def without_some_rows(rng, mask):
    rows = np.flatnonzero(mask.any(1))
    kept = mask.copy()
    kept[rows[: rng.integers(0, max(len(rows) // 2, 1))]] = False
    return kept


def random_image(rng, num_found, num_true, levels):
    """Masks that often overlap by simple ratios, scores with ties, areas that differ from the masks'."""
    true_masks = np.zeros((num_true, HEIGHT, WIDTH), bool)
    true_labels = rng.integers(0, NUM_CLASSES, num_true)
    for i, mask in enumerate(true_masks):
        mask[:] = rectangle(rng, rng.choice([12, 40, 109]))
        if i and rng.random() < 0.4:  # two objects that one mask may find, equally well or not
            mask[:] = without_some_rows(rng, true_masks[i - 1])
            true_labels[i] = true_labels[i - 1]
    masks = np.zeros((num_found, HEIGHT, WIDTH), bool)
    labels = rng.integers(0, NUM_CLASSES, num_found)
    for i, mask in enumerate(masks):
        mask[:] = rectangle(rng, 60)
        if num_true and rng.random() < 0.7:  # a true mask, some of its rows missing
            chosen = rng.integers(num_true)
            mask[:] = without_some_rows(rng, true_masks[chosen])
            labels[i] = true_labels[chosen]
    masks[rng.random(num_found) < 0.05] = False  # an empty mask is allowed
    scores = (rng.integers(0, levels, num_found) / levels).astype(np.float32)
    is_crowd = rng.random(num_true) < 0.2
    areas = true_masks.sum((1, 2)) * rng.choice([0.8, 1, 1.2], num_true)
    return masks, labels, scores, true_masks, true_labels, is_crowd, areas


def by_pycocotools(images):
    truth, found, number = [], [], 0
    for image, (masks, labels, scores, true_masks, true_labels, is_crowd, areas) in enumerate(images, 1):
        true_rles = rle.encode(np.asfortranarray(true_masks.transpose(1, 2, 0), np.uint8))
        for mask, label, crowd, area in zip(true_rles, true_labels, is_crowd, areas, strict=True):
            number += 1
            truth.append(
                {
                    "id": number,
                    "image_id": image,
                    "category_id": int(label),
                    "iscrowd": int(crowd),
                    "area": float(area),
                    "segmentation": mask,
                }
            )
        rles = rle.encode(np.asfortranarray(masks.transpose(1, 2, 0), np.uint8))
        found += [
            {"image_id": image, "category_id": int(label), "score": float(score), "segmentation": mask}
            for mask, label, score in zip(rles, labels, scores, strict=True)
        ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i, "height": HEIGHT, "width": WIDTH} for i in range(1, len(images) + 1)],
            "categories": [{"id": i, "name": str(i)} for i in range(NUM_CLASSES)],
            "annotations": truth,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


sizes = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), min_size=1, max_size=4)
seeds = st.integers(0, 10**6)


@given(sizes, seeds, st.sampled_from([3, 1000]))
@settings(max_examples=60)
def test_scores__pycocotools_on_random_masks(sizes, seed, levels):
    rng = np.random.default_rng(seed)
    images = [random_image(rng, found + 1, true, levels) for found, true in sizes]
    images[0] = random_image(rng, 3, 4, levels)
    images[0][5][0] = False  # one object to find at least
    expected = by_pycocotools(images)
    scores = counted(images)
    np.testing.assert_allclose(stats(scores), expected.stats, rtol=0, atol=EXACT)
    precision = np.nan_to_num(scores.precision, nan=-1)
    np.testing.assert_allclose(precision, expected.eval["precision"][..., -1], rtol=0, atol=EXACT)
    recall = np.nan_to_num(scores.recall, nan=-1)
    np.testing.assert_allclose(recall, expected.eval["recall"], rtol=0, atol=EXACT)


def test_scores__pycocotools_on_more_than_a_hundred_masks_of_a_class():
    rng = np.random.default_rng(0)
    images = [random_image(rng, 350, 12, 1000) for _ in range(2)]
    expected = by_pycocotools(images)
    np.testing.assert_allclose(stats(counted(images)), expected.stats, rtol=0, atol=EXACT)


@pytest.mark.parametrize(("second", "ap50"), [(0, 1), (1, 51 / 101)])
def test_scores__pycocotools_on_a_mask_over_two_objects_takes_the_later(second, ap50):
    true_masks = np.zeros((2, HEIGHT, WIDTH), bool)
    true_masks[0, :5], true_masks[1, 5:10] = True, True
    masks = np.stack([true_masks.any(0), true_masks[second]])
    labels, scores = np.zeros(2, np.int64), np.array([0.9, 0.8], np.float32)
    image = (masks, labels, scores, true_masks, labels, np.zeros(2, bool), true_masks.sum((1, 2)) * 1.0)
    assert counted([image]).ap50 == pytest.approx(ap50, abs=EXACT)
    assert by_pycocotools([image]).stats[1] == pytest.approx(ap50, abs=EXACT)


@pytest.mark.parametrize("seed", range(3))
def test_scores__published_are_those_of_torchmetrics_on_random_masks(seed):
    rng = np.random.default_rng(seed)
    images = [random_image(rng, found, true, 1000) for found, true in ((9, 5), (4, 0), (12, 6), (1, 3))]
    peer = MeanAveragePrecision(iou_type="segm")
    with contextlib.redirect_stdout(io.StringIO()):
        for masks, labels, scores, true_masks, true_labels, is_crowd, _ in images:
            found = {"masks": masks, "labels": labels, "scores": scores}
            truth = {"masks": true_masks, "labels": true_labels, "iscrowd": is_crowd.astype(np.int64)}
            peer.update(*([{k: torch.from_numpy(v) for k, v in part.items()}] for part in (found, truth)))
        result = peer.compute()
    names = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")
    expected = [float(result[name]) for name in names]
    np.testing.assert_allclose(stats(counted(images, published=True))[:6], expected, rtol=0, atol=1e-6)
