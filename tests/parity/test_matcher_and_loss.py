"""Matching and mask loss against the published benchmark's recorded numbers, and against transformers."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from vfmseg.losses.criterion import MaskCriterion
from vfmseg.losses.masks import present_segments
from vfmseg.losses.matcher import assign, join, matching_cost
from vfmseg.losses.point_sampling import frame, sample_queries, sample_segments, uncertain_points
from vfmseg.losses.settings import MaskLossSettings
from vfmseg.types import MaskLogits, Targets

GOLDENS = Path(__file__).parents[1] / "goldens"
SETTINGS = MaskLossSettings(num_points=96)
CLASSES = 5
CASES = (
    "two_images",
    "one_image_without_targets",
    "no_targets_at_all",
    "more_targets_than_queries",
    "repeated_class",
    "near_perfect",
)
RECORDED = [("bench", case) for case in CASES] + [("eomt", case) for case in (*CASES, "crowd")]
recorded = pytest.mark.parametrize(("name", "case"), RECORDED)


def read(name: str, case: str) -> dict[str, Tensor]:
    return part(load_file(GOLDENS / f"matcher_and_loss_{name}.safetensors"), case)


def part(tensors: dict[str, Tensor], case: str) -> dict[str, Tensor]:
    return {k.removeprefix(f"{case}/"): v for k, v in tensors.items() if k.startswith(f"{case}/")}


def numbered(golden: dict[str, Tensor], name: str) -> list[Tensor]:
    return [golden[f"{name}/{i}"] for i in range(sum(key.startswith(f"{name}/") for key in golden))]


def targets_of(golden: dict[str, Tensor]) -> tuple[Targets, ...]:
    """Turn recorded masks, which do not overlap, into id maps of segment numbers; crowds are in the map, and flagged."""
    targets = []
    if "before_masks" in golden:  # one image, with what the published transform removes from it
        recorded_masks, recorded_labels = [golden["before_masks"]], [golden["before_labels"]]
    else:
        recorded_masks, recorded_labels = numbered(golden, "masks"), numbered(golden, "labels")
    crowd = golden["before_is_crowd"].bool() if "before_is_crowd" in golden else None
    for masks, labels in zip(recorded_masks, recorded_labels, strict=True):
        id_map = torch.full(masks.shape[1:], 255, dtype=torch.uint8)
        for number, mask in enumerate(masks):
            assert (id_map[mask] == 255).all()
            id_map[mask] = number
        targets.append(Targets(id_map, labels, crowd))
    return tuple(targets)


def prediction_of(golden: dict[str, Tensor]) -> MaskLogits:
    return MaskLogits(golden["mask_logits"].requires_grad_(), golden["class_logits"].requires_grad_())


@recorded
def test_cost_and_assignment__published(name: str, case: str) -> None:
    golden = read(name, case)
    prediction, targets = prediction_of(golden), targets_of(golden)
    segments = present_segments(targets, CLASSES)
    id_maps = frame(torch.stack([t.id_map for t in targets]))
    costs = []
    for image, expected in enumerate(numbered(golden, "cost")):
        points = golden[f"rand/{image}"][0]
        costs.append(
            matching_cost(
                sample_queries(prediction.mask_logits[image], points),
                sample_segments(id_maps, torch.tensor(image), segments[image].ids[:, None], points),
                prediction.class_logits[image],
                segments[image].labels,
                mask_weight=5,
                dice_weight=5,
                class_weight=2,
            )
        )
        torch.testing.assert_close(costs[-1], expected, rtol=1e-5, atol=1e-5)
    for found, queries, chosen in zip(
        assign(costs)[0], numbered(golden, "assigned_query"), numbered(golden, "assigned_target"), strict=True
    ):
        assert found.queries.equal(queries)
        assert found.segments.equal(chosen)


@recorded
def test_selected_points__published(name: str, case: str) -> None:
    golden = read(name, case)
    prediction, targets = prediction_of(golden), targets_of(golden)
    assignments, _ = assign([cost.clone() for cost in numbered(golden, "cost")])
    pairs = join(assignments, present_segments(targets, CLASSES), 1)
    *_, candidates, extra = numbered(golden, "rand")
    points = uncertain_points(
        prediction.mask_logits[pairs.image[0], pairs.query[0]],
        candidates,
        extra,
        num_uncertain=SETTINGS.num_uncertain,
    )
    for found, expected in zip(points.tolist(), golden["selected_points"].tolist(), strict=True):
        assert sorted(found) == sorted(expected)


@recorded
def test_losses_and_gradients__published(name: str, case: str) -> None:
    golden = read(name, case)
    prediction = prediction_of(golden)
    draws = iter(numbered(golden, "rand"))

    def draw(shape: tuple[int, ...]) -> Tensor:
        numbers = next(draws)
        assert numbers.shape == shape
        return numbers

    criterion = MaskCriterion(SETTINGS, num_classes=CLASSES, average="batch", draw=draw)
    loss, parts = criterion((prediction,), targets_of(golden))
    loss.backward()
    assert next(draws, None) is None
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(loss.detach(), golden["total"], **close)
    torch.testing.assert_close(parts["loss_mask"], golden["loss_mask"], **close)
    torch.testing.assert_close(parts["loss_dice"], golden["loss_dice"], **close)
    torch.testing.assert_close(parts["loss_class"], golden["loss_cross_entropy"], **close)
    close = {"rtol": 1e-3, "atol": 1e-6}
    torch.testing.assert_close(prediction.mask_logits.grad, golden["grad_mask_logits"], **close)
    torch.testing.assert_close(prediction.class_logits.grad, golden["grad_class_logits"], **close)


@pytest.mark.parametrize("case", ["two", "one_empty", "all_empty"])
def test_losses_and_gradients__of_the_rein_recipe(case: str) -> None:
    """mmdet's loss of two layers, the earlier called d0, pooled over the batch; its values hold their weights.

    Its epsilon of float32 in denominators is below the tolerance.
    """
    golden = load_file(GOLDENS / "rein_mask2former_loss.safetensors")
    targets = []
    for image in range(2):
        label_map, present = golden[f"gt/{image}"], golden[f"{case}/target_labels/{image}"]
        label_map = label_map if len(present) else torch.full_like(label_map, 255)
        assert label_map[label_map < 255].unique().tolist() == present.tolist()
        targets.append(Targets(label_map))
    output = tuple(
        MaskLogits(
            golden[f"{case}/mask_logits/{layer}"].requires_grad_(),
            golden[f"{case}/class_logits/{layer}"].requires_grad_(),
        )
        for layer in range(2)
    )
    draws = iter([golden[key] for key in sorted(golden) if key.startswith(f"{case}/rand/")])

    def draw(shape: tuple[int, ...]) -> Tensor:
        if shape[0] == 0:  # nothing to draw for, and nothing was recorded
            return torch.empty(shape)
        numbers = next(draws)
        assert numbers.shape == shape
        return numbers

    settings = MaskLossSettings(num_points=96, count_empty_images=True)
    loss, parts = MaskCriterion(settings, num_classes=CLASSES, average="batch", draw=draw)(
        output, tuple(targets)
    )
    loss.backward()
    assert next(draws, None) is None
    for ours, theirs in (("layer0_", "d0."), ("", "")):
        for kind, name, weight in (("mask", "mask", 5), ("dice", "dice", 5), ("class", "cls", 2)):
            expected = golden[f"{case}/loss/{theirs}loss_{name}"].squeeze()
            torch.testing.assert_close(parts[f"{ours}loss_{kind}"] * weight, expected, rtol=1e-5, atol=1e-5)
    for layer, said in enumerate(output):
        for found, name in ((said.mask_logits, "mask"), (said.class_logits, "class")):
            expected = golden[f"{case}/grad_{name}_logits/{layer}"]
            gradient = torch.zeros_like(expected) if found.grad is None else found.grad
            torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)


def test_loss__equals_transformers_from_the_same_seed() -> None:
    configuration = pytest.importorskip("transformers.models.mask2former.configuration_mask2former")
    modeling = pytest.importorskip("transformers.models.mask2former.modeling_mask2former")
    golden = read("bench", "two_images")
    prediction, targets = prediction_of(golden), targets_of(golden)
    config = configuration.Mask2FormerConfig(num_labels=CLASSES)
    weights = {"loss_cross_entropy": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}
    torch.manual_seed(3)
    peer = modeling.Mask2FormerLoss(config, weights)(
        prediction.mask_logits,
        prediction.class_logits,
        [masks.float() for masks in numbered(golden, "masks")],
        numbered(golden, "labels"),
    )
    torch.manual_seed(3)
    _, parts = MaskCriterion(num_classes=CLASSES, average="batch")((prediction,), targets)
    for ours, theirs in (("mask", "mask"), ("dice", "dice"), ("class", "cross_entropy")):
        torch.testing.assert_close(
            parts[f"loss_{ours}"], peer[f"loss_{theirs}"].detach(), rtol=1e-5, atol=1e-5
        )
