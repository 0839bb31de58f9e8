"""``vfmseg validate``: a checkpoint and data in, a table of scores out."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from vfmseg.cli.recipe_options import add_recipe_options, parse, read
from vfmseg.cli.reliability_words import (
    add_reliability_options,
    corruptions_reliability,
    question_of,
    reliability_table,
    targets_reliability,
)

if TYPE_CHECKING:
    from vfmseg.runs.recipe import LoadedRecipe
    from vfmseg.runs.reliability import ReliabilityQuestion
    from vfmseg.runs.targets import TargetsRun
    from vfmseg.transforms.averaged_views import AveragedViews

TAKES_RECIPE_KEYS = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument(
        "checkpoint",
        nargs="?",
        help="a run folder, a checkpoint folder, a model file, or with -c a file of the published EoMT or benchmark, or "
        "what transformers saved of an EoMT",
    )
    parser.add_argument(
        "--ckpt_path", metavar="CHECKPOINT", help="the same, as the published programs have it"
    )
    parser.add_argument("--split", default="val", help="which split of the data (default: val)")
    parser.add_argument(
        "--target",
        metavar="NAME=PATH",
        action="append",
        default=[],
        help="score it on this data instead: any number of times, each with a name of your choice; in place of a "
        "path, {keys of the recipe's data, split, unknown, and classes (its class: the model's, where names differ)}, "
        "such as 'night={name: acdc, path: DIR}'",
    )
    parser.add_argument(
        "--corruptions",
        metavar="KIND[:SEVERITY],...",
        help="score it under corruptions of the images, too, made on the fly: these, or `all` 15 kinds at 5 severities",
    )
    parser.add_argument(
        "--augment",
        metavar="flip,SCALE,...",
        help="task semantic: test-time augmentation; averages the class scores of each image and its mirrored one (flip) "
        "at these scales, such as flip,0.75,1,1.25",
    )
    add_reliability_options(parser)
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="write result.json, validation.json and pictures of the best and worst images there",
    )
    parser.add_argument("--json", action="store_true", help="print the scores as one JSON object")
    add_recipe_options(parser, required=False)


def run(options: argparse.Namespace, words: list[str]) -> int:
    """Validate and print."""
    from vfmseg.errors import CheckpointError, RecipeError

    if options.checkpoint and options.ckpt_path:
        raise RecipeError(
            f"Say one checkpoint: {options.checkpoint}, or --ckpt_path {options.ckpt_path}. They mean the same."
        )
    found, notes, _ = parse(words, trains=False)  # refuses a checkpoint that stands after a recipe key
    # the published EoMT has its checkpoint as --model.ckpt_path, which in fit is what to start from
    checkpoint = options.checkpoint or options.ckpt_path or found.get("init_from")
    if not checkpoint:
        raise CheckpointError("Say which checkpoint: vfmseg validate runs/NAME/checkpoints/best [-c RECIPE].")
    question = question_of(options)
    loaded = read(options.config, words, trains=False)
    if loaded is None:
        from vfmseg.runs.restore import recipe_of

        loaded = recipe_of(checkpoint, found, notes=notes)

    if options.target and options.corruptions:
        raise RecipeError(
            "Give --target or --corruptions; for corruptions of other data, set --data.path, too."
        )
    from vfmseg.transforms.averaged_views import parse_augment

    augment = None if options.augment is None else parse_augment(options.augment)
    if options.corruptions:
        return _run_corruptions(checkpoint, loaded, options, question, augment)
    if options.target:
        return _run_targets(checkpoint, loaded, options, question, augment)

    from vfmseg.runs.validate import validate

    done = validate(
        checkpoint, loaded, out=options.out, split=options.split, reliability=question, augment=augment
    )

    from lightning.pytorch.utilities import rank_zero_only

    if rank_zero_only.rank != 0:
        return 0
    judged = None if done.reliability is None else done.reliability.record()
    if options.json:
        print(json.dumps(done.result if judged is None else {**done.result, "reliability": judged}, indent=2))
    else:
        print(_table(done.scores.table(), done.result))
        if judged is not None:
            print(f"\n{reliability_table({'': judged})}")
    return 0


def _run_targets(
    checkpoint: str,
    loaded: LoadedRecipe,
    options: argparse.Namespace,
    question: ReliabilityQuestion | None,
    augment: AveragedViews | None,
) -> int:
    from vfmseg.runs.target import parse_target
    from vfmseg.runs.targets import validate_targets

    targets = [parse_target(text, split=options.split) for text in options.target]
    done = validate_targets(
        checkpoint, targets, loaded, out=options.out, reliability=question, augment=augment
    )

    from lightning.pytorch.utilities import rank_zero_only

    if rank_zero_only.rank == 0:
        print(json.dumps(done.result, indent=2) if options.json else _targets_table(done))
        if question is not None and not options.json:
            print(f"\n{targets_reliability(done.result)}")
    return 0


def _run_corruptions(
    checkpoint: str,
    loaded: LoadedRecipe,
    options: argparse.Namespace,
    question: ReliabilityQuestion | None,
    augment: AveragedViews | None,
) -> int:
    from vfmseg.runs.corruptions import parse_corruptions, validate_corruptions

    chosen = parse_corruptions(options.corruptions)
    result = validate_corruptions(
        checkpoint,
        chosen,
        loaded,
        out=options.out,
        split=options.split,
        reliability=question,
        augment=augment,
    )

    from lightning.pytorch.utilities import rank_zero_only

    if rank_zero_only.rank == 0:
        print(json.dumps(result, indent=2) if options.json else _corruptions_table(result))
        if question is not None and not options.json:
            print(f"\n{corruptions_reliability(result)}")
    return 0


def _corruptions_table(result: dict[str, Any]) -> str:
    """Return kinds below each other, severities beside each other, and what they come to."""
    scores: dict[str, dict[str, float | None]] = result["corruptions"]
    severities = sorted({severity for of_kind in scores.values() for severity in of_kind})
    width = max(map(len, (*scores, "corruption")))
    lines = [f"{'corruption':{width}}  " + "  ".join(f"{severity:>6}" for severity in severities)]
    for kind, of_kind in scores.items():
        lines.append(f"{kind:{width}}  " + "  ".join(f"{_percent(of_kind.get(s)):>6}" for s in severities))
    lines.append(
        f"{result['headline']} in %; without corruption {_percent(result['clean'])}, mean under corruption "
        f"{_percent(result['mean'])}, which is {_percent(result['relative'])} % of it"
    )
    return "\n".join(lines)


def _percent(value: float | None) -> str:
    return _cell(float("nan") if value is None else value)


def _targets_table(done: TargetsRun) -> str:
    """Return classes below each other, targets beside each other, and what they come to."""
    heads = {name: f"{name} %" for name in done.tables}
    by_class = {
        name: {label: numbers[0] for label, numbers in (*table.rows, *table.means)}
        for name, table in done.tables.items()
    }
    labels = list(dict.fromkeys(label for numbers in by_class.values() for label in numbers))
    width = max(map(len, (*labels, "class")))
    lines = [f"{'class':{width}}  " + "  ".join(f"{head:>9}" for head in heads.values())]
    for label in labels:
        cells = [
            f"{_cell(by_class[name].get(label, float('nan'))):>{max(9, len(head))}}"
            for name, head in heads.items()
        ]
        lines.append(f"{label:{width}}  " + "  ".join(cells))
    found = done.result
    score = {name: row[found["headline"]] for name, row in found["targets"].items()}
    if found["worst"] is not None:
        lines.append(
            f"mean of {len(score)} targets {_cell(found['mean'])} %; worst {found['worst']}, "
            f"{_cell(score[found['worst']])} %"
        )
    if found["gap"] is not None:
        lines.append(
            f"source (the validation that the checkpoint was saved with) {_cell(found['source'])} %; gap to the mean "
            f"{100 * found['gap']:.2f} points"
        )
    return "\n".join(lines)


def _table(table, result: dict[str, object]) -> str:  # type: ignore[no-untyped-def] # the type needs torch
    width = max(len(name) for name, _ in (*table.rows, *table.means, ("class", ())))
    heads = [f"{column} %" for column in table.columns]
    lines = [f"{'class':{width}}  " + "  ".join(f"{head:>9}" for head in heads)]
    for name, numbers in (*table.rows, *table.means):
        cells = [f"{_cell(number):>{max(9, len(head))}}" for number, head in zip(numbers, heads, strict=True)]
        lines.append(f"{name:{width}}  " + "  ".join(cells))
    if "baseline/majority_miou" in result:
        accuracy, majority = (float(str(result[k])) for k in ("val/pixel_accuracy", "baseline/majority_miou"))
        lines.append(
            f"pixel accuracy {_cell(accuracy)} %; majority class everywhere: mIoU {_cell(majority)} %"
        )
    if table.absent:
        lines.append(f"in neither truth nor prediction, so left out of the means: {', '.join(table.absent)}")
    return "\n".join(lines)


def _cell(value: float) -> str:
    return "-" if value != value else f"{100 * value:.2f}"
