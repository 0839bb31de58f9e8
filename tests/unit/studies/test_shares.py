"""How many trials the nodes of a cluster hold."""

from __future__ import annotations

from typing import Any

import pytest

from vfmseg.errors import RecipeError, ResourceError
from vfmseg.studies.shares import Share


def node(cpus: float, gpus: float = 0, *, alive: bool = True) -> dict[str, Any]:
    return {
        "Alive": alive,
        "NodeManagerHostname": "box",
        "Resources": {"CPU": cpus, "GPU": gpus, "memory": 1e9},
    }


@pytest.mark.parametrize(
    ("share", "nodes", "trials"),
    [
        (Share(1), [node(2), node(3)], 5),
        (Share(2), [node(3), node(5), node(8, alive=False)], 3),
        (Share(0.1), [node(1)], 10),
        (Share(4, 0.5), [node(64, 4)], 8),
        (Share(4, 0.4), [node(64, 2)], 4),  # two on each GPU: none takes parts of two
        (Share(8, 0.1), [node(16, 1)], 2),  # cores run out first
        (Share(1, 2), [node(64, 5), node(64, 1)], 2),
        (Share(1, 0), [node(2, 1)], 2),
    ],
)
def test_share__trials_at_once(share: Share, nodes: list[dict[str, Any]], trials: int) -> None:
    assert share.held_by(nodes) == trials


def test_share__takes_a_gpu_where_there_are_some() -> None:
    assert Share(1).of([node(4), node(4, 2)]).gpus == 1
    assert Share(1).of([node(4), node(4, 2, alive=False)]).gpus == 0
    assert Share(1, 0.25).of([node(4, 2)]).gpus == 0.25


def test_share__that_no_node_holds_is_refused() -> None:
    with pytest.raises(
        ResourceError, match=r"No node .* has 8 CPUs and 1 GPUs .*\(box: 4 CPUs, 2 GPUs\).*Lower"
    ):
        Share(8).of([node(4, 2)])
    with pytest.raises(RecipeError, match="--cpus_per_trial is 0;"):
        Share(0)
    for gpus in (-1, 1.5, float("nan")):
        with pytest.raises(RecipeError, match=r"--gpus_per_trial is .*fraction of one GPU"):
            Share(1, gpus)
