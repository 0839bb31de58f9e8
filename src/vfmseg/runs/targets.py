"""A checkpoint and any number of named targets in, how it fares on each: where it was trained, and where it was not.

Targets are named by who asks, never guessed from a path, and every image is scored at its original size.
"""

from __future__ import annotations

import dataclasses
import functools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from vfmseg.errors import LabelError, RecipeError
from vfmseg.metrics.bravo import indices_of_targets
from vfmseg.metrics.reliability import Reliability
from vfmseg.metrics.scores import ScoreTable
from vfmseg.models.checkpoint import find_model_file, read_header
from vfmseg.runs.assemble import Say, open_split
from vfmseg.runs.fit import say_on_stderr
from vfmseg.runs.folder import make_writable, write_json
from vfmseg.runs.machine import process_given_back
from vfmseg.runs.model_facts import model_facts
from vfmseg.runs.recipe import LoadedRecipe, Recipe
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.runs.reliability import AskedReliability, ReliabilityQuestion, ask_reliability, summed_up
from vfmseg.runs.restore import model_recipe, recipe_of
from vfmseg.runs.shared_features import SharedFeatures, features_shared
from vfmseg.runs.start_weights import is_published
from vfmseg.runs.target import Target
from vfmseg.runs.target_classes import classes_of_model, match_target
from vfmseg.runs.validate import (
    Prepared,
    prepare,
    refuse_other_classes,
    refuse_other_task,
    refuse_run_folder,
    score,
)
from vfmseg.runs.windows_recipe import said_of_view
from vfmseg.tasks.catalog import build_task
from vfmseg.training.callbacks.stopping import signals_given_back
from vfmseg.transforms.averaged_views import AveragedViews


@dataclass(frozen=True)
class TargetsRun:
    """How a model fares on several targets."""

    tables: Mapping[str, ScoreTable]
    """Target -> its numbers by class."""
    result: dict[str, Any]
    """``targets``: a flat row each, as in ``result.json``; ``headline``; ``source``, the score of the validation that the
    checkpoint was saved with, or None; ``mean`` and ``worst`` over the targets; ``gap``, source minus mean, or None.
    Where it was asked for also ``reliability``: target -> what stands in its ``reliability.json``, without the bins;
    and ``bravo``, see :meth:`vfmseg.metrics.bravo.BravoIndices.record`, None where no target is one of its subsets."""
    reliability: Mapping[str, Reliability] = field(default_factory=dict)
    """Target -> how far confidence can be believed on it; empty where it was not asked."""


@process_given_back()
@signals_given_back()
def validate_targets(
    checkpoint: str | Path,
    targets: Sequence[Target],
    recipe: LoadedRecipe | None = None,
    *,
    out: str | Path | None = None,
    reliability: ReliabilityQuestion | None = None,
    augment: AveragedViews | None = None,
    features: SharedFeatures | None = None,
    say: Say = say_on_stderr,
) -> TargetsRun:
    """Score a checkpoint on each target; all are opened before the first is scored, and the model is loaded once.

    Args:
        checkpoint: as of :func:`vfmseg.runs.validate.validate`.
        targets: of different names.
        recipe: what the targets' data differs from; by default the checkpoint's own.
        out: where to write ``targets.json`` and a folder a target; nothing is written without it.
        reliability: also judge how far confidence can be believed on each, and over the subsets of the BRAVO challenge.
        augment: test-time augmentation, as of :func:`vfmseg.runs.validate.validate`.
        features: where tokens of a frozen encoder are kept and found; no number changes.
        say: where messages go.

    Raises:
        RecipeError: two targets of one name, or keys that data does not have.
        CheckpointError: a target of panoptic or instance data has other classes than the checkpoint.
        DataError: classes that cannot be matched by name, or none in common.
        LabelError: labels of a target that cannot be scored; names it.
        VfmsegError: whatever else is wrong.
    """
    names = [target.name for target in targets]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RecipeError(
            f"--target names {', '.join(twice)} more than once; each target needs a name of its own."
        )
    file = find_model_file(checkpoint)
    header = None if is_published(file) else read_header(file)
    base = recipe or recipe_of(file, {})
    of_targets = {target.name: recipe_of_target(base, target) for target in targets}
    classes = classes_of_model(header, base.recipe)
    own = base.recipe if header is None else model_recipe(header, file)
    refuse_other_task(own, base.recipe, file)
    opened, matches = {}, {}
    asked: dict[str, AskedReliability] = {}
    for target in targets:
        val = opened[target.name] = open_split(of_targets[target.name], target.split)
        if classes is None:  # a published model, whose classes are taken to be those of the first target
            refuse_other_classes(opened[targets[0].name].label_space, val.label_space, file)
        matches[target.name] = match_target(
            target.name, target.classes, val, classes, task=base.recipe.task, file=file
        )
        if (question := _question(target, reliability)) is not None:
            asked[target.name] = ask_reliability(question, own, val)
        if out is not None:
            refuse_run_folder(Path(out) / target.name)
        said = f"{len(val)} images of {of_targets[target.name].data.name} ({target.split})"
        match = matches[target.name]
        say(f"target {target.name}: {said}" + ("" if match is None else f", {match.sentence}"))
    writes = out is not None and rank_zero_only.rank == 0
    if writes:
        make_writable(Path(str(out)))

    headline = build_task(base.recipe.task).headline
    rows, tables = {}, {}
    found: dict[str, Reliability] = {}
    prepared: Prepared | None = None
    for target in targets:
        folder = None if out is None else Path(out) / target.name
        own_say = functools.partial(_say_of, say, target.name)
        if prepared is None:
            prepared = prepare(
                file,
                of_targets[target.name],
                out=folder,
                split=target.split,
                say=own_say,
                match=matches[target.name],
                augment=augment,
            )
        else:
            chosen = dataclasses.replace(of_targets[target.name], trainer=prepared.chosen.trainer)
            val = opened[target.name]
            prepared = dataclasses.replace(
                prepared, chosen=chosen, val=val, split=target.split, match=matches[target.name]
            )
            if writes:
                make_writable(Path(str(folder)))
            own_say(f"validate: the same on {len(val)} images of {chosen.data.name} ({target.split})")
            for line in said_of_view(chosen.windows, chosen.data):
                own_say(f"validate: {line}")
        prepared = dataclasses.replace(prepared, reliability=asked.get(target.name))
        try:
            with features_shared(prepared.segmenter, prepared.own, prepared.machine, features, own_say):
                done = score(prepared, out=folder, say=own_say)
        except LabelError as error:
            raise LabelError(f"--target {target.name}: {error}") from None
        if done.reliability is not None:
            found[target.name] = done.reliability
        rows[target.name], tables[target.name] = done.result, done.scores.table()
        if share := done.result.get("val/ignored_share"):
            say(
                f"target {target.name}: {share:.2%} of the labelled pixels are of classes that the model does not know; "
                "they were ignored"
            )
    result = _summary(rows, headline, None if header is None else header.metrics.get(headline))
    if reliability is not None:
        mious = {name: row[headline] for name, row in rows.items()}
        result |= {
            "reliability": {name: summed_up(one) for name, one in found.items()},
            "bravo": None if (bravo := indices_of_targets(found, mious)) is None else bravo.record(),
        }
    if writes:
        assert prepared is not None  # the program asks for targets only where there is one
        write_json(Path(str(out)) / "targets.json", {**result, "model": model_facts(prepared)})
    return TargetsRun(tables, result, found)


def _question(target: Target, reliability: ReliabilityQuestion | None) -> ReliabilityQuestion | None:
    """Return what is asked of a target, which may say for itself what marks its unknown objects."""
    if target.unknown is None:
        return reliability
    if reliability is None:
        raise RecipeError(
            f"--target {target.name}: `unknown` is for the scores of unknown objects, which --reliability asks for. Add "
            "it, or leave out `unknown`."
        )
    return dataclasses.replace(reliability, unknown=target.unknown)


def _say_of(say: Say, name: str, message: str) -> None:
    say(f"{name}: {message}")


def recipe_of_target(base: LoadedRecipe, target: Target) -> Recipe:
    """Return the recipe whose data is the target's.

    Raises:
        RecipeError: keys that data does not have; names the target.
    """
    try:
        return read_recipe(base.recipe, {"data": dict(target.data)}).recipe
    except RecipeError as error:
        raise RecipeError(f"--target {target.name}: {error}") from None


def _summary(rows: Mapping[str, dict[str, Any]], headline: str, source: float | None) -> dict[str, Any]:
    scores = {name: row[headline] for name, row in rows.items() if row[headline] is not None}
    mean = statistics.fmean(scores.values()) if scores else None
    return {
        "headline": headline,
        "source": source,
        "targets": dict(rows),
        "mean": mean,
        "worst": min(scores, key=scores.__getitem__) if scores else None,
        "gap": None if source is None or mean is None else source - mean,
    }
