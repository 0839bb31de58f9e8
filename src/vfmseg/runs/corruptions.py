"""A checkpoint and data in, how it fares on that data in snow, noise, blur ...: corruptions made on the fly.

Summed up as in arXiv 1907.07484: the mean over kinds and severities, and its share of the score without corruption.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from vfmseg.errors import RecipeError
from vfmseg.runs.assemble import Say
from vfmseg.runs.fit import say_on_stderr
from vfmseg.runs.folder import write_json
from vfmseg.runs.machine import process_given_back
from vfmseg.runs.model_facts import model_facts
from vfmseg.runs.recipe import LoadedRecipe
from vfmseg.runs.reliability import ReliabilityQuestion, summed_up
from vfmseg.runs.validate import prepare, score
from vfmseg.runs.windows_recipe import view_row
from vfmseg.tasks.catalog import build_task
from vfmseg.training.callbacks.stopping import signals_given_back
from vfmseg.training.corrupted import Corruption
from vfmseg.transforms.averaged_views import AveragedViews
from vfmseg.transforms.corruptions import CORRUPTIONS, SEVERITIES


def parse_corruptions(text: str) -> list[Corruption]:
    """Read ``all``, or ``KIND`` (all severities) and ``KIND:SEVERITY`` with commas between.

    Raises:
        RecipeError: an unknown kind or severity.
    """
    found = []
    for word in CORRUPTIONS if text == "all" else text.replace(" ", "").split(","):
        kind, colon, severity = word.partition(":")
        if colon and not severity.isdecimal():
            raise RecipeError(
                f"--corruptions {word}: write all, or KIND or KIND:SEVERITY with commas between, such as fog,snow:3."
            )
        found += [Corruption(kind, level) for level in ([int(severity)] if colon else SEVERITIES)]
    return list(dict.fromkeys(found))


@process_given_back()
@signals_given_back()
def validate_corruptions(
    checkpoint: str | Path,
    corruptions: Sequence[Corruption],
    recipe: LoadedRecipe | None = None,
    *,
    out: str | Path | None = None,
    split: str = "val",
    reliability: ReliabilityQuestion | None = None,
    augment: AveragedViews | None = None,
    say: Say = say_on_stderr,
) -> dict[str, Any]:
    """Score a checkpoint on data as it is and under each corruption.

    Args:
        checkpoint: as of :func:`vfmseg.runs.validate.validate`.
        corruptions: what is done to the images.
        recipe: whose data is used; by default the checkpoint's own.
        out: where to write ``corruptions.json``; nothing is written without it.
        split: of the data.
        reliability: also judge how far confidence can be believed, without and under each corruption.
        augment: test-time augmentation, as of :func:`vfmseg.runs.validate.validate`.
        say: where messages go.

    Returns:
        ``headline``; ``data``, ``split`` and ``images``, what was scored, and how it was seen, as in ``result.json``;
        ``clean``, the score without corruption; ``corruptions``: kind -> severity -> score; ``mean`` over them;
        ``relative``, the mean's share of ``clean``. Scores are None where there is nothing to score. Where reliability
        was asked for also ``reliability``: ``clean``, what ``reliability.json`` holds without the bins; and
        ``corruptions``, kind -> severity -> the same.
    """
    prepared = prepare(
        checkpoint, recipe, out=out, split=split, say=say, reliability=reliability, augment=augment
    )
    headline = build_task(prepared.own.task).headline
    first = score(prepared, say=say)
    clean: float | None = first.result[headline]
    judged: dict[str, dict[str, Any]] = {}
    scores: dict[str, dict[str, float | None]] = {}
    for number, corruption in enumerate(corruptions, start=1):
        done = score(prepared, corruption=corruption, say=say)
        scores.setdefault(corruption.kind, {})[str(corruption.severity)] = done.result[headline]
        if done.reliability is not None:
            judged.setdefault(corruption.kind, {})[str(corruption.severity)] = summed_up(done.reliability)
        say(
            f"{number}/{len(corruptions)} {corruption.kind} {corruption.severity}: {headline} {done.result[headline]}"
        )
    known = [value for of_kind in scores.values() for value in of_kind.values() if value is not None]
    mean = statistics.fmean(known) if known else None
    result: dict[str, Any] = {
        "headline": headline,
        "data": prepared.chosen.data.name,
        "split": split,
        "images": len(prepared.val),
        **view_row(prepared.chosen.windows, prepared.chosen.data),
        **({} if augment is None else {"augment": augment.text}),
        "clean": clean,
        "corruptions": scores,
        "mean": mean,
        "relative": mean / clean if mean is not None and clean else None,
    }
    if first.reliability is not None:
        result["reliability"] = {"clean": summed_up(first.reliability), "corruptions": judged}
    if out is not None and rank_zero_only.rank == 0:
        write_json(Path(out) / "corruptions.json", {**result, "model": model_facts(prepared)})
    return result
