"""What tasks there are: the word in a recipe in, the task out."""

from __future__ import annotations

from collections.abc import Callable

from vfmseg.tasks.base import Task
from vfmseg.tasks.instance import InstanceTask
from vfmseg.tasks.panoptic import PanopticTask
from vfmseg.tasks.semantic import SemanticTask

_TASKS: dict[str, Callable[[], Task]] = {
    "semantic": SemanticTask,
    "panoptic": PanopticTask,
    "instance": InstanceTask,
}


def build_task(name: str) -> Task:
    """Return the task called ``name``; ``KeyError`` for a word the recipe reader should have refused."""
    return _TASKS[name]()
