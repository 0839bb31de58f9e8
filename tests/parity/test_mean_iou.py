"""mIoU against recorded cityscapesScripts and torchmetrics results, and against torchmetrics itself."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.classification import MulticlassJaccardIndex

from vfmseg.metrics.mean_iou import ConfusionMatrix

GOLDEN = np.load(Path(__file__).parents[1] / "goldens" / "metrics_mean_iou.npz")
IMAGES = range(4)


def counted(num_classes, pairs):
    matrix = ConfusionMatrix(num_classes)
    for classes, id_map in pairs:
        matrix.update(torch.from_numpy(classes), torch.from_numpy(id_map))
    return matrix


def test_confusion__cityscapes_scripts_on_label_ids():
    pairs = [(GOLDEN[f"pred_label_ids/{i}"], GOLDEN[f"gt_label_ids/{i}"]) for i in IMAGES]
    ids = GOLDEN["label_ids"]
    inside = ids >= 0
    ours = counted(34, pairs).state.numpy()
    np.testing.assert_array_equal(ours, GOLDEN["confusion_by_label_id"][np.ix_(inside, inside)])


def test_iou__cityscapes_scripts_with_its_void_labels_ignored():
    void = json.loads(str(GOLDEN["info"]))["label_ids_ignored_in_evaluation"]
    pairs = []
    for i in IMAGES:
        id_map = GOLDEN[f"gt_label_ids/{i}"].copy()
        id_map[np.isin(id_map, void)] = 255
        pairs.append((GOLDEN[f"pred_label_ids/{i}"], id_map))
    result = counted(34, pairs).scores([str(i) for i in range(34)])
    evaluated = GOLDEN["train_id_to_label_id"]
    expected = GOLDEN["iou_by_label_id"][np.searchsorted(GOLDEN["label_ids"], evaluated)]
    np.testing.assert_allclose(result.iou[evaluated], expected, rtol=0, atol=1e-12)
    assert np.nanmean(result.iou[evaluated]) == pytest.approx(float(GOLDEN["mean_iou"]), abs=1e-12)


def test_miou__cityscapes_scripts_on_train_ids_excludes_the_same_classes():
    pairs = [(GOLDEN[f"pred_train_ids/{i}"], GOLDEN[f"gt_train_ids/{i}"]) for i in IMAGES]
    result = counted(19, pairs).scores([str(i) for i in range(19)])
    of_label_id = dict(zip(GOLDEN["label_ids"].tolist(), GOLDEN["iou_by_label_id"], strict=True))
    expected = np.array([of_label_id[label_id] for label_id in GOLDEN["train_id_to_label_id"].tolist()])
    np.testing.assert_allclose(result.iou, expected, rtol=0, atol=1e-12)
    assert result.miou == pytest.approx(float(GOLDEN["mean_iou"]), abs=1e-12)
    assert result.absent_classes == tuple(str(i) for i in np.flatnonzero(np.isnan(expected)))


def test_miou__torchmetrics_counts_absent_classes_as_zero():
    pairs = [(GOLDEN[f"pred_train_ids/{i}"], GOLDEN[f"gt_train_ids/{i}"]) for i in IMAGES]
    matrix = counted(19, pairs)
    np.testing.assert_array_equal(matrix.state.numpy(), GOLDEN["torchmetrics_confusion_train_ids"])
    result = matrix.scores([str(i) for i in range(19)], absent="zero")
    np.testing.assert_allclose(np.nan_to_num(result.iou), GOLDEN["torchmetrics_iou_train_ids"], atol=1e-6)
    assert result.miou == pytest.approx(float(GOLDEN["torchmetrics_mean"]), abs=1e-6)


@pytest.mark.parametrize(("num_classes", "num_present"), [(2, 2), (19, 12), (150, 60)])
def test_miou__torchmetrics_on_random_maps(num_classes, num_present):
    generator = torch.Generator().manual_seed(num_classes)
    peer = MulticlassJaccardIndex(num_classes, average=None, ignore_index=255)
    matrix = ConfusionMatrix(num_classes)
    for _ in range(3):
        id_map = torch.randint(0, num_present, (64, 80), generator=generator)
        classes = torch.where(
            torch.rand((64, 80), generator=generator) < 0.6,
            id_map,
            torch.randint(0, num_present, (64, 80), generator=generator),
        )
        id_map[torch.rand((64, 80), generator=generator) < 0.1] = 255
        peer.update(classes[None], id_map[None])
        matrix.update(classes.to(torch.uint8), id_map.to(torch.uint8))
    result = matrix.scores([str(i) for i in range(num_classes)], absent="zero")
    expected = peer.compute()
    assert torch.equal(matrix.state, peer.confmat)
    np.testing.assert_allclose(np.nan_to_num(result.iou), expected.numpy(), atol=1e-6)
    assert result.miou == pytest.approx(float(expected.mean()), abs=1e-6)
    assert len(result.absent_classes) == num_classes - num_present
