import pytest
import torch
from torch import Tensor, nn

from vfmseg.models.decoders.vit_adapter import ViTAdapter
from vfmseg.models.encoders.base import Encoder
from vfmseg.models.encoders.load import build_encoder


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def tiny_encoder(image_size: tuple[int, int] = (64, 96), patch_size: int = 16, depth: int = 4) -> Encoder:
    """Five prefix tokens."""
    return build_encoder(
        "vit_base_patch14_reg4_dinov2.lvd142m",
        image_size,
        patch_size,
        weights="random",
        overrides={"embed_dim": 32, "depth": depth, "num_heads": 2, "img_size": 56},
    )


def awake(adapter: ViTAdapter) -> ViTAdapter:
    """With injectors that inject, and offsets that depend on what asks."""
    for name, parameter in adapter.named_parameters():
        if name.endswith(("gamma", "sampling_offsets.weight", "attention_weights.weight")):
            parameter.data += 0.3 * torch.randn_like(parameter)
    return adapter


@pytest.mark.parametrize(
    ("patch_size", "image_size"), [(16, (64, 96)), (14, (70, 42)), (8, (64, 32)), (32, (64, 96))]
)
def test_adapter__strides_of_the_image_at_any_patch_size(
    patch_size: int, image_size: tuple[int, int]
) -> None:
    encoder = tiny_encoder(image_size, patch_size)
    maps = ViTAdapter(32)(encoder, torch.randn(2, 3, *image_size))
    for stride, found in zip((4, 8, 16, 32), maps, strict=True):
        assert found.shape == (2, 32, *(-(-side // stride) for side in image_size))


def test_adapter__every_parameter_and_the_encoder_learn() -> None:
    encoder, adapter = tiny_encoder(), awake(ViTAdapter(32))
    maps = adapter(encoder, torch.randn(2, 3, 64, 96))
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()
    assert not [n for n, p in adapter.named_parameters() if p.grad is None or not p.grad.any()]
    without = [n for n, p in encoder.named_parameters() if p.grad is None]
    assert without == ["vit.norm.weight", "vit.norm.bias"]  # published without


def test_adapter__learns_through_a_frozen_encoder() -> None:
    encoder, adapter = tiny_encoder().requires_grad_(False), awake(ViTAdapter(32))
    maps = adapter(encoder, torch.randn(2, 3, 64, 64 + 32))
    sum((m * torch.randn_like(m)).sum() for m in maps).backward()
    assert not [n for n, p in adapter.named_parameters() if p.grad is None or not p.grad.any()]
    assert all(p.grad is None for p in encoder.parameters())


def test_adapter__at_first_the_encoder_sees_nothing_of_it() -> None:
    """gamma starts at zero: the pre-trained features come through untouched."""
    encoder, adapter = tiny_encoder().eval(), ViTAdapter(32).eval()
    silence_prior(adapter)
    seen: list[Tensor] = []
    adapter.norm3.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    pixels = torch.randn(1, 3, 64, 96)
    adapter(encoder, pixels)
    tokens = encoder.run_blocks(encoder.embed(pixels), 0, 3)
    torch.testing.assert_close(seen[0], encoder.to_grid(tokens))  # stride 16 is the grid's own


def silence_prior(adapter: ViTAdapter) -> None:
    """Zero what the convolutional branch says, so that only the encoder's maps are left."""
    nn.init.zeros_(adapter.level_embed)
    layers = [adapter.spm.fc1, adapter.spm.fc2, adapter.spm.fc3, adapter.spm.fc4]
    for interaction in adapter.interactions:
        for extractor in (interaction.extractor, *interaction.extra_extractors):
            layers += [extractor.attn.output_proj, extractor.ffn.fc2]
    for layer in layers:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


@pytest.mark.parametrize(("depth", "runs"), [(4, [1, 1, 1, 1]), (12, [3, 3, 3, 3]), (6, [1, 2, 1, 2])])
def test_adapter__four_interactions_share_the_blocks(depth: int, runs: list[int]) -> None:
    encoder, adapter = tiny_encoder(depth=depth), ViTAdapter(32)
    found: list[int] = []
    run_blocks = encoder.run_blocks

    def counted(tokens: Tensor, start: int, stop: int) -> Tensor:
        found.append(stop - start)
        return run_blocks(tokens, start, stop)

    encoder.run_blocks = counted  # type: ignore[method-assign]
    adapter(encoder, torch.randn(1, 3, 64, 96))
    assert found == runs


def test_adapter__names_are_the_published_ones() -> None:
    with torch.device("meta"):
        adapter = ViTAdapter(1024)
    names = set(adapter.state_dict())
    for name in (
        "level_embed",
        "spm.stem.0.weight",
        "spm.stem.7.running_mean",
        "spm.conv4.1.bias",
        "spm.fc4.bias",
        "interactions.0.injector.gamma",
        "interactions.3.extra_extractors.1.attn.sampling_offsets.bias",
        "interactions.2.extractor.ffn.fc2.weight",
        "up.weight",
        "norm4.running_var",
    ):
        assert name in names
    assert adapter.interactions[0].injector.attn.num_heads == 16
    assert adapter.interactions[0].injector.attn.value_proj.out_features == 512
    assert not [n for n in names if n.startswith("interactions.2.extra_extractors")]


def test_adapter__starts_as_published() -> None:
    adapter = ViTAdapter(64)
    assert not adapter.interactions[0].injector.gamma.any()
    assert not adapter.interactions[0].extractor.attn.sampling_offsets.weight.any()
    assert adapter.interactions[0].extractor.attn.sampling_offsets.bias.any()
    fc1 = adapter.interactions[0].extractor.ffn.fc1
    torch.testing.assert_close(fc1.weight.std(), torch.tensor(0.02), rtol=0.1, atol=0)
    stem = adapter.spm.stem[3]
    torch.testing.assert_close(stem.weight.std(), torch.tensor((2 / (9 * 64)) ** 0.5), rtol=0.05, atol=0)


def test_adapter__images_do_not_see_each_other_in_evaluation() -> None:
    encoder, adapter = tiny_encoder().eval(), awake(ViTAdapter(32)).eval()
    pixels = torch.randn(2, 3, 64, 96)
    for both, second in zip(adapter(encoder, pixels), adapter(encoder, pixels[1:]), strict=True):
        torch.testing.assert_close(both[1:], second, rtol=1e-4, atol=1e-4)
