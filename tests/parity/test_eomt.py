"""The EoMT decoder against the published program's recorded numbers (goldens/eomt_forward_*)."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from support.eomt import SEPARATE, Golden, build, in_order, our_name, part, read
from vfmseg.models.decoders.eomt import EoMTDecoder, from_published
from vfmseg.models.segmenter import Segmenter
from vfmseg.types import MaskLogits

FILES = ("dinov2_reg", "dinov2_reg_wide", "vit_cls", "dinov3_hf")


def assert_predictions(output: tuple[MaskLogits, ...], recorded: Golden) -> None:
    masks, classes = in_order(part(recorded, "mask_logits/")), in_order(part(recorded, "class_logits/"))
    assert len(output) == len(masks)
    for ours, mask, cls in zip(output, masks, classes, strict=True):
        torch.testing.assert_close(ours.mask_logits, mask, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.class_logits, cls, rtol=1e-4, atol=1e-4)


@pytest.fixture(params=FILES)
def recorded(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Golden]:
    return read(f"eomt_forward_{request.param}")


@pytest.mark.parametrize("case", ["masked", "half", "unmasked_by_probability", "off"])
def test_forward__every_prediction_and_mask(
    case: str, recorded: tuple[dict[str, Any], Golden], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info, golden = recorded
    setting = info["cases"][case]
    rand = in_order(part(golden, f"{case}/rand/"))
    if case == "unmasked_by_probability":
        rand = []  # published code draws, and compares with zero
    segmenter = build(info, part(golden, "state/"), tmp_path, rand)
    decoder = segmenter.decoder
    assert isinstance(decoder, EoMTDecoder)
    decoder.train()  # the encoder stays in evaluation mode: its rotary positions are not jittered
    decoder.mask_probabilities = tuple(setting["attn_mask_probs"])
    if case == "off":
        decoder.mask_probabilities = (0.0,) * info["num_blocks"]
        decoder.supervise_all = False
    masks = []
    make = decoder._mask
    monkeypatch.setattr(decoder, "_mask", lambda *a: masks.append(make(*a)) or masks[-1])
    output = segmenter(golden["images"])
    assert_predictions(output, part(golden, f"{case}/"))
    for ours, allowed in zip(masks, in_order(part(golden, f"{case}/query_to_patch_allowed/")), strict=False):
        assert allowed.bool().all() if ours is None else torch.equal(ours, allowed.bool())
    assert not rand

    gradients = part(golden, f"{case}/grad/")
    if gradients:
        mask_weights, class_weights = (
            in_order(part(golden, f"weight/{kind}_logits/")) for kind in ("mask", "class")
        )
        used = zip(output, mask_weights[-len(output) :], class_weights[-len(output) :], strict=True)
        sum(0.01 * (o.mask_logits * m).sum() + (o.class_logits * c).sum() for o, m, c in used).backward()
        assert_gradients(segmenter, gradients)


def assert_gradients(segmenter: Segmenter, recorded: Golden) -> None:
    """Compare gradients under the published names; of joined parameters, the recorded part."""
    own = {name: p.grad for name, p in segmenter.named_parameters()}
    decoder = {n: t for n, t in recorded.items() if not n.startswith("encoder.")}
    for name, gradient in from_published(decoder).items():
        torch.testing.assert_close(own[f"decoder.{name}"], gradient, rtol=1e-3, atol=1e-3)
    for name, gradient in recorded.items():
        if name.startswith("encoder."):
            ours = gradient_of(own, name.removeprefix("encoder.backbone."), gradient)
            torch.testing.assert_close(ours, gradient, rtol=1e-3, atol=1e-3)


def gradient_of(own: dict[str, Tensor | None], name: str, like: Tensor) -> Tensor:
    found = own[our_name(name)]
    assert found is not None
    if name.endswith("_proj.weight") and name.split(".")[-2] in SEPARATE:
        found = found.chunk(3)[SEPARATE.index(name.split(".")[-2])]
    return found.view_as(like)


def test_evaluation__only_the_last_prediction(
    recorded: tuple[dict[str, Any], Golden], tmp_path: Path
) -> None:
    info, golden = recorded
    segmenter = build(info, part(golden, "state/"), tmp_path, []).eval()
    assert_predictions(segmenter(golden["images"]), part(golden, "off/"))


def test_training_mode__rotary_positions_rescaled_once_per_forward_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info, golden = read("eomt_forward_dinov3_hf")
    segmenter = build(info, part(golden, "state/"), tmp_path, [], rope_rescale=2.0).train()
    segmenter.decoder.mask_probabilities = (1.0,) * info["num_blocks"]
    factors = [golden["train_mode/coordinate_factor"]]
    monkeypatch.setattr(
        "timm.layers.pos_embed_sincos._apply_coord_augs", lambda coords, *a: coords * factors.pop(0)
    )
    assert_predictions(segmenter(golden["images"]), part(golden, "train_mode/"))
    assert not factors
