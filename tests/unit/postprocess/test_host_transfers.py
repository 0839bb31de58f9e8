"""On an accelerator, what is waited for does not grow with the number of queries."""

import pytest
import torch

from support.transfers import transfers
from vfmseg.postprocess import mask_tiles
from vfmseg.postprocess.instance import instances
from vfmseg.postprocess.panoptic import panoptic_map
from vfmseg.transforms.letterbox import plan_letterbox
from vfmseg.types import MaskLogits

PLAN = plan_letterbox((200, 330), (64, 64))


def prediction(num_queries: int) -> MaskLogits:
    generator = torch.Generator().manual_seed(0)
    masks = torch.randn(num_queries, 16, 16, generator=generator)
    return MaskLogits(masks, 6 * torch.randn(num_queries, 6, generator=generator))


@pytest.fixture(autouse=True)
def as_on_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mask_tiles.MaskTiles, "is_on_host", False)


@pytest.mark.parametrize("num_queries", [4, 60])
def test_panoptic_map__asks_which_queries_and_how_many_pixels(num_queries: int) -> None:
    with transfers() as seen:
        found = panoptic_map(prediction(num_queries), PLAN, [True] * 3 + [False] * 2, overlap_threshold=0)
    assert seen == ["cpu", "cpu"]
    assert len(found.segment_classes) > 0


@pytest.mark.parametrize("num_queries", [4, 60])
def test_instances__asks_which_pairs(num_queries: int) -> None:
    with transfers() as seen:
        found = instances(prediction(num_queries), PLAN)
    assert seen == ["cpu"]
    assert len(found.classes) == min(100, 5 * num_queries)


def test_transfers__are_seen() -> None:
    with transfers() as seen:
        assert torch.ones(2).cpu()[0] > 0
        torch.zeros(1).item()
    assert seen == ["cpu", "scalar", "scalar"]
