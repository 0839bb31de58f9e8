"""A recipe in, a short word out that is the same for runs that differ in their seed or their machine only.

Nothing here needs torch: reports tell by it which runs repeat each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_LEFT_OUT = ("seed", "trainer")
_LEFT_OUT_OF_DATA = ("path", "num_workers")
"""Where the images lie and how they are read is no part of the method."""


def recipe_id(tree: Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits of a resolved recipe, as it stands in ``recipe.yaml`` or in a checkpoint.

    Args:
        tree: nested plain values.
    """
    kept = {key: value for key, value in tree.items() if key not in _LEFT_OUT}
    if isinstance(data := kept.get("data"), Mapping):
        kept["data"] = own = {key: value for key, value in data.items() if key not in _LEFT_OUT_OF_DATA}
        if own.get("sources"):
            own["sources"] = [{key: one[key] for key in one if key != "path"} for one in own["sources"]]
    return short_hash(kept)


def short_hash(parts: Any) -> str:
    """Return 12 hexadecimal digits of nested plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:12]
