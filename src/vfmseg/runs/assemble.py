"""A recipe in, the objects of a run out: data, segmenter, criterion, training shell."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from vfmseg.data.collate import collate_batch
from vfmseg.data.dataset import SegmentationDataset, open_dataset
from vfmseg.data.mixture import MixedDataset, Part, draw_rows
from vfmseg.data.truth import WithTruth
from vfmseg.data.unknown import UnknownSource
from vfmseg.errors import RecipeError
from vfmseg.losses.criterion import MaskCriterion, PixelCriterion
from vfmseg.losses.settings import MaskLossSettings
from vfmseg.models.build import build
from vfmseg.models.decoders.eomt import EoMTDecoder
from vfmseg.models.segmenter import Segmenter
from vfmseg.runs.augment import build_transform
from vfmseg.runs.data_place import data_place
from vfmseg.runs.data_recipe import SourceRecipe
from vfmseg.runs.decoder_recipe import EoMTRecipe, LinearRecipe, span_in_steps
from vfmseg.runs.recipe import Recipe, as_size
from vfmseg.runs.windows_recipe import said_of_view
from vfmseg.tasks.catalog import build_task
from vfmseg.training.datamodule import SegmentationData
from vfmseg.training.halved import Halved
from vfmseg.training.module import Criterion, OptimizerSettings, SegmentationModule
from vfmseg.training.schedule import MaskSchedule, annealing_spans
from vfmseg.transforms.sliding_window import View
from vfmseg.types import LabelSpace

Say = Callable[[str], None]
"""Where messages to the user go."""


TrainingSet = SegmentationDataset | MixedDataset
"""A split as it is, or parts of one or several."""


@dataclass(frozen=True)
class Splits:
    """The two splits of a run, over one label space."""

    train: TrainingSet
    val: SegmentationDataset

    @property
    def label_space(self) -> LabelSpace:
        """The classes of the data."""
        return self.train.label_space


def open_split(recipe: Recipe, split: str) -> SegmentationDataset:
    """Open one split of the recipe's data.

    Raises:
        DataError: whatever is wrong with the files.
    """
    data = recipe.data
    name, path = data_place(data)
    return open_dataset(
        name,
        path,
        split,
        task=recipe.task,
        allow_unpaired=data.allow_unpaired,
        skip_bad=data.skip_bad,
        skip_constant_labels=data.skip_constant_labels,
        allow_missing=data.allow_missing,
        val_fraction=data.val_fraction,
    )


def open_training(recipe: Recipe) -> TrainingSet:
    """Open what is trained on: the training split, a fraction of it, or the recipe's sources.

    Raises:
        DataError: whatever is wrong with the files, and sources of different classes.
    """
    data = recipe.data
    if not data.sources and data.fraction == 1:
        return open_split(recipe, "train")
    parts: list[Part] = []
    own_split = SourceRecipe(name=data.name, path=data.path, fraction=data.fraction)
    for source in data.sources or [own_split]:
        path = source.path or ("" if source.name == "scenes" else data.path)  # scenes are written there
        own = dataclasses.replace(data, name=source.name, path=path)
        opened = open_split(dataclasses.replace(recipe, data=own), source.split)
        rows = draw_rows(len(opened), source.fraction, data.fraction_seed)
        parts.append(Part(opened, rows, source.weight))
    return MixedDataset(parts)


def open_splits(recipe: Recipe, say: Say) -> Splits:
    """Open both splits and say what was found and left out."""
    splits = Splits(open_training(recipe), open_split(recipe, "val"))
    if splits.train.label_space.names != splits.val.label_space.names:
        raise RecipeError(
            f"The training split has the classes {', '.join(splits.train.label_space.names)}, the validation split "
            f"{', '.join(splits.val.label_space.names)}; they must be the same."
        )
    for split in (splits.train, splits.val):
        say(f"data: {split.sentence}")
    for line in said_of_view(recipe.windows, recipe.data):
        say(f"validation: {line}")
    say(
        f"data: {len(splits.train)} training and {len(splits.val)} validation images, "
        f"{splits.label_space.num_classes} classes"
    )
    for name, split in (("training", splits.train), ("validation", splits.val)):
        if split.skipped:
            say(f"data: {len(split.skipped)} {name} files are left out, as asked:")
            for one in split.skipped[:10]:
                say(f"  {one.name}: {one.reason}")
            if len(split.skipped) > 10:
                say(f"  and {len(split.skipped) - 10} more; `vfmseg check-data` lists them all")
    return splits


def build_model(recipe: Recipe, num_classes: int) -> Segmenter:
    """Build the recipe's segmenter."""
    encoder, decoder = recipe.encoder, recipe.decoder
    options: dict[str, int | bool | list[int] | None] = {}
    if isinstance(decoder, EoMTRecipe):
        options = {"num_queries": decoder.num_queries, "num_blocks": decoder.num_blocks}
    elif not isinstance(decoder, LinearRecipe):
        options = {key: value for key, value in dataclasses.asdict(decoder).items() if key != "name"}
    segmenter = build(
        encoder.name,
        num_classes=num_classes,
        decoder=decoder.name,
        tuning=recipe.tuning.method,
        tuning_options={
            key: value for key, value in dataclasses.asdict(recipe.tuning).items() if key != "method"
        },
        image_size=as_size(encoder.image_size),
        patch_size=encoder.patch_size,
        weights=encoder.weights,
        sub_norm=encoder.sub_norm,
        positions=encoder.positions,
        overrides=encoder.overrides,
        rope_rescale=encoder.rope_rescale,
        statistics=encoder.statistics,
        decoder_options=options,
        seed=recipe.seed,
    )
    built = segmenter.decoder
    if isinstance(decoder, EoMTRecipe) and isinstance(built, EoMTDecoder):
        built.supervise_all = decoder.masks != "never"
        built.mask_probabilities = mask_schedule(recipe, built.num_blocks).inference
    if recipe.training.gradient_checkpointing:
        segmenter.encoder.set_checkpointing(True)
    return segmenter


def mask_schedule(recipe: Recipe, num_blocks: int) -> MaskSchedule:
    """Return when the attention masks of the last ``num_blocks`` blocks are there, in steps of the recipe's run.

    Raises:
        RecipeError: the recipe says it for another number of blocks.
    """
    decoder, steps = recipe.decoder, recipe.training.steps
    if not isinstance(decoder, EoMTRecipe) or decoder.masks == "never":
        zeros = (0,) * (num_blocks if isinstance(decoder, EoMTRecipe) else 0)
        return MaskSchedule(starts=zeros, ends=zeros)
    if decoder.anneal_start and len(decoder.anneal_start) != num_blocks:
        raise RecipeError(
            f"decoder.anneal_start has {len(decoder.anneal_start)} entries, but the queries run through {num_blocks} "
            "blocks; give one a block, or none for the published pattern"
        )
    spans = list(zip(decoder.anneal_start, decoder.anneal_end, strict=True)) or annealing_spans(num_blocks)
    return MaskSchedule(
        starts=tuple(span_in_steps(start, steps) for start, _ in spans),
        ends=tuple(span_in_steps(end, steps) for _, end in spans),
        power=decoder.anneal_power,
        at_inference=decoder.masks == "always",
    )


def build_criterion(recipe: Recipe, train: TrainingSet, say: Say) -> Criterion:
    """Build the loss that fits the decoder."""
    average = recipe.training.loss_average
    if isinstance(recipe.decoder, LinearRecipe):
        return PixelCriterion(class_weights=_class_weights(recipe, train, say), average=average)
    settings = MaskLossSettings(
        num_points=recipe.training.mask_points,
        no_object_weight=recipe.training.no_object_weight,
        count_empty_images=recipe.training.count_empty_images,
    )
    return MaskCriterion(settings, num_classes=train.label_space.num_classes, average=average)


def _class_weights(recipe: Recipe, train: TrainingSet, say: Say) -> torch.Tensor | None:
    """Return weights per class, or None; `auto` looks at up to 500 labels, evenly spread."""
    asked, classes = recipe.training.class_weights, train.label_space.num_classes
    if asked == "none":
        return None
    if isinstance(asked, list):
        if len(asked) != classes:
            raise RecipeError(
                f"training.class_weights has {len(asked)} numbers, but the data has {classes} classes: "
                f"{', '.join(train.label_space.names)}. Give one a class, or `auto`."
            )
        return torch.tensor(asked)
    chosen = np.unique(np.linspace(0, len(train) - 1, min(500, len(train))).round().astype(int))
    counts = np.zeros(classes, dtype=np.int64)
    for index in chosen:
        ids = train.targets(int(index)).id_map.numpy()
        counts += np.bincount(ids.ravel(), minlength=256)[:classes]
    weights = auto_class_weights(counts)
    shown = ", ".join(f"{n} {w:.2f}" for n, w in zip(train.label_space.names, weights, strict=True))
    say(f"class weights from {len(chosen)} labels: {shown}")
    return torch.from_numpy(weights).float()


def auto_class_weights(pixels: np.ndarray) -> np.ndarray:
    """Return 1/√share per class, scaled so that the average pixel weighs 1; a class never seen weighs as the rarest.

    Args:
        pixels: (K,) pixels of each class.
    """
    seen = pixels > 0
    if not seen.any():
        return np.ones(len(pixels))
    share = pixels / pixels.sum()
    weights = np.where(seen, 1.0 / np.sqrt(np.where(seen, share, 1.0)), 0.0)
    weights[~seen] = weights.max()
    return np.asarray(weights / (weights * share).sum())


def build_module(
    recipe: Recipe, segmenter: Segmenter, criterion: Criterion, label_space: LabelSpace
) -> SegmentationModule:
    """Build the training shell."""
    training, steps = recipe.training, recipe.training.steps
    decoder = segmenter.decoder
    num_blocks = decoder.num_blocks if isinstance(decoder, EoMTDecoder) else 0
    warmup = min(span_in_steps(training.warmup, steps), steps - 1)
    return SegmentationModule(
        segmenter,
        criterion,
        build_task(recipe.task, View(recipe.windows.stride, recipe.data.test_size)),
        label_space,
        OptimizerSettings(
            learning_rate=training.learning_rate,
            encoder_lr_factor=training.encoder_lr_factor,
            layer_decay=training.layer_decay,
            num_spared_blocks=num_blocks if training.layer_decay_spares_queries else 0,
            weight_decay=training.weight_decay,
            poly_power=training.poly_power,
            warmup_steps=warmup,
            encoder_warmup_steps=min(span_in_steps(training.encoder_warmup, steps), steps - 1 - warmup),
            warmup_start=training.warmup_start,
            inclusive=training.inclusive_spans,
            total_steps=steps,
            decay_norms=training.decay_norms,
        ),
        mask_schedule(recipe, num_blocks),
        recipe.seed,
    )


def build_data(
    recipe: Recipe, train: TrainingSet | None, val: SegmentationDataset | UnknownSource
) -> SegmentationData:
    """Build the loaders."""
    seen = WithTruth(val) if recipe.task == "instance" and isinstance(val, SegmentationDataset) else val
    return SegmentationData(
        train,
        Halved(seen) if recipe.data.test_halved else seen,
        transform=build_transform(recipe.augmentation, as_size(recipe.encoder.image_size)),
        collate=collate_batch,
        batch_size=recipe.data.batch_size,
        effective_batch_size=recipe.training.effective_batch_size,
        num_workers=recipe.data.num_workers,
        seed=recipe.seed,
        shares=train.shares if isinstance(train, MixedDataset) else (),
    )
