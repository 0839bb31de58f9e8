"""Tokens of frozen encoders: what is read is bit for bit what would be computed, and nothing else is ever given."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from support.tiny import tiny_recipe
from vfmseg.models.encoders import features
from vfmseg.models.encoders.features import FeatureStore, folder_bytes
from vfmseg.models.segmenter import Segmenter
from vfmseg.runs.assemble import build_model
from vfmseg.runs.recipe_reader import read_recipe

MASKS = {"num_queries": 3, "num_blocks": 1, "embed_dim": 16, "num_heads": 2}
DECODERS: dict[str, dict[str, Any]] = {
    "linear": {"name": "linear"},
    "mask2former": {"name": "mask2former", **MASKS},
    "eomt": {"name": "eomt", "num_queries": 3, "num_blocks": 1},
    "taps": {"name": "mask2former_full", **MASKS, "adapter": False, "taps": [0, 1, 2, 3]},
}


def segmenter_with(decoder: str = "linear", tuning: str = "frozen") -> Segmenter:
    torch.manual_seed(0)
    tree = tiny_recipe(decoder=DECODERS[decoder], tuning={"method": tuning})
    tree["encoder"]["overrides"]["depth"] = 4
    return build_model(read_recipe(tree).recipe, 4)


def store_in(folder: Path, **changes: Any) -> FeatureStore:
    keys = {"whole": folder, "most_bytes": 2**30, "keeps_training": True, **changes}
    return FeatureStore(folder / "encoder", lambda: "identity", **keys)


def images_of(seed: int = 0, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch, 3, 64, 64), dtype=torch.uint8, generator=generator)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def tensors_of(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    parts = output if isinstance(output, tuple) else vars(output).values()
    return [tensor for part in parts for tensor in tensors_of(part)]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("decoder", DECODERS)
def test_features__that_are_read_give_the_same_output_and_gradients(
    decoder: str, precision: str, tmp_path: Path
) -> None:
    segmenter = segmenter_with(decoder).train()

    def outcome(store: FeatureStore | None) -> list[Tensor]:
        segmenter.encoder.features = store
        segmenter.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            found = tensors_of(segmenter(images_of()))
        sum(one.float().square().sum() for one in found).backward()
        gradients = [p.grad for p in segmenter.decoder.parameters() if p.grad is not None]
        return [*(one.detach() for one in found), *gradients]

    plain = outcome(None)
    assert len(plain) > 1
    written = store_in(tmp_path)
    later = store_in(tmp_path)
    rounds = [outcome(store) for store in (written, later, later)]  # computed, compared, read
    assert (written.count.computed, written.count.read) == (1, 0)
    assert (later.count.computed, later.count.read, later.count.ended) == (1, 1, "")
    for found in rounds:
        for one, other in zip(found, plain, strict=True):
            assert torch.equal(one, other)


def test_features__are_of_the_same_images_precision_and_blocks_only(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    linear, eomt = segmenter_with("linear").eval(), segmenter_with("eomt").eval()
    linear.encoder.features = eomt.encoder.features = store
    linear(images_of(0))
    linear(images_of(1))
    linear(images_of(0, batch=1))
    with torch.autocast("cpu", torch.bfloat16):
        linear(images_of(0))
    eomt(images_of(0))
    assert (store.count.computed, store.count.read, len(files(tmp_path))) == (5, 0, 5)
    other = FeatureStore(
        tmp_path / "encoder", lambda: "other", whole=tmp_path, most_bytes=2**30, keeps_training=True
    )
    linear.encoder.features = other
    linear(images_of(0))
    assert (other.count.computed, other.count.read) == (1, 0)


def test_features__of_training_batches_are_kept_only_where_asked(tmp_path: Path) -> None:
    segmenter = segmenter_with().train()
    segmenter.encoder.features = store = store_in(tmp_path, keeps_training=False)
    segmenter(images_of())
    assert store.count.computed == 0
    assert not files(tmp_path)
    segmenter.eval()(images_of())
    assert store.count.computed == 1
    assert len(files(tmp_path)) == 1


def test_features__that_are_not_what_this_machine_computes_are_not_used(tmp_path: Path) -> None:
    segmenter = segmenter_with().eval()
    plain = segmenter(images_of()).logits
    segmenter.encoder.features = store_in(tmp_path)
    segmenter(images_of())
    (file,) = files(tmp_path)
    with safe_open(file, framework="pt") as opened:
        about, tokens = opened.metadata(), opened.get_tensor("0")
    tokens[0, 0, 0] += 1e-6
    save_file({"0": tokens}, file, about)
    segmenter.encoder.features = store = store_in(tmp_path)
    assert torch.equal(segmenter(images_of()).logits, plain)
    assert "this machine computes others" in store.count.ended
    assert torch.equal(segmenter(images_of()).logits, plain)


def test_features__that_are_damaged_are_computed_and_written_again(tmp_path: Path) -> None:
    segmenter = segmenter_with().eval()
    plain = segmenter(images_of()).logits
    segmenter.encoder.features = store_in(tmp_path)
    segmenter(images_of())
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    segmenter.encoder.features = store = store_in(tmp_path)
    assert torch.equal(segmenter(images_of()).logits, plain)
    assert (store.count.computed, store.count.ended) == (1, "")
    assert len(file.read_bytes()) == len(whole)


def test_features__take_no_more_disk_than_they_may(tmp_path: Path) -> None:
    segmenter = segmenter_with().eval()
    segmenter.encoder.features = store_in(tmp_path)
    segmenter(images_of(0))
    size = folder_bytes(tmp_path)
    segmenter.encoder.features = store = store_in(tmp_path, most_bytes=size + 100)
    segmenter(images_of(1))
    assert (store.count.computed, store.count.written_bytes, store.count.ended) == (1, 0, "")
    assert folder_bytes(tmp_path) == size


def test_features__that_cannot_be_written_end_and_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "encoder").write_text("in the way")
    segmenter = segmenter_with().eval()
    plain = segmenter(images_of()).logits
    segmenter.encoder.features = store = store_in(tmp_path)
    assert torch.equal(segmenter(images_of()).logits, plain)
    assert "could not be written" in store.count.ended


def test_features__are_asked_for_their_identity_at_the_first_images(tmp_path: Path) -> None:
    asked = []

    def identity() -> str:
        asked.append(1)
        return "weights"

    store = FeatureStore(tmp_path / "e", identity, whole=tmp_path, most_bytes=2**30, keeps_training=True)
    segmenter = segmenter_with().eval()
    segmenter.encoder.features = store
    assert not asked
    segmenter(images_of(0))
    segmenter(images_of(1))
    assert len(asked) == 1


@pytest.mark.parametrize(
    "tuning", ["full", "frozen", "rein", "lora", "soma", "adaptformer", "vpt", "bitfit", "partial"]
)
def test_segmenter__features_can_be_shared_of_a_frozen_encoder_alone(tuning: str) -> None:
    assert segmenter_with(tuning=tuning).features_can_be_shared == (tuning == "frozen")


def test_features__end_where_writing_or_reading_takes_longer_than_computing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = segmenter_with().eval()
    plain = segmenter(images_of()).logits
    segmenter.encoder.features = writer = store_in(tmp_path)
    segmenter(images_of())
    assert writer.count.ended == ""
    segmenter.encoder.features = reader = store_in(tmp_path)
    segmenter(images_of())
    with monkeypatch.context() as patch:
        patch.setattr(features, "_MOST_LOST", -1e9)  # whatever it took is too long
        assert torch.equal(segmenter(images_of()).logits, plain)
        assert (reader.count.read, reader.count.ended) == (1, "reading them takes longer than computing them")
        segmenter.encoder.features = writer
        segmenter(images_of(1))
        assert writer.count.ended == "writing them takes longer than computing them"
    segmenter.encoder.features = reader
    assert torch.equal(segmenter(images_of()).logits, plain)
    assert reader.count.read == 1


def test_features__are_not_charged_with_what_the_device_did_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What images on a GPU wait for, as soon as they are hashed: played by a clock that it moves on."""
    clock, queued = [0.0], [0.0]

    def wait(*given: Any) -> None:
        clock[0], queued[0] = clock[0] + queued[0], 0.0

    path_of = FeatureStore._path
    monkeypatch.setattr(features.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(features, "_settle", wait)
    monkeypatch.setattr(FeatureStore, "_path", lambda *given: (wait(), path_of(*given))[1])
    segmenter = segmenter_with().eval()
    for _ in range(2):
        segmenter.encoder.features = store = store_in(tmp_path)
        for _ in range(3):  # computed or compared, then read
            queued[0] = 100.0
            segmenter(images_of())
    assert (store.count.read, store.count.saved_seconds, store.count.ended) == (2, 0.0, "")


def test_features__that_are_compared_have_cost_what_hashing_and_reading_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = segmenter_with().eval()
    segmenter.encoder.features = store_in(tmp_path)
    segmenter(images_of())
    clock = [0.0]
    read = FeatureStore._read

    def slow(*given: Any) -> Any:
        clock[0] += 0.5
        return read(*given)

    monkeypatch.setattr(features.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(FeatureStore, "_read", slow)
    segmenter.encoder.features = store = store_in(tmp_path)
    segmenter(images_of())
    assert (store.count.computed, store.count.saved_seconds) == (1, -0.5)


def test_features__deleted_while_they_are_written_are_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = segmenter_with().eval()
    segmenter.encoder.features = store = store_in(tmp_path)

    def delete_and_save(tensors: Any, path: Path, about: Any) -> None:
        shutil.rmtree(path.parent)
        save_file(tensors, path, about)

    with monkeypatch.context() as patch:
        patch.setattr(features, "save_file", delete_and_save)
        segmenter(images_of())
    assert (store.count.ended, store.count.written_bytes) == ("", 0)
    segmenter(images_of())
    assert len(files(tmp_path)) == 1
