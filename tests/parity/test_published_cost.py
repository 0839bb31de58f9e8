"""Parameters and GFLOPs of the shipped recipes against those that were published (arXiv 2503.19108).

Tables 1 to 5 and D. The published GFLOPs are fvcore's: a multiply-add is one, and norms count five an element,
which ours leave out. Whatever is more than that is a difference with a reason, added by arithmetic before comparing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from vfmseg.models.decoders.eomt import EoMTDecoder
from vfmseg.models.decoders.full_mask2former import FullMask2FormerDecoder
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.summary import count_gflops, count_parameters
from vfmseg.runs.assemble import build_model
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.runs.start_weights import published_label_space

NORMS_AND_ROUNDING = 0.008
"""Relative. Norms are 0.02 % (g at 1280) to 0.4 % (S with Mask2Former) of the cost; figures are printed to a whole
GFLOP, which is 0.7 % of the smallest."""
PARAMETERS_PRINTED = 0.01
"""Relative. They are printed to a whole million, some rounded and some cut off: 316.70 as 316, 1163.62 as 1164."""
CITYSCAPES_WINDOWS = 2
"""An image of 1024 x 2048 is seen through two windows; Table 5 counts all windows of an image."""


@dataclass(frozen=True)
class Row:
    """A recipe, what differs from it, and what was published of it."""

    recipe: str
    gflops: float
    parameters_m: float | None = None
    windows: int = 1
    changes: dict[str, Any] = field(default_factory=dict)


EOMT_L, FULL = "dinov2/coco/panoptic/eomt_large_640", "ladder/step0_adapter_m2f"
CITYSCAPES, ADE20K = "dinov2/cityscapes/semantic/eomt_large_1024", "dinov2/ade20k/semantic/eomt_large_512"
EVA02, DEIT3 = "eva02_large_patch14_224.mim_m38m", "deit3_large_patch16_384.fb_in22k_ft_in1k"
MASKED: dict[str, Any] = {"decoder.masks": "always"}


def encoder(name: str, size: int = 640, **changes: Any) -> dict[str, Any]:
    return {"encoder.name": name, "encoder.image_size": size, **changes}


def blocks(number: int) -> dict[str, Any]:
    return {"decoder.num_blocks": number, "decoder.anneal_start": [], "decoder.anneal_end": []}


def full(data: str, size: int) -> dict[str, Any]:
    return encoder(
        "dinov2-reg-l", size, **{"task": "semantic", "data.name": data, "decoder.num_queries": 100}
    )


ROWS = {
    "Mask2Former-L 640 (step 0)": Row(FULL, 830, 349),
    "without pixel decoder (step 2)": Row("ladder/step2_no_pixel_decoder", 685, 337),
    "single scale (step 3)": Row("ladder/step3_single_scale", 673, 328),
    "masked EoMT-L 640 (step 4)": Row("ladder/step4_eomt_masked", 828, 316),
    "EoMT-L 640 (step 5)": Row("ladder/step5_eomt", 669, 316),
    "EoMT-S 640": Row("dinov2/coco/panoptic/eomt_small_640_1x", 68, 24),
    "EoMT-B 640": Row("dinov2/coco/panoptic/eomt_base_640_1x", 216, 93),
    "EoMT-g 640": Row("dinov2/coco/panoptic/eomt_giant_640", 2261, 1164),
    "EoMT-L 1280": Row("dinov2/coco/panoptic/eomt_large_1280", 4146, 322),
    "EoMT-g 1280": Row("dinov2/coco/panoptic/eomt_giant_1280", 12712, 1171),
    "EoMT-L 1024, Cityscapes": Row(CITYSCAPES, 4350, 319, CITYSCAPES_WINDOWS),
}
STEP_1 = Row("ladder/step1_no_adapter", 700, 342)
SLOW_ROWS = {
    "EoMT-L 640, ADE20K": Row("dinov2/ade20k/panoptic/eomt_large_640", 669, 316),
    "EoMT-L 640, EVA-02": Row(EOMT_L, 667, changes=encoder(EVA02)),
    "EoMT-L 640, DeiT III": Row(EOMT_L, 669, changes=encoder(DEIT3)),
    "EoMT-L 640, 9 blocks": Row(EOMT_L, 688, changes=blocks(9)),
    "EoMT-L 640, 6 blocks": Row(EOMT_L, 676, changes=blocks(6)),
    "EoMT-L 640, 2 blocks": Row(EOMT_L, 660, changes=blocks(2)),
    "masked EoMT-S 640": Row("dinov2/coco/panoptic/eomt_small_640_1x", 89, 24, changes=MASKED),
    "masked EoMT-B 640": Row("dinov2/coco/panoptic/eomt_base_640_1x", 286, 93, changes=MASKED),
    "masked EoMT-g 640": Row("dinov2/coco/panoptic/eomt_giant_640", 2689, 1164, changes=MASKED),
    "masked EoMT-L 640, EVA-02": Row(EOMT_L, 826, changes=encoder(EVA02, **MASKED)),
    "masked EoMT-L 640, DeiT III": Row(EOMT_L, 828, changes=encoder(DEIT3, **MASKED)),
    "Mask2Former-S 640": Row(FULL, 165, 47, changes=encoder("dinov2-reg-s")),
    "Mask2Former-B 640": Row(FULL, 347, 121, changes=encoder("dinov2-reg-b")),
    "Mask2Former-g 640": Row(FULL, 2510, 1209, changes=encoder("dinov2-reg-g")),
    "Mask2Former-L 1280": Row(FULL, 4817, 354, changes=encoder("dinov2-reg-l", 1280)),
    "Mask2Former-g 1280": Row(FULL, 13790, 1216, changes=encoder("dinov2-reg-g", 1280)),
    "Mask2Former-L 640, EVA-02": Row(FULL, 829, changes=encoder(EVA02)),
    "Mask2Former-L 640, DeiT III": Row(FULL, 830, changes=encoder(DEIT3)),
    "Mask2Former-L 1024, Cityscapes": Row(FULL, 5200, 351, CITYSCAPES_WINDOWS, full("cityscapes", 1024)),
}


def measure(row: Row) -> tuple[float, float, float]:
    """Return millions of parameters, GFLOPs of one window, and the GFLOPs that ours saves."""
    changes = {"data.path": "somewhere", "encoder.weights": "random", **row.changes}
    recipe = read_recipe(f"configs/{row.recipe}.yaml", changes).recipe
    with torch.device("meta"), pytest.MonkeyPatch.context() as patch:
        # there are no values to draw, and going through the motions takes half the time
        patch.setattr("timm.layers.weight_init._trunc_normal_", lambda tensor, *named: tensor, raising=False)
        segmenter = build_model(recipe, published_label_space(recipe).num_classes)
    return count_parameters(segmenter).total / 1e6, count_gflops(segmenter), saved_gflops(segmenter)


def saved_gflops(segmenter: Segmenter) -> float:
    """Return the products of intermediate masks that published code makes at 1/4 of the image's size and then shrinks.

    Ours shrinks the features first, and multiplies at the size that masked attention needs; the masks are the same.
    """
    decoder, (h, w) = segmenter.decoder, segmenter.image_size
    quarter = (h // 4) * (w // 4)
    if isinstance(decoder, EoMTDecoder):
        masked_blocks = sum(probability > 0 for probability in decoder.mask_probabilities)
        products = masked_blocks * decoder.queries.numel() * (quarter - (h // 16) * (w // 16))
    else:
        assert isinstance(decoder, FullMask2FormerDecoder)
        transformer, multi_scale = decoder.transformer, decoder.transformer.level_embedding is not None
        strides = (32, 16, 8) if multi_scale else (16,)
        looked_at = [(h // stride) * (w // stride) for stride in strides]
        num_blocks = len(transformer.blocks)
        needed = sum(looked_at[i % len(looked_at)] for i in range(num_blocks))
        products = transformer.query_content.numel() * (num_blocks * quarter - needed)
    return products / 1e9


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_cost__as_published(row: Row) -> None:
    parameters_m, gflops, saved = measure(row)
    assert row.windows * (gflops + saved) == pytest.approx(row.gflops, rel=NORMS_AND_ROUNDING)
    if row.parameters_m is not None:
        assert parameters_m == pytest.approx(row.parameters_m, rel=PARAMETERS_PRINTED)


@pytest.mark.slow
@pytest.mark.parametrize("row", SLOW_ROWS.values(), ids=SLOW_ROWS)
def test_cost__as_published_of_other_sizes_and_pretraining(row: Row) -> None:
    test_cost__as_published(row)


@pytest.mark.slow
def test_gflops__ade20k_is_published_per_image_of_which_some_need_one_window_and_some_two() -> None:
    """721 for EoMT, 910 for ViT-Adapter + Mask2Former: two costs of a window, one average number of windows."""
    _, eomt, _ = measure(Row(ADE20K, 721))
    _, adapter, saved = measure(Row(FULL, 910, changes=full("ade20k", 512)))
    windows = 721 / eomt
    assert 1 < windows < 2
    assert 910 / (adapter + saved) == pytest.approx(windows, rel=0.005)


def test_gflops__step_1_is_published_as_less_than_its_parts() -> None:
    """Published: 700. Ours as published code would count it: 739, with norms 740.

    The pixel decoder's one 3x3 convolution at a quarter of the size costs more than the 15 by which step 1 is said to
    exceed step 2, which has none. Its six attention layers alone, left out, would bring our count within 1 % of 700;
    in step 0, which has the same pixel decoder, they are counted at every encoder and image size.
    """
    parameters_m, ours, saved = measure(STEP_1)
    assert STEP_1.parameters_m is not None
    assert parameters_m == pytest.approx(STEP_1.parameters_m, rel=PARAMETERS_PRINTED)
    assert ours + saved == pytest.approx(739.5, abs=0.1)
    one_convolution = 160 * 160 * 9 * 256**2 / 1e9
    assert one_convolution > STEP_1.gflops - ROWS["without pixel decoder (step 2)"].gflops
    tokens = 20 * 20 + 40 * 40 + 80 * 80
    attention = 2 * 256**2 + 256 * 8 * 3 * 4 * (2 + 1)  # values and output; offsets x, y and weights
    six_layers = 6 * tokens * (attention + 2 * 256 * 1024) / 1e9
    assert six_layers == pytest.approx(36.7, abs=0.05)
    assert ours + saved - six_layers == pytest.approx(STEP_1.gflops, rel=0.01)
