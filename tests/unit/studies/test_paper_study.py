"""The published benchmark as a study: its trials are the published command lines."""

import shlex
from collections import Counter
from pathlib import Path

from vfmseg.cli.program import split_recipe_words
from vfmseg.cli.recipe_options import read
from vfmseg.runs.recipe import Recipe
from vfmseg.runs.recipe_reader import read_recipe
from vfmseg.studies.study_file import read_study
from vfmseg.studies.trials import plan

_COMMANDS = Path(__file__).parents[2] / "support" / "benchmark_commands.txt"
_DATA = ["--data.path", "anywhere"]


def _published() -> list[Recipe]:
    """Return what the 80 lines of the results resolve to; the first of 81 is the README's example."""
    found = []
    for line in _COMMANDS.read_text().splitlines()[1:]:
        own, words = split_recipe_words([*shlex.split(line)[2:], *_DATA], {"-c"})
        loaded = read(own[own.index("-c") + 1], words)
        assert loaded is not None
        found.append(loaded.recipe)
    return found


def test_paper__has_the_80_published_trials_and_mends_one_slip() -> None:
    study = read_study("configs/studies/paper.yaml")
    trials = plan(study, needs_data=False)
    assert len(trials) == 80
    assert len({trial.id for trial in trials}) == 80
    assert not [trial for trial in trials if trial.skipped]
    planned = Counter(
        repr(read_recipe(t.recipe, {"data.path": "anywhere"}).recipe) for t in trials if t.recipe
    )
    published = _published()
    # EVA-02 in the group of 8 x 8 patches lacks the patch size: a second run of the default
    (slip,) = [i for i, one in enumerate(published) if repr(one) in map(repr, published[:i])]
    assert published[slip].encoder.name == "eva02_base_patch14_224.mim_in22k"
    assert {one.encoder.patch_size for one in published[slip - 1 : slip + 2]} == {8, 16}
    published[slip] = read_recipe(published[slip], {"encoder.patch_size": 8}).recipe
    assert planned == Counter(map(repr, published))


def test_paper__every_trial_is_in_the_published_order_of_its_setting() -> None:
    study = read_study("paper")
    by_setting: dict[str, list[str]] = {}
    for trial in plan(study, needs_data=False):
        assert trial.recipe is not None
        by_setting.setdefault(trial.levels["setting"], []).append(trial.recipe.encoder.name)
    published = [one.encoder.name for one in _published()]
    assert [name for names in by_setting.values() for name in names] == published
