"""Masks that are not multiplied out say what multiplied-out ones say."""

import pytest
import torch
from torch import Tensor

from vfmseg.losses.criterion import MaskCriterion
from vfmseg.losses.point_sampling import pair_maps, query_values
from vfmseg.losses.settings import MaskLossSettings
from vfmseg.postprocess.instance import instances, may_be_selected
from vfmseg.postprocess.panoptic import may_be_confident, panoptic_map
from vfmseg.transforms.letterbox import plan_letterbox
from vfmseg.types import MaskFactors, MaskLogits, Targets

IMAGES, QUERIES, CHANNELS, CLASSES, SIDE = 3, 6, 5, 4, 8


def factors(seed: int = 0) -> MaskFactors:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).requires_grad_()

    return MaskFactors(
        normal(IMAGES, QUERIES, CHANNELS),
        normal(IMAGES, CHANNELS, SIDE, SIDE),
        normal(IMAGES, QUERIES, CLASSES + 1),
    )


def product(of: MaskFactors) -> MaskLogits:
    return MaskLogits(torch.einsum("bqc,bchw->bqhw", of.embeddings, of.features), of.class_logits)


def targets() -> tuple[Targets, ...]:
    """Three images: two segments, none, three."""
    empty = torch.full((32, 32), 255, dtype=torch.uint8)
    two, three = empty.clone(), empty.clone()
    two[:16], two[16:, :20] = 0, 1
    three[:10], three[10:20], three[20:, :9] = 0, 1, 2
    return (
        Targets(two, torch.tensor([3, 0])),
        Targets(empty, torch.zeros(0).long()),
        Targets(three, torch.tensor([1, 1, 2])),
    )


def test_mask_logits__are_the_product() -> None:
    torch.testing.assert_close(factors().mask_logits, product(factors()).mask_logits)


def test_query_values__equal_those_of_the_product() -> None:
    points = torch.rand(50, 2, generator=torch.Generator().manual_seed(1))
    for image in range(IMAGES):
        ours = query_values(factors(), image, points)
        torch.testing.assert_close(
            ours, query_values(product(factors()), image, points), rtol=1e-5, atol=1e-5
        )


def test_pair_maps__image_without_pairs_in_between() -> None:
    queries, counts = torch.tensor([4, 0, 2, 3, 5]), [2, 0, 3]
    ours, theirs = (pair_maps(layer, queries, counts) for layer in (factors(), product(factors())))
    torch.testing.assert_close(ours, theirs)
    assert pair_maps(factors(), queries[:0], [0, 0, 0]).shape == (0, SIDE, SIDE)


@pytest.mark.parametrize("average", ["image", "batch"])
def test_criterion__loss_and_gradients_equal_those_of_the_product(average: str) -> None:
    results = []
    for multiplied in (False, True):
        layers = [factors(seed) for seed in range(2)]
        draws = torch.Generator().manual_seed(7)
        criterion = MaskCriterion(
            MaskLossSettings(num_points=64),
            num_classes=CLASSES,
            average=average,  # type: ignore[arg-type]
            draw=lambda shape, draws=draws: torch.rand(shape, generator=draws),
        )
        loss, _ = criterion(tuple(product(one) if multiplied else one for one in layers), targets())
        loss.backward()
        results.append(
            (loss, [t.grad for one in layers for t in (one.embeddings, one.features, one.class_logits)])
        )
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_criterion__without_any_target_every_factor_has_a_gradient() -> None:
    layer = factors()
    empty = tuple(
        Targets(torch.full((8, 8), 255, dtype=torch.uint8), torch.zeros(0).long()) for _ in range(IMAGES)
    )
    loss, _ = MaskCriterion(MaskLossSettings(num_points=16), num_classes=CLASSES)((layer,), empty)
    loss.backward()
    assert layer.class_logits.grad is not None
    assert layer.embeddings.grad is not None  # DDP waits for every parameter
    assert layer.features.grad is not None


def one_image(seed: int) -> tuple[MaskFactors, MaskLogits]:
    generator = torch.Generator().manual_seed(seed)
    of = MaskFactors(
        4 * torch.randn(1, 40, CHANNELS, generator=generator),
        torch.randn(1, CHANNELS, SIDE, SIDE, generator=generator),
        4 * torch.randn(1, 40, CLASSES + 1, generator=generator),
    )
    whole = product(of)
    return of, MaskLogits(whole.mask_logits[0], whole.class_logits[0])


@pytest.mark.parametrize("seed", range(5))
def test_may_be_confident__the_map_is_the_same_without_the_others(seed: int) -> None:
    of, whole = one_image(seed)
    plan = plan_letterbox((20, 30), (32, 32))
    chosen = may_be_confident(of.class_logits[0])
    assert 0 < len(chosen) < 40
    ours = panoptic_map(of.of_image(0, chosen), plan, (True, False, True, False))
    theirs = panoptic_map(whole, plan, (True, False, True, False))
    assert torch.equal(ours.segments, theirs.segments)
    assert torch.equal(ours.segment_classes, theirs.segment_classes)


@pytest.mark.parametrize("seed", range(5))
def test_may_be_selected__the_instances_are_the_same_without_the_others(seed: int) -> None:
    of, whole = one_image(seed)
    plan = plan_letterbox((20, 30), (32, 32))
    chosen = may_be_selected(of.class_logits[0], max_instances=10)
    assert 0 < len(chosen) <= 10
    ours = instances(of.of_image(0, chosen), plan, max_instances=10)
    theirs = instances(whole, plan, max_instances=10)
    assert torch.equal(ours.packed_masks, theirs.packed_masks)
    assert torch.equal(ours.classes, theirs.classes)
    torch.testing.assert_close(ours.scores, theirs.scores)


@pytest.mark.parametrize("choose", [may_be_confident, may_be_selected])
def test_choice__keeps_a_query_that_is_no_number_so_that_it_is_said(choose) -> None:  # type: ignore[no-untyped-def]
    of, _ = one_image(0)
    logits = of.class_logits[0].clone()
    logits[7] = float("nan")
    assert 7 in choose(logits).tolist()
