"""Turns the folders that were named into the page that they ask for: of a run, of an evaluation, or of several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vfmseg.errors import CheckpointError, RecipeError, StudyError
from vfmseg.report.comparison import gather
from vfmseg.report.evaluations import (
    EvaluationRecord,
    find_evaluations,
    is_evaluation,
    read_evaluation,
    record_of_run,
)
from vfmseg.report.pages import write_comparison, write_run_report
from vfmseg.report.run_folder import RunRecord, read_run
from vfmseg.runs.recipe_id import recipe_id
from vfmseg.studies.folder import STUDY


def write_report(folders: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write the page of folders that ``vfmseg fit``, ``vfmseg validate --out`` or ``vfmseg benchmark`` wrote.

    A study has a page of its own. A run alone, or with evaluations of it, gives the page of the run, with the evaluations
    that lie in its folder. Anything else gives a page that compares models.

    Args:
        folders: at least one.
        out: where the page goes; by default ``report.html`` in the first folder, or ``comparison.html`` where several
            models are compared, so that the first one's own page stays.

    Returns:
        Path of the page.

    Raises:
        CheckpointError: a folder is neither, is named twice, or cannot be read, or they cannot be compared.
        RecipeError: ``out`` does not end in .html.
        StudyError: a study is named beside other folders, or a file of it is damaged.
        LabelError: two classes of a validation have one name, or it counted nothing.
        ResourceError: the page cannot be written.
    """
    paths = [Path(folder) for folder in folders]
    _refuse_twice(paths)
    page = None if out is None else Path(out)
    if page is not None and page.suffix not in (".html", ".htm"):
        raise RecipeError(f"--out {page} names no HTML file. Name one, such as {page / 'report.html'}.")
    if studies := [path for path in paths if (path / STUDY).is_file()]:
        if len(paths) > 1:
            raise StudyError(
                f"{studies[0]} holds a study, which has a page of its own. Name it alone, or name folders of its trials "
                f"({studies[0]}/trials/ID) to compare them with other runs."
            )
        from vfmseg.report.study import write_study_report  # statistics take a second to load

        return write_study_report(studies[0], out=page)
    found: list[RunRecord | EvaluationRecord] = []
    for path in paths:
        if is_evaluation(path):
            found.append(read_evaluation(path))
            continue
        run = read_run(path)
        inside = [read_evaluation(place) for place in find_evaluations(path) if not _is_named(place, paths)]
        found += [run, *(record for record in inside if _is_of(run, record))]
    runs = [one for one in found if isinstance(one, RunRecord)]
    records = [one for one in found if isinstance(one, EvaluationRecord)]
    if len(runs) == 1 and all(_is_of(runs[0], record) for record in records):
        return write_run_report(runs[0].folder, records, out=page)
    scored = gather(one if isinstance(one, EvaluationRecord) else record_of_run(one) for one in found)
    name = "report.html" if len(scored) == 1 else "comparison.html"
    return write_comparison(scored, page or paths[0] / name)


def _refuse_twice(paths: Sequence[Path]) -> None:
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen:
            raise CheckpointError(f"{str(path)!r} is named twice. Name each folder once.")
        seen.add(path.resolve())


def _is_named(path: Path, paths: Sequence[Path]) -> bool:
    return path.resolve() in {one.resolve() for one in paths}


def _is_of(run: RunRecord, record: EvaluationRecord) -> bool:
    """Return whether the model that was scored is a checkpoint of the run."""
    model = record.model
    return (model.recipe_id, model.seed) == (recipe_id(run.recipe), run.setting("seed"))
