"""What one trial takes of a node, and nodes as Ray describes them, in; how many trials they hold at once out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vfmseg.errors import RecipeError, ResourceError

Node = Mapping[str, Any]
"""An entry of ``ray.nodes()``."""


@dataclass(frozen=True)
class Share:
    """What one trial takes of a node."""

    cpus: float = 1
    """Cores, > 0; threads of torch, too, at least one."""
    gpus: float | None = None
    """GPUs, >= 0: a fraction puts several trials on one. None: one, or none where the cluster has none."""

    def __post_init__(self) -> None:
        if not self.cpus > 0:
            raise RecipeError(f"--cpus_per_trial is {self.cpus:g}; a trial needs more than 0 cores.")
        if self.gpus is not None and not (0 <= self.gpus <= 1 or (self.gpus > 1 and self.gpus % 1 == 0)):
            raise RecipeError(
                f"--gpus_per_trial is {self.gpus:g}; it must be a fraction of one GPU (0 to 1) or a whole number."
            )

    def of(self, nodes: Iterable[Node]) -> Share:
        """Return the share with its GPUs said: one, or none where no node has any.

        Raises:
            ResourceError: no node is large enough.
        """
        living = [node for node in nodes if node["Alive"]]
        gpus = float(any(gpus_of(node) for node in living)) if self.gpus is None else self.gpus
        share = Share(self.cpus, gpus)
        if not share.held_by(living):
            sizes = ", ".join(
                f"{host_of(node)}: {cpus_of(node):g} CPUs, {gpus_of(node):g} GPUs" for node in living
            )
            raise ResourceError(
                f"No node of the Ray cluster has {self.cpus:g} CPUs and {gpus:g} GPUs for a trial ({sizes}). "
                "Lower --cpus_per_trial or --gpus_per_trial."
            )
        return share

    def held_by(self, nodes: Sequence[Node]) -> int:
        """Return how many trials the living ones among these nodes hold at once."""
        return sum(self._on(cpus_of(node), gpus_of(node)) for node in nodes if node["Alive"])

    def _on(self, cpus: float, gpus: float) -> int:
        held = _times(cpus, self.cpus)
        if not self.gpus:
            return held
        # A trial never takes parts of two GPUs: 0.4 of each makes two a GPU, and not five on two.
        return min(held, _times(1, self.gpus) * int(gpus) if self.gpus <= 1 else _times(gpus, self.gpus))


def cpus_of(node: Node) -> float:
    """Return a node's cores."""
    return float(node["Resources"].get("CPU", 0))


def gpus_of(node: Node) -> float:
    """Return a node's GPUs."""
    return float(node["Resources"].get("GPU", 0))


def host_of(node: Node) -> str:
    """Return a node's name."""
    return str(node.get("NodeManagerHostname") or node["NodeManagerAddress"])


def _times(whole: float, part: float) -> int:
    return math.floor(whole / part + 1e-9)
