"""The benchmark's linear model end to end: logits, loss, gradients, windowed evaluation (goldens/linear_semantic)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from vfmseg.losses.criterion import PixelCriterion
from vfmseg.metrics.mean_iou import ConfusionMatrix
from vfmseg.models.build import build
from vfmseg.models.checkpoint import load_into
from vfmseg.models.segmenter import Segmenter
from vfmseg.tasks.semantic import predict_windows
from vfmseg.transforms.sliding_window import cut, plan_windows
from vfmseg.transforms.window_merge import merge
from vfmseg.types import Targets

GOLDEN = Path(__file__).parents[1] / "goldens" / "linear_semantic.safetensors"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with safe_open(GOLDEN, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping


def _ours(name: str) -> str:
    return name.replace("encoder.", "encoder.vit.", 1).replace("head.", "decoder.classifier.", 1)


@pytest.fixture(scope="module")
def segmenter(golden: dict[str, Tensor]) -> Segmenter:
    with safe_open(GOLDEN, "pt") as file:
        info = json.loads(file.metadata()["info"])
    sizes = info["encoder_kwargs_before_resampling"]
    built = build(
        info["encoder_name"],
        num_classes=info["num_classes"],
        image_size=tuple(info["img_size"]),
        patch_size=info["patch_size"],
        weights="random",
        overrides={key: sizes[key] for key in ("depth", "embed_dim", "num_heads")},
    )
    state = {_ours(k.removeprefix("state/")): v for k, v in golden.items() if k.startswith("state/")}
    constants = ("pixel_mean", "pixel_std", "mean", "std")
    load_into(
        built, {k: v for k, v in state.items() if k.rpartition(".")[2] not in constants}, source=GOLDEN.name
    )
    return built.eval()


def test_training__logits_loss_and_gradients(golden: dict[str, Tensor], segmenter: Segmenter) -> None:
    targets = tuple(Targets(golden[f"train/pixel_targets/{i}"]) for i in range(2))
    segmenter.zero_grad()
    output = segmenter(golden["train/images"])
    loss, _ = PixelCriterion(average="batch")(output, targets)
    loss.backward()
    torch.testing.assert_close(output.logits, golden["train/logits"], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(loss, golden["train/loss"], rtol=1e-5, atol=1e-5)
    parameters = dict(segmenter.named_parameters())
    recorded = {k.removeprefix("train/grad/"): v for k, v in golden.items() if k.startswith("train/grad/")}
    assert len(recorded) >= 10
    for name, gradient in recorded.items():
        torch.testing.assert_close(parameters[_ours(name)].grad, gradient, rtol=1e-3, atol=1e-3)


def test_evaluation__windows_logits_confusion_and_iou(
    golden: dict[str, Tensor], segmenter: Segmenter
) -> None:
    confusion = ConfusionMatrix(6)
    for index in range(3):
        image = golden[f"eval/image/{index}"]
        plan = plan_windows((image.shape[1], image.shape[2]), (64, 64))
        with torch.no_grad():
            merged = merge(segmenter(cut(image, plan)).logits, plan)
        torch.testing.assert_close(merged, golden[f"eval/logits/{index}"], rtol=1e-4, atol=1e-4)
        (found,) = predict_windows(segmenter, [image], (64, 64))
        confusion.update(found.classes, golden[f"eval/pixel_targets/{index}"])
    assert torch.equal(confusion.state, golden["eval/confusion"])
    published = confusion.scores([str(i) for i in range(6)], absent="zero")
    assert published.miou == pytest.approx(float(golden["eval/miou"]), abs=1e-6)


def test_image_average__is_the_published_batch_of_one_accumulated(
    golden: dict[str, Tensor], segmenter: Segmenter
) -> None:
    images = golden["train/images"]
    targets = tuple(Targets(golden[f"train/pixel_targets/{i}"]) for i in range(2))
    parameter = segmenter.encoder.blocks[0].attn.qkv.weight
    gradients = []
    for batches, criterion in (
        ([slice(0, 1), slice(1, 2)], PixelCriterion(average="batch")),
        ([slice(0, 2)], PixelCriterion()),
    ):
        segmenter.zero_grad()
        for part in batches:
            loss, _ = criterion(segmenter(images[part]), targets[part])
            (loss / len(batches)).backward()
        gradients.append(parameter.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)
