"""``vfmseg fit``: a recipe in, a run folder out."""

from __future__ import annotations

import argparse
from pathlib import Path

from vfmseg.cli.recipe_options import add_recipe_options, read
from vfmseg.report.measures import MEASURES

TAKES_RECIPE_KEYS = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("--out", metavar="DIR", help="run folder (default: runs/RECIPE_ENCODER)")
    parser.add_argument("--resume", action="store_true", help="go on with the run in --out")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    parser.add_argument("--no_report", action="store_true", help="do not write report.html at the end")
    add_recipe_options(parser, required=False)


def run(options: argparse.Namespace, words: list[str]) -> int:
    """Fit, report, and say where everything is."""
    from vfmseg.cli.options import parse_overrides
    from vfmseg.errors import CheckpointError, RecipeError

    config = options.config
    if config is None and options.resume and options.out:
        if not (Path(options.out) / "recipe.yaml").is_file():
            raise CheckpointError(
                f"There is nothing to resume in {options.out}: it holds no recipe.yaml. Leave out --resume and say what "
                "to train with -c RECIPE."
            )
        config = options.out
    if config is None:
        parse_overrides(words)
        raise RecipeError(
            "Say what to train: vfmseg fit -c RECIPE. `vfmseg list recipes` shows those that come with vfmseg."
        )
    loaded = read(config, words)

    from vfmseg.runs.fit import fit

    done = fit(loaded, out=options.out, resume=options.resume, overwrite=options.overwrite)
    finish(done.folder, done.result, report=not options.no_report)
    return 0


def finish(folder: object, result: dict[str, object], *, report: bool) -> None:
    """Print the headline and write the report, in the first process only."""
    from lightning.pytorch.utilities import rank_zero_only

    if rank_zero_only.rank != 0:
        return
    measure = MEASURES[str(result["task"])]
    last, best = (_percent(result[f"{which}/{measure.key}"]) for which in ("val", "best"))
    line = f"{measure.title} {last}, best {best} at step {result['best_step']}"
    if "baseline/majority_miou" in result:
        line += f" (majority class everywhere: {_percent(result['baseline/majority_miou'])})"
    print(line)
    print(f"checkpoints: {folder}/checkpoints/best, {folder}/checkpoints/last")
    if report:
        from vfmseg.report.pages import write_run_report

        print(f"report: {write_run_report(Path(str(folder)))}")


def _percent(value: object) -> str:
    return "-" if value is None else f"{100 * float(str(value)):.2f} %"
