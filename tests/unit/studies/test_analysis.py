"""What a study says, on numbers that can be worked out by hand, and what it says that it cannot say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.studies import Scores, write_results
from vfmseg.errors import StudyError
from vfmseg.studies.analysis import StudyAnalysis, analyse
from vfmseg.studies.analysis_files import write_ranking
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


def test_files__hold_the_numbers(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "out", {"a_b": SCORES["full"], "cheap": SCORES["cheap"]})
    plan = read_plan(folder)
    write_ranking(plan, rows_of(plan, folder), folder)
    content = json.loads((folder / "ranking.json").read_text())
    assert content["settings"][0]["models"][0]["mean"] == pytest.approx(0.61)
    assert "| 1 | 1 | A | 61.0 ± 1.4 | 2 |" in (folder / "ranking.md").read_text()
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
