"""Encoders against the recorded benchmark, transformers' DINOv2 and DINOv3, and timm's own converters."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from timm.models.eva import checkpoint_filter_fn as eva_filter
from timm.models.vision_transformer import checkpoint_filter_fn as vit_filter
from timm.models.vision_transformer_sam import checkpoint_filter_fn as sam_filter
from torch import nn
from transformers import (
    BitImageProcessor,
    Dinov2Config,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersModel,
    DINOv3ViTConfig,
    DINOv3ViTModel,
)

from support.encoders import randomise
from vfmseg.models.encoders.load import build_encoder

GOLDENS = Path(__file__).parents[1] / "goldens"


def read_golden(name):
    with safe_open(GOLDENS / f"{name}.safetensors", "pt") as file:
        return json.loads(file.metadata()["info"]), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118


def benchmark_runs():
    for file in sorted(GOLDENS.glob("encoder_*.safetensors")):
        if file.stem != "encoder_dinov3":
            info, _ = read_golden(file.stem)
            yield from (pytest.param(file.stem, run, id=f"{file.stem}-{run}") for run in info["runs"])


def within(kind, ours, recorded):
    tolerance = {"tokens": {"rtol": 1e-4, "atol": 1e-4}, "resampled": {"rtol": 1e-4, "atol": 1e-5}}
    torch.testing.assert_close(ours.detach(), recorded, **tolerance[kind])


@pytest.mark.parametrize(("name", "run"), list(benchmark_runs()))
def test_benchmark__resampled_weights_and_tokens(name, run, tmp_path):
    info, tensors = read_golden(name)
    recorded = {k.removeprefix(f"{run}/"): t for k, t in tensors.items() if k.startswith(f"{run}/")}
    state = {k.removeprefix("state/"): t for k, t in tensors.items() if k.startswith("state/")}
    save_file(state, tmp_path / "weights.safetensors")
    encoder = build_encoder(
        info["encoder_name"],
        tuple(info["runs"][run]["img_size"]),
        info["runs"][run]["patch_size"],
        weights=tmp_path / "weights.safetensors",
        sub_norm=info["sub_norm"],
        overrides=info["encoder_kwargs"],
    )
    assert encoder.grid_size == tuple(info["runs"][run]["grid_size"])
    assert encoder.num_prefix_tokens == info["num_prefix_tokens"]
    assert encoder.mean.flatten().tolist() == pytest.approx(info["mean"])
    assert encoder.std.flatten().tolist() == pytest.approx(info["std"])
    images = recorded.get("image")
    if images is None:
        images = recorded["image_blocks16"].repeat_interleave(16, 2).repeat_interleave(16, 3)
    with torch.no_grad():
        features = encoder.forward_grid(encoder.normalise(images))
    within("tokens", features.flatten(2).transpose(1, 2), recorded["tokens"])
    within("resampled", encoder.vit.pos_embed, recorded["pos_embed"])
    if "patch_weight" in recorded:
        within("resampled", encoder.vit.patch_embed.proj.weight, recorded["patch_weight"])
    else:
        assert torch.equal(encoder.vit.patch_embed.proj.weight, state["patch_embed.proj.weight"])
    if "rope_embed" in recorded:
        within("resampled", encoder.vit.rope.get_embed(), recorded["rope_embed"])
    for index, window in enumerate(info["runs"][run].get("window_sizes", [])):
        assert encoder.blocks[index].window_size == window
        for side in ("rel_pos_h", "rel_pos_w"):
            table = encoder.blocks[index].attn.get_parameter(side)
            within("resampled", table, recorded[f"{side}/{index}"])


def test_benchmark__sam_without_the_quirk_is_the_untouched_model(tmp_path):
    info, tensors = read_golden("encoder_samvit_p16")
    state = {k.removeprefix("state/"): t for k, t in tensors.items() if k.startswith("state/")}
    save_file(state, tmp_path / "weights.safetensors")
    encoder = build_encoder(
        info["encoder_name"],
        128,
        weights=tmp_path / "weights.safetensors",
        overrides=info["encoder_kwargs"],
        published_rel_pos=False,
    )
    with torch.no_grad():
        features = encoder.forward_grid(encoder.normalise(tensors["same/image"]))
    within("tokens", features.flatten(2).transpose(1, 2), tensors["same/tokens_of_untouched_timm_model"])


@pytest.mark.parametrize("run", ["tall", "wide"])
def test_dinov3__recorded_transformers(run, tmp_path):
    info, tensors = read_golden("encoder_dinov3")
    state = {k.removeprefix("state_timm/"): t for k, t in tensors.items() if k.startswith("state_timm/")}
    save_file(state, tmp_path / "weights.safetensors")
    pixels = tensors[f"{run}/in"]
    encoder = build_encoder(
        info["timm_name"],
        tuple(pixels.shape[2:]),
        weights=tmp_path / "weights.safetensors",
        overrides=info["timm_kwargs"],
    )
    with torch.no_grad():
        tokens = encoder.norm(encoder.run_blocks(encoder.embed(pixels), 0, encoder.num_blocks))
    within("tokens", tokens, tensors[f"{run}/tokens"])


_TINY = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_V2 = {**_TINY, "image_size": 56, "patch_size": 14, "mlp_ratio": 3}
_V3 = {**_TINY, "image_size": 64, "intermediate_size": 72, "num_register_tokens": 4}
TRANSFORMERS = {
    "dinov2": lambda: Dinov2Model(Dinov2Config(**_V2)),
    "dinov2_swiglu": lambda: Dinov2Model(Dinov2Config(**_V2, use_swiglu_ffn=True)),
    "dinov2_reg": lambda: Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**_V2, num_register_tokens=3)),
    "dinov3": lambda: DINOv3ViTModel(DINOv3ViTConfig(**_V3)),
    "dinov3_gated": lambda: DINOv3ViTModel(DINOv3ViTConfig(**_V3, use_gated_mlp=True, hidden_act="silu")),
    "dinov3_no_bias": lambda: DINOv3ViTModel(DINOv3ViTConfig(**_V3, query_bias=False, value_bias=False)),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return a function from a name in TRANSFORMERS to (model, folder where transformers saved it)."""
    models = {}

    def save(name):
        if name not in models:
            model = TRANSFORMERS[name]().eval()
            randomise(model)
            folder = tmp_path_factory.mktemp(name)
            model.save_pretrained(folder)
            BitImageProcessor(image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]).save_pretrained(folder)
            models[name] = model, folder
        return models[name]

    return save


def tokens_of(encoder, pixels):
    with torch.no_grad():
        return encoder.norm(encoder.run_blocks(encoder.embed(pixels), 0, encoder.num_blocks))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers__native_size(name, saved):
    model, folder = saved(name)
    size = model.config.image_size
    encoder = build_encoder(str(folder), size)
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(pixels).last_hidden_state
    within("tokens", tokens_of(encoder, pixels), expected)
    assert encoder.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert encoder.std.flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])
    assert encoder.num_prefix_tokens == {"dinov2": 1, "dinov2_swiglu": 1, "dinov2_reg": 4}.get(name, 5)
    assert "mask_token" in encoder.weights_report.not_used


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers__names_of_the_modules_in_memory(name, saved, tmp_path):
    model, folder = saved(name)
    torch.save(
        {"model": {f"backbone.{k}": t for k, t in model.state_dict().items()}}, tmp_path / "weights.pth"
    )
    size = model.config.image_size
    pixels = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    encoder = build_encoder(str(folder), size, weights=tmp_path / "weights.pth")
    assert torch.equal(tokens_of(encoder, pixels), tokens_of(build_encoder(str(folder), size), pixels))
    assert (encoder.weights_report.container, encoder.weights_report.prefix) == ("model", "backbone.")


@pytest.mark.parametrize("name", ["dinov3", "dinov3_gated"])
@pytest.mark.parametrize("size", [(96, 96), (48, 112)])
def test_transformers__dinov3_at_another_size(name, size, saved):
    model, folder = saved(name)
    encoder = build_encoder(str(folder), size)
    pixels = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(pixels).last_hidden_state
    within("tokens", tokens_of(encoder, pixels), expected)


@pytest.mark.parametrize("size", [(112, 112), (56, 98)])
def test_transformers__dinov2_with_registers_at_another_size(size, saved):
    model, folder = saved("dinov2_reg")  # antialiased like timm's rule, and stretched where not square
    encoder = build_encoder(str(folder), size, positions="stretch")
    pixels = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(pixels).last_hidden_state
    within("tokens", tokens_of(encoder, pixels), expected)


def test_transformers__dinov2_differs_only_in_how_positions_are_resampled(saved):
    model, folder = saved("dinov2")  # transformers does not antialias
    encoder = build_encoder(str(folder), 42)
    pixels = torch.randn(1, 3, 42, 42, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        theirs = model(pixels).last_hidden_state
        assert not torch.allclose(tokens_of(encoder, pixels), theirs, atol=1e-2)
        table = model.embeddings.interpolate_pos_encoding(torch.zeros(1, 10, 32), 42, 42)
        encoder.vit.pos_embed.copy_(table)
    within("tokens", tokens_of(encoder, pixels), theirs)


def beit3_file(depth=2, dim=32, grid=4):
    """Return a state dict with the names and shapes of the official BEiT-3 files."""
    layer = {
        "self_attn.q_proj": (dim, dim), "self_attn.k_proj": (dim, dim), "self_attn.v_proj": (dim, dim),
        "self_attn.out_proj": (dim, dim), "self_attn.inner_attn_ln": (dim,), "self_attn_layer_norm": (dim,),
        "final_layer_norm": (dim,), "ffn/fc1": (4 * dim, dim), "ffn/fc2": (dim, 4 * dim),
        "ffn/ffn_layernorm": (4 * dim,),
    }  # fmt: skip
    shapes = {
        "beit3.text_embed.weight": (50, dim),
        "beit3.vision_embed.mask_token": (1, 1, dim),
        "beit3.vision_embed.cls_token": (1, 1, dim),
        "beit3.vision_embed.proj.weight": (dim, 3, 16, 16),
        "beit3.vision_embed.proj.bias": (dim,),
        "beit3.encoder.embed_positions.A.weight": (grid * grid + 3, dim),
        "beit3.encoder.embed_positions.B.weight": (20, dim),
        "mlm_head.weight": (50, dim),
    }
    for expert in "AB":
        for part in ("weight", "bias"):
            shapes[f"beit3.encoder.layer_norm.{expert}.{part}"] = (dim,)
            for i in range(depth):
                for name, shape in layer.items():
                    full = name.replace("/", f".{expert}.") if "/" in name else f"{name}.{expert}"
                    shapes[f"beit3.encoder.layers.{i}.{full}.{part}"] = (
                        shape if part == "weight" else shape[:1]
                    )
    generator = torch.Generator().manual_seed(0)
    return {name: 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}


_BEIT3 = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 64}


def test_beit3__official_file_as_timm_converts_it(tmp_path):
    state = beit3_file()
    torch.save({"model": state}, tmp_path / "beit3_base_patch16_224.pth")
    encoder = build_encoder(
        "beit3_base_patch16_224.pt", 64, weights=tmp_path / "beit3_base_patch16_224.pth", overrides=_BEIT3
    )
    reference = timm.create_model("beit3_base_patch16_224", pretrained=False, num_classes=0, **_BEIT3).eval()
    converted = vit_filter({"model": dict(state)}, reference)
    reference.load_state_dict(
        {k: t for k, t in converted.items() if k in reference.state_dict()}, strict=False
    )
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        within("tokens", tokens_of(encoder, pixels), reference.forward_features(pixels))
    report = encoder.weights_report
    assert (report.container, report.prefix) == ("model", "beit3.")
    assert "mlm_head.weight" in report.not_used
    assert "encoder.layers.0.ffn.B.fc1.weight" in report.not_used
    assert "norm.weight" in report.not_used  # timm's BEiT-3 has no norm at the end of its features


def test_beit3__official_file_in_a_plain_vit_with_sub_norms(tmp_path):
    state = beit3_file()
    torch.save({"model": state}, tmp_path / "beit3.pth")
    native = build_encoder("beit3_base_patch16_224.pt", 64, weights=tmp_path / "beit3.pth", overrides=_BEIT3)
    surgery = build_encoder(
        "vit_base_patch16_224", 64, weights=tmp_path / "beit3.pth", sub_norm=True, overrides=_BEIT3
    )
    for module in surgery.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5  # the benchmark keeps the plain ViT's 1e-6; with equal epsilons they agree
    assert torch.equal(surgery.vit.norm.weight, state["beit3.encoder.layer_norm.A.weight"])
    assert torch.equal(surgery.vit.norm.bias, state["beit3.encoder.layer_norm.A.bias"])
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        within("tokens", tokens_of(surgery, pixels), surgery.norm(tokens_of(native, pixels)))


def test_beit3__file_converted_by_the_benchmark(tmp_path):
    info, tensors = read_golden("encoder_subnorm_p16")
    state = {k.removeprefix("state/"): t for k, t in tensors.items() if k.startswith("state/")}
    torch.save(state, tmp_path / "beit3_base_patch16_224.pth.timm")
    encoder = build_encoder(
        "beit3_base_patch16_224.pt",
        96,
        weights=tmp_path / "beit3_base_patch16_224.pth.timm",
        overrides=info["encoder_kwargs"],
    )
    surgery = build_encoder(
        "vit_base_patch16_224",
        96,
        weights=tmp_path / "beit3_base_patch16_224.pth.timm",
        sub_norm=True,
        overrides=info["encoder_kwargs"],
    )
    for module in encoder.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5
    for module in surgery.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5
    pixels = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        within("tokens", surgery.norm(tokens_of(encoder, pixels)), tokens_of(surgery, pixels))


def test_meta__dinov2_file_with_registers_and_swiglu(tmp_path):
    tiny = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 56}
    name = "vit_giant_patch14_reg4_dinov2.lvd142m"
    reference = timm.create_model(name, pretrained=False, num_classes=0, **tiny).eval()
    randomise(reference)
    state = {
        k.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3"): t
        for k, t in reference.state_dict().items()
    }
    state["register_tokens"] = state.pop("reg_token")
    state["mask_token"] = torch.zeros(1, 32)
    state["pos_embed"] = torch.cat([torch.full((1, 1, 32), 0.5), state["pos_embed"]], 1)
    torch.save(state, tmp_path / "dinov2_vitg14_reg4_pretrain.pth")
    encoder = build_encoder(name, 56, weights=tmp_path / "dinov2_vitg14_reg4_pretrain.pth", overrides=tiny)
    reference.load_state_dict(vit_filter(dict(state), reference))
    pixels = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(tokens_of(encoder, pixels), reference.forward_features(pixels))
    assert encoder.weights_report.not_used == ("mask_token",)


def test_meta__dinov2_file_of_a_training_run(tmp_path):
    tiny = {"embed_dim": 32, "depth": 4, "num_heads": 2, "img_size": 56}
    reference = timm.create_model("vit_base_patch14_dinov2", pretrained=False, num_classes=0, **tiny).eval()
    randomise(reference)
    chunked = {}
    for name, tensor in reference.state_dict().items():
        parts = name.split(".")
        if parts[0] == "blocks":
            name = ".".join(["blocks", str(int(parts[1]) // 2), *parts[1:]])
        chunked[f"backbone.{name}"] = tensor
    heads = {"dino_head.last_layer.weight": torch.zeros(2)}
    torch.save({"teacher": {**chunked, **heads}}, tmp_path / "teacher_checkpoint.pth")
    encoder = build_encoder("dinov2-b", 56, weights=tmp_path / "teacher_checkpoint.pth", overrides=tiny)
    pixels = torch.randn(1, 3, 56, 56, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(tokens_of(encoder, pixels), reference.forward_features(pixels))
    report = encoder.weights_report
    assert (report.container, report.prefix) == ("teacher", "backbone.")
    assert report.not_used == ("dino_head.last_layer.weight",)


@pytest.mark.parametrize("name", ["vit_base_patch16_dinov3_qkvb", "vit_huge_plus_patch16_dinov3_qkvb"])
def test_meta__dinov3_file(name, tmp_path):
    tiny = {"embed_dim": 32, "depth": 2, "num_heads": 2, "img_size": 64}
    reference = timm.create_model(name, pretrained=False, num_classes=0, **tiny).eval()
    randomise(reference)
    state = {"mask_token": torch.zeros(1, 32), "rope_embed.periods": torch.ones(4, dtype=torch.bfloat16)}
    swiglu = "fc1_g" in " ".join(reference.state_dict())
    for key, tensor in reference.state_dict().items():
        key = (
            key.replace("reg_token", "storage_tokens")
            .replace("gamma_1", "ls1.gamma")
            .replace("gamma_2", "ls2.gamma")
        )
        key = key.replace("fc1_g", "w1").replace("fc1_x", "w2")
        state[key.replace("fc2", "w3") if swiglu else key] = tensor
    for i in range(2):
        q, v = state.pop(f"blocks.{i}.attn.q_bias"), state.pop(f"blocks.{i}.attn.v_bias")
        state[f"blocks.{i}.attn.qkv.bias"] = torch.cat([q, torch.full_like(q, 9.0), v])
        state[f"blocks.{i}.attn.qkv.bias_mask"] = torch.cat([torch.ones(32), torch.zeros(32), torch.ones(32)])
    torch.save(state, tmp_path / "dinov3_pretrain.pth")
    encoder = build_encoder(name, 64, weights=tmp_path / "dinov3_pretrain.pth", overrides=tiny)
    converted = eva_filter(dict(state), reference)
    reference.load_state_dict(converted)
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(tokens_of(encoder, pixels), reference.forward_features(pixels))
    assert set(encoder.weights_report.not_used) == {"mask_token", "rope_embed.periods"}


def test_meta__sam_file(tmp_path):
    tiny = {
        "embed_dim": 32,
        "depth": 3,
        "num_heads": 2,
        "img_size": 64,
        "window_size": 2,
        "global_attn_indexes": (1,),
    }
    reference = timm.create_model("samvit_base_patch16", pretrained=False, num_classes=0, **tiny).eval()
    randomise(reference)
    state = {f"image_encoder.{k.replace('mlp.fc', 'mlp.lin')}": t for k, t in reference.state_dict().items()}
    state["prompt_encoder.no_mask_embed.weight"] = torch.zeros(1)
    torch.save(state, tmp_path / "sam_vit_b.pth")
    encoder = build_encoder(
        "sam-b", 64, weights=tmp_path / "sam_vit_b.pth", overrides=tiny, published_rel_pos=False
    )
    reference.load_state_dict(sam_filter(dict(state), reference))
    reference.neck = nn.Identity()
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = reference.forward_features(pixels).flatten(2).transpose(1, 2)
    assert torch.equal(tokens_of(encoder, pixels), expected)
    report = encoder.weights_report
    assert report.prefix == "image_encoder."
    assert "prompt_encoder.no_mask_embed.weight" in report.not_used
    assert "neck.0.weight" in report.not_used
