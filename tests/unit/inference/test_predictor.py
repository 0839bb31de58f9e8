"""A model of any task and an image in, the task's own result out; options of another task are refused."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from support.errors import raises
from vfmseg.errors import RecipeError
from vfmseg.inference.instance import InstanceSegmentation
from vfmseg.inference.panoptic import PanopticSegmentation
from vfmseg.inference.predictor import Predictor
from vfmseg.inference.semantic import SemanticSegmentation
from vfmseg.tasks.catalog import build_task
from vfmseg.types import LabelSpace, MaskLogits

_SPACE = LabelSpace(("road", "car"), ((200, 0, 0), (0, 0, 200)), (False, True))


class _Halves(nn.Module):
    """Finds a road in the upper half of its view and a car in the lower."""

    image_size = (32, 64)

    def forward(self, crops: Tensor) -> tuple[MaskLogits, ...]:
        count = len(crops)
        masks = torch.full((2, 8, 16), -9.0)
        masks[0, :4] = masks[1, 4:] = 9.0
        classes = torch.tensor([[9.0, 0, 0], [0, 9.0, 0]])
        return (MaskLogits(masks.expand(count, -1, -1, -1), classes.expand(count, -1, -1)),)


def _predictor(task: str) -> Predictor:
    return Predictor(_Halves(), _SPACE, build_task(task), device="cpu")


@pytest.mark.parametrize("size", [(32, 64), (100, 200), (9, 18)])
def test_predict__each_task_has_its_own_result_at_the_size_of_the_image(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    middle = size[0] // 2
    semantic, panoptic, instance = (
        _predictor(name).predict(image, tiling="never") for name in ("semantic", "panoptic", "instance")
    )
    for found in (semantic, panoptic, instance):
        assert found.names == ("road", "car")
        assert np.array_equal(found.image, image)
        assert found.plot().shape == image.shape
        assert found.size == size
    assert isinstance(semantic, SemanticSegmentation)
    assert semantic.confidence is not None
    assert isinstance(panoptic, PanopticSegmentation)
    assert [s.name for s in panoptic.segments_info] == ["road", "car"]
    assert panoptic.segments.dtype == np.int32
    assert isinstance(instance, InstanceSegmentation)
    best = {one.name: one.mask for one in reversed(instance.instances)}
    edge = max(1, size[0] // 10)  # where the mask's soft border may lie
    for found_map in (semantic.semantic, panoptic.semantic, np.where(best["car"], 1, 0)):
        assert (found_map[: middle - edge] == 0).all()
        assert (found_map[middle + edge :] == 1).all()


def test_predict__confidence_can_be_left_out() -> None:
    assert _predictor("semantic").predict(np.zeros((8, 8, 3), np.uint8), confidence=False).confidence is None


@pytest.mark.parametrize("task", ["panoptic", "instance"])
def test_predict__tiles_would_cut_objects(task: str) -> None:
    predictor, large = _predictor(task), np.zeros((99, 180, 3), np.uint8)
    with raises(
        RecipeError,
        "tiling 'always' would cut objects",
        f"task {task} sees each image whole, scaled into its view of 32 x 64",
        "Leave out --tiling",
    ):
        predictor.predict(large, tiling="always")
    for tiling in ("auto", "never"):
        assert type(predictor.predict(large, tiling=tiling)) is predictor.result_type


@pytest.mark.parametrize("task", ["panoptic", "instance"])
@pytest.mark.parametrize("confidence", [True, False])
def test_predict__confidence_is_of_semantic_models(task: str, confidence: bool) -> None:
    with raises(RecipeError, f"A model of task {task} has no confidence maps", "Leave out --no_confidence"):
        _predictor(task).predict(np.zeros((8, 8, 3), np.uint8), confidence=confidence)


def test_check_options__min_score_is_of_instance_models() -> None:
    with raises(RecipeError, "a model of task panoptic finds none", "Leave out --min_score"):
        _predictor("panoptic").check_options(min_score=0.3)
    with raises(RecipeError, "min_score is 30; allowed: 0 (draw all instances) to 1"):
        _predictor("instance").check_options(min_score=30)
    _predictor("instance").check_options(min_score=0.0)
