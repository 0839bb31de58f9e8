import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vfmseg.losses.point_sampling import (
    frame,
    sample_maps,
    sample_queries,
    sample_segments,
    uncertain_points,
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def grid_sample(maps: Tensor, points: Tensor) -> Tensor:
    """(N, C, h, w) at (N, P, 2): (N, C, P)."""
    return F.grid_sample(maps, 2 * points[:, :, None] - 1, align_corners=False)[..., 0]


def points_with_borders(*shape: int) -> Tensor:
    points = torch.rand(*shape, 2, generator=torch.Generator().manual_seed(0))
    points[..., :4, :] = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [0.999999, 0.5]])
    return points


@pytest.mark.parametrize("size", [(7, 11), (1, 1), (2, 9)])
def test_sample_maps__is_grid_sample_at_each_map_its_points(size: tuple[int, int]) -> None:
    maps, points = torch.randn(5, *size), points_with_borders(5, 64)
    torch.testing.assert_close(sample_maps(maps, points), grid_sample(maps[:, None], points)[:, 0])


def test_sample_maps__no_maps_keep_the_graph() -> None:
    maps = torch.randn(3, 4, 4, requires_grad=True)
    values = sample_maps(maps[:0], torch.rand(0, 9, 2))
    assert values.shape == (0, 9)
    values.sum().backward()
    assert maps.grad is not None
    assert (maps.grad == 0).all()


@pytest.mark.parametrize("size", [(7, 11), (1, 1), (2, 9)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sample_queries__is_grid_sample_at_shared_points(size: tuple[int, int], dtype: torch.dtype) -> None:
    maps, points = torch.randn(13, *size).to(dtype), points_with_borders(64)
    values = sample_queries(maps, points)
    assert values.dtype == torch.float32
    torch.testing.assert_close(
        values.t(), grid_sample(maps.float()[None], points[None])[0], atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32])
def test_sample_segments__is_grid_sample_of_the_binary_masks(dtype: torch.dtype) -> None:
    id_maps = torch.randint(0, 6, (3, 9, 14)).to(dtype)
    id_maps[id_maps == 5] = 255
    ids = torch.tensor([0, 2, 4])
    points = points_with_borders(64)
    for image in range(3):
        masks = (id_maps[image] == ids[:, None, None]).float()
        share = sample_segments(frame(id_maps), torch.tensor(image), ids[:, None], points)
        torch.testing.assert_close(share, grid_sample(masks[None], points[None])[0], atol=2e-6, rtol=0)


def test_sample_segments__pairs_with_points_of_their_own() -> None:
    id_maps = torch.randint(0, 4, (3, 9, 14), dtype=torch.uint8)
    image, ids = torch.tensor([2, 0, 0, 1]), torch.tensor([1, 3, 0, 2])
    points = points_with_borders(4, 64)
    masks = (id_maps[image] == ids[:, None, None]).float()
    share = sample_segments(frame(id_maps), image[:, None], ids[:, None], points)
    torch.testing.assert_close(share, grid_sample(masks[:, None], points)[:, 0], atol=2e-6, rtol=0)


def test_uncertain_points__keeps_the_smallest_logits_and_all_extra_points() -> None:
    maps = torch.randn(6, 8, 8)
    candidates, extra = torch.rand(6, 60, 2), torch.rand(6, 5, 2)
    points = uncertain_points(maps, candidates, extra, num_uncertain=20)
    assert points.shape == (6, 25, 2)
    certainty = sample_maps(maps, candidates).abs()
    for i in range(6):
        best = candidates[i][certainty[i].argsort()[:20]]
        assert sorted(points[i, :20].tolist()) == sorted(best.tolist())
        assert points[i, 20:].equal(extra[i])


def test_uncertain_points__no_maps() -> None:
    points = uncertain_points(
        torch.zeros(0, 4, 4), torch.zeros(0, 9, 2), torch.zeros(0, 2, 2), num_uncertain=3
    )
    assert points.shape == (0, 5, 2)
