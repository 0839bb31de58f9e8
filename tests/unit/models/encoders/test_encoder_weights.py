"""Files of weights: what can be read, and what is said of those that cannot."""

import json
import os

import pytest
import torch
from safetensors.torch import save_file

from support.encoders import randomise
from vfmseg.errors import RecipeError, WeightsError
from vfmseg.models.encoders.load import build_encoder
from vfmseg.models.encoders.weights import read_weights

TINY = {"embed_dim": 24, "depth": 3, "num_heads": 2, "img_size": 64}
NAME = "vit_tiny_patch16_224"


@pytest.fixture
def state():
    """Return the weights of a tiny ViT at 64 pixels, under timm's names."""
    encoder = build_encoder(NAME, 64, weights="random", overrides=TINY)
    randomise(encoder)
    return {k.removeprefix("vit."): v for k, v in encoder.state_dict().items()}


def build(path, image_size=64, **options):
    return build_encoder(NAME, image_size, weights=path, **{"overrides": TINY, **options})


def same_weights(encoder, state):
    return all(torch.equal(t, state[k.removeprefix("vit.")]) for k, t in encoder.state_dict().items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt", ".bin", ".pth.timm"])
def test_read__formats(state, suffix, tmp_path):
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    encoder = build(path)
    assert same_weights(encoder, state)
    assert encoder.weights_report.lines() == [f"weights: {path}"]


@pytest.mark.parametrize("container", ["model", "state_dict", "teacher", "module", "model_ema"])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "network.encoder.encoder.", "_orig_mod."])
def test_read__nested_and_prefixed(state, container, prefix, tmp_path):
    nested = {"epoch": 3, container: {f"{prefix}{k}": v for k, v in state.items()}, "optimizer": {"lr": 0.1}}
    torch.save(nested, tmp_path / "checkpoint.pth")
    encoder = build(tmp_path / "checkpoint.pth")
    assert same_weights(encoder, state)
    report = encoder.weights_report
    assert (report.container, report.prefix) == (container, prefix)
    assert f"taken from {container!r} inside the file" in report.lines()
    assert (f"prefix {prefix!r} cut from every name" in report.lines()) == bool(prefix)


def test_read__heads_are_reported(state, tmp_path):
    save_file(
        {**state, "head.weight": torch.zeros(10, 24), "head.bias": torch.zeros(10)},
        tmp_path / "w.safetensors",
    )
    report = build(tmp_path / "w.safetensors").weights_report
    assert "not used (2): head.bias, head.weight" in report.lines()


def test_read__what_is_outside_the_prefix_is_reported(state, tmp_path):
    outside = {"decode_head.conv.weight": torch.zeros(3)}
    torch.save({**{f"backbone.{k}": v for k, v in state.items()}, **outside}, tmp_path / "w.pth")
    assert build(tmp_path / "w.pth").weights_report.not_used == ("decode_head.conv.weight",)


def test_read__sharded_folder(state, tmp_path):
    names = sorted(state)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, own in parts.items():
        save_file({n: state[n] for n in own}, tmp_path / file)
    index = {"weight_map": {n: file for file, own in parts.items() for n in own}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert same_weights(build(tmp_path), state)


def test_read__empty_folder(tmp_path):
    with pytest.raises(WeightsError, match=r"holds no model\.safetensors; give the file itself"):
        read_weights(tmp_path)


def test_read__missing_file(tmp_path):
    with pytest.raises(
        WeightsError, match=r"encoder.weights .*nothing.pth: no such file. Give the path of a "
    ):
        build(tmp_path / "nothing.pth")


class RunsCode:
    def __reduce__(self):
        return os.getcwd, ()


def test_read__pickle_with_code_is_refused(tmp_path):
    torch.save({"model": RunsCode()}, tmp_path / "evil.pth")
    with pytest.raises(
        WeightsError, match=r"would run code when opened, .*convert it once: python -c .*weights_only=F"
    ):
        read_weights(tmp_path / "evil.pth")


def test_read__the_conversion_it_offers_works(state, tmp_path):
    torch.save({"model": state, "args": RunsCode()}, tmp_path / "checkpoint.pth")
    with pytest.raises(WeightsError) as refused:
        read_weights(tmp_path / "checkpoint.pth")
    code = str(refused.value).split('python -c "')[1].split('" and give')[0]
    exec(code, {})
    assert same_weights(build(tmp_path / "checkpoint.safetensors"), state)


@pytest.mark.parametrize("name", ["cut.safetensors", "cut.pth"])
def test_read__damaged_file(state, name, tmp_path):
    whole = tmp_path / f"whole{name[3:]}"
    (save_file if name.endswith("safetensors") else torch.save)(state, whole)
    (tmp_path / name).write_bytes(whole.read_bytes()[:3000])
    with pytest.raises(
        WeightsError, match=r"cannot be read as weights: damaged, cut short or of another kind"
    ):
        read_weights(tmp_path / name)


def test_read__no_state_dict(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds a list, not a state dict"):
        read_weights(tmp_path / "list.pth")
    torch.save({"epoch": 3, "step": 7}, tmp_path / "empty.pth")
    with pytest.raises(WeightsError, match="holds no weights; it holds epoch, step"):
        read_weights(tmp_path / "empty.pth")


def test_read__no_vision_transformer(tmp_path):
    torch.save({"layer1.0.conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pth")
    with pytest.raises(
        WeightsError, match=r"no vision transformer whose names vfmseg knows .*layer1.0.conv1.weight"
    ):
        read_weights(tmp_path / "resnet.pth")


def test_read__two_vision_transformers(state, tmp_path):
    both = {f"{who}.{k}": v for who in ("student", "teacher") for k, v in state.items()}
    torch.save(both, tmp_path / "both.pth")
    with pytest.raises(
        WeightsError, match=r"holds 2 vision transformers, under student., teacher.; save the one"
    ):
        read_weights(tmp_path / "both.pth")


def test_fill__names_what_is_missing_unknown_and_of_another_shape(state, tmp_path):
    for i in range(3):
        state[f"blocks.{i}.attn.lora.weight"] = state.pop(f"blocks.{i}.norm1.weight")
    state["blocks.1.mlp.fc2.bias"] = torch.zeros(12)
    del state["norm.bias"]
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError) as refused:
        build(tmp_path / "w.safetensors")
    assert str(refused.value).splitlines()[0].endswith(f"w.safetensors does not fit encoder.name '{NAME}':")
    assert "  missing in the file (4): blocks.{0-2}.norm1.weight, norm.bias" in str(refused.value)
    assert "  unknown to the encoder (3): blocks.{0-2}.attn.lora.weight" in str(refused.value)
    assert "  of another shape (1): blocks.1.mlp.fc2.bias is (12,) in the file, (24,) in the encoder" in str(
        refused.value
    )
    assert "set encoder.name (and encoder.sub_norm) to what the file holds" in str(refused.value)


def test_fill__another_width(state, tmp_path):
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(
        WeightsError, match=r"cls_token is \(1, 1, 24\) in the file, \(1, 1, 32\) in the encoder"
    ):
        build(tmp_path / "w.safetensors", overrides={**TINY, "embed_dim": 32})


def test_fill__sub_norms_asked_for_but_not_in_the_file(state, tmp_path):
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"missing in the file \(18\): blocks.{0-2}.attn.proj.0.weight"):
        build(tmp_path / "w.safetensors", sub_norm=True)


def test_own_size__positions_that_are_no_square(state, tmp_path):
    state["pos_embed"] = torch.zeros(1, 1 + 15, 24)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="the file has positions for 15 patches, which is no square grid"):
        build(tmp_path / "w.safetensors")


def test_own_size__of_a_run_of_vfmseg_is_in_its_recipe(state, tmp_path):
    state["pos_embed"] = torch.randn(1, 1 + 15, 24)
    header = {"recipe": {"encoder": {"image_size": [48, 80]}}}
    file = tmp_path / "model.safetensors"
    ours = {f"encoder.vit.{name}": tensor for name, tensor in state.items()}
    save_file({**ours, "decoder.layer.bias": torch.zeros(3)}, file, metadata={"vfmseg": json.dumps(header)})
    with pytest.raises(RecipeError, match=r"encoder\.positions stretch"):
        build(file)
    encoder = build(file, image_size=(48, 80))
    assert torch.equal(encoder.vit.pos_embed, state["pos_embed"])
    assert "decoder.layer.bias" in encoder.weights_report.not_used
    assert build(file, positions="stretch").vit.pos_embed.shape[1] == 1 + 16


def test_own_size__patches_that_are_no_square(state, tmp_path):
    state["patch_embed.proj.weight"] = torch.zeros(24, 3, 16, 8)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(
        WeightsError, match=r"patch embedding is \(24, 3, 16, 8\); expected \(C, 3, patch, patch\)"
    ):
        build(tmp_path / "w.safetensors")


@pytest.mark.parametrize("file_patch", [16, 8])
def test_own_size__file_made_at_another_grid_and_patch(file_patch, tmp_path):
    there = build_encoder(NAME, 96, file_patch, weights="random", overrides=TINY)
    randomise(there)
    save_file({k.removeprefix("vit."): v for k, v in there.state_dict().items()}, tmp_path / "w.safetensors")
    here = build_encoder(NAME, 128, 16, weights=tmp_path / "w.safetensors", overrides=TINY)
    there.adapt((128, 128), 16)
    for name, tensor in here.state_dict().items():
        torch.testing.assert_close(tensor, there.state_dict()[name])
    side = 96 // file_patch
    assert f"positions: {side}x{side} -> 8x8 (bicubic)" in here.weights_report.lines()


def file_of(name, overrides, folder, **more):
    """Write the weights of a tiny ``name``, and ``more``, to a file; return its path."""
    vit = build_encoder(name, overrides["img_size"], weights="random", overrides=overrides).vit
    save_file({**vit.state_dict(), **more}, folder / "more.safetensors")
    return folder / "more.safetensors"


def test_fill__a_final_norm_that_published_features_do_not_have(tmp_path):
    sizes = {**TINY, "embed_dim": 32, "img_size": 56}
    norms = {"norm.weight": torch.ones(32), "norm.bias": torch.ones(32)}
    file = file_of("eva02_small_patch14_224", sizes, tmp_path, **norms)
    encoder = build_encoder("eva02_small_patch14_224", 56, weights=file, overrides=sizes)
    assert set(encoder.weights_report.not_used) == {"norm.weight", "norm.bias"}


def test_fill__a_final_norm_of_another_kind(tmp_path):
    sizes = {**TINY, "img_size": 56}
    file = file_of("aimv2_large_patch14_224", sizes, tmp_path, **{"norm.bias": torch.ones(24)})
    with pytest.raises(WeightsError, match=r"unknown to the encoder \(1\): norm\.bias"):
        build_encoder("aimv2_large_patch14_224", 56, weights=file, overrides=sizes)


def test_names__zero_biases_have_no_place_but_change_nothing(tmp_path):
    tiny = {**TINY, "embed_dim": 32}
    biased = build_encoder("vit_small_patch16_dinov3_qkvb", 64, weights="random", overrides=tiny)
    state = {k.removeprefix("vit."): v for k, v in biased.state_dict().items()}
    for i in range(3):
        query, value = state.pop(f"blocks.{i}.attn.q_bias"), state.pop(f"blocks.{i}.attn.v_bias")
        state[f"blocks.{i}.attn.qkv.bias"] = torch.cat([query, torch.zeros(32), value])
    save_file(state, tmp_path / "zero.safetensors")
    build_encoder("vit_small_patch16_dinov3", 64, weights=tmp_path / "zero.safetensors", overrides=tiny)
    state["blocks.1.attn.qkv.bias"] = torch.ones(96)
    save_file(state, tmp_path / "nonzero.safetensors")
    unknown = "unknown to the encoder (3): blocks.1.attn.q_bias, blocks.1.attn.k_bias, blocks.1.attn.v_bias"
    with pytest.raises(WeightsError) as refused:
        build_encoder(
            "vit_small_patch16_dinov3", 64, weights=tmp_path / "nonzero.safetensors", overrides=tiny
        )
    assert unknown in str(refused.value)
