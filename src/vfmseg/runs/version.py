"""Which vfmseg runs: the version that is installed, or that it is a source tree."""

from __future__ import annotations

from importlib import metadata

SOURCE_TREE = "0+source"
"""What stands for the version where vfmseg is not installed but found on the path, such as with PYTHONPATH=src."""


def vfmseg_version() -> str:
    """Return the version of the installed package; :data:`SOURCE_TREE` where there is none to ask."""
    try:
        return metadata.version("vfmseg")
    except metadata.PackageNotFoundError:
        return SOURCE_TREE
