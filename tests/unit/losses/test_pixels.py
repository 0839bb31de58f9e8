import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from vfmseg.errors import LabelError, RecipeError
from vfmseg.losses.pixels import pixel_cross_entropy


def example(
    batch: int,
    classes: int,
    grid: tuple[int, int],
    size: tuple[int, int],
    *,
    seed: int = 0,
    scale: float = 3.0,
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(batch, classes, *grid, generator=generator)
    id_maps = torch.randint(0, classes, (batch, *size), dtype=torch.uint8, generator=generator)
    id_maps[torch.rand(id_maps.shape, generator=generator) < 0.2] = 255
    return logits.requires_grad_(), id_maps


def naive(logits: Tensor, id_maps: Tensor, class_weights: Tensor | None = None) -> Tensor:
    upsampled = F.interpolate(
        logits, (id_maps.shape[1], id_maps.shape[2]), mode="bilinear", align_corners=False
    )
    return F.cross_entropy(upsampled, id_maps.long(), weight=class_weights, ignore_index=255)


def naive_by_image(logits: Tensor, id_maps: Tensor, class_weights: Tensor | None = None) -> Tensor:
    losses = [
        naive(logits[i : i + 1], id_maps[i : i + 1], class_weights) if (id_maps[i] != 255).any() else 0.0
        for i in range(len(logits))
    ]
    return torch.stack([torch.as_tensor(loss) for loss in losses]).mean()


def value_and_gradient(loss: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    return loss.detach(), torch.autograd.grad(loss, logits)[0]


SIZES = {
    "even_factor": ((4, 4), (32, 32)),
    "odd_factor": ((5, 3), (35, 21)),
    "fraction": ((5, 7), (33, 50)),
    "other_factor_each_side": ((3, 6), (48, 12)),
    "same_size": ((6, 5), (6, 5)),
    "smaller": ((9, 8), (4, 5)),
    "one_cell": ((1, 1), (7, 9)),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("average", ["batch", "image"])
@pytest.mark.parametrize("case", SIZES)
def test_pixel_cross_entropy__equals_interpolate_and_cross_entropy(
    case: str, average: str, weighted: bool
) -> None:
    logits, id_maps = example(3, 6, *SIZES[case])
    weights = torch.tensor([1.0, 0.5, 2.0, 1.0, 3.0, 0.1]) if weighted else None
    reference = naive if average == "batch" else naive_by_image
    expected, expected_gradient = value_and_gradient(reference(logits, id_maps, weights), logits)
    loss, gradient = value_and_gradient(
        pixel_cross_entropy(logits, id_maps, class_weights=weights, average=average), logits
    )
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-4, atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(
    grid=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    seed=st.integers(0, 99),
)
def test_pixel_cross_entropy__any_grid_and_size(
    grid: tuple[int, int], size: tuple[int, int], seed: int
) -> None:
    logits, id_maps = example(2, 3, grid, size, seed=seed)
    id_maps[0, 0, 0] = id_maps[1, 0, 0] = 1  # the reference is NaN without a labelled pixel
    logits = logits.detach().double().requires_grad_()
    expected, expected_gradient = value_and_gradient(naive(logits, id_maps), logits)
    loss, gradient = value_and_gradient(pixel_cross_entropy(logits, id_maps, average="batch"), logits)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("case", ["even_factor", "fraction"])
def test_pixel_cross_entropy__buffers_cut_across_images_and_cells(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits, id_maps = example(3, 4, *SIZES[case])
    expected = value_and_gradient(pixel_cross_entropy(logits, id_maps), logits)
    for elements in (1, 4 * SIZES[case][1][1] * 2, 10**6):  # one cell, a few cells, all images at once
        monkeypatch.setattr("vfmseg.losses.pixels._BUFFER_ELEMENTS", {"cpu": elements})
        torch.testing.assert_close(
            value_and_gradient(pixel_cross_entropy(logits, id_maps), logits), expected, rtol=1e-5, atol=1e-7
        )


def test_pixel_cross_entropy__gradcheck() -> None:
    logits, id_maps = example(2, 3, (2, 3), (7, 9))
    logits = logits.detach().double().requires_grad_()
    weights = torch.tensor([1.0, 0.3, 2.0], dtype=torch.float64)
    for average in ("image", "batch"):
        assert torch.autograd.gradcheck(
            lambda x, average=average: pixel_cross_entropy(
                x, id_maps, class_weights=weights, average=average
            ),
            (logits,),
        )


def test_pixel_cross_entropy__image_average_does_not_depend_on_micro_batches() -> None:
    logits, id_maps = example(4, 5, (4, 4), (20, 20))
    id_maps[1, 3:] = 255
    id_maps[2] = 255
    whole, whole_gradient = value_and_gradient(pixel_cross_entropy(logits, id_maps), logits)
    parts = [pixel_cross_entropy(logits[i : i + 2], id_maps[i : i + 2]) for i in (0, 2)]
    cut, cut_gradient = value_and_gradient(torch.stack(parts).mean(), logits)
    torch.testing.assert_close(cut, whole)
    torch.testing.assert_close(cut_gradient, whole_gradient)


def test_pixel_cross_entropy__image_without_labels_counts_with_zero() -> None:
    logits, id_maps = example(2, 3, (2, 2), (8, 8))
    id_maps[1] = 255
    loss, gradient = value_and_gradient(pixel_cross_entropy(logits, id_maps), logits)
    torch.testing.assert_close(loss, naive(logits[:1], id_maps[:1]).detach() / 2)
    assert (gradient[1] == 0).all()


@pytest.mark.parametrize("average", ["image", "batch"])
def test_pixel_cross_entropy__nothing_labelled_is_zero_not_nan(average: str) -> None:
    logits, id_maps = example(2, 3, (2, 2), (8, 8))
    loss, gradient = value_and_gradient(
        pixel_cross_entropy(logits, torch.full_like(id_maps, 255), average=average), logits
    )
    assert loss == 0
    assert (gradient == 0).all()


def test_pixel_cross_entropy__huge_logits_stay_exact() -> None:
    logits, id_maps = example(1, 4, (3, 3), (24, 24), scale=1e3)
    expected, expected_gradient = value_and_gradient(naive(logits, id_maps), logits)
    loss, gradient = value_and_gradient(pixel_cross_entropy(logits, id_maps), logits)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-6)


def test_pixel_cross_entropy__bfloat16_under_autocast_is_computed_in_float32() -> None:
    logits, id_maps = example(2, 4, (3, 3), (24, 24))
    half = logits.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = pixel_cross_entropy(half, id_maps)
    loss.backward()
    assert loss.dtype == torch.float32
    assert half.grad is not None
    assert half.grad.dtype == torch.bfloat16
    torch.testing.assert_close(loss, pixel_cross_entropy(half.detach().float(), id_maps), rtol=0, atol=0)


def test_pixel_cross_entropy__same_without_gradient_and_from_strided_logits() -> None:
    logits, id_maps = example(2, 4, (3, 5), (24, 40))
    expected = pixel_cross_entropy(logits, id_maps).detach()
    with torch.no_grad():
        assert pixel_cross_entropy(logits, id_maps) == expected
    tokens_first = logits.detach().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert pixel_cross_entropy(tokens_first, id_maps) == expected


def test_pixel_cross_entropy__scales_with_the_incoming_gradient() -> None:
    logits, id_maps = example(1, 3, (2, 2), (8, 8))
    _, plain = value_and_gradient(pixel_cross_entropy(logits, id_maps), logits)
    _, scaled = value_and_gradient(1024 * pixel_cross_entropy(logits, id_maps), logits)
    torch.testing.assert_close(scaled, 1024 * plain)


def test_pixel_cross_entropy__second_derivative_is_refused() -> None:
    logits, id_maps = example(1, 3, (2, 2), (8, 8))
    with pytest.raises(RuntimeError, match="differentiable once: call backward without create_graph"):
        torch.autograd.grad(pixel_cross_entropy(logits, id_maps), logits, create_graph=True)


def test_pixel_cross_entropy__int32_maps_are_the_same() -> None:
    logits, id_maps = example(1, 3, (2, 2), (8, 8))
    assert pixel_cross_entropy(logits, id_maps.int()) == pixel_cross_entropy(logits, id_maps)


class LargestTensor(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operator returns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for item in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(item, Tensor):
                self.elements = max(self.elements, item.numel())
        return result


def test_pixel_cross_entropy__never_holds_a_full_size_tensor() -> None:
    logits, id_maps = example(2, 40, (8, 8), (128, 128))
    with LargestTensor() as largest:
        pixel_cross_entropy(logits, id_maps).backward()
    assert largest.elements * 6 < logits.shape[1] * id_maps.numel()
    with LargestTensor() as largest:
        naive(logits, id_maps)
    assert largest.elements == logits.shape[1] * id_maps.numel()


def test_pixel_cross_entropy__refuses_ids_without_a_class() -> None:
    logits, id_maps = example(1, 3, (2, 2), (8, 8))
    id_maps[0, 0, :3] = torch.tensor([3, 7, 254], dtype=torch.uint8)
    with pytest.raises(
        LabelError, match=r"hold id 3, 7, 254, but the model has 3 classes: allowed are 0 to 2"
    ):
        pixel_cross_entropy(logits, id_maps)
    id_maps = id_maps.int()
    id_maps[0, 0, :3] = torch.tensor([-1, 0, 0])
    with pytest.raises(LabelError, match=r"hold id -1, but the model has 3 classes.*check-data"):
        pixel_cross_entropy(logits, id_maps)


def test_pixel_cross_entropy__ids_that_were_not_looked_at_make_it_nan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vfmseg.losses.pixels._check_ids", lambda *_: None)  # as on a GPU
    logits, id_maps = example(1, 3, (2, 2), (8, 8))
    for wrong in (3, 256, 10**6, -1):
        broken = id_maps.int()
        broken[0, 4, 4] = wrong
        assert pixel_cross_entropy(logits, broken).isnan()


def test_pixel_cross_entropy__refuses_wrong_settings() -> None:
    logits, id_maps = example(1, 3, (2, 2), (8, 8))
    with pytest.raises(RecipeError, match="class_weights has 2 entries, but the model has 3 classes"):
        pixel_cross_entropy(logits, id_maps, class_weights=torch.ones(2))
    with pytest.raises(RecipeError, match="average is 'pixel'; allowed are 'image' and 'batch'"):
        pixel_cross_entropy(logits, id_maps, average="pixel")  # type: ignore[arg-type]
