"""The ``vfmseg`` program: one file a verb, and no heavy import before a verb is chosen and its options are read."""

from vfmseg.cli.program import main

__all__ = ["main"]
