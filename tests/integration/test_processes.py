"""Two processes with half the batch each learn what one process with the whole batch learns."""

from pathlib import Path

import torch
import yaml

import vfmseg
from support.processes import Command
from support.tiny import tiny_recipe
from vfmseg.models.checkpoint import read_tensors


def test_two_gloo_processes__equal_one_with_the_doubled_batch(tmp_path: Path) -> None:
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(tiny_recipe(data={"batch_size": 2})))
    words = ["fit", "-c", recipe, "--out", tmp_path / "two", "--no_report"]
    done = Command([*words, "--trainer.devices", "2", "--trainer.strategy", "ddp"], tmp_path / "said")
    assert done.wait() == 0, done.stderr
    whole = vfmseg.fit(tiny_recipe(data={"batch_size": 4}), out=tmp_path / "one", say=lambda message: None)
    one, two = (read_tensors(tmp_path / name / "checkpoints" / "last") for name in ("one", "two"))
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=1e-3, atol=2e-5)
    again = vfmseg.validate(tmp_path / "two" / "checkpoints" / "last", say=lambda message: None)
    assert f"mIoU {100 * again.scores.miou:.2f} %" in done.stdout
    assert whole.result["num_devices"] == 1
