"""What every decoder does on every kind of encoder, at any patch size and with any tuning."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from support.encoders import FAMILIES
from vfmseg.errors import RecipeError
from vfmseg.models.build import build
from vfmseg.models.decoders.catalog import DECODERS
from vfmseg.models.decoders.eomt import EoMTDecoder
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.tuning.catalog import TUNINGS
from vfmseg.types import Output, PixelLogits

CLASSES, QUERIES = 4, 5
OPTIONS: dict[str, dict[str, int]] = {
    "linear": {},
    "eomt": {"num_queries": QUERIES, "num_blocks": 2},
    "mask2former": {"num_queries": QUERIES, "num_blocks": 2, "embed_dim": 32, "num_heads": 2},
    "mask2former_full": {"num_queries": QUERIES, "num_blocks": 3, "embed_dim": 32, "num_heads": 2},
}
OF_EACH_KIND = ("vit", "vit_no_class", "dinov2_reg", "eva02", "dinov3", "sam")
"""Class token, none, registers, two kinds of rotary positions, windows."""
PAIRS = [("eomt", family) for family in FAMILIES if family != "sam"]
PAIRS += [(decoder, family) for decoder in DECODERS if decoder != "eomt" for family in OF_EACH_KIND]


def made(
    decoder: str, family: str, size: tuple[int, int] = (64, 64), patch: int = 16, **more: Any
) -> Segmenter:
    name, overrides = FAMILIES[family]
    return build(
        name,
        num_classes=CLASSES,
        decoder=decoder,
        image_size=size,
        patch_size=patch,
        weights="random",
        overrides=overrides,
        decoder_options=OPTIONS[decoder],
        seed=0,
        **more,
    )


def images(count: int, size: tuple[int, int] = (64, 64)) -> torch.Tensor:
    return torch.randint(
        0, 256, (count, 3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def numbers(output: Output) -> list[torch.Tensor]:
    """Return all that a decoder said, (B, ...) each."""
    if isinstance(output, PixelLogits):
        return [output.logits]
    return [part for layer in output for part in (layer.mask_logits, layer.class_logits)]


def test_there_are_no_decoders_without_a_contract() -> None:
    assert OPTIONS.keys() == DECODERS.keys()


@pytest.mark.parametrize(("decoder", "family"), PAIRS)
def test_any_encoder__shapes_gradients_and_independent_images(decoder: str, family: str) -> None:
    segmenter = made(decoder, family).train()
    if isinstance(segmenter.decoder, EoMTDecoder):
        segmenter.decoder.mask_probabilities = (1.0, 0.5)  # masked attention at work
    said = segmenter(images(2))
    if isinstance(said, PixelLogits):
        assert said.logits.shape == (2, CLASSES, 4, 4)
    else:
        assert len(said) == OPTIONS[decoder]["num_blocks"] + 1
        for layer in said:
            assert layer.class_logits.shape == (2, QUERIES, CLASSES + 1)
            assert layer.mask_logits.shape[:2] == (2, QUERIES)
    sum(part.square().sum() for part in numbers(said)).backward()  # type: ignore[union-attr]
    silent = {name for name, p in segmenter.decoder.named_parameters() if p.grad is None}
    assert not silent
    assert all(p.grad is not None for p in segmenter.encoder.blocks[0].parameters())

    segmenter.eval()
    if isinstance(segmenter.decoder, EoMTDecoder):
        segmenter.decoder.mask_probabilities = (0.0, 0.0)  # as the finished model predicts
    with torch.no_grad():
        both = numbers(segmenter(images(2)))
        alone = numbers(segmenter(images(2)[1:]))
    assert len(both) <= 2  # only the last prediction
    for together, single in zip(both, alone, strict=True):
        assert together.isfinite().all()
        torch.testing.assert_close(together[1:], single, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    ("patch", "size", "mask_size"), [(8, (32, 64), (8, 16)), (14, (70, 42), None), (32, (64, 96), (16, 24))]
)
def test_any_patch_size(
    decoder: str, patch: int, size: tuple[int, int], mask_size: tuple[int, int] | None
) -> None:
    said = made(decoder, "dinov2_reg", size, patch).eval()(images(1, size))
    grid = size[0] // patch, size[1] // patch
    if isinstance(said, PixelLogits):
        assert said.logits.shape[-2:] == grid
        return
    height, width = said[-1].mask_logits.shape[-2:]
    assert height / width == pytest.approx(size[0] / size[1], rel=0.05)  # masks have the image's shape
    if decoder == "eomt":
        assert (height, width) == (mask_size or (2 * grid[0], 2 * grid[1]))


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_any_tuning__the_decoder_learns(decoder: str, tuning: str) -> None:
    options = {"num_tokens": QUERIES, "rank": 2} if tuning == "rein" else {}
    segmenter = made(decoder, "dinov2_reg", tuning=tuning, tuning_options=options).train()
    below = {name: p for name, p in segmenter.named_parameters() if not name.startswith("decoder.")}
    before = {name: p.detach().clone() for name, p in below.items()}
    learning = [p for p in segmenter.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=1e-3)
    sum(part.square().sum() for part in numbers(segmenter(images(2)))).backward()  # type: ignore[union-attr]
    assert all(
        p.grad is not None and p.grad.any() for n, p in segmenter.decoder.named_parameters() if "class" in n
    )
    optimizer.step()
    moved = any(not torch.equal(before[name], p) for name, p in below.items())
    assert moved == (tuning != "frozen")


def test_eomt__on_windowed_attention_is_refused_with_the_reason() -> None:
    with pytest.raises(RecipeError, match="window"):
        made("eomt", "sam")


@pytest.mark.parametrize("decoder", [name for name in DECODERS if name != "linear"])
def test_rein__linked_queries_are_its_tokens(decoder: str) -> None:
    segmenter = made(decoder, "dinov2_reg", tuning="rein", tuning_options={"num_tokens": QUERIES, "rank": 2})
    assert not [
        name
        for name, _ in segmenter.decoder.named_parameters()
        if name.endswith(("queries", "query_position"))
    ]
    sum(part.square().sum() for part in numbers(segmenter(images(1)))).backward()  # type: ignore[union-attr]
    learned = dict(segmenter.tuning.named_parameters())
    assert "merged_queries.weight" in learned
    assert all(p.grad is not None and p.grad.any() for p in learned.values())
    assert segmenter.encoder.blocks[0].attn.qkv.weight.grad is None


def test_rein__without_link_leaves_the_decoders_own_queries() -> None:
    options = {"num_tokens": 7, "rank": 2, "link": False}
    segmenter = made("eomt", "dinov2_reg", tuning="rein", tuning_options=options)
    assert segmenter.decoder.queries is not None
    assert "merged_queries.weight" not in dict(segmenter.tuning.named_parameters())


def test_rein__what_cannot_be_linked_is_refused_with_the_reason() -> None:
    with pytest.raises(RecipeError, match="has none"):
        made("linear", "dinov2_reg", tuning="rein", tuning_options={"link": True})
    with pytest.raises(RecipeError, match=r"num_tokens 6.*num_queries 5"):
        made("eomt", "dinov2_reg", tuning="rein", tuning_options={"num_tokens": 6})
