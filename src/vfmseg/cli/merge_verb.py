"""``vfmseg merge``: the checkpoint of a tuned model in, an ordinary one out."""

from __future__ import annotations

import argparse

TAKES_RECIPE_KEYS = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("checkpoint", help="a run folder, a checkpoint folder or a model file")
    parser.add_argument("--out", metavar="DIR", required=True, help="checkpoint folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace a checkpoint that is there")


def run(options: argparse.Namespace, words: list[str]) -> int:
    """Merge and say where it is."""
    from vfmseg.runs.merge import merge_checkpoint

    print(merge_checkpoint(options.checkpoint, options.out, overwrite=options.overwrite).folder)
    return 0
