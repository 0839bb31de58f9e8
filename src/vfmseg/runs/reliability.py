"""How far a model's confidence can be believed: what is asked, what is refused, and what is written of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vfmseg.data.class_match import ClassMatch
from vfmseg.data.dataset import SegmentationDataset
from vfmseg.data.unknown import UnknownSource, mark_unknown
from vfmseg.errors import RecipeError
from vfmseg.metrics.reliability import Reliability
from vfmseg.models.writing import writing
from vfmseg.postprocess.confidence import Said, measure_of
from vfmseg.runs.decoder_recipe import LinearRecipe
from vfmseg.runs.folder import write_json
from vfmseg.runs.recipe import Recipe
from vfmseg.tasks.reliability import ReliableTask
from vfmseg.tasks.semantic import SemanticTask

RELIABILITY_FILE = "reliability.json"


@dataclass(frozen=True)
class ReliabilityQuestion:
    """What a validation is asked about confidence."""

    confidence: str = "max_probability"
    """Name of the measure, one of :data:`vfmseg.postprocess.confidence.MEASURES`."""
    unknown: str | None = None
    """What marks unknown objects: label values with commas between, or a folder of masks; None: nobody says."""


@dataclass(frozen=True)
class AskedReliability:
    """A question that the model and the data can answer."""

    confidence: str
    said: Said
    marked: UnknownSource | None
    """The samples with their unknown pixels; None where nobody says what is unknown."""

    def task(self, scored: SemanticTask, match: ClassMatch | None) -> ReliableTask:
        """Return the task that answers it beside what ``scored`` finds."""
        ids = None if match is None else match.model_ids
        return ReliableTask(
            scored, self.confidence, self.said, unknown=self.marked is not None, model_ids=ids
        )


def ask_reliability(
    question: ReliabilityQuestion, recipe: Recipe, val: SegmentationDataset
) -> AskedReliability:
    """Find out whether a model and data can answer a question, before the model is loaded.

    Args:
        question: what is asked.
        recipe: of the model.
        val: what it is scored on.

    Raises:
        RecipeError: the task is not semantic, or the decoder has no such confidence.
        DataError: the value that marks unknown objects is a class; the folder of masks is missing or empty, or lacks one.
    """
    if recipe.task != "semantic":
        raise RecipeError(
            f"--reliability judges the class of each pixel, and this model's task is {recipe.task}: its segments have "
            "scores, and no pixel has a confidence. Leave out --reliability."
        )
    said: Said = "logits" if isinstance(recipe.decoder, LinearRecipe) else "scores"
    measure_of(question.confidence, said)
    marked = None if question.unknown is None else mark_unknown(val, question.unknown)
    return AskedReliability(question.confidence, said, marked)


def write_reliability(folder: Path, found: Reliability | None) -> None:
    """Write :meth:`vfmseg.metrics.reliability.Reliability.record` as ``reliability.json``.

    Args:
        folder: of the validation's other files.
        found: None where it was not asked; then the file of an earlier validation is removed, which would else be read
            as if it were of this one.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    if found is not None:
        write_json(folder / RELIABILITY_FILE, found.record())
        return
    with writing(folder):
        (folder / RELIABILITY_FILE).unlink(missing_ok=True)


def warning_of(found: Reliability) -> str | None:
    """Return what to tell the user where unknown objects were asked for and none, or nothing else, came; else None."""
    unknown = found.unknown
    if unknown is None or (unknown.num_unknown and unknown.num_known):
        return None
    if unknown.num_known:
        return (
            "no pixel of an unknown object was seen, so there are no scores of unknown objects. In labels, the value "
            "given with --unknown has to occur; in masks, one other than 0 (known) and 255 (ignored): where a mask says "
            "unknown with 255, save it with 1"
        )
    return "no labelled pixel was seen beside unknown objects, so there are no scores of unknown objects"


def summed_up(found: Reliability) -> dict[str, Any]:
    """Return :meth:`Reliability.record` without the bins, as it stands among other targets."""
    return {key: value for key, value in found.record().items() if key != "bins"}
