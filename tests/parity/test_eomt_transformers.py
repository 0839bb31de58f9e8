"""Our EoMT equals that of Hugging Face transformers on the same random weights, logits and gradients; both ways."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    EomtConfig,
    EomtDinov3Config,
    EomtDinov3ForUniversalSegmentation,
    EomtForUniversalSegmentation,
)

from support.encoders import randomise
from support.eomt import dinov3_folder
from vfmseg.errors import WeightsError
from vfmseg.interop.transformers_eomt import config_of, from_transformers, to_transformers
from vfmseg.models.checkpoint import load_into
from vfmseg.models.decoders.eomt import EoMTDecoder
from vfmseg.models.decoders.linear import LinearDecoder
from vfmseg.models.encoders.load import build_encoder
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.tuning.basic import FullTuning
from vfmseg.types import LabelSpace

CLASSES, QUERIES = 5, 6
SIZES: list[dict[str, Any]] = [
    {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2, "image_size": 96, "num_blocks": 2},
    {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 3, "image_size": 64, "num_blocks": 3},
]
COMMON = {"patch_size": 16, "num_queries": QUERIES, "num_labels": CLASSES, "num_register_tokens": 4}
CASES = [(family, sizes) for family in ("dinov2", "dinov3") for sizes in SIZES]


def peer_of(family: str, sizes: dict[str, Any]) -> nn.Module:
    if family == "dinov2":
        peer = EomtForUniversalSegmentation(EomtConfig(**sizes, **COMMON))
    else:
        config = EomtDinov3Config(**sizes, **COMMON, intermediate_size=2 * sizes["hidden_size"])
        peer = EomtDinov3ForUniversalSegmentation(config)
    randomise(peer)
    return peer.eval()


def ours_like(family: str, sizes: dict[str, Any], folder: Path) -> Segmenter:
    if family == "dinov2":
        overrides = {
            "embed_dim": sizes["hidden_size"],
            "depth": sizes["num_hidden_layers"],
            "num_heads": sizes["num_attention_heads"],
        }
        name: str = "vit_small_patch14_reg4_dinov2"
        encoder = build_encoder(name, sizes["image_size"], 16, weights="random", overrides=overrides)
    else:
        kwargs = {k: v for k, v in sizes.items() if k != "num_blocks"}
        defaults = EomtDinov3Config().to_dict()
        info = {
            "encoder_config_defaults": {
                key: defaults[key]
                for key in ("hidden_act", "layer_norm_eps", "layerscale_value", "rope_parameters")
            }
            | {
                "key_bias": False,
                "query_bias": True,
                "value_bias": True,
                "proj_bias": True,
                "mlp_bias": True,
                "use_gated_mlp": False,
                "rope_theta": 100.0,
            },
            "encoder_kwargs": kwargs
            | {"patch_size": 16, "num_register_tokens": 4}
            | {"intermediate_size": 2 * sizes["hidden_size"]},
        }
        encoder = build_encoder(dinov3_folder(info, folder), sizes["image_size"], 16, weights="random")
    decoder = EoMTDecoder(encoder.embed_dim, CLASSES, 16, num_queries=QUERIES, num_blocks=sizes["num_blocks"])
    return Segmenter(encoder, FullTuning(), decoder).eval()


@pytest.mark.parametrize(("family", "sizes"), CASES)
@pytest.mark.parametrize("masked", [False, True])
def test_eomt__logits_and_gradients(family: str, sizes: dict[str, Any], masked: bool, tmp_path: Path) -> None:
    peer, segmenter = peer_of(family, sizes), ours_like(family, sizes, tmp_path)
    published = from_transformers(peer.state_dict(), segmenter)
    load_into(segmenter, published.tensors, source="transformers")
    assert set(published.not_used) <= {"attn_mask_probs", "criterion.empty_weight", "embeddings.mask_token"}
    peer.attn_mask_probs.fill_(float(masked))
    segmenter.decoder.mask_probabilities = (float(masked),) * sizes["num_blocks"]
    side = sizes["image_size"]
    images = torch.randint(
        0, 256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    theirs = peer(pixel_values=segmenter.encoder.normalise(images))
    (ours,) = segmenter(images)
    torch.testing.assert_close(ours.mask_logits, theirs.masks_queries_logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.class_logits, theirs.class_queries_logits, rtol=1e-4, atol=1e-4)

    weight = torch.randn(ours.mask_logits.shape, generator=torch.Generator().manual_seed(2))
    for masks, classes in (
        (ours.mask_logits, ours.class_logits),
        (theirs.masks_queries_logits, theirs.class_queries_logits),
    ):
        (0.01 * (masks * weight).sum() + classes.square().sum()).backward()
    gradients = {n: p.grad for n, p in peer.named_parameters() if p.grad is not None}
    wanted = from_transformers(gradients, segmenter).tensors
    own = {name: p.grad for name, p in segmenter.named_parameters()}
    assert len(wanted) > 30
    for name, gradient in wanted.items():
        found = own[name]
        assert found is not None, name
        scale = gradient.abs().max().clamp(min=1)  # random weights of every layer make some gradients large
        torch.testing.assert_close(
            found / scale, gradient / scale, rtol=1e-3, atol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize(("family", "sizes"), CASES)
def test_to_transformers__there_and_back(family: str, sizes: dict[str, Any], tmp_path: Path) -> None:
    segmenter = ours_like(family, sizes, tmp_path)
    randomise(segmenter, 3)
    space = LabelSpace(tuple("abcde"), ((0, 0, 0),) * 5, (True,) * 5)
    config = json.loads(json.dumps(config_of(segmenter, space)))
    kind = EomtConfig if family == "dinov2" else EomtDinov3Config
    made: nn.Module = (
        EomtForUniversalSegmentation if family == "dinov2" else EomtDinov3ForUniversalSegmentation
    )(kind.from_dict(config))
    state = to_transformers(segmenter)
    missing, unexpected = made.load_state_dict(state, strict=False)
    assert not unexpected
    assert set(missing) <= {"embeddings.mask_token"}
    assert made.config.id2label == dict(enumerate("abcde"))
    side = sizes["image_size"]
    images = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
    (ours,) = segmenter(images)
    theirs = made.eval()(pixel_values=segmenter.encoder.normalise(images))
    torch.testing.assert_close(theirs.masks_queries_logits, ours.mask_logits, rtol=1e-4, atol=1e-4)
    back = from_transformers(state, segmenter).tensors
    own: dict[str, Tensor] = segmenter.state_dict()
    assert back.keys() == own.keys()
    assert all(torch.equal(back[name], own[name]) for name in own)


def test_to_transformers__of_another_model_is_refused(tmp_path: Path) -> None:
    segmenter = ours_like("dinov2", SIZES[0], tmp_path)
    other = Segmenter(segmenter.encoder, FullTuning(), LinearDecoder(32, 5))
    with pytest.raises(WeightsError, match="EoMT on DINOv2 and DINOv3 only"):
        to_transformers(other)
