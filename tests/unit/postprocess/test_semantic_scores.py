from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from vfmseg.postprocess.semantic import is_finite, pixel_scores, semantic_scores
from vfmseg.types import MaskFactors, MaskLogits, Output, PixelLogits

GOLDEN = Path(__file__).parents[2] / "goldens" / "postprocess_semantic.safetensors"


def random_prediction(seed: int = 0) -> MaskLogits:
    generator = torch.Generator().manual_seed(seed)
    return MaskLogits(torch.randn(2, 5, 6, 7, generator=generator), torch.randn(2, 5, 4, generator=generator))


def test_semantic_scores__published() -> None:
    golden = load_file(GOLDEN)
    scores = semantic_scores(MaskLogits(golden["mask_logits"], golden["class_logits"]), (24, 30))
    torch.testing.assert_close(scores, golden["pixel_scores"], rtol=0, atol=1e-5)


def test_semantic_scores__mask_logits_are_upsampled_before_the_sigmoid() -> None:
    prediction = random_prediction()
    scores = semantic_scores(prediction, (24, 28))
    masks = F.interpolate(prediction.mask_logits, (24, 28), mode="bilinear", align_corners=False).sigmoid()
    classes = prediction.class_logits.softmax(-1)[..., :3]
    torch.testing.assert_close(scores, torch.einsum("bqhw,bqk->bkhw", masks, classes))


def test_semantic_scores__bands_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction = random_prediction()
    whole = semantic_scores(prediction, (23, 28))
    monkeypatch.setattr("vfmseg.postprocess.semantic._BAND_FLOATS", 5 * 28 * 4)
    torch.testing.assert_close(semantic_scores(prediction, (23, 28)), whole)


def test_semantic_scores__are_float32_under_autocast() -> None:
    prediction = random_prediction()
    half = MaskLogits(prediction.mask_logits.bfloat16(), prediction.class_logits.bfloat16())
    full = MaskLogits(half.mask_logits.float(), half.class_logits.float())
    with torch.autocast("cpu", torch.bfloat16):
        scores = semantic_scores(half, (12, 14))
    assert scores.equal(semantic_scores(full, (12, 14)))


def test_pixel_scores__pixel_logits_pass_unchanged() -> None:
    logits = torch.randn(2, 3, 4, 5)
    assert pixel_scores(PixelLogits(logits), (64, 80)) is logits


def test_pixel_scores__the_last_layer_of_masks_counts() -> None:
    first, last = random_prediction(1), random_prediction(2)
    assert pixel_scores((first, last), (12, 14)).equal(semantic_scores(last, (12, 14)))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    ("kind", "where"),
    [
        (PixelLogits, "logits"),
        (MaskLogits, "mask_logits"),
        (MaskLogits, "class_logits"),
        (MaskFactors, "embeddings"),
        (MaskFactors, "features"),
        (MaskFactors, "class_logits"),
    ],
)
def test_is_finite__says_of_which_images_the_last_prediction_is_no_number(
    kind: type, where: str, bad: float
) -> None:
    shapes = {"logits": (3, 4, 5, 5), "mask_logits": (3, 6, 5, 5), "class_logits": (3, 6, 4)}
    shapes |= {"embeddings": (3, 6, 8), "features": (3, 8, 5, 5)}
    parts = {name: torch.randn(shapes[name]) for name in kind.__dataclass_fields__}
    good = kind(**parts)
    parts[where] = parts[where].clone()
    parts[where][1].flatten()[2] = bad
    sick: Output = kind(**parts) if kind is PixelLogits else (good, kind(**parts))
    assert is_finite(good if kind is PixelLogits else (kind(**parts), good)).all()
    assert is_finite(sick).tolist() == [True, False, True]


def test_is_finite__a_class_ruled_out_by_minus_infinity_is_a_number() -> None:
    prediction = random_prediction()
    prediction.class_logits[0, 1, 2] = -float("inf")
    assert is_finite((prediction,)).all()
