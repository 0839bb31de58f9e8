"""What tasks there are: the word in a recipe in, the task out."""

from __future__ import annotations

from collections.abc import Callable

from vfmseg.tasks.base import Task
from vfmseg.tasks.instance import InstanceTask
from vfmseg.tasks.panoptic import PanopticTask
from vfmseg.tasks.semantic import SemanticTask
from vfmseg.transforms.sliding_window import View

_TASKS: dict[str, Callable[[], Task]] = {
    "semantic": SemanticTask,
    "panoptic": PanopticTask,
    "instance": InstanceTask,
}


def build_task(name: str, view: View | None = None) -> Task:
    """Return the task called ``name``; ``KeyError`` for a word the recipe reader should have refused.

    Args:
        name: the word in a recipe.
        view: how a semantic model looks at images of other sizes than its own; other tasks see each image whole.
    """
    task = _TASKS[name]()
    if view is not None and isinstance(task, SemanticTask):
        task.view = view
    return task
