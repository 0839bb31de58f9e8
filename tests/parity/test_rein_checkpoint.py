"""A checkpoint with the names and tensors of the published Rein, pickled as its trainer does, into our segmenter."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from vfmseg.errors import WeightsError
from vfmseg.interop.rein import from_rein, is_rein, read_rein, said_of_encoder
from vfmseg.interop.tue_mps import is_tue_mps
from vfmseg.models.build import build
from vfmseg.models.checkpoint import load_into
from vfmseg.models.decoders.full_mask2former import FullMask2FormerDecoder
from vfmseg.models.decoders.pixel_decoder import PixelDecoder
from vfmseg.models.encoders.load import build_encoder
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.tuning.rein import ReinTuning

GOLDENS = Path(__file__).parents[1] / "goldens"
SIZES = {"embed_dim": 24, "depth": 4, "num_heads": 2, "img_size": 64, "patch_size": 16}


def states(name: str) -> dict[str, Tensor]:
    tensors = load_file(GOLDENS / f"{name}.safetensors")
    return {key.removeprefix("state/"): tensor for key, tensor in tensors.items() if key.startswith("state/")}


def published(*, with_encoder: bool) -> dict[str, Tensor]:
    backbone, head = states("rein_backbone_dinov2"), states("rein_mask2former_head_replace")
    kept = {name: t for name, t in backbone.items() if with_encoder or "reins" in name}
    return {f"backbone.{name}": t for name, t in kept.items()} | {
        f"decode_head.{n}": t for n, t in head.items()
    }


def segmenter(name: str = "vit_base_patch14_dinov2.lvd142m", **tuning: object) -> Segmenter:
    decoder = FullMask2FormerDecoder(
        24,
        5,
        16,
        adapter=False,
        taps=(0, 1, 2, 3),
        num_queries=12,
        num_blocks=4,
        embed_dim=32,
        num_heads=4,
        feedforward_dim=64,
    )
    decoder.neck = PixelDecoder(
        24, 32, num_layers=2, num_heads=4, num_points=2, feedforward_dim=48, num_groups=8
    )
    encoder = build_encoder(name, (64, 64), 16, weights="random", overrides=SIZES)
    return Segmenter(encoder, ReinTuning(num_tokens=12, rank=4, **tuning), decoder)  # type: ignore[arg-type]


@pytest.mark.parametrize("with_encoder", [False, True])
def test_checkpoint__tokens_head_and_perhaps_the_encoder(with_encoder: bool, tmp_path: Path) -> None:
    torch.save(
        {"state_dict": published(with_encoder=with_encoder), "meta": {"iter": 3}}, tmp_path / "rein.pth"
    )
    made = segmenter()
    before = {name: tensor.clone() for name, tensor in made.encoder.state_dict().items()}
    assert is_rein(tmp_path / "rein.pth")
    state = read_rein(tmp_path / "rein.pth")
    found = from_rein(state, made)
    load_into(made, found.tensors, source="rein.pth")
    golden = load_file(GOLDENS / "rein_backbone_dinov2.safetensors")
    torch.testing.assert_close(made.tuning.queries(), golden["native/query"], rtol=1e-5, atol=1e-6)
    weight = (
        golden["state/blocks.0.attn.qkv.weight"] if with_encoder else before["vit.blocks.0.attn.qkv.weight"]
    )
    assert made.encoder.state_dict()["vit.blocks.0.attn.qkv.weight"].equal(weight)
    assert [name.removeprefix("backbone.") for name in found.not_used] == ["mask_token"] * with_encoder
    assert bool(said_of_encoder(state, made)) != with_encoder


def test_checkpoint__unlinked_leaves_the_maps_of_the_link_out() -> None:
    made = segmenter(link=False)
    state = {name: t for name, t in published(with_encoder=False).items() if "querys2feat" not in name}
    state["decode_head.query_feat.weight"] = state["decode_head.query_embed.weight"] = torch.ones(12, 32)
    found = from_rein({**state, "decode_head.other": torch.ones(1)}, made)
    load_into(made, found.tensors, source="rein.pth")
    links = [
        f"backbone.reins.{layer}.{kind}" for layer in ("merge", "transform") for kind in ("bias", "weight")
    ]
    assert sorted(found.not_used) == sorted([*links, "decode_head.other"])


def test_checkpoint__told_from_other_programs(tmp_path: Path) -> None:
    save_file(published(with_encoder=False), tmp_path / "rein.safetensors")
    torch.save({"network.encoder.backbone.cls_token": torch.ones(1)}, tmp_path / "eomt.bin")
    (tmp_path / "cut.pth").write_bytes(b"PK\x03\x04")
    assert {f.name: (is_rein(f), is_tue_mps(f)) for f in tmp_path.iterdir()} == {
        "rein.safetensors": (True, False),
        "eomt.bin": (False, True),
        "cut.pth": (False, True),
    }


def test_checkpoint__refused_for_another_decoder_or_other_statistics() -> None:
    linear = build("vit_tiny_patch16_224", num_classes=3, image_size=32, weights="random")
    with pytest.raises(WeightsError, match=r"checkpoint of Rein.*decoder\.taps \[7, 11, 15, 23\]"):
        from_rein(published(with_encoder=False), linear)
    made = segmenter()
    made.encoder.mean.fill_(0.5)
    with pytest.raises(WeightsError, match=r"trained on pixels with mean \[0\.485"):
        from_rein(published(with_encoder=False), made)
