"""What a recipe asks of the machine, and what it cannot have."""

import os
import sys
from importlib import metadata

import pytest
import torch

from support.processes import elsewhere
from vfmseg.errors import RecipeError, ResourceError
from vfmseg.runs.machine import _strategy, build_trainer, process_given_back, settle_machine
from vfmseg.runs.recipe_reader import read_recipe


def _settle(trains: bool = True, **keys: object):
    recipe = read_recipe({"trainer.accelerator": "cpu", **keys}).recipe
    return settle_machine(recipe, lambda message: None, trains=trains)


def _has_wandb() -> bool:
    try:
        return bool(metadata.version("wandb"))
    except metadata.PackageNotFoundError:
        return False


@pytest.mark.skipif(_has_wandb(), reason="wandb is installed")
def test_wandb__that_is_missing_is_said_before_any_work(tmp_path, monkeypatch) -> None:
    (tmp_path / "wandb").mkdir()  # W&B makes such a folder, and Python takes it for a package
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        RecipeError, match=r"names wandb, which is not installed: pip install 'vfmseg\[wandb\]'"
    ):
        _settle(**{"training.loggers": ["tensorboard", "wandb"]})


def test_devices__more_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for asked in (4, [0, 2]):
        with pytest.raises(ResourceError) as caught:
            _settle(**{"trainer.accelerator": "auto", "trainer.devices": asked})
        assert f"trainer.devices is {asked}, but there are 2 GPUs (0..1). Use --trainer.devices 2:" in str(
            caught.value
        )


def test_fsdp__needs_gpus() -> None:
    with pytest.raises(RecipeError, match=r"trainer\.strategy fsdp needs GPUs.* Use auto or ddp"):
        _settle(**{"trainer.strategy": "fsdp"})


def test_batch__that_cannot_be_reached_matters_only_where_something_is_trained() -> None:
    keys = {"trainer.devices": 3, "data.batch_size": 1, "training.effective_batch_size": 16}
    with pytest.raises(RecipeError, match="use fewer devices"):
        _settle(**keys)
    assert _settle(trains=False, **keys).num_devices == 3


@pytest.mark.parametrize(
    ("decoder", "devices", "strategy"),
    [
        ({"name": "mask2former_full"}, 2, "ddp_find_unused_parameters_true"),
        ({"name": "mask2former_full"}, 1, "auto"),
        ({"name": "mask2former_full", "adapter": False}, 2, "auto"),
        (
            {"name": "mask2former_full", "adapter": False, "taps": [0, 1, 2, 3]},
            2,
            "ddp_find_unused_parameters_true",
        ),
        ({"name": "eomt"}, 2, "auto"),
    ],
)
def test_strategy__ddp_is_told_where_a_decoder_leaves_a_norm_without_gradient(
    decoder: dict[str, object], devices: int, strategy: str
) -> None:
    recipe = read_recipe(
        {"decoder": decoder, "trainer.devices": devices, "trainer.accelerator": "cpu"}
    ).recipe
    assert _strategy(recipe, settle_machine(recipe, lambda message: None)) == strategy


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _freed_and_left() -> tuple[int, int]:
    """Return the bytes that the process has grown by once blocks are freed, and once they are given back."""
    before = _resident()
    with process_given_back():
        # small enough for the heap, not for pages of their own
        blocks = [bytearray(100_000) for _ in range(2_000)]
        last = bytearray(100_000)  # what lives on above keeps the heap from shrinking
        del blocks
        kept = _resident() - before
    left = _resident() - before
    del last
    return kept, left


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_process_given_back__leaves_only_what_lives() -> None:
    freed, after = elsewhere(_freed_and_left)
    if freed < 100_000_000:
        pytest.skip("this allocator gives freed memory back by itself")
    assert after < 20_000_000


def test_process_given_back__torch_is_set_as_before(monkeypatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()
    recipe = read_recipe({"trainer.accelerator": "cpu", "training.matmul_precision": "medium"}).recipe
    machine = settle_machine(recipe, lambda message: None)
    with process_given_back():
        build_trainer(recipe, machine, callbacks=[], loggers=[])
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.get_float32_matmul_precision() == "medium"
        assert "CUBLAS_WORKSPACE_CONFIG" in os.environ
    assert (torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()) == before
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
