"""Files of published programs, told from ours and read without running code."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vfmseg.errors import WeightsError
from vfmseg.interop.tue_mps import is_tue_mps, read_tue_mps

STATE = {"network.encoder.backbone.cls_token": torch.ones(1, 1, 4), "network.q.weight": torch.ones(2, 4)}


def test_is_tue_mps__pickles_and_their_names(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    save_file(STATE, tmp_path / "theirs.safetensors")
    save_file({"network.encoder.cls_token": torch.ones(1)}, tmp_path / "benchmark.safetensors")
    save_file(
        {"encoder.vit.cls_token": torch.ones(1)}, tmp_path / "ours.safetensors", metadata={"vfmseg": "{}"}
    )
    (tmp_path / "empty.bin").write_bytes(b"")
    assert {file.name: is_tue_mps(file) for file in tmp_path.iterdir()} == {
        "pytorch_model.bin": True,
        "theirs.safetensors": True,
        "benchmark.safetensors": True,
        "ours.safetensors": False,
        "empty.bin": False,
    }


def test_read_tue_mps__state_dict_of_a_trainers_checkpoint(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "global_step": 5}, tmp_path / "last.ckpt")
    found = read_tue_mps(tmp_path / "last.ckpt")
    assert {name: tensor.shape for name, tensor in found.items()} == {n: t.shape for n, t in STATE.items()}


def test_read_tue_mps__other_programs_are_refused_with_their_names(tmp_path: Path) -> None:
    torch.save({"segmenter.encoder.vit.cls_token": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(
        WeightsError, match=r"no name in it begins with network\.encoder\., but with segmenter"
    ):
        read_tue_mps(tmp_path / "other.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match=r"no name in it begins with network\.encoder\., but with none"):
        read_tue_mps(tmp_path / "list.pth")


def test_read_tue_mps__code_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "code.bin").write_bytes(pickle.dumps(Path, protocol=2))
    with pytest.raises(
        WeightsError, match="is a pickle that would run code when opened, which vfmseg refuses"
    ):
        read_tue_mps(tmp_path / "code.bin")


def test_read_tue_mps__a_file_cut_short(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "whole.bin")
    (tmp_path / "cut.bin").write_bytes((tmp_path / "whole.bin").read_bytes()[:200])
    with pytest.raises(
        WeightsError, match="cannot be read as weights: damaged, cut short or of another kind"
    ):
        read_tue_mps(tmp_path / "cut.bin")
