from typing import Any

import pytest
import timm
import torch
from torch import nn

from vfmseg.errors import RecipeError
from vfmseg.models.build import build
from vfmseg.models.decoders.full_mask2former import FullMask2FormerDecoder
from vfmseg.models.encoders.base import Encoder
from vfmseg.models.encoders.load import build_encoder

LADDER = [
    {"adapter": True, "pixel_decoder": True, "multi_scale": True},
    {"adapter": False, "pixel_decoder": True, "multi_scale": True},
    {"adapter": False, "pixel_decoder": False, "multi_scale": True},
    {"adapter": False, "pixel_decoder": False, "multi_scale": False},
]
TAPS = (0, 1, 2, 3)
PARTS = [*LADDER, {"adapter": False, "taps": TAPS}]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=PARTS, ids=["step0", "step1", "step2", "step3", "taps"])
def parts(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


def tiny_encoder(
    image_size: tuple[int, int] = (64, 96),
    patch_size: int = 16,
    name: str = "vit_base_patch14_reg4_dinov2.lvd142m",
) -> Encoder:
    return build_encoder(
        name,
        image_size,
        patch_size,
        weights="random",
        overrides={"embed_dim": 32, "depth": 4, "num_heads": 2, "img_size": 56 if "14" in name else 64},
    )


def tiny(patch_size: int = 16, **parts: Any) -> FullMask2FormerDecoder:
    return FullMask2FormerDecoder(
        32,
        5,
        patch_size,
        num_queries=7,
        num_blocks=4,
        embed_dim=16,
        num_heads=2,
        feedforward_dim=32,
        **parts,
    )


def test_decoder__training_predicts_at_every_layer_and_evaluation_at_the_last(parts: dict[str, Any]) -> None:
    encoder, decoder, pixels = tiny_encoder(), tiny(**parts), torch.randn(2, 3, 64, 96)
    every = decoder.train()(encoder, pixels)
    assert len(every) == 5
    for layer in every:
        assert layer.mask_logits.shape == (2, 7, 16, 24)
        assert layer.class_logits.shape == (2, 7, 6)
    assert len(decoder.eval()(encoder.eval(), pixels)) == 1
    assert decoder.kind == "masks"


@pytest.mark.parametrize(
    ("patch_size", "image_size", "mask_size"),
    [(14, (70, 42), (18, 11)), (8, (64, 32), (16, 8)), (32, (64, 96), (16, 24))],
)
def test_decoder__any_patch_size(
    parts: dict[str, Any], patch_size: int, image_size: tuple[int, int], mask_size: tuple[int, int]
) -> None:
    encoder = tiny_encoder(image_size, patch_size)
    (last,) = tiny(patch_size, **parts).eval()(encoder, torch.randn(1, 3, *image_size))
    if patch_size == 14 and not parts["adapter"]:
        mask_size = (17, 10) if "taps" in parts else (20, 12)  # rounded down; stride 3.5
    assert last.mask_logits.shape == (1, 7, *mask_size)


@pytest.mark.parametrize(
    "name", ["vit_base_patch16_dinov3.lvd1689m", "test_vit2", "samvit_base_patch16.sa1b"]
)
def test_decoder__rotary_prefixless_and_windowed_encoders(parts: dict[str, Any], name: str) -> None:
    encoder = tiny_encoder((64, 64), 16, name)
    (last,) = tiny(**parts).eval()(encoder, torch.randn(1, 3, 64, 64))
    assert last.mask_logits.shape == (1, 7, 16, 16)


def test_decoder__every_parameter_and_the_encoder_learn(parts: dict[str, Any]) -> None:
    encoder, decoder = tiny_encoder(), tiny(**parts).train()
    for name, parameter in decoder.named_parameters():
        if name.endswith(("gamma", "sampling_offsets.weight")):
            parameter.data += 0.3 * torch.randn_like(parameter)
    output = decoder(encoder, torch.randn(2, 3, 64, 96))
    sum(layer.mask_logits.square().sum() + layer.class_logits.square().sum() for layer in output).backward()
    without = [n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.any()]
    # softmax does not see what all keys have in common
    assert all(name.endswith("attention.key.bias") for name in without)
    assert encoder.blocks[0].mlp.fc1.weight.grad is not None
    assert encoder.blocks[0].mlp.fc1.weight.grad.any()


def test_decoder__learns_on_a_frozen_encoder(parts: dict[str, Any]) -> None:
    encoder, decoder = tiny_encoder().requires_grad_(False), tiny(**parts).train()
    output = decoder(encoder, torch.randn(2, 3, 64, 96))
    sum(layer.mask_logits.sum() for layer in output).backward()
    assert decoder.transformer.query_content.grad is not None
    assert all(p.grad is not None for p in decoder.neck.parameters())
    assert all(p.grad is None for p in encoder.parameters())


def test_decoder__images_do_not_see_each_other_in_evaluation(parts: dict[str, Any]) -> None:
    encoder, decoder, pixels = tiny_encoder().eval(), tiny(**parts).eval(), torch.randn(2, 3, 64, 96)
    (both,) = decoder(encoder, pixels)
    (second,) = decoder(encoder, pixels[1:])
    torch.testing.assert_close(both.mask_logits[1:], second.mask_logits, rtol=1e-4, atol=1e-4)


def test_decoder__linked_queries_are_position_and_mapped_content() -> None:
    encoder, decoder = tiny_encoder(), tiny(**LADDER[3]).eval()
    decoder.link_queries()
    queries = torch.randn(3, 16, requires_grad=True)
    pixels = torch.randn(1, 3, 64, 96)
    (last,) = decoder(encoder, pixels, queries)
    assert last.mask_logits.shape == (1, 3, 16, 24)
    features, levels = decoder.neck(decoder.features(encoder, pixels))
    (expected,) = decoder.transformer(
        levels, features, queries=decoder.query_from_link(queries), query_positions=queries
    )
    torch.testing.assert_close(last.mask_logits, expected.mask_logits)
    last.mask_logits.sum().backward()
    assert queries.grad is not None
    assert queries.grad.any()


def test_decoder__class_layer_is_named() -> None:
    decoder = tiny(**LADDER[3])
    assert decoder.get_submodule(decoder.class_layer_name) is decoder.transformer.class_layer
    names = {n for n, _ in decoder.named_parameters() if n.startswith(f"{decoder.class_layer_name}.")}
    assert len(names) == 2


def test_decoder__autocast_stays_finite(parts: dict[str, Any]) -> None:
    encoder, decoder = tiny_encoder().eval(), tiny(**parts).eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (last,) = decoder(encoder, torch.randn(1, 3, 64, 96))
    assert last.mask_logits.isfinite().all()


@pytest.mark.parametrize("part", ["adapter", "pixel_decoder"])
def test_decoder__refuses_scales_that_nothing_looks_at(part: str) -> None:
    with pytest.raises(
        RecipeError,
        match=rf"multi_scale is false but {part} is true; .* Set multi_scale: true, or {part}: false",
    ):
        tiny(**({"adapter": False, "pixel_decoder": False, "multi_scale": False} | {part: True}))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"adapter": True}, "taps and adapter both make the pyramid. Set adapter: false"),
        ({"taps": (0, 1, 3)}, r"taps is \[0, 1, 3\]; give four blocks in ascending order"),
        ({"taps": (0, 2, 1, 3)}, r"taps is \[0, 2, 1, 3\]; give four blocks in ascending order"),
        ({"taps": (-1, 1, 2, 3)}, "counted from 0"),
        ({"pixel_decoder": False, "multi_scale": False}, r"taps is \[0, 1, 2, 3\]; .* or taps: \[\]"),
    ],
)
def test_taps__refused_where_they_make_no_pyramid(options: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        tiny(**({"adapter": False, "taps": TAPS} | options))


def test_taps__of_blocks_that_are_not_there() -> None:
    options = {"adapter": False, "taps": [1, 3, 5, 12], "embed_dim": 32, "num_heads": 2}
    with pytest.raises(RecipeError, match=r"blocks 0 to 11; evenly spread: \[2, 5, 8, 11\]"):
        build(
            "vit_tiny_patch16_224",
            num_classes=3,
            decoder="mask2former_full",
            image_size=64,
            weights="random",
            decoder_options=options,
        )


def parameters_m(size: str, dim: int, parts: dict[str, Any]) -> float:
    """Millions, of encoder and decoder at 640 pixels with 133 classes and 200 queries; nothing is allocated."""
    with torch.device("meta"):
        encoder: nn.Module = timm.create_model(
            f"vit_{size}_patch14_reg4_dinov2.lvd142m",
            pretrained=False,
            num_classes=0,
            img_size=640,
            patch_size=16,
        )
        decoder = FullMask2FormerDecoder(dim, 133, 16, num_queries=200, **parts)
    return sum(p.numel() for module in (encoder, decoder) for p in module.parameters()) / 1e6


@pytest.mark.parametrize(("parts", "printed_m"), list(zip(LADDER, (349, 342, 337, 328), strict=True)))
def test_parameters__ladder_as_printed(parts: dict[str, Any], printed_m: int) -> None:
    """EoMT's Table 1 (arXiv 2503.19108): every step rounds to the printed number."""
    assert round(parameters_m("large", 1024, parts)) == printed_m


@pytest.mark.parametrize(
    ("size", "dim", "printed_m"), [("small", 384, 47), ("base", 768, 121), ("giant", 1536, 1209)]
)
def test_parameters__whole_mask2former_as_printed(size: str, dim: int, printed_m: int) -> None:
    """EoMT's Table 3."""
    assert round(parameters_m(size, dim, LADDER[0])) == printed_m
