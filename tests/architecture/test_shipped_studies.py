"""Every study that ships can be planned and opens with how to run it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from vfmseg.cli.program import split_recipe_words
from vfmseg.cli.recipe_options import parse
from vfmseg.studies.study_file import find_study, list_studies, read_study, with_overrides
from vfmseg.studies.trials import plan

ROOT = Path(__file__).parents[2]
STUDIES = list_studies()


def test_studies__are_those_in_the_folder() -> None:
    in_folder = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs" / "studies").rglob("*.yaml")}
    assert in_folder == set(STUDIES)
    assert "configs/studies/quickstart.yaml" in in_folder


@pytest.mark.parametrize("name", STUDIES)
def test_study__plans_trials_that_differ(name: str) -> None:
    study = read_study(name)
    trials = plan(study, needs_data=False)
    runs = [trial for trial in trials if trial.recipe is not None]
    assert len(runs) > 1
    assert len({trial.id for trial in runs}) == len(runs)
    assert not [trial.label for trial in trials if (trial.skipped or "").startswith("no recipe")]


@pytest.mark.parametrize("name", STUDIES)
def test_study__opens_with_its_command(name: str) -> None:
    comment = []
    for line in find_study(name).read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.removeprefix("#"))
    commands = [i for i, line in enumerate(comment) if line.strip().startswith(f"vfmseg benchmark {name}")]
    assert commands, "a study opens with a comment that holds the command to run it"
    for i in commands:
        words = comment[i].split()[2:]
        if i + 1 < len(comment) and comment[i + 1].startswith("     --"):  # the command goes on
            words += shlex.split(comment[i + 1])
        own, recipe_words = split_recipe_words(words, {"--out", "--jobs", "--dry-run", "--race"})
        assert own[0] == name
        allowed = {
            "--dry-run",
            "--race",
            "--out",
            "--jobs",
            "2",
            "studies/race",
            f"studies/{Path(name).stem}",
        }
        assert set(own[1:]) <= allowed
        keys, notes, _ = parse(recipe_words)
        assert not notes
        assert plan(with_overrides(read_study(name), keys), needs_data=False)
