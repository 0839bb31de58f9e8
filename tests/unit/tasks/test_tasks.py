"""What each task makes of a mask decoder's output: predictions at the image's size, scores, pictures."""

import numpy as np
import pytest
import torch
from torch import Tensor

from vfmseg.errors import LabelError
from vfmseg.tasks.base import Task
from vfmseg.tasks.catalog import build_task
from vfmseg.types import (
    Instances,
    LabelSpace,
    MaskLogits,
    Output,
    PanopticMap,
    PixelLogits,
    Sample,
    SemanticMap,
    Targets,
)

SPACE = LabelSpace(("road", "car"), ((10, 20, 30), (200, 0, 0)), (False, True))
CROP = (32, 32)


def halves(crops: Tensor) -> Output:
    """Say that the left half of every crop is road and the right half a car, and know nothing else."""
    masks = torch.full((len(crops), 3, 8, 8), -20.0)
    masks[:, 0, :, :4] = 20
    masks[:, 1, :, 4:] = 20
    classes = torch.full((len(crops), 3, 3), -20.0)
    classes[:, 0, 0] = classes[:, 1, 1] = classes[:, 2, 2] = 20
    return (MaskLogits(masks, classes),)


def sample(height: int = 64, width: int = 64) -> Sample:
    """Return a picture whose left half is road (segment 0), the right half a car (segment 1)."""
    ids = torch.zeros(height, width, dtype=torch.uint8)
    ids[:, width // 2 :] = 1
    image = torch.randint(
        0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    return Sample(image, Targets(ids, torch.tensor([0, 1])), "val/one.png")


def one_prediction(task: Task, of: Sample) -> SemanticMap | PanopticMap | Instances:
    (found,) = task.predict(halves, [of.image], CROP, SPACE)
    return found


@pytest.mark.parametrize("size", [(64, 64), (40, 80), (90, 31)])
def test_panoptic__one_segment_a_pixel_at_the_images_own_size(size: tuple[int, int]) -> None:
    found = one_prediction(build_task("panoptic"), sample(*size))
    assert isinstance(found, PanopticMap)
    assert found.segments.shape == size
    # a narrow image does not reach into the right half of the model's view
    assert found.segment_classes.tolist() == ([0, 1] if size[1] >= size[0] else [0])
    assert found.segments[size[0] // 2, :2].tolist() == [0, 0]


def test_panoptic__a_right_prediction_scores_one() -> None:
    task, of = build_task("panoptic"), sample()
    metric = task.metric(SPACE, "cpu")
    score = metric.update(one_prediction(task, of), of)
    assert score is not None
    assert score.score == pytest.approx(1.0)
    row = metric.scores().row("val")
    assert row[task.headline] == row["val/pq_things"] == row["val/pq/car"] == pytest.approx(1.0)


def test_instance__a_right_mask_scores_one() -> None:
    of = sample()
    space = LabelSpace(("car",), ((200, 0, 0),), (True,))
    car = Sample(
        of.image, Targets(torch.where(of.targets.id_map == 1, 0, 255).to(torch.uint8), torch.tensor([0])), "x"
    )

    def segment(crops: Tensor) -> Output:
        (said,) = halves(crops)
        return (MaskLogits(said.mask_logits, said.class_logits[..., 1:]),)

    task = build_task("instance")
    (found,) = task.predict(segment, [car.image], CROP, space)
    assert isinstance(found, Instances)
    metric = task.metric(space, "cpu")
    score = metric.update(found, car)
    assert score is not None
    assert score.score == pytest.approx(1.0)
    assert metric.scores().row("val")[task.headline] == pytest.approx(1.0)


def test_instance__image_without_objects_is_counted_but_not_ranked() -> None:
    empty = Sample(
        sample().image, Targets(torch.full((64, 64), 255, dtype=torch.uint8), torch.zeros(0).long()), "x"
    )
    metric = build_task("instance").metric(SPACE, "cpu")
    assert metric.update(one_prediction(build_task("instance"), empty), empty) is None
    with pytest.raises(LabelError, match="No object was counted"):
        metric.scores()


def test_semantic__masks_and_pixels_are_both_taken() -> None:
    of = sample()
    task = build_task("semantic")
    found = one_prediction(task, of)
    assert isinstance(found, SemanticMap)
    assert torch.equal(found.classes, of.targets.id_map)


def test_semantic__views_that_are_no_numbers_are_counted_and_said() -> None:
    logits = torch.zeros(1, 2, 4, 4)
    logits[0, 1, 2, 3] = float("nan")
    with pytest.warns(
        RuntimeWarning, match="1 of 1 views have NaN or infinite logits, .* checkpoint from before"
    ):
        build_task("semantic").predict(lambda crops: PixelLogits(logits), [sample().image], CROP, SPACE)


@pytest.mark.parametrize("name", ["panoptic", "instance"])
def test_masks__of_a_per_pixel_decoder_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match="per-pixel decoder"):
        build_task(name).predict(
            lambda crops: PixelLogits(torch.zeros(1, 2, 4, 4)), [sample().image], CROP, SPACE
        )


@pytest.mark.parametrize("name", ["semantic", "panoptic", "instance"])
def test_draw__shows_image_truth_and_prediction_in_one_row(name: str) -> None:
    task, of = build_task(name), sample(200, 300)
    picture = task.draw(of, one_prediction(task, of), SPACE)
    assert picture.dtype == np.uint8
    assert picture.shape[1] > 3 * 300
    first, last = picture[30:200, 2:298], picture[30:200, -298:-2]
    assert (first != last).any()
