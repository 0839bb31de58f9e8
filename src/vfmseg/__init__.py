"""vfmseg: fine-tune, benchmark and run image segmentation on any vision foundation model.

The same words as on the command line: :func:`load`, :func:`fit`, :func:`validate`, :func:`predict`, :func:`build`.
Nothing heavy is imported until one of them is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vfmseg.models.build import build
    from vfmseg.runs.fit import fit
    from vfmseg.runs.load import load
    from vfmseg.runs.predict import predict
    from vfmseg.runs.validate import validate

__all__ = ["build", "fit", "load", "predict", "validate"]

_HOMES = {
    "build": "vfmseg.models.build",
    "fit": "vfmseg.runs.fit",
    "load": "vfmseg.runs.load",
    "predict": "vfmseg.runs.predict",
    "validate": "vfmseg.runs.validate",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vfmseg' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
