from typing import Any

import pytest
import torch
from torch import nn

from support.encoders import FAMILIES
from vfmseg.models.build import build
from vfmseg.models.decoders.eomt import EoMTDecoder
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.summary import ParameterCount, count_encoder_gflops, count_gflops, count_parameters

NUM_CLASSES, NUM_QUERIES, WIDTH = 3, 5, 32


def tiny(family: str = "vit", decoder: str = "linear", size: int = 64, **options: Any) -> Segmenter:
    name, overrides = FAMILIES[family]
    return build(
        name,
        num_classes=NUM_CLASSES,
        decoder=decoder,
        image_size=size,
        patch_size=16,
        weights="random",
        overrides=overrides,
        decoder_options=options,
    )


def encoder_products(num_tokens: int, num_blocks: int) -> int:
    """Multiply-adds of plain blocks of WIDTH channels: query, key, value, output, MLP of 4; both attention products."""
    return num_blocks * (num_tokens * 12 * WIDTH**2 + 2 * num_tokens**2 * WIDTH)


def eomt() -> tuple[Segmenter, EoMTDecoder]:
    segmenter = tiny("dinov2_reg", "eomt", num_queries=NUM_QUERIES, num_blocks=2)
    assert isinstance(segmenter.decoder, EoMTDecoder)
    return segmenter, segmenter.decoder


def eomt_products() -> int:
    """Multiply-adds of the whole EoMT above without masked attention, its masks (16 x 16) of all queries included."""
    tokens = encoder_products(5 + 16, num_blocks=1) + encoder_products(NUM_QUERIES + 5 + 16, num_blocks=2)
    return 16 * 3 * 16**2 * WIDTH + tokens + heads_products() + NUM_QUERIES * WIDTH * 256


def heads_products() -> int:
    """Two steps of upscaling from 4 x 4, and what is read from the queries."""
    upscaling = sum(cells * (4 * WIDTH**2 + 4 * 9 * WIDTH) for cells in (16, 64))
    return upscaling + NUM_QUERIES * (3 * WIDTH**2 + WIDTH * (NUM_CLASSES + 1))


def test_count_parameters__counts_shared_ones_once() -> None:
    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    second.weight = first.weight
    second.bias.requires_grad_(False)
    assert count_parameters(nn.Sequential(first, second)) == ParameterCount(total=10, trainable=8)


@pytest.mark.parametrize("size", [64, 96])
def test_count_gflops__linear_is_the_sum_of_its_products(size: int) -> None:
    patches = (size // 16) ** 2
    embedding, classes = patches * 3 * 16**2 * WIDTH, patches * WIDTH * NUM_CLASSES
    expected = embedding + encoder_products(1 + patches, num_blocks=3) + classes
    assert count_gflops(tiny(size=size)) == pytest.approx(expected / 1e9, rel=1e-12)


def test_count_gflops__eomt_includes_the_masks_of_all_queries() -> None:
    assert count_gflops(eomt()[0]) == pytest.approx(eomt_products() / 1e9, rel=1e-12)


def test_count_gflops__masked_attention_costs_a_prediction_a_block() -> None:
    segmenter, decoder = eomt()
    decoder.mask_probabilities = (1.0, 1.0)
    # masks at the patch grid; of the last 3x3 convolution's 16 x 16 results only the middle four of each patch
    a_prediction = heads_products() - (256 - 64) * 9 * WIDTH + NUM_QUERIES * WIDTH * 16
    assert count_gflops(segmenter) == pytest.approx((eomt_products() + 2 * a_prediction) / 1e9, rel=1e-12)


@pytest.mark.parametrize("family", ["vit_no_class", "eva02", "dinov3", "rope_mixed", "parallel", "sam"])
def test_count_gflops__every_kind_of_encoder(family: str) -> None:
    plain = (16 * 3 * 16**2 * WIDTH + encoder_products(num_tokens=16, num_blocks=3)) / 1e9
    assert plain * 0.9 < count_gflops(tiny(family)) < plain * 1.3  # windows, gated MLPs, prefix tokens


def test_count_gflops__computes_nothing_and_changes_nothing() -> None:
    parts: dict[str, Any] = {"adapter": False, "num_queries": NUM_QUERIES, "num_blocks": 1}
    segmenter = tiny(decoder="mask2former_full", **parts)
    segmenter.train()
    segmenter.encoder.eval()
    modes = [module.training for module in segmenter.modules()]
    before = {name: tensor.clone() for name, tensor in segmenter.state_dict().items()}
    random = torch.get_rng_state()
    with torch.device("meta"):
        shapes_only = tiny(decoder="mask2former_full", **parts)

    assert count_gflops(segmenter) == count_gflops(shapes_only)

    after = segmenter.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert [module.training for module in segmenter.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("family", ["vit_no_class", "eva02", "dinov3", "rope_mixed", "parallel", "sam"])
def test_count_encoder_gflops__is_all_but_the_decoder(family: str) -> None:
    with torch.device("meta"):
        segmenter = tiny(family)
    modes = [module.training for module in segmenter.train().modules()]
    head = 16 * WIDTH * NUM_CLASSES / 1e9
    assert count_encoder_gflops(segmenter.encoder) + head == pytest.approx(count_gflops(segmenter), rel=1e-12)
    assert [module.training for module in segmenter.modules()] == modes
