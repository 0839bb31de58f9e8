"""``vfmseg predict``: a checkpoint and images in, maps, overlays and JSON out."""

from __future__ import annotations

import argparse
import sys

from vfmseg.errors import RecipeError

TAKES_RECIPE_KEYS = False


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of this verb."""
    parser.add_argument(
        "checkpoint",
        help="a run folder, a checkpoint folder, a model file, or with -c a file of the published EoMT or benchmark, or "
        "what transformers saved of an EoMT",
    )
    parser.add_argument("inputs", nargs="+", help="images and folders")
    parser.add_argument(
        "--out",
        metavar="DIR",
        required=True,
        help="where to write overlays/ and, by the model's task, masks/, confidence/, panoptic/ and JSON files",
    )
    parser.add_argument(
        "--no_confidence", action="store_true", help="write no confidence maps (task semantic)"
    )
    parser.add_argument("--no_overlay", action="store_true", help="write no overlays")
    parser.add_argument(
        "--tiling",
        choices=("auto", "always", "never"),
        help="task semantic: cut images that are larger than the model's view both ways into overlapping tiles at full "
        "resolution (auto, always), or scale them down as validation does (never); default: auto, for submissions never",
    )
    parser.add_argument(
        "--augment",
        metavar="flip,SCALE,...",
        help="task semantic: test-time augmentation; averages the class scores of each image and its mirrored one (flip) "
        "at these scales, such as flip,0.75,1,1.25",
    )
    parser.add_argument(
        "--min_score",
        type=float,
        metavar="SCORE",
        help="task instance: score from which on overlays show instances (default: 0.5); files hold all",
    )
    parser.add_argument(
        "--image_ids",
        metavar="JSON",
        help="tasks panoptic and instance: annotations in COCO's format that say which id each image has, so that "
        "evaluators find them (default: the numbers that images are named by, else 1, 2, 3 ...)",
    )
    parser.add_argument(
        "-c", "--config", metavar="RECIPE", help="what a published file is of; a run's checkpoint knows it"
    )
    parser.add_argument("--device", help="such as cpu or cuda:1 (default: a GPU where there is one)")
    parser.add_argument(
        "--submission",
        metavar="NAME",
        help="write just what a benchmark's server takes of its test set: cityscapes, acdc or bravo",
    )
    parser.add_argument("--zip", action="store_true", help="with --submission: also write DIR.zip")
    parser.add_argument("--overwrite", action="store_true", help="replace predictions that are there")


def run(options: argparse.Namespace, words: list[str]) -> int:
    """Predict; exit code 1 where some images could not be read."""
    if options.submission is not None:
        return _run_submission(options)
    if options.zip:
        raise RecipeError("--zip is for --submission NAME, whose folder is uploaded. Leave it out.")
    from vfmseg.runs.predict import predict
    from vfmseg.transforms.averaged_views import parse_augment

    done = predict(
        options.checkpoint,
        options.inputs,
        out=options.out,
        recipe=options.config,
        device=options.device,
        confidence=False if options.no_confidence else None,
        with_overlay=not options.no_overlay,
        tiling=options.tiling or "auto",
        min_score=options.min_score,
        image_ids=options.image_ids,
        augment=None if options.augment is None else parse_augment(options.augment),
        overwrite=options.overwrite,
        progress=sys.stderr.isatty(),
    )
    asked = done.num_written + len(done.failed)
    print(f"{done.num_written} of {asked} images predicted into {done.folder}")
    for reason in done.failed.values():  # each begins with the image
        print(f"vfmseg: not predicted: {reason}", file=sys.stderr)
    return 1 if done.failed else 0


def _run_submission(options: argparse.Namespace) -> int:
    from vfmseg.inference.submission import find_submission
    from vfmseg.runs.submission import predict_submission
    from vfmseg.transforms.averaged_views import parse_augment

    other = {
        "--no_confidence": options.no_confidence,
        "--no_overlay": options.no_overlay,
        "--min_score": options.min_score is not None,
        "--image_ids": options.image_ids is not None,
    }
    if given := [name for name, is_given in other.items() if is_given]:
        raise RecipeError(f"--submission writes just what the server takes. Leave out {', '.join(given)}.")
    done = predict_submission(
        options.checkpoint,
        options.inputs,
        submission=options.submission,
        out=options.out,
        recipe=options.config,
        device=options.device,
        tiling=options.tiling or "never",
        augment=None if options.augment is None else parse_augment(options.augment),
        zipped=options.zip,
        overwrite=options.overwrite,
        progress=sys.stderr.isatty(),
    )
    asked = find_submission(options.submission)
    first = "" if options.zip or not asked.zips else " Zip what is in it (--zip)."
    print(
        f"{done.num_written} images of {asked.title} predicted into {done.folder}, none is missing.{first} {asked.then}."
    )
    return 0
