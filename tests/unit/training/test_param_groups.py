import pytest
import torch

from vfmseg.models.build import build
from vfmseg.models.segmenter import Segmenter
from vfmseg.training.param_groups import parameter_groups


def _tiny(tuning: str = "full") -> Segmenter:
    return build(
        "vit_tiny_patch16_224",
        num_classes=3,
        tuning=tuning,
        image_size=32,
        weights="random",
        overrides={"embed_dim": 12, "depth": 3, "num_heads": 2},
        seed=0,
    )


def _groups(segmenter: Segmenter, layer_decay: float = 1.0) -> list[dict]:
    return parameter_groups(segmenter, learning_rate=1e-3, encoder_lr_factor=0.1, layer_decay=layer_decay)


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_groups__every_learning_parameter_exactly_once(layer_decay: float) -> None:
    segmenter = _tiny()
    grouped = [id(p) for group in _groups(segmenter, layer_decay) for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in segmenter.parameters())


def test_groups__published_rates() -> None:
    decoder, encoder = _groups(_tiny())
    assert (decoder["name"], decoder["lr"]) == ("decoder", 1e-3)
    assert (encoder["name"], encoder["lr"]) == ("encoder", pytest.approx(1e-4))


@pytest.mark.parametrize("layer_decay", [1.0, 0.5])
def test_groups__norms_need_not_decay(layer_decay: float) -> None:
    segmenter = _tiny()
    groups = parameter_groups(
        segmenter, learning_rate=1e-3, encoder_lr_factor=0.1, layer_decay=layer_decay, decay_norms=False
    )
    assert sorted(id(p) for g in groups for p in g["params"]) == sorted(id(p) for p in segmenter.parameters())
    spared = {id(p) for g in groups if g.get("weight_decay") == 0 for p in g["params"]}
    norms = [m for m in segmenter.modules() if isinstance(m, torch.nn.LayerNorm)]
    assert len(norms) == 7
    assert spared == {id(p) for m in norms for p in m.parameters()}
    assert all(("undecayed" in g["name"]) == (g.get("weight_decay") == 0) for g in groups)


def test_groups__frozen_encoder_has_none() -> None:
    segmenter = _tiny("frozen")
    (decoder,) = _groups(segmenter)
    assert {id(p) for p in decoder["params"]} == {id(p) for p in segmenter.decoder.parameters()}


def test_groups__layer_decay_halves_from_block_to_block() -> None:
    segmenter = _tiny()
    rate = {id(p): group["lr"] for group in _groups(segmenter, 0.5) for p in group["params"]}
    encoder = segmenter.encoder
    for parameter in encoder.parameters():
        block = encoder.block_of(parameter)
        expected = 1e-4 * 0.5 ** (2 - min(max(block, 0), 2))
        assert rate[id(parameter)] == pytest.approx(expected)


def test_frozen__keeps_no_activation_and_stays_in_evaluation_mode() -> None:
    segmenter = _tiny("frozen").train()
    assert not segmenter.encoder.training
    assert segmenter.decoder.training
    output = segmenter(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    features = segmenter.encoder(segmenter.encoder.normalise(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)))
    assert output.logits.requires_grad
    assert features.grad_fn is None
