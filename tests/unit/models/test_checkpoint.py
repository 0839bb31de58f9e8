import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from vfmseg.errors import CheckpointError, WeightsError
from vfmseg.models.checkpoint import (
    CheckpointHeader,
    find_model_file,
    load_into,
    read_header,
    read_tensors,
    save_model,
)
from vfmseg.types import LabelSpace

_SPACE = LabelSpace(("road", "car"), ((1, 2, 3), (4, 5, 6)), (False, True), (7, 26))
_HEADER = CheckpointHeader(
    {"seed": 3}, _SPACE, (0.1, 0.2, 0.3), (1.0, 1.0, 1.0), 7, {"val/miou": 0.5, "val/iou/car": None}
)


def test_save_model__comes_back_whole(tmp_path: Path) -> None:
    module = nn.Linear(3, 2)
    save_model(tmp_path, module, _HEADER)
    assert read_header(tmp_path) == _HEADER
    other = nn.Linear(3, 2)
    load_into(other, read_tensors(tmp_path), source=tmp_path)
    assert torch.equal(other.weight, module.weight)
    assert json.loads((tmp_path / "checkpoint.json").read_text()) == _HEADER.as_dict()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.json", "model.safetensors"]


def test_find_model_file__takes_the_best_of_a_run(tmp_path: Path) -> None:
    for name in ("last", "best"):
        save_model(tmp_path / "checkpoints" / name, nn.Linear(1, 1), _HEADER)
    assert find_model_file(tmp_path).parent.name == "best"
    assert find_model_file(tmp_path / "checkpoints" / "last").parent.name == "last"


def test_find_model_file__missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"There is no checkpoint at .*nowhere. Give a run folder"):
        find_model_file(tmp_path / "nowhere")
    with pytest.raises(
        CheckpointError, match=r"holds no model: looked for model.safetensors, checkpoints/best"
    ):
        find_model_file(tmp_path)


def test_read_header__of_another_program(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(
        CheckpointError, match="was not written by vfmseg: its header has no recipe and no classes"
    ):
        read_header(tmp_path)


def test_read__of_a_file_that_is_cut_short(tmp_path: Path) -> None:
    save_model(tmp_path, nn.Linear(30, 20), _HEADER)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-50])
    for read in (read_header, read_tensors):
        with pytest.raises(
            CheckpointError, match=r"is no whole model file: damaged, cut short .*give another"
        ):
            read(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "header too small"),
        (b"garbage" * 100, "header too large"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "header too large"),
        (b"task: semantic\n", "header too large"),
        (struct.pack("<Q", 12) + b'{"a": broken', "invalid JSON in header"),
    ],
    ids=["empty", "garbage", "picture", "recipe", "header"],
)
def test_read__of_a_file_that_is_something_else(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    for read in (read_header, read_tensors):
        with pytest.raises(
            CheckpointError, match=rf"is no whole model file: .*{reason}.*Copy or fetch it again"
        ):
            read(tmp_path)


@pytest.mark.parametrize(
    ("described", "reason"),
    [
        ("{broken", "cannot be understood: Expecting property name"),
        ("[1]", "cannot be understood: list indices"),
        ("null", "cannot be understood"),
        ("{}", "lacks 'recipe'"),
        (json.dumps({**_HEADER.as_dict(), "recipe": [1]}), "cannot be understood"),
        (json.dumps({**_HEADER.as_dict(), "classes": {"names": ["a"]}}), "lacks 'colours'"),
        (json.dumps({**_HEADER.as_dict(), "classes": [1]}), "cannot be understood"),
        (json.dumps({**_HEADER.as_dict(), "mean": None}), "cannot be understood"),
        (json.dumps({**_HEADER.as_dict(), "step": "x"}), "cannot be understood: invalid literal"),
    ],
)
def test_read_header__that_is_damaged(described: str, reason: str, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors", metadata={"vfmseg": described})
    with pytest.raises(CheckpointError, match=rf"is no whole model file: .*its header {reason}"):
        read_header(tmp_path)


def test_load_into__names_both_lists(tmp_path: Path) -> None:
    tensors = {"weight": torch.zeros(2, 4), "extra": torch.zeros(1)}
    with pytest.raises(WeightsError) as caught:
        load_into(nn.Linear(3, 2), tensors, source="file.safetensors")
    message = str(caught.value)
    assert "missing in the file (1): bias" in message
    assert "not in the model (1): extra" in message
    assert "weight: file (2, 4), model (2, 3)" in message
