"""The plain Mask2Former decoder against the published benchmark's recorded numbers."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from torch import Tensor, nn

from vfmseg.models.decoders.mask2former import (
    Mask2FormerDecoder,
    blocked_positions,
    from_published,
    sine_positions,
)

GOLDENS = Path(__file__).parents[1] / "goldens"
CASES = ("square", "wide")


class GridEncoder(nn.Module):
    """What the decoder asks of an encoder, around timm's own model."""

    def __init__(self, info: dict[str, Any], state: dict[str, Tensor]) -> None:
        super().__init__()
        sizes = {"img_size": tuple(info["img_size"]), "patch_size": info["patch_size"]}
        kwargs = info["encoder_kwargs_before_resampling"] | sizes
        self.model = timm.create_model(info["encoder_name"], pretrained=False, num_classes=0, **kwargs)
        encoder = {k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}
        self.model.load_state_dict(encoder)
        self.grid = tuple(side // info["patch_size"] for side in info["img_size"])

    def forward_grid(self, pixels: Tensor) -> Tensor:
        tokens = self.model.forward_features(pixels)[:, self.model.num_prefix_tokens :]
        return tokens.transpose(1, 2).unflatten(2, self.grid)


@pytest.fixture(params=CASES)
def recorded(request: pytest.FixtureRequest) -> tuple[dict[str, Any], dict[str, Tensor]]:
    with safe_open(GOLDENS / f"mask2former_plain_{request.param}.safetensors", "pt") as file:
        return json.loads(file.metadata()["info"]), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def build(info: dict[str, Any], golden: dict[str, Tensor]) -> tuple[GridEncoder, Mask2FormerDecoder, Tensor]:
    state = {k.removeprefix("state/"): v for k, v in golden.items() if k.startswith("state/")}
    sizes = info["decoder"]
    decoder = Mask2FormerDecoder(
        info["encoder_kwargs_before_resampling"]["embed_dim"],
        info["num_classes"],
        num_queries=sizes["num_queries"],
        num_blocks=sizes["num_blocks"],
        embed_dim=sizes["embed_dim"],
        num_heads=sizes["num_attn_heads"],
    )
    own = {k: v for k, v in state.items() if not k.startswith(("encoder.", "pixel_"))}
    decoder.load_state_dict(from_published(own))
    pixels = (golden["image"] / 255 - state["pixel_mean"]) / state["pixel_std"]
    return GridEncoder(info, state), decoder, pixels


def test_forward__every_layer(recorded: tuple[dict[str, Any], dict[str, Tensor]]) -> None:
    info, golden = recorded
    encoder, decoder, pixels = build(info, golden)
    output = decoder.train()(encoder, pixels)  # type: ignore[arg-type]
    assert len(output) == info["decoder"]["num_blocks"] + 1
    fully_negative = 0
    for i, layer in enumerate(output):
        torch.testing.assert_close(layer.mask_logits, golden[f"mask_logits/{i}"], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(layer.class_logits, golden[f"class_logits/{i}"], rtol=1e-4, atol=1e-4)
        assert blocked_positions(layer.mask_logits.flatten(2)).equal(golden[f"blocked/{i}"])
        fully_negative += int((layer.mask_logits < 0).flatten(2).all(-1).sum())
    assert fully_negative == info["all_negative_mask_rows"]


def test_evaluation__is_the_last_layer(recorded: tuple[dict[str, Any], dict[str, Tensor]]) -> None:
    info, golden = recorded
    encoder, decoder, pixels = build(info, golden)
    (last,) = decoder.eval()(encoder, pixels)  # type: ignore[arg-type]
    i = info["decoder"]["num_blocks"]
    torch.testing.assert_close(last.mask_logits, golden[f"mask_logits/{i}"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(last.class_logits, golden[f"class_logits/{i}"], rtol=1e-4, atol=1e-4)


def test_gradients(recorded: tuple[dict[str, Any], dict[str, Tensor]]) -> None:
    info, golden = recorded
    encoder, decoder, pixels = build(info, golden)
    output = decoder.train()(encoder, pixels)  # type: ignore[arg-type]
    scalar = sum(
        0.01 * (layer.mask_logits * golden[f"weight/mask_logits/{i}"]).sum()
        + (layer.class_logits * golden[f"weight/class_logits/{i}"]).sum()
        for i, layer in enumerate(output)
    )
    scalar.backward()
    recorded_gradients = {k.removeprefix("grad/"): v for k, v in golden.items() if k.startswith("grad/")}
    of_encoder = recorded_gradients.pop("encoder.norm.weight")
    torch.testing.assert_close(encoder.model.norm.weight.grad, of_encoder, rtol=1e-3, atol=1e-3)
    expected = from_published(recorded_gradients)
    assert len(recorded_gradients) == 6 + info["decoder"]["num_blocks"]
    assert len(expected) == len(recorded_gradients) + 2  # query, key and value were packed into one
    for name, gradient in expected.items():
        torch.testing.assert_close(decoder.get_parameter(name).grad, gradient, rtol=1e-3, atol=1e-3)


def test_key_positions(recorded: tuple[dict[str, Any], dict[str, Tensor]]) -> None:
    _, golden = recorded
    expected = golden["key_position_embedding"]  # 1 C h w
    found = sine_positions((expected.shape[2], expected.shape[3]), expected.shape[1], expected)
    torch.testing.assert_close(found.t().view_as(expected), expected, rtol=1e-5, atol=1e-6)
