"""A model that is being scored in, what must be known of it to compare its scores with another's out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vfmseg.models.summary import count_parameters
from vfmseg.runs.recipe_id import recipe_id
from vfmseg.runs.recipe_reader import recipe_tree
from vfmseg.tasks.catalog import build_task
from vfmseg.types import LabelSpace

if TYPE_CHECKING:
    from vfmseg.runs.validate import Prepared


def model_facts(prepared: Prepared) -> dict[str, Any]:
    """Return what ``model`` holds in the files that a validation writes.

    Returns:
        ``checkpoint`` and ``checkpoint_bytes``; ``step``, ``seed``, ``data`` (trained on) and ``source`` (headline score
        of the validation that the checkpoint was saved with), None for published files; ``task``, ``encoder``,
        ``tuning``, ``decoder``, ``recipe_id``, ``parameters_total``, ``parameters_trainable`` and ``classes``.
    """
    header, own = prepared.header, prepared.own
    parameters = count_parameters(prepared.segmenter)
    tree = recipe_tree(own) if header is None else header.recipe
    trained = {} if header is None else tree
    return {
        "checkpoint": str(prepared.file),
        "checkpoint_bytes": prepared.file.stat().st_size,
        "step": None if header is None else header.step,
        "task": own.task,
        "encoder": own.encoder.name,
        "tuning": own.tuning.method,
        "decoder": own.decoder.name,
        "data": trained.get("data", {}).get("name"),
        "seed": trained.get("seed"),
        "source": None if header is None else header.metrics.get(build_task(own.task).headline),
        "recipe_id": recipe_id(tree),
        "parameters_total": parameters.total,
        "parameters_trainable": parameters.trainable,
        "classes": list(_label_space(prepared).names),
    }


def _label_space(prepared: Prepared) -> LabelSpace:
    """Return the model's classes, which those of the data need not be."""
    if prepared.header is not None:
        return prepared.header.label_space
    return prepared.val.label_space if prepared.match is None else prepared.match.model
