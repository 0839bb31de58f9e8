"""The full Mask2Former's parts against the published Rein head's numbers, and against transformers."""

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional as F

from vfmseg.interop.rein import our_names
from vfmseg.models.decoders.deformable_attention import DeformableAttention
from vfmseg.models.decoders.full_mask2former import FullMask2FormerDecoder
from vfmseg.models.decoders.masked_attention import blocked_positions
from vfmseg.models.decoders.pixel_decoder import PixelDecoder
from vfmseg.types import MaskLogits

GOLDENS = Path(__file__).parents[1] / "goldens"
NUM_BLOCKS, NUM_LEVELS = 4, 3


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    ours: dict[str, Tensor] = {}
    for name, tensor in state.items():
        names = our_names(f"decode_head.{name}")
        ours.update(zip(names, tensor.chunk(len(names)), strict=True))
    return {name.removeprefix("decoder."): tensor for name, tensor in ours.items()}


class Given(nn.Module):
    """Stands where the encoder's maps are made, and hands out the recorded ones."""

    def forward(self, encoder: list[Tensor], pixels: None) -> list[Tensor]:
        return encoder


class Head(FullMask2FormerDecoder):
    """The decoder at the recorded sizes, linked to Rein's queries; of one case, with contents of its own all the same."""

    def __init__(self, case: str) -> None:
        super().__init__(
            24,
            5,
            16,
            adapter=False,
            taps=(0, 1, 2, 3),
            num_queries=12,
            num_blocks=NUM_BLOCKS,
            embed_dim=32,
            num_heads=4,
            feedforward_dim=64,
        )
        self.features = Given()  # type: ignore[assignment]
        self.neck = PixelDecoder(
            24, 32, num_layers=2, num_heads=4, num_points=2, feedforward_dim=48, num_groups=8
        )
        self.replaces = case == "replace"
        self.link_queries()
        if not self.replaces:
            self.transformer.query_content = nn.Parameter(torch.zeros(12, 32))

    def forward(self, features: list[Tensor], rein: Tensor) -> tuple[MaskLogits, ...]:  # type: ignore[override]
        if self.replaces:
            return super().forward(features, None, rein)  # type: ignore[arg-type]
        mask_features, levels = self.neck(features)
        output: tuple[MaskLogits, ...] = self.transformer(levels, mask_features, query_positions=rein)
        return output


def read(case: str) -> dict[str, Tensor]:
    with safe_open(GOLDENS / f"rein_mask2former_head_{case}.safetensors", "pt") as file:
        assert "Rein" in json.loads(file.metadata()["info"])["repo"]
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def part(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}


@pytest.fixture(params=["replace", "keep"])
def recorded(request: pytest.FixtureRequest) -> tuple[Head, dict[str, Tensor]]:
    shared = read("replace")
    golden = shared if request.param == "replace" else {**shared, **read("keep")}
    if request.param == "keep":  # gradients of what only the other case has
        golden = {k: v for k, v in golden.items() if k != "grad/querys2feat.weight"}
    head = Head(request.param)
    loaded = head.load_state_dict(renamed(part(golden, "state/")), strict=False)
    assert not loaded.unexpected_keys
    assert set(loaded.missing_keys) == set()
    return head.train(), golden


def inputs(golden: dict[str, Tensor]) -> tuple[list[Tensor], Tensor]:
    features = [golden[f"in/feat/{i}"].requires_grad_() for i in range(4)]
    return features, golden["in/query"].requires_grad_()


def test_pixel_decoder() -> None:
    golden = read("replace")
    head = Head("replace")
    head.load_state_dict(renamed(part(golden, "state/")), strict=False)
    mask_features, levels = head.neck(inputs(golden)[0])
    torch.testing.assert_close(mask_features, golden["pixel_decoder/mask_features"], rtol=1e-4, atol=1e-4)
    assert len(levels) == NUM_LEVELS
    for i, level in enumerate(levels):
        torch.testing.assert_close(level, golden[f"pixel_decoder/memory/{i}"], rtol=1e-4, atol=1e-4)


def test_forward__every_layer(recorded: tuple[Head, dict[str, Tensor]]) -> None:
    head, golden = recorded
    features, rein = inputs(golden)
    output = head(features, rein)
    assert len(output) == NUM_BLOCKS + 1
    for i, layer in enumerate(output):
        torch.testing.assert_close(layer.mask_logits, golden[f"out/mask_logits/{i}"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(layer.class_logits, golden[f"out/class_logits/{i}"], rtol=1e-4, atol=1e-4)


def test_attention_masks__resized_before_the_product(recorded: tuple[Head, dict[str, Tensor]]) -> None:
    head, golden = recorded
    seen: list[Tensor] = []
    for block in head.transformer.blocks:
        block.register_forward_pre_hook(lambda _, args: seen.append(args[4]))
    head(*inputs(golden))
    assert len(seen) == NUM_BLOCKS
    for i, may_attend in enumerate(seen):
        blocked = golden[f"out/blocked/{i}"].unflatten(0, (2, 4))  # B heads Q hw
        assert blocked.all(1).equal(blocked.any(1))  # the same for every head
        blocked = blocked[:, 0] & ~blocked[:, 0].all(-1, keepdim=True)
        assert (~may_attend).equal(blocked)
        logits = F.interpolate(golden[f"out/mask_logits/{i}"], size=features_size(i), mode="bilinear")
        assert blocked_positions(logits.flatten(2)).equal(blocked)


def features_size(block: int) -> tuple[int, int]:
    side = (2, 4, 8)[block % NUM_LEVELS]
    return side, side


def test_evaluation__is_the_last_layer(recorded: tuple[Head, dict[str, Tensor]]) -> None:
    head, golden = recorded
    (last,) = head.eval()(*inputs(golden))
    torch.testing.assert_close(
        last.mask_logits, golden[f"out/mask_logits/{NUM_BLOCKS}"], rtol=1e-4, atol=1e-4
    )
    masks = F.interpolate(last.mask_logits, size=(64, 64), mode="bilinear", align_corners=False).sigmoid()
    scores = torch.einsum("bqk,bqhw->bkhw", last.class_logits.softmax(-1)[..., :-1], masks)
    torch.testing.assert_close(scores, golden["predict/logits_64x64"], rtol=1e-4, atol=1e-4)


def test_gradients(recorded: tuple[Head, dict[str, Tensor]]) -> None:
    head, golden = recorded
    features, rein = inputs(golden)
    output = head(features, rein)
    sum(
        0.01 * (layer.mask_logits * golden[f"weight/mask_logits/{i}"]).sum()
        + (layer.class_logits * golden[f"weight/class_logits/{i}"]).sum()
        for i, layer in enumerate(output)
    ).backward()
    for i, feature in enumerate(features):
        torch.testing.assert_close(feature.grad, golden[f"grad_in/feat/{i}"], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(rein.grad, golden["grad_in/query"], rtol=1e-3, atol=1e-3)
    expected = renamed(part(golden, "grad/"))
    assert len(expected) == 5 + 2  # query, key and value were packed into one
    for name, gradient in expected.items():
        torch.testing.assert_close(head.get_parameter(name).grad, gradient, rtol=1e-3, atol=1e-3)


def test_deformable_attention__equals_transformers() -> None:
    """Deformable DETR in transformers is an independent implementation in plain PyTorch."""
    torch.manual_seed(0)
    sizes = [(5, 3), (4, 8), (2, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers.models.deformable_detr.configuration_deformable_detr import DeformableDetrConfig
        from transformers.models.deformable_detr.modeling_deformable_detr import (
            DeformableDetrMultiscaleDeformableAttention,
        )

        config = DeformableDetrConfig(d_model=32, num_feature_levels=3, disable_custom_kernels=True)
        theirs = DeformableDetrMultiscaleDeformableAttention(config, num_heads=4, n_points=2)
    ours = DeformableAttention(32, num_heads=4, num_levels=3, num_points=2)
    for parameter in ours.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    theirs.load_state_dict(ours.state_dict())  # the same names, too

    queries, features = torch.randn(2, 7, 32), torch.randn(2, sum(h * w for h, w in sizes), 32)
    places = torch.rand(7, 2)
    found = ours(queries, places, features, sizes)
    expected, _ = theirs(
        hidden_states=queries,
        encoder_hidden_states=features,
        reference_points=places[None, :, None].expand(2, -1, 3, -1),
        spatial_shapes=torch.tensor(sizes),
        spatial_shapes_list=sizes,
        level_start_index=torch.tensor([0, 15, 47]),
    )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
