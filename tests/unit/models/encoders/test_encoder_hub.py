"""What is said when the hub gives nothing; nothing here touches the network."""

import shutil
from types import SimpleNamespace

import huggingface_hub.constants
import pytest
import torch
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

from vfmseg.errors import HubError
from vfmseg.models.encoders import hub
from vfmseg.models.encoders.load import build_encoder


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Be where there is no network and nothing in the cache."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    # huggingface_hub reads both when it is first imported, which is before this test.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.parametrize(
    ("name", "hub_id"),
    [
        ("dinov2-b", "timm/vit_base_patch14_dinov2.lvd142m"),
        ("vit_tiny_patch16_224", "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"),
        ("facebook/dinov2-base", "facebook/dinov2-base"),
        ("someone/dinov2-finetuned", "someone/dinov2-finetuned"),
    ],
)
def test_offline__empty_cache(offline, name, hub_id):
    expected = (
        rf"the weights {hub_id} are not in the cache \(.*\), and HF_HUB_OFFLINE is set, so nothing is "
        r"downloaded. "
        rf"Either fetch them where there is a network \(`hf download {hub_id}`\) and copy the cache, or give "
        r"a local file with encoder.weights=PATH"
    )
    with pytest.raises(HubError, match=expected):
        build_encoder(name, 224, 16)


def test_offline__random_weights_need_no_hub(offline):
    encoder = build_encoder("facebook/dinov2-small", 224, 16, weights="random", overrides={"depth": 1})
    assert encoder.grid_size == (14, 14)


def fill_cache(cache, hub_id, folder):
    """Put the files of ``folder`` into the hub's cache as ``hub_id``."""
    repository = cache / "hub" / f"models--{hub_id.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, repository / "snapshots" / ("0" * 40))


def test_offline__timm_weights_in_the_cache(offline, tmp_path):
    expected = build_encoder("vit-test", 160, weights="random")
    (tmp_path / "files").mkdir()
    state = {k.removeprefix("vit."): t for k, t in expected.state_dict().items()}
    head = {"head.weight": torch.zeros(1000, 64), "head.bias": torch.zeros(1000)}
    save_file({**state, **head}, tmp_path / "files" / "model.safetensors")
    fill_cache(tmp_path, "timm/test_vit.r160_in1k", tmp_path / "files")
    encoder = build_encoder("vit-test", 160)
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, expected.state_dict()[name])
    assert encoder.weights_report.lines()[0] == "weights: timm/test_vit.r160_in1k"


def test_offline__transformers_weights_in_the_cache(offline, tmp_path):
    model = Dinov2Model(
        Dinov2Config(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=56)
    )
    model.save_pretrained(tmp_path / "files")
    BitImageProcessor().save_pretrained(tmp_path / "files")
    fill_cache(tmp_path, "someone/dinov2-finetuned", tmp_path / "files")
    encoder = build_encoder("someone/dinov2-finetuned", 64, 8)
    assert (encoder.embed_dim, encoder.grid_size) == (24, (8, 8))
    assert torch.equal(encoder.vit.norm.weight, model.layernorm.weight)


RESPONSE = SimpleNamespace(headers={}, request=None)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            GatedRepoError("403", response=RESPONSE),
            r"a/b is gated: its licence must be accepted first. The legal ways: \(1\) accept it on "
            r"https://huggingface.co/a/b .*`hf auth login` .*\(2\) give a local file with encoder.weights"
            r"=PATH .*\(3\) take an encoder that needs no access, like encoder.name=dinov2-b",
        ),
        (
            RepositoryNotFoundError("404", response=RESPONSE),
            r"the Hugging Face hub has no public model a/b. Check the spelling; if it is private, `hf auth",
        ),
        (
            LocalEntryNotFoundError("no connection"),
            r"not in the cache .*the Hugging Face hub cannot be reached",
        ),
        (
            EntryNotFoundError("no model.safetensors"),
            r"a/b lacks a file that vfmseg needs: no model.safetensors",
        ),
        (
            HfHubHTTPError("503", response=RESPONSE),
            r"a/b could not be fetched .* 503. Try again, or give",
        ),
        (HFValidationError("Bad."), r"'a/b' is no id of the Hugging Face hub: Bad. An id is OWNER/NAME"),
        (
            SafetensorError("cut"),
            r"weights of a/b are damaged \(cut\); fetch them again with `hf download a/b",
        ),
        (OSError("disk full"), r"a/b could not be fetched from the Hugging Face hub: disk full"),
    ],
)
def test_hub_errors__say_what_to_do(error, expected, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(HubError, match=expected) as refused, hub.hub_errors("a/b"):
        raise error
    assert refused.value.__cause__ is error


def hub_with(monkeypatch, folder, files):
    """Pretend that the hub holds ``files`` in ``folder`` and nothing else."""

    def download(hub_id, filename):
        if filename not in files:
            raise EntryNotFoundError(f"{hub_id} has no {filename}")
        return str(folder / filename)

    monkeypatch.setattr(hub, "hf_hub_download", download)


def test_fetch_weights__one_file(monkeypatch, tmp_path):
    hub_with(monkeypatch, tmp_path, ["model.safetensors"])
    assert hub.fetch_weights("a/b") == tmp_path / "model.safetensors"


def test_fetch_weights__several_files(monkeypatch, tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text('{"weight_map": {"x": "1.safetensors", "y": "2.safetensors"}}')
    hub_with(monkeypatch, tmp_path, [index.name, "1.safetensors", "2.safetensors"])
    assert hub.fetch_weights("a/b") == tmp_path
    hub_with(monkeypatch, tmp_path, [index.name, "1.safetensors"])
    with pytest.raises(HubError, match=r"a/b has no 2\.safetensors"):
        hub.fetch_weights("a/b")


def test_fetch_weights__none(monkeypatch, tmp_path):
    hub_with(monkeypatch, tmp_path, [])
    with pytest.raises(HubError, match=r"a/b lacks a file that vfmseg needs: a/b has no model\.safetensors"):
        hub.fetch_weights("a/b")
