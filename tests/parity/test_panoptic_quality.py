"""Panoptic quality against recorded panopticapi and EoMT results."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from vfmseg.metrics.panoptic_quality import PanopticQuality, image_quality
from vfmseg.types import PanopticMap, Targets

GOLDEN = np.load(Path(__file__).parents[1] / "goldens" / "metrics_panoptic_quality.npz")
INFO = json.loads(str(GOLDEN["info"]))
SETS = sorted(INFO["sets"])
IS_THING = [True, True, True, False, False, False, False]
NAMES = [str(i) for i in range(len(IS_THING))]
EXACT, EOMT_AT = 1e-12, 1e-6  # EoMT divides in float32


def renumbered(id_map, segments, nothing, dtype):
    table = np.full(256, nothing, dtype)
    table[[segment["id"] for segment in segments]] = np.arange(len(segments))
    return torch.from_numpy(table[id_map])


def images(name):
    for i, tables in enumerate(INFO["sets"][name]):
        true, predicted = tables["gt_segments"], tables["pred_segments"]
        yield (
            PanopticMap(
                renumbered(GOLDEN[f"{name}/pred/{i}"], predicted, -1, np.int32),
                torch.tensor([segment["category_id"] for segment in predicted]),
                torch.ones(len(predicted)),
            ),
            Targets(
                renumbered(GOLDEN[f"{name}/gt/{i}"], true, 255, np.uint8),
                torch.tensor([segment["category_id"] for segment in true]),
                torch.tensor([bool(segment["iscrowd"]) for segment in true]),
            ),
        )


def counted(name, published):
    metric = PanopticQuality(IS_THING, published=published)
    for prediction, targets in images(name):
        metric.update(prediction, targets)
    return metric


def averages(scores):
    return [[group.pq, group.sq, group.rq] for group in (scores.overall, scores.things, scores.stuff)]


@pytest.mark.parametrize("name", SETS)
def test_scores__panopticapi(name):
    scores = counted(name, published=False).scores(NAMES)
    for ours, theirs in (("true_positives", "tp"), ("false_positives", "fp"), ("false_negatives", "fn")):
        np.testing.assert_array_equal(getattr(scores, ours), GOLDEN[f"{name}/panopticapi/{theirs}"])
    np.testing.assert_allclose(scores.iou_sum, GOLDEN[f"{name}/panopticapi/iou"], rtol=0, atol=EXACT)
    ours = np.nan_to_num(np.stack([scores.pq, scores.sq, scores.rq], axis=1))  # theirs: 0 for absent classes
    np.testing.assert_allclose(ours, GOLDEN[f"{name}/panopticapi/per_class"], rtol=0, atol=EXACT)
    expected = GOLDEN[f"{name}/panopticapi/averages"]
    np.testing.assert_allclose(averages(scores), expected[:, :3], rtol=0, atol=EXACT)
    groups = (scores.overall, scores.things, scores.stuff)
    assert [group.num_classes for group in groups] == expected[:, 3].tolist()
    assert scores.absent_classes == ("6",)


@pytest.mark.parametrize("name", SETS)
def test_scores__published_are_those_of_eomt(name):
    scores = counted(name, published=True).scores(NAMES)
    for counts in ("true_positives", "false_positives", "false_negatives"):
        np.testing.assert_array_equal(getattr(scores, counts), GOLDEN[f"{name}/eomt/{counts}"])
    np.testing.assert_allclose(scores.iou_sum, GOLDEN[f"{name}/eomt/iou_sum"], rtol=0, atol=EOMT_AT)
    np.testing.assert_allclose(averages(scores), GOLDEN[f"{name}/eomt/averages"], rtol=0, atol=EOMT_AT)


def test_published__differs_only_where_the_first_segment_is_a_crowd_and_in_the_mean():
    official, published = (counted("no_crowd", switch).state for switch in (False, True))
    assert torch.equal(official, published)
    official, published = (counted("crowd_first", switch).state for switch in (False, True))
    assert official[1, 3:].sum() > 0
    assert published[1, 3:].sum() == 0


def test_update__images_add_up_and_have_a_quality_of_their_own():
    metric = PanopticQuality(IS_THING)
    own = [metric.update(prediction, targets) for prediction, targets in images("mixed")]
    torch.testing.assert_close(sum(own), metric.state, rtol=0, atol=EXACT)
    for counts in own:
        alone = PanopticQuality(IS_THING)
        alone.state += counts
        assert image_quality(counts) == alone.scores(NAMES).overall
