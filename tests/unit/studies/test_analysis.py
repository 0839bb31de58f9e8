"""What a study says, on numbers that can be worked out by hand, and what it says that it cannot say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.studies import Scores, write_results
from vfmseg.errors import StudyError
from vfmseg.studies import analysis_cheaper
from vfmseg.studies.analysis import MOST_SHOWN, StudyAnalysis, analyse
from vfmseg.studies.analysis_files import early_words, write_ranking
from vfmseg.studies.plan_file import read_plan
from vfmseg.studies.store import rows_of

SCORES: Scores = {
    "full": {"A": [0.60, 0.62], "B": [0.50, 0.52], "C": [0.49, 0.51]},
    "cheap": {"A": [0.40, 0.42], "B": [0.50, 0.52], "C": [0.30, 0.32]},
}
SECONDS = {"full": 100.0, "full C": 50.0, "cheap": 25.0}


def analysed(folder: Path) -> StudyAnalysis:
    plan = read_plan(folder)
    return analyse(plan, rows_of(plan, folder), folder)


@pytest.fixture
def found(tmp_path: Path) -> StudyAnalysis:
    return analysed(write_results(tmp_path / "out", SCORES, seconds=SECONDS))


def test_ranking__has_means_spreads_and_sets_of_ranks(found: StudyAnalysis) -> None:
    full = found.settings[0]
    assert (full.name, full.is_reference, full.chance) == ("full", True, "seeds")
    assert [one.model for one in full.models] == ["A", "B", "C"]
    assert [one.mean for one in full.models] == pytest.approx([0.61, 0.51, 0.50])
    assert [one.sd for one in full.models] == pytest.approx([0.02 / 2**0.5] * 3)
    # of A - B = 0.10: 7.1 standard errors of 0.0141; Tukey's limit for three models and three degrees of freedom is 4.18
    assert [(one.best_rank, one.worst_rank) for one in full.models] == [(1, 1), (2, 3), (2, 3)]
    assert [one.may_be_best for one in full.models] == [True, False, False]
    assert full.groups == (("A",), ("B", "C"))
    # Student's t with three degrees of freedom: 3.182 x 0.01
    best = full.models[0]
    assert best.lower is not None
    assert best.upper is not None
    assert (best.lower, best.upper) == pytest.approx((0.61 - 0.0318, 0.61 + 0.0318), abs=0.0015)


def test_pairs__say_what_would_separate_neighbours(found: StudyAnalysis) -> None:
    pairs = {(one.first, one.second): one for one in found.settings[0].pairs}
    assert set(pairs) == {("A", "B"), ("A", "C"), ("B", "C")}
    assert pairs["A", "B"].is_separated
    assert pairs["A", "B"].seeds is None
    assert not pairs["B", "C"].is_separated
    # half a standard deviation of 0.0141 x sqrt(2): 2 (1.96 + 0.84)^2 / 0.5 = 31.4, and a little more for t
    assert pairs["B", "C"].seeds in (32, 33, 34)
    assert pairs["B", "C"].images is None


def test_settings__are_compared_with_the_reference(found: StudyAnalysis) -> None:
    (one,) = found.agreements
    assert (one.setting, one.against, one.kendall.models) == ("cheap", "full", 3)
    assert one.kendall.value == pytest.approx(1 / 3)  # of three pairs one is exchanged
    assert one.bounds is not None
    # A and B are surely exchanged, A and C surely not; only B and C are open
    assert (one.bounds.lower, one.bounds.upper) == pytest.approx((-1 / 3, 1 / 3))
    assert found.taus == ((1.0, pytest.approx(1 / 3)), (pytest.approx(1 / 3), 1.0))


def test_proxy__has_its_share_of_the_cost_and_what_its_choice_loses(found: StudyAnalysis) -> None:
    (one,) = found.proxies
    assert (one.setting, one.against, one.choice) == ("cheap", "full", "B")
    assert one.cost_share == pytest.approx(75 / 250)
    assert one.regret == pytest.approx(0.10)


def test_front__leaves_out_what_another_beats_in_both(found: StudyAnalysis) -> None:
    fronts = {front.cost: front.models for front in found.settings[0].fronts}
    assert fronts["cost/seconds_alone"] == ("A", "C")
    assert fronts["parameters_total"] == ("A",)


def test_images__are_resampled_where_their_counts_are_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = write_results(tmp_path / "out", {"full": {"A": [0.0], "B": [0.0]}})
    unions = np.full((40, 2), 100)
    for place, trial in enumerate(sorted(folder.glob("trials/*"))):
        hits = np.clip(60 - 20 * place + rng.integers(-9, 10, (40, 2)), 0, 100)
        names = np.array([f"{i:02d}" for i in range(40)])
        np.savez(trial / "image_counts.npz", names=names, intersections=hits, unions=unions)
        content = json.loads((trial / "result.json").read_text())
        content["val/miou"] = float((hits.sum(0) / unions.sum(0)).mean())
        (trial / "result.json").write_text(json.dumps(content))
    full = analysed(folder).settings[0]
    assert full.chance == "images"
    assert [(one.best_rank, one.worst_rank) for one in full.models] == [(1, 1), (2, 2)]
    assert full.pairs[0].is_separated


def test_images__that_do_not_make_the_score_are_left_out(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out", {"full": {"A": [0.6, 0.7], "B": [0.5, 0.4]}})
    for trial in folder.glob("trials/*"):
        counts = np.full((12, 2), 10)
        names = np.arange(12).astype(str)
        np.savez(trial / "image_counts.npz", names=names, intersections=counts, unions=counts)
    full = analysed(folder).settings[0]
    assert full.chance == "seeds"
    assert "the scores are not the means over classes that the counts of images give" in full.notes[0]


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({}, "No trial is finished, so there is nothing to rank yet."),
        ({"full": {"A": [0.6, 0.7]}}, "A single model has a score here"),
        ({"full": {"A": [0.6], "B": [0.5]}}, "Every model has one seed, so nothing is known"),
        ({"full": {"A": [0.6, 0.6], "B": [0.5, 0.5]}}, "All seeds of a model have the same score"),
        ({"full": {"A": [0.6, 0.7], "B": [0.5, 0.4]}}, "fewer than 3 models cannot be compared"),
    ],
)
def test_what_cannot_be_said__is_said(scores: Scores, said: str, tmp_path: Path) -> None:
    result = analysed(write_results(tmp_path / "out", scores))
    assert said in " ".join([*result.notes, *(note for one in result.settings for note in one.notes)])


def test_reference_without_scores__is_said(tmp_path: Path) -> None:
    result = analysed(write_results(tmp_path / "out", SCORES, reference="other"))
    assert result.reference is None
    assert result.agreements == ()
    assert "The reference setting (other) has no scores yet" in result.notes[0]


def test_missing_models__are_named(tmp_path: Path) -> None:
    scores: dict[str, Any] = {**SCORES, "third": {"A": [0.1, 0.2], "B": [0.3, 0.4]}}
    result = analysed(write_results(tmp_path / "out", scores, failed="out of memory"))
    assert [one.missing for one in result.settings] == [("broken",), ("broken",), ("C", "broken")]
    assert "1 of 17 trials have no score" in result.notes[0]


def test_race__of_trials_that_the_study_no_longer_has_is_left_out(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out", SCORES)
    race = {"shares": [0.5], "eta": 2.0, "confidence": 0.95, "settings": [], "trials": [f"{0:012x}"]}
    (folder / "race.json").write_text(json.dumps(race))
    assert analysed(folder).race is not None
    (folder / "race.json").write_text(json.dumps({**race, "trials": [f"{0:012x}", "of an earlier form"]}))
    result = analysed(folder)
    assert result.race is None
    assert "trials that the study no longer has, so it is left out" in result.notes[-1]


def test_damaged_trials__have_no_score_and_those_left_out_were_to_have_none(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out", SCORES, failed="out of memory", skipped="no time")
    next(folder.glob("trials/*/result.json")).write_text("{")
    result = analysed(folder)
    assert "2 of 13 trials have no score" in result.notes[0]


def test_sizes__are_said_of_every_setting_that_the_page_shows(tmp_path: Path) -> None:
    scores = {f"setting {number}": SCORES["full"] for number in range(MOST_SHOWN + 1)}
    settings = analysed(write_results(tmp_path / "out", scores)).settings
    sizes = [next(one.seeds for one in setting.pairs if one.first == "B") for setting in settings]
    assert all(sizes[:MOST_SHOWN])
    assert sizes[MOST_SHOWN:] == [None]
    assert "is said of the first 12 settings, where they have up to 50 models" in settings[-1].notes[-1]
    assert not any("is said of the first" in note for one in settings[:-1] for note in one.notes)


def write_curves(folder: Path, curves: dict[str, dict[int, float]], column: str = "val/miou") -> None:
    """Write what the runs of models in the first setting scored at earlier validations, before their end at 100."""
    plan = read_plan(folder)
    for trial in plan.trials:
        if trial.levels["setting"] == "full":
            own = folder / "trials" / trial.id
            end = json.loads((own / "result.json").read_text())["val/miou"]
            lines = [
                f"{step},{score + 0.01 * int(trial.levels['seed'])}"
                for step, score in curves[trial.levels["model"]].items()
            ]
            (own / "metrics.csv").write_text(
                "\n".join([f"step,{column}", *lines, "90,", f"100,{end}"]) + "\n"
            )


def test_fewer_steps__are_compared_with_the_end(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out", SCORES)
    # at the end A 0.61, B 0.51, C 0.50; C has a validation that the others lack
    write_curves(folder, {"A": {20: 0.1, 50: 0.3}, "B": {20: 0.3, 50: 0.2}, "C": {20: 0.2, 30: 0.5, 50: 0.1}})
    first, second = analysed(folder).fewer_steps
    assert (first.step, first.choice, first.runs) == (20, "B", 6)
    assert first.share == pytest.approx(0.2)
    assert first.tau == pytest.approx(-1 / 3)  # of three pairs only B and C are in order
    assert first.regret == pytest.approx(0.10)
    assert (second.step, second.tau, second.choice, second.regret) == (50, pytest.approx(1.0), "A", 0.0)


def test_fewer_steps__are_at_most_eight_spread_out(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out", SCORES)
    write_curves(folder, {model: dict.fromkeys(range(1, 88), 0.1) for model in "ABC"})
    steps = [one.step for one in analysed(folder).fewer_steps]
    assert len(steps) == 8
    assert (steps[0], steps[-1]) == (1, 87)
    first = analysed(folder).fewer_steps[0]
    # all models score alike, so the choice may be the worst
    assert (first.tau, first.choice, first.regret) == (None, "C", pytest.approx(0.11))


def test_fewer_steps__of_runs_that_share_none_is_said(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out", SCORES)
    write_curves(folder, {"A": {20: 0.1}, "B": {30: 0.3}, "C": {40: 0.2}})
    result = analysed(folder)
    assert result.fewer_steps == ()
    assert "the runs of full share no validation before the end" in result.notes[-1]


@pytest.mark.parametrize("curves", [{}, {5: 0.1}])
def test_fewer_steps__need_an_earlier_validation_and_three_models(
    curves: dict[int, float], tmp_path: Path
) -> None:
    models = "ABC" if not curves else "AB"
    scores = {"full": {model: SCORES["full"][model] for model in models}}
    folder = write_results(tmp_path / "out", scores)
    write_curves(folder, dict.fromkeys(models, curves))
    result = analysed(folder)
    assert result.fewer_steps == ()
    assert not any("fewer steps" in note for note in result.notes)


def test_fewer_steps__of_many_runs_are_of_the_first_of_each_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_results(tmp_path / "out", SCORES)
    write_curves(folder, {"A": {50: 0.1}, "B": {50: 0.3}, "C": {50: 0.2}})
    monkeypatch.setattr(analysis_cheaper, "_MOST_READ", 3)
    result = analysed(folder)
    assert [one.runs for one in result.fewer_steps] == [3]
    assert "Earlier validations of 3 of the 6 runs of full" in early_words(result)
    monkeypatch.setattr(analysis_cheaper, "_MOST_READ", 2)
    result = analysed(folder)
    assert result.fewer_steps == ()
    assert result.notes[-1] == "Rankings at fewer steps are made of up to 2 models."


def test_fewer_steps__of_models_of_unequal_length_have_a_share_of_all_their_steps(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out", SCORES)
    for trial in read_plan(folder).trials:
        end = 100 if trial.levels["model"] == "A" else 50
        (folder / "trials" / trial.id / "metrics.csv").write_text(
            f"step,val/miou\n25,0.1\n50,0.2\n{end},0.3\n"
        )
    (one,) = analysed(folder).fewer_steps
    assert (one.step, one.share) == (25, pytest.approx(3 * 25 / 200))


def test_damaged_curve__is_said(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out", SCORES)
    next(folder.glob("trials/*/metrics.csv")).write_text("step,val/miou\n5,much\n")
    with pytest.raises(
        StudyError, match=r"metrics.csv is damaged \(could not convert .*Delete the trial's folder"
    ):
        analysed(folder)


def test_files__hold_the_numbers(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out", {"a_b": SCORES["full"], "cheap": SCORES["cheap"]})
    plan = read_plan(folder)
    write_ranking(plan, rows_of(plan, folder), folder)
    content = json.loads((folder / "ranking.json").read_text())
    assert content["settings"][0]["models"][0]["mean"] == pytest.approx(0.61)
    assert "| 1 | 1 | A | 61.0 ± 1.4 | 2 |" in (folder / "ranking.md").read_text()
    assert content["fewer_steps"][0] == {
        "step": 5,
        "share": 0.5,
        "tau": None,
        "choice": "C",
        "regret": pytest.approx(0.11),
        "runs": 6,
    }
    assert "| 5 | 50 % | – | C | 11.0 |" in (folder / "ranking.md").read_text()
    assert "may rank otherwise" in (folder / "ranking.md").read_text()
    assert content["race"] is None
    tex = (folder / "ranking.tex").read_text()
    assert r"model & a\_b & cheap \\" in tex
    assert r"B & 51.0 $\pm$ 1.4 [2--3] & 51.0 $\pm$ 1.4 [1] \\" in tex


def test_folder__without_a_plan_is_read_from_its_trials(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out", SCORES)
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").unlink()
    for trial in plan["trials"]:
        (folder / "trials" / trial["id"] / "trial.json").write_text(json.dumps(trial))
    assert analysed(folder).settings[0].models[0].model == "A"


@pytest.mark.parametrize(("name", "said"), [("plan.json", "is damaged"), ("study.json", "is damaged")])
def test_damaged_folder__is_said(name: str, said: str, tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out", SCORES)
    (folder / name).write_text("{")
    with pytest.raises(StudyError, match=said):
        read_plan(folder)


def test_no_study__is_said(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no study"):
        read_plan(tmp_path)
