"""What a recipe asks of the machine, and what it cannot have."""

from importlib import metadata

import pytest

from vfmseg.errors import RecipeError
from vfmseg.runs.machine import _strategy, settle_machine
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
        ({"name": "eomt"}, 2, "auto"),
    ],
)
def test_strategy__ddp_is_told_that_the_adapter_leaves_a_norm_without_gradient(
    decoder: dict[str, object], devices: int, strategy: str
) -> None:
    recipe = read_recipe(
        {"decoder": decoder, "trainer.devices": devices, "trainer.accelerator": "cpu"}
    ).recipe
    assert _strategy(recipe, settle_machine(recipe, lambda message: None)) == strategy
