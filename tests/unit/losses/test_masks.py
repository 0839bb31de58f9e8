import pytest
import torch

from vfmseg.errors import LabelError
from vfmseg.losses.masks import present_segments, semantic_masks
from vfmseg.types import Targets


def test_semantic_masks__one_per_class_that_occurs() -> None:
    id_map = torch.tensor([[3, 3, 255], [0, 7, 7]], dtype=torch.uint8)
    labels, masks = semantic_masks(id_map)
    assert labels.tolist() == [0, 3, 7]
    assert masks.dtype == torch.bool
    assert masks.long().tolist() == [
        [[0, 0, 0], [1, 0, 0]],
        [[1, 1, 0], [0, 0, 0]],
        [[0, 0, 0], [0, 1, 1]],
    ]


def test_semantic_masks__nothing_labelled() -> None:
    labels, masks = semantic_masks(torch.full((4, 5), 255, dtype=torch.uint8))
    assert labels.shape == (0,)
    assert masks.shape == (0, 4, 5)


def test_present_segments__semantic_ids_are_their_own_labels() -> None:
    maps = torch.tensor([[[5, 1], [255, 1]], [[255, 255], [255, 255]], [[0, 0], [0, 9]]], dtype=torch.uint8)
    found = present_segments(tuple(Targets(m) for m in maps), 10)
    assert [s.ids.tolist() for s in found] == [[1, 5], [], [0, 9]]
    assert [s.labels.tolist() for s in found] == [[1, 5], [], [0, 9]]
    assert [len(s) for s in found] == [2, 0, 2]


def test_present_segments__numbers_become_classes_and_crowds_go() -> None:
    target = Targets(
        torch.tensor([[0, 1, 3], [255, 3, 3]], dtype=torch.uint8),
        torch.tensor([4, 4, 2, 0]),
        torch.tensor([False, True, False, False]),
    )
    (found,) = present_segments((target,), 5)
    assert found.ids.tolist() == [0, 3]  # 1 is a crowd, 2 was cropped away
    assert found.labels.tolist() == [4, 0]


def test_present_segments__more_than_255_segments() -> None:
    ids = torch.arange(400, dtype=torch.int32).view(20, 20)
    (found,) = present_segments((Targets(ids, torch.arange(400) % 7),), 7)
    assert found.ids.tolist() == [i for i in range(400) if i != 255]  # 255 stays "no class here"
    assert found.labels.tolist() == [i % 7 for i in range(400) if i != 255]


def test_present_segments__mixed_batch_and_empty_batch() -> None:
    semantic = Targets(torch.tensor([[2]], dtype=torch.uint8))
    panoptic = Targets(torch.tensor([[0]], dtype=torch.uint8), torch.tensor([1]))
    assert [s.labels.tolist() for s in present_segments((semantic, panoptic), 3)] == [[2], [1]]
    assert present_segments((), 3) == ()


@pytest.mark.parametrize(("dtype", "wrong"), [(torch.uint8, 3), (torch.uint8, 254), (torch.int32, 1000)])
def test_present_segments__refuses_an_id_without_class(dtype: torch.dtype, wrong: int) -> None:
    good, bad = (
        Targets(torch.tensor([[0, 2]], dtype=dtype)),
        Targets(torch.tensor([[0, wrong]], dtype=dtype)),
    )
    with pytest.raises(
        LabelError, match=r"image 1 of the batch holds an id outside its 3 segments or classes.*0 to 2"
    ):
        present_segments((good, bad), 3)


def test_present_segments__refuses_a_negative_id() -> None:
    with pytest.raises(LabelError, match="outside its 3 segments or classes"):
        present_segments((Targets(torch.tensor([[0, -1]], dtype=torch.int32)),), 3)


@pytest.mark.parametrize("wrong", [5, -1])
def test_present_segments__refuses_a_class_the_model_lacks(wrong: int) -> None:
    target = Targets(torch.tensor([[0, 1]], dtype=torch.uint8), torch.tensor([4, wrong]))
    with pytest.raises(
        LabelError, match=rf"a segment of image 0 of the batch has class {wrong}.*has 5 classes"
    ):
        present_segments((target,), 5)
