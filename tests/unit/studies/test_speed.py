"""What inference on one image costs, for every decoder and for tunings of each kind."""

import pytest
import torch

from vfmseg.models.build import build
from vfmseg.studies.speed import measure_speed

TINY = {"embed_dim": 24, "depth": 4, "num_heads": 2}
MASKS = {"num_queries": 3, "embed_dim": 16, "num_heads": 2}


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize(
    ("decoder", "options"),
    [
        ("linear", {}),
        ("eomt", {"num_queries": 3, "num_blocks": 1}),
        ("mask2former", {**MASKS, "num_blocks": 1}),
    ],
)
@pytest.mark.parametrize("tuning", ["full", "rein", "lora", "vpt"])
def test_speed__of_any_model_which_stays_as_it_was(
    precision: str, decoder: str, options: dict[str, int], tuning: str
) -> None:
    segmenter = build(
        "vit_tiny_patch16_224",
        num_classes=3,
        decoder=decoder,
        decoder_options=options,
        tuning=tuning,
        tuning_options={"num_tokens": 3} if tuning in ("rein", "vpt") else None,
        image_size=32,
        weights="random",
        overrides=TINY,
        seed=0,
    ).train()
    before = {name: tensor.clone() for name, tensor in segmenter.state_dict().items()}
    modes = [module.training for module in segmenter.modules()]
    found = measure_speed(segmenter, accelerator="cpu", precision=precision)
    assert 1e-5 < found["gflops"] < 0.1
    assert 0.01 < found["latency_ms"] < 10_000
    assert found["latency_device"]
    assert [module.training for module in segmenter.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in segmenter.state_dict().items())
    assert all(not p.is_inference() for p in segmenter.parameters())
