"""Schedules and six whole training steps against the published EoMT (goldens schedules_eomt*, eomt_training_run)."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from support.eomt import build, dinov3_folder, in_order, our_name, part, read
from vfmseg.interop.tue_mps import from_tue_mps
from vfmseg.losses.criterion import MaskCriterion
from vfmseg.losses.settings import MaskLossSettings
from vfmseg.models.decoders.eomt import EoMTDecoder, from_published
from vfmseg.models.encoders.load import build_encoder
from vfmseg.models.segmenter import Segmenter
from vfmseg.models.tuning.basic import FullTuning
from vfmseg.tasks.semantic import SemanticTask
from vfmseg.training.module import OptimizerSettings, SegmentationModule
from vfmseg.training.schedule import MaskSchedule, annealing_spans, mask_probability
from vfmseg.types import LabelSpace, Targets

RUNS = [
    ("schedules_eomt", run) for run in ("dinov2_default", "llrd1", "llrd_l2_disabled", "no_warmup", "lr_mult")
] + [("schedules_eomt_hf", run) for run in ("dinov3_config", "dinov3_l2_enabled")]


@pytest.mark.parametrize("case", ["dinov2_like", "dinov3_like", "power1_same_step"])
def test_annealing__equals_the_published_probabilities(case: str) -> None:
    info, golden = read("schedules_eomt")
    setting = info["runs"][f"annealing/{case}"]
    schedule = MaskSchedule(
        starts=tuple(setting["start_steps"]), ends=tuple(setting["end_steps"]), power=setting["poly_power"]
    )
    for step, row in enumerate(golden[f"annealing/{case}/probs"].tolist()):
        assert schedule.probabilities(step) == pytest.approx(row, abs=1e-6)


@pytest.mark.parametrize(
    ("blocks", "steps", "starts", "ends"),
    [
        (4, 88692, [14782, 29564, 44346, 59128], [29564, 44346, 59128, 73910]),
        (3, 88692, [14782, 36955, 59128], [29564, 51737, 73910]),
        (5, 39120, [6520, 11410, 16300, 21190, 26080], [13040, 17930, 22820, 27710, 32600]),
    ],
)
def test_annealing_spans__are_the_published_steps(
    blocks: int, steps: int, starts: list[int], ends: list[int]
) -> None:
    spans = annealing_spans(blocks)
    assert [round(start * steps) for start, _ in spans] == pytest.approx(starts, abs=1)
    assert [round(end * steps) for _, end in spans] == pytest.approx(ends, abs=1)


def test_mask_probability__is_one_before_and_zero_after() -> None:
    assert [mask_probability(s, start=2, end=4, power=1.0) for s in range(6)] == [1, 1, 1, 0.5, 0, 0]


def test_mask_schedule__a_run_that_ends_with_masks_says_so() -> None:
    schedule = MaskSchedule(starts=(2, 4), ends=(4, 8))
    assert schedule.unfinished(9) == ""
    assert "at step 6" in schedule.unfinished(6)
    assert "probability 0.00, 0.77 (one a block)" in schedule.unfinished(6)
    assert MaskSchedule(starts=(2,), ends=(4,), at_inference=True).unfinished(1) == ""


def module_of(segmenter: Segmenter, settings: OptimizerSettings, masks: MaskSchedule) -> SegmentationModule:
    names = tuple("abcde")
    space = LabelSpace(names, ((0, 0, 0),) * 5, (True,) * 5)
    criterion = MaskCriterion(num_classes=5)
    return SegmentationModule(segmenter, criterion, SemanticTask(), space, settings, masks, seed=0)


def rates(module: SegmentationModule, steps: int) -> list[dict[int, float]]:
    """Return the rate of every parameter, by identity, during each step."""
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    found = []
    for _ in range(steps):
        found.append({id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]})
        optimizer.step()
        schedule.step()
    return found


def settings_of(arguments: dict[str, Any], total_steps: int) -> OptimizerSettings:
    spares = not arguments.get("llrd_l2_enabled", True) or arguments.get("lr_mult", 1.0) != 1.0
    warmup, encoder_warmup = arguments.get("warmup_steps", (0, 0))
    return OptimizerSettings(
        learning_rate=arguments.get("lr", 1e-4),
        encoder_lr_factor=1.0,
        layer_decay=arguments.get("llrd", 0.8),
        num_spared_blocks=2 if spares else 0,
        weight_decay=0.05,
        poly_power=arguments.get("poly_power", 0.9),
        warmup_steps=warmup,
        encoder_warmup_steps=encoder_warmup,
        total_steps=total_steps,
    )


@pytest.mark.parametrize(("file", "run"), RUNS)
def test_learning_rates__of_every_parameter_at_every_step(file: str, run: str, tmp_path: Path) -> None:
    info, golden = read(file)
    recorded, names = golden[f"{run}/lr"], info["runs"][run]["group_names"]
    if file.endswith("hf"):
        config = {
            "encoder_config_defaults": read("eomt_forward_dinov3_hf")[0]["encoder_config_defaults"],
            "encoder_kwargs": {
                "hidden_size": 32,
                "image_size": 64,
                "intermediate_size": 64,
                "num_attention_heads": 2,
                "num_hidden_layers": info["depth"],
                "num_register_tokens": 4,
                "patch_size": 16,
            },
        }
        encoder = build_encoder(dinov3_folder(config, tmp_path), 64, 16, weights="random")
    else:
        overrides = {"depth": info["depth"], "embed_dim": 16, "num_heads": 2}
        encoder = build_encoder(
            "vit_small_patch14_reg4_dinov2", 64, 16, weights="random", overrides=overrides
        )
    decoder = EoMTDecoder(encoder.embed_dim, 5, 16, num_queries=6, num_blocks=info["num_blocks"])
    segmenter = Segmenter(encoder, FullTuning(), decoder)
    settings = settings_of(info["runs"][run]["args"], info["runs"][run]["total_steps"])
    ours = rates(module_of(segmenter, settings, MaskSchedule()), len(recorded))

    # every published parameter, under our name, in our group
    tokens = {name: torch.zeros(3) for name in names}
    own = dict(segmenter.named_parameters())
    checked = 0
    for column, name in enumerate(names):
        places = _our_names(tokens, name, segmenter)
        for place in places:
            for step, row in enumerate(recorded[:, column].tolist()):
                assert ours[step][id(own[place])] == pytest.approx(row, rel=1e-9, abs=0), (name, place, step)
            checked += 1
    assert checked >= len(names) - 1  # transformers' mask token is no part of ours


def _our_names(tokens: dict[str, Tensor], name: str, segmenter: Segmenter) -> list[str]:
    """Return what a published parameter is called here; several may be joined in one of ours."""
    short = name.removeprefix("network.")
    if not short.startswith("encoder."):
        return [f"decoder.{n}" for n in from_published({short: tokens[name]})]
    found = our_name(short.removeprefix("encoder.backbone."))
    return [found] if found in dict(segmenter.named_parameters()) else []


def test_training__six_steps_of_the_published_run(tmp_path: Path) -> None:
    info, golden = read("eomt_training_run")
    arguments = info["args"]
    rand: list[Tensor] = []
    segmenter = build(info, part(golden, "state_before/"), tmp_path, rand)
    decoder = segmenter.decoder
    assert isinstance(decoder, EoMTDecoder)
    masks = MaskSchedule(
        starts=tuple(arguments["attn_mask_annealing_start_steps"]),
        ends=tuple(arguments["attn_mask_annealing_end_steps"]),
    )
    module = module_of(segmenter, settings_of(arguments, info["total_steps"]), masks)
    criterion = MaskCriterion(
        MaskLossSettings(num_points=arguments["num_points"]),
        num_classes=info["num_classes"],
        average="batch",
        draw=lambda shape: rand.pop(0),
    )
    configured = module.configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    segmenter.train()
    batches = [batch(golden, number) for number in range(2)]
    for step in range(info["total_steps"]):
        recorded = part(golden, f"step/{step}/")
        decoder.mask_probabilities = masks.probabilities(step)
        assert decoder.mask_probabilities == pytest.approx(recorded["attn_mask_probs"].tolist(), abs=1e-6)
        drawn = in_order(part(recorded, "rand/"))
        # the published program draws for a probability of zero, too, and compares with it
        of_masks = [p for p in decoder.mask_probabilities if p < 1]
        kept = [numbers for p, numbers in zip(of_masks, drawn[: len(of_masks)], strict=True) if p > 0]
        rand[:] = [*kept, *drawn[len(of_masks) :]]
        images, targets = batches[step % 2]
        loss, parts = criterion(segmenter(images), targets)
        assert not rand
        for published, ours in (("mask", "mask"), ("dice", "dice"), ("cross_entropy", "class")):
            for layer, suffix in enumerate(("_block_-2", "_block_-1", "")):
                name = f"loss_{ours}" if layer == 2 else f"layer{layer}_loss_{ours}"
                torch.testing.assert_close(
                    parts[name], recorded[f"loss_{published}{suffix}"], rtol=1e-4, atol=1e-5
                )
        torch.testing.assert_close(loss.detach(), recorded["total"], rtol=1e-4, atol=1e-4)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(segmenter.parameters(), info["gradient_clip_val"])
        torch.testing.assert_close(norm, recorded["grad_norm_before_clipping"], rtol=1e-3, atol=1e-3)
        optimizer.step()
        schedule.step()
    after = from_tue_mps(part(golden, "state_after/"), segmenter).tensors
    own = segmenter.state_dict()
    for name, tensor in after.items():
        torch.testing.assert_close(own[name], tensor, rtol=0, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def batch(golden: dict[str, Tensor], number: int) -> tuple[Tensor, tuple[Targets, ...]]:
    """Return the recorded images and masks; masks that share no pixel make one id map."""
    images = golden[f"batch/{number}/images"]
    targets = []
    for image in range(len(images)):
        masks, labels = (golden[f"batch/{number}/{kind}/{image}"] for kind in ("masks", "labels"))
        assert int(masks.sum(0).max()) <= 1
        ids = torch.where(masks.bool().any(0), masks.int().argmax(0), 255).to(torch.uint8)
        targets.append(Targets(ids, labels.long()))
    return images, tuple(targets)
