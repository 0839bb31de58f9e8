"""What a recipe asks of the machine in, devices, precision, accumulation, trainer and loggers out."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import Logger

from vfmseg.errors import RecipeError, ResourceError
from vfmseg.runs.assemble import Say
from vfmseg.runs.decoder_recipe import FullMask2FormerRecipe
from vfmseg.runs.recipe import Recipe, in_steps
from vfmseg.runs.recipe_reader import recipe_tree
from vfmseg.training.callbacks.checkpoints import SafeCheckpointIO


@dataclass(frozen=True)
class Machine:
    """On what a run runs, as settled from the recipe and what there is."""

    accelerator: str
    devices: int | list[int]
    num_devices: int
    """Over all nodes."""
    precision: str
    accumulate: int
    """Micro-batches an optimiser step."""


_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@contextmanager
def process_given_back() -> Iterator[None]:
    """Leave the process as it was before a run: what torch is set to, and the memory that the run has freed.

    glibc keeps such memory, and the runs of one process would add up to an OOM. Determinism, which a run on a CPU asks
    for, would slow down whatever the process does next.
    """
    determinism = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    precision, workspace = torch.get_float32_matmul_precision(), os.environ.get(_WORKSPACE)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(determinism, warn_only=warns)
        torch.set_float32_matmul_precision(precision)
        if workspace is None:
            os.environ.pop(_WORKSPACE, None)  # Lightning's
        gc.collect()
        if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # musl has none
            libc.malloc_trim(0)


def settle_machine(recipe: Recipe, say: Say, *, trains: bool = True) -> Machine:
    """Decide devices, precision and accumulation before anything is loaded.

    Args:
        recipe: what is asked for.
        say: where messages go.
        trains: False where nothing is trained, so that batch size and loggers do not matter.

    Raises:
        ResourceError: a device was asked for that is not there.
        RecipeError: the effective batch cannot be reached, or a logger is not installed.
    """
    trainer = recipe.trainer
    if trains and "wandb" in recipe.training.loggers:
        _refuse_missing_wandb()
    has_gpu = torch.cuda.is_available()
    if trainer.accelerator in ("gpu", "cuda") and not has_gpu:
        raise ResourceError(
            f"trainer.accelerator is {trainer.accelerator}, but torch {torch.__version__} sees no GPU. Use "
            "--trainer.accelerator cpu, or install a torch build for your GPU and driver."
        )
    if trainer.accelerator == "mps" and not torch.backends.mps.is_available():
        raise ResourceError(
            "trainer.accelerator is mps, but this machine has none. Use --trainer.accelerator cpu."
        )
    mps = trainer.accelerator == "mps" or (
        trainer.accelerator == "auto" and not has_gpu and torch.backends.mps.is_available()
    )
    accelerator = "cuda" if has_gpu and trainer.accelerator != "cpu" else "mps" if mps else "cpu"
    devices: int | list[int]
    if accelerator == "cuda":
        there = torch.cuda.device_count()
        devices = there if trainer.devices == "auto" else trainer.devices
        wanted = max(devices) + 1 if isinstance(devices, list) else devices
        if wanted > there:
            raise ResourceError(
                f"trainer.devices is {trainer.devices}, but there are {there} GPUs (0..{there - 1}). Use "
                f"--trainer.devices {there}: training.effective_batch_size stays as it is, by accumulation."
            )
    elif isinstance(trainer.devices, list) or trainer.devices == "auto":
        devices = len(trainer.devices) if isinstance(trainer.devices, list) else 1
    else:
        devices = trainer.devices
    count = (len(devices) if isinstance(devices, list) else devices) * trainer.num_nodes
    precision: str = recipe.training.precision
    if precision == "16-mixed" and accelerator == "cpu":
        say("precision: 16-mixed needs a GPU; using bf16-mixed on this CPU")
        precision = "bf16-mixed"
    if trainer.strategy == "fsdp" and accelerator != "cuda":
        raise RecipeError("trainer.strategy fsdp needs GPUs, and this run is on none. Use auto or ddp.")
    if not trains:
        return Machine(accelerator, devices, count, precision, 1)
    effective, batch = recipe.training.effective_batch_size, recipe.data.batch_size
    if effective % (batch * count):
        fits = [b for b in range(1, effective // count + 1) if effective % (b * count) == 0]
        advice = f"data.batch_size can be {', '.join(map(str, fits))}" if fits else "use fewer devices"
        raise RecipeError(
            f"training.effective_batch_size {effective} is not a multiple of data.batch_size {batch} × {count} "
            f"device{'s' if count > 1 else ''}; {advice}."
        )
    return Machine(accelerator, devices, count, precision, effective // (batch * count))


def refuse_empty_validation(recipe: Recipe, machine: Machine, num_images: int) -> None:
    """Raise RecipeError where a device would validate on no image, which Lightning says in its own words."""
    limit = recipe.trainer.limit_val_batches
    if isinstance(limit, float) and int(num_images // machine.num_devices * limit) < 1:
        raise RecipeError(
            f"trainer.limit_val_batches {limit} of {num_images} validation images is less than one image for each of "
            f"{machine.num_devices} device(s). Take a larger share, a whole number of images, or fewer devices."
        )


def build_trainer(
    recipe: Recipe, machine: Machine, *, callbacks: list[pl.Callback], loggers: list[Logger]
) -> pl.Trainer:
    """Build Lightning's Trainer; everything it would decide for itself is decided here."""
    torch.set_float32_matmul_precision(recipe.training.matmul_precision)
    quiet_lightning()
    return pl.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=recipe.trainer.num_nodes,
        strategy=_strategy(recipe, machine),
        sync_batchnorm=machine.accelerator == "cuda",  # the ViT-Adapter's; of no effect on one device
        precision=machine.precision,
        max_steps=recipe.training.steps,
        max_epochs=-1,
        accumulate_grad_batches=machine.accumulate,
        val_check_interval=in_steps(recipe.training.validate_every, recipe.training.steps)
        * machine.accumulate,
        check_val_every_n_epoch=None,
        limit_val_batches=recipe.trainer.limit_val_batches,
        num_sanity_val_steps=0,
        gradient_clip_val=recipe.training.gradient_clip,
        callbacks=callbacks,
        logger=loggers or False,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        inference_mode=False,
        plugins=[SafeCheckpointIO()],
        deterministic="warn" if machine.accelerator == "cpu" else None,
    )


def _strategy(recipe: Recipe, machine: Machine) -> str:
    """Return Lightning's name of the strategy; DDP is told where a decoder leaves a parameter without gradient."""
    decoder, asked = recipe.decoder, recipe.trainer.strategy
    # Neither the adapter nor taps look at the encoder's final norm; taps neither at blocks after the last of them.
    skips_norm = isinstance(decoder, FullMask2FormerRecipe) and (decoder.adapter or bool(decoder.taps))
    return (
        "ddp_find_unused_parameters_true"
        if skips_norm and machine.num_devices > 1 and asked != "fsdp"
        else asked
    )


def quiet_lightning() -> None:
    """Keep Lightning's advice about its own settings away from the user: they are set on purpose."""
    import logging

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    logging.getLogger("lightning.fabric").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"lightning\..*")
    warnings.filterwarnings("ignore", message=r".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=r"This DataLoader will create .* worker processes.*")


def build_loggers(recipe: Recipe, folder: Path) -> list[Logger]:
    """Build what was asked for beside metrics.csv.

    Raises:
        RecipeError: W&B was asked for and cannot be started.
    """
    found: list[Logger] = []
    for name in recipe.training.loggers:
        if name == "tensorboard":
            from lightning.pytorch.loggers import TensorBoardLogger

            found.append(TensorBoardLogger(folder, name="tensorboard", version=""))
        else:
            import wandb
            from lightning.pytorch.loggers import WandbLogger

            try:
                logger = WandbLogger(project="vfmseg", name=folder.resolve().name, save_dir=folder)
                logger.log_hyperparams(recipe_tree(recipe))
            except wandb.Error as error:
                raise RecipeError(
                    f"training.loggers names wandb, which cannot be started: {str(error).rstrip('.')}. Type `wandb "
                    "login`, set WANDB_MODE=offline, or leave it out (metrics.csv and TensorBoard hold the same "
                    "numbers)."
                ) from None
            found.append(logger)
    return found


def close_loggers(loggers: list[Logger], *, exit_code: int) -> None:
    """End W&B's run, which the next run of this process would otherwise go on with."""
    from lightning.pytorch.loggers import WandbLogger

    for logger in loggers:
        if isinstance(logger, WandbLogger):
            logger.experiment.finish(exit_code=exit_code)


def _refuse_missing_wandb() -> None:
    # asked by its metadata: a folder called wandb, which W&B itself makes, can be imported, too
    try:
        metadata.version("wandb")
    except metadata.PackageNotFoundError:
        raise RecipeError(
            "training.loggers names wandb, which is not installed: pip install 'vfmseg[wandb]', "
            "or leave it out (metrics.csv and TensorBoard hold the same numbers)."
        ) from None
