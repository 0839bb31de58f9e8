"""``vfmseg validate``: a checkpoint and data in, a table of scores out."""

from __future__ import annotations

import argparse
import json

from vfmseg.cli.recipe_options import add_recipe_options, read

TAKES_RECIPE_KEYS = True


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument("checkpoint", nargs="?", help="a run folder, a checkpoint folder or a model file")
    parser.add_argument(
        "--ckpt_path", metavar="CHECKPOINT", help="the same, as the published programs have it"
    )
    parser.add_argument("--split", default="val", help="which split of the data (default: val)")
    parser.add_argument("--out", metavar="DIR", help="write result.json and validation.json there")
    parser.add_argument("--json", action="store_true", help="print the scores as one JSON object")
    add_recipe_options(parser, required=False)


def run(options: argparse.Namespace, words: list[str]) -> int:
    """Validate and print."""
    from vfmseg.errors import CheckpointError

    checkpoint = options.checkpoint or options.ckpt_path
    if checkpoint is None:
        raise CheckpointError("Say which checkpoint: vfmseg validate runs/NAME/checkpoints/best [-c RECIPE].")
    loaded = read(options.config, words)
    if loaded is None:
        from vfmseg.cli.aliases import translate
        from vfmseg.cli.options import parse_overrides
        from vfmseg.runs.validate import recipe_of

        found, notes = parse_overrides(words)
        loaded = recipe_of(checkpoint, translate(found), notes=tuple(notes))

    from vfmseg.runs.validate import validate

    done = validate(checkpoint, loaded, out=options.out, split=options.split)
    if options.json:
        print(json.dumps(done.result, indent=2))
    else:
        print(_table(done.scores, done.majority_miou))
    return 0


def _table(scores, majority: float) -> str:  # type: ignore[no-untyped-def] # the type needs torch
    width = max(len(name) for name in (*scores.names, "mean"))
    lines = [f"{'class':{width}}    IoU %     F1 %  precision %  recall %"]
    columns = (scores.iou, scores.f1, scores.precision, scores.recall)
    for index, name in enumerate(scores.names):
        cells = [_cell(column[index]) for column in columns]
        lines.append(f"{name:{width}}  {cells[0]:>7}  {cells[1]:>7}  {cells[2]:>11}  {cells[3]:>8}")
    means = [
        _cell(v) for v in (scores.miou, scores.mean_f1, scores.mean_precision, scores.mean_class_accuracy)
    ]
    lines.append(f"{'mean':{width}}  {means[0]:>7}  {means[1]:>7}  {means[2]:>11}  {means[3]:>8}")
    lines.append(
        f"pixel accuracy {_cell(scores.pixel_accuracy)} %; majority class everywhere: mIoU {_cell(majority)} %"
    )
    if scores.absent_classes:
        lines.append(
            f"in neither truth nor prediction, so left out of the means: {', '.join(scores.absent_classes)}"
        )
    return "\n".join(lines)


def _cell(value: float) -> str:
    return "-" if value != value else f"{100 * value:.2f}"
