"""Files of weights that were damaged on the way: an error of ours, whatever was changed in them."""

from __future__ import annotations

import io
import pickle
import random

import pytest
import torch
from safetensors.torch import save

from support.errors import raises
from vfmseg.errors import WeightsError
from vfmseg.models.encoders.weights_file import is_pickle, read_file

_STATE = {"a": torch.arange(20.0), "b": torch.zeros(2, 3)}


def _saved(**settings: bool) -> bytes:
    content = io.BytesIO()
    torch.save({"state_dict": _STATE, "epoch": 3, "name": "x"}, content, **settings)
    return content.getvalue()


_WHOLE = {
    "safetensors": save(_STATE),
    "zip": _saved(),
    "pickle": _saved(_use_new_zipfile_serialization=False),
    "list": pickle.dumps([1, {"a": (2, 3)}], protocol=4),
}


@pytest.mark.parametrize("kind", ["safetensors", "zip", "pickle"])
def test_read_file__by_its_content_not_its_ending(kind: str, tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(_WHOLE[kind])
    assert is_pickle(path) == (kind != "safetensors")
    found = read_file(path)
    found = found if kind == "safetensors" else found["state_dict"]
    assert found.keys() == _STATE.keys()
    assert all(torch.equal(found[name], _STATE[name]) for name in _STATE)


@pytest.mark.filterwarnings("ignore")  # torch's, of storages that were damaged
@pytest.mark.parametrize("kind", _WHOLE)
def test_read_file__damaged_anywhere(kind: str, tmp_path):
    draw, path, refused = random.Random(0), tmp_path / "weights.bin", 0
    for _ in range(150):
        content = bytearray(_WHOLE[kind])
        if draw.random() < 0.5:
            del content[draw.randrange(len(content)) :]
        for _ in range(draw.randrange(1, 4)):
            if content:
                content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content)
        try:
            read_file(path)  # some changes are in the tensors' own numbers
        except WeightsError:
            refused += 1
    assert refused > 75


def test_read_file__garbage_is_not_called_code(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"\x80\x02" + random.Random(0).randbytes(300))
    with raises(
        WeightsError, "cannot be read as weights: damaged, cut short or of another kind", "Fetch it again"
    ):
        read_file(tmp_path / "weights.pth")
