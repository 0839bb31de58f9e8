import copy
import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from support.processes import in_two_processes
from support.transfers import transfers
from vfmseg.errors import LabelError, RecipeError
from vfmseg.losses.criterion import MaskCriterion, PixelCriterion
from vfmseg.losses.pixels import pixel_cross_entropy
from vfmseg.losses.settings import MaskLossSettings
from vfmseg.types import MaskLogits, PixelLogits, Targets

CLASSES, QUERIES, LAYERS = 6, 8, 3
SETTINGS = MaskLossSettings(num_points=48)


def fixed_points(shape: tuple[int, ...]) -> Tensor:
    """The same points for every mask and image, so that the loss does not depend on how a batch is cut."""
    return torch.rand(shape[1:], generator=torch.Generator().manual_seed(shape[1])).expand(shape)


def criterion(average: str = "image", **changes: object) -> MaskCriterion:
    arguments = {"num_classes": CLASSES, "average": average, "draw": fixed_points} | changes
    return MaskCriterion(SETTINGS, **arguments)  # type: ignore[arg-type]


def batch(images: int = 4, seed: int = 0) -> tuple[list[Tensor], list[Tensor], tuple[Targets, ...]]:
    """Mask logits and class logits of every layer, and targets with 3, 5, 0, 1, ... classes."""
    generator = torch.Generator().manual_seed(seed)
    masks = [torch.randn(images, QUERIES, 9, 7, generator=generator).requires_grad_() for _ in range(LAYERS)]
    classes = [
        torch.randn(images, QUERIES, CLASSES + 1, generator=generator).requires_grad_() for _ in range(LAYERS)
    ]
    targets = []
    for count, _ in zip((3, 5, 0, 1) * images, range(images), strict=False):
        id_map = torch.full((36, 28), 255, dtype=torch.uint8)
        for label in torch.randperm(CLASSES, generator=generator)[:count].tolist():
            y, x = torch.randint(0, 20, (2,), generator=generator).tolist()
            id_map[y : y + 12, x : x + 9] = label
        targets.append(Targets(id_map))
    return masks, classes, tuple(targets)


def output(masks: list[Tensor], classes: list[Tensor], images: slice = slice(None)) -> tuple[MaskLogits, ...]:
    return tuple(MaskLogits(m[images], c[images]) for m, c in zip(masks, classes, strict=True))


def test_pixel_criterion__is_the_pixel_loss() -> None:
    logits, maps = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 16, 16), dtype=torch.uint8)
    weights = torch.tensor([1.0, 2.0, 3.0])
    targets = tuple(Targets(m) for m in maps)
    for average in ("image", "batch"):
        loss, parts = PixelCriterion(class_weights=weights, average=average)(PixelLogits(logits), targets)
        assert loss == pixel_cross_entropy(logits, maps, class_weights=weights, average=average)
        assert parts == {"loss_pixel": loss}


def test_pixel_criterion__refuses_segments() -> None:
    target = Targets(torch.zeros(4, 4, dtype=torch.uint8), torch.tensor([1]))
    with pytest.raises(
        RecipeError, match=r"learns one class per pixel, but the targets hold segments: use `task"
    ):
        PixelCriterion()(PixelLogits(torch.randn(1, 3, 2, 2)), (target,))


@pytest.mark.parametrize("build", [PixelCriterion, lambda average: criterion(average)])
def test_criteria__refuse_an_unknown_average(build: Callable[..., object]) -> None:
    with pytest.raises(RecipeError, match="average is 'pixel'; allowed are 'image' and 'batch'"):
        build(average="pixel")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_points": 0}, "num_points is 0; allowed is 1 or more. Published: 12544"),
        ({"oversample_ratio": 0.5}, "oversample_ratio is 0.5; allowed is 1 or more. Published: 3"),
        ({"importance_ratio": 1.5}, "importance_ratio is 1.5; allowed is 0 to 1. Published: 0.75"),
        (
            {"no_object_weight": -1.0},
            r"no_object_weight is -1.0; allowed is a number of 0 or more. Published: 0\.1",
        ),
        ({"dice_weight": float("nan")}, "dice_weight is nan; allowed is a number of 0 or more. Published: 5"),
    ],
)
def test_mask_loss_settings__refuse_nonsense(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        MaskLossSettings(**wrong)


def test_mask_loss_settings__published_defaults() -> None:
    settings = MaskLossSettings()
    assert (settings.mask_weight, settings.dice_weight, settings.class_weight) == (5, 5, 2)
    assert (settings.num_points, settings.num_candidates, settings.num_uncertain) == (12544, 37632, 9408)
    assert settings.no_object_weight == 0.1


def test_mask_criterion__parts_add_up_to_the_loss() -> None:
    masks, classes, targets = batch()
    loss, parts = criterion()(output(masks, classes), targets)
    weights = {"loss_mask": 5, "loss_dice": 5, "loss_class": 2}
    names = [f"{layer}{name}" for layer in ("layer0_", "layer1_", "") for name in weights]
    assert set(parts) == {*names, "nonfinite_costs", "unmatched_segments"}
    total = sum(weights[name.removeprefix("layer0_").removeprefix("layer1_")] * parts[name] for name in names)
    torch.testing.assert_close(loss, total)
    assert parts["nonfinite_costs"] == 0
    assert not any(part.requires_grad for part in parts.values())


def test_mask_criterion__an_image_without_segments_counts_as_one_where_asked() -> None:
    masks, classes, targets = batch()  # 3, 5, 0 and 1 segments

    def parts(count: bool) -> dict[str, Tensor]:
        settings = MaskLossSettings(num_points=48, count_empty_images=count)
        made = MaskCriterion(settings, num_classes=CLASSES, average="batch", draw=fixed_points)
        return made(output(masks, classes), targets)[1]

    for name in ("loss_mask", "loss_dice"):
        torch.testing.assert_close(parts(True)[name], parts(False)[name] * 9 / 10)
    assert parts(True)["loss_class"] == parts(False)["loss_class"]


@pytest.mark.parametrize("average", ["image", "batch"])
def test_mask_criterion__layers_at_once_equal_layers_alone(
    average: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks, classes, targets = batch()
    layers = output(masks, classes)
    alone = torch.stack([criterion(average)((layer,), targets)[0] for layer in layers]).sum()
    for elements in (1, 10**6):
        monkeypatch.setattr("vfmseg.losses.criterion._BUFFER_ELEMENTS", {"cpu": elements})
        torch.testing.assert_close(criterion(average)(layers, targets)[0], alone)


def test_mask_criterion__image_average_does_not_depend_on_micro_batches() -> None:
    masks, classes, targets = batch()
    whole, _ = criterion()(output(masks, classes), targets)
    expected = torch.autograd.grad(whole, masks + classes)
    for cuts in ((0, 1, 2, 3, 4), (0, 2, 4), (0, 3, 4)):
        loss = sum(
            criterion()(output(masks, classes, slice(a, b)), targets[a:b])[0] * (b - a) / 4
            for a, b in itertools.pairwise(cuts)
        )
        torch.testing.assert_close(loss, whole)
        for found, wanted in zip(torch.autograd.grad(loss, masks + classes), expected, strict=True):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-7)


def test_mask_criterion__batch_average_pools_masks_and_queries() -> None:
    masks, classes, targets = batch()
    _, pooled = criterion("batch")(output(masks, classes), targets)
    single = [criterion()(output(masks, classes, slice(i, i + 1)), targets[i : i + 1])[1] for i in range(4)]
    pairs = [3, 5, 0, 1]
    in_sight = [len(t.id_map.unique()) - int((t.id_map == 255).any()) for t in targets]
    assert in_sight == pairs
    for name in ("loss_mask", "loss_dice"):
        expected = sum(n * part[name] for n, part in zip(pairs, single, strict=True)) / sum(pairs)
        torch.testing.assert_close(pooled[name], expected)
    weight = [n + 0.1 * (QUERIES - n) for n in pairs]
    expected = sum(w * part["loss_class"] for w, part in zip(weight, single, strict=True)) / sum(weight)
    torch.testing.assert_close(pooled["loss_class"], expected)


@pytest.mark.parametrize("average", ["image", "batch"])
def test_mask_criterion__no_targets_at_all(average: str) -> None:
    masks, classes, _ = batch(2)
    empty = Targets(torch.full((36, 28), 255, dtype=torch.uint8))
    loss, parts = criterion(average)(output(masks, classes), (empty, empty))
    loss.backward()
    assert parts["loss_mask"] == parts["loss_dice"] == 0
    assert parts["loss_class"] > 0
    for m, c in zip(masks, classes, strict=True):
        assert m.grad is not None
        assert (m.grad == 0).all()
        assert c.grad is not None
        assert (c.grad != 0).any()


def test_mask_criterion__images_of_few_and_of_many_segments_in_one_batch() -> None:
    masks, classes, _ = batch(2)
    few = torch.arange(36 * 28).view(36, 28) // 400  # 0, 1, 2 in a byte
    many = torch.arange(36 * 28).view(36, 28) // 3  # beyond a byte; the number 255 belongs to nothing
    labels = torch.arange(336) % CLASSES
    narrow = Targets(few.to(torch.uint8), labels[:3])
    wide = Targets(many.to(torch.int32), labels)
    loss, parts = criterion()(output(masks, classes), (narrow, wide))
    assert parts["unmatched_segments"] == 336 - 1 - QUERIES
    assert loss == criterion()(output(masks, classes), (Targets(few.to(torch.int32), labels[:3]), wide))[0]


@pytest.mark.parametrize("average", ["image", "batch"])
def test_mask_criterion__nothing_that_weighs_anything_costs_nothing(average: str) -> None:
    masks, classes, _ = batch(2)
    empty = Targets(torch.full((36, 28), 255, dtype=torch.uint8))
    free = MaskCriterion(
        MaskLossSettings(num_points=48, no_object_weight=0), num_classes=CLASSES, average=average
    )
    loss, _ = free(output(masks, classes), (empty, empty))
    loss.backward()
    assert loss == 0
    assert all((logits.grad == 0).all() for logits in masks + classes)


def test_mask_criterion__predictions_gone_bad_are_counted() -> None:
    masks, classes, targets = batch(2)
    masks[1].data[0, 2] = float("nan")
    masks[2].data[0, 3:5] = float("inf")
    _, parts = criterion()(output(masks, classes), targets)
    assert parts["nonfinite_costs"] == (1 + 2) * 3  # three queries, three segments in image 0
    assert parts["layer0_loss_mask"].isfinite()


def test_mask_criterion__low_precision_under_autocast_is_computed_in_float32() -> None:
    masks, classes, targets = batch(2)
    half = tuple(MaskLogits(m.bfloat16(), c.bfloat16()) for m, c in zip(masks, classes, strict=True))
    full = tuple(MaskLogits(layer.mask_logits.float(), layer.class_logits.float()) for layer in half)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = criterion()(half, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, criterion()(full, targets)[0], rtol=1e-6, atol=0)


def test_mask_criterion__draws_in_the_published_order() -> None:
    masks, classes, targets = batch()
    shapes = []

    def draw(shape: tuple[int, ...]) -> Tensor:
        shapes.append(shape)
        return torch.rand(shape)

    criterion(draw=draw)(output(masks, classes), targets)
    assert shapes == [*[(1, 48, 2)] * 4, (9, 144, 2), (9, 12, 2)] * LAYERS


def test_mask_criterion__points_come_from_torchs_generator() -> None:
    masks, classes, targets = batch()
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(criterion(draw=None)(output(masks, classes), targets)[0].item())
    assert losses[0] == losses[1] != losses[2]


def test_mask_criterion__crowds_belong_to_no_segment() -> None:
    masks, classes, _ = batch(1)
    id_map = torch.full((36, 28), 255, dtype=torch.uint8)
    id_map[:10, :10], id_map[12:, 5:15], id_map[20:, 16:] = 0, 1, 2
    without = id_map.masked_fill(id_map == 1, 255)
    labels = torch.tensor([3, 4, 3])
    crowd = Targets(id_map, labels, torch.tensor([False, True, False]))
    loss, _ = criterion()(output(masks, classes), (crowd,))
    assert loss == criterion()(output(masks, classes), (Targets(without, labels),))[0]
    assert loss != criterion()(output(masks, classes), (Targets(id_map, labels),))[0]


def test_mask_criterion__ideal_predictions_cost_almost_nothing() -> None:
    id_map = torch.zeros(40, 40, dtype=torch.uint8)
    id_map[:, 20:] = 1
    grid = id_map[::2, ::2]
    masks = torch.stack([grid == 1, grid == 0, torch.zeros_like(grid, dtype=torch.bool)])[None] * 60.0 - 30
    classes = 30 * torch.nn.functional.one_hot(torch.tensor([[1, 0, 2]]), 3).float()
    prediction = MaskLogits(masks, classes)
    loss, _ = MaskCriterion(SETTINGS, num_classes=2)((prediction,), (Targets(id_map),))
    swapped = MaskLogits(masks, classes[:, [1, 0, 2]])
    assert loss < 3  # only points on the border are unsure
    assert MaskCriterion(SETTINGS, num_classes=2)((swapped,), (Targets(id_map),))[0] > 10


def test_mask_criterion__refuses_labels_and_decoders_of_another_label_space() -> None:
    masks, classes, targets = batch(1)
    wrong = Targets(torch.full_like(targets[0].id_map, CLASSES))
    with pytest.raises(
        LabelError, match="image 0 of the batch holds an id outside its 6 segments or classes"
    ):
        criterion()(output(masks, classes), (wrong,))
    with pytest.raises(
        RecipeError, match=r"decoder scores 6 classes and no-object, but the data has 9 classes: build"
    ):
        criterion(num_classes=9)(output(masks, classes), targets)


SHARES = [(average, which) for average in ("image", "batch") for which in ("8 and 1", "0 and 1")]


def of_counts(which: str) -> tuple[list[Tensor], list[Tensor], tuple[Targets, ...]]:
    """Return a batch with so many segments in its first two images and in its last two."""
    masks, classes, targets = batch()
    none = Targets(torch.full((36, 28), 255, dtype=torch.uint8))
    return masks, classes, targets if which == "8 and 1" else (none, none, *targets[2:])


def _gradients_of_a_share(rank: int, rendezvous: str, folder: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=2)
    share = slice(2 * rank, 2 * rank + 2)
    for average, which in SHARES:
        masks, classes, targets = of_counts(which)
        loss, _ = criterion(average)(output(masks, classes, share), targets[share])
        torch.save(
            torch.autograd.grad(loss, masks + classes), os.path.join(folder, f"{average}{which}{rank}")
        )
    dist.destroy_process_group()


def test_mask_criterion__two_processes_equal_one(tmp_path: Path) -> None:
    in_two_processes(_gradients_of_a_share, str(tmp_path / "meet"), str(tmp_path))
    for average, which in SHARES:
        masks, classes, targets = of_counts(which)
        loss, _ = criterion(average)(output(masks, classes), targets)
        expected = torch.autograd.grad(loss, masks + classes)
        shares = [torch.load(tmp_path / f"{average}{which}{rank}") for rank in (0, 1)]
        for first, second, wanted in zip(*shares, expected, strict=True):
            torch.testing.assert_close((first + second) / 2, wanted, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("images", [1, 4])
def test_mask_criterion__two_transfers_however_many_layers_images_and_segments(images: int) -> None:
    masks, classes, targets = batch(images)
    layers = output(masks, classes) * images
    with transfers() as seen:
        criterion()(layers, targets)[0].backward()
    assert seen == ["cpu", "cpu"]  # which segments there are, and what every pair costs


def test_mask_criterion__leaves_its_inputs_alone() -> None:
    masks, classes, targets = batch(2)
    before = copy.deepcopy((masks, classes, targets))
    criterion()(output(masks, classes), targets)[0].backward()
    for now, then in zip(masks + classes, before[0] + before[1], strict=True):
        assert now.equal(then)
    for now_target, then_target in zip(targets, before[2], strict=True):
        assert now_target.id_map.equal(then_target.id_map)
