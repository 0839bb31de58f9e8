"""The page of a study: what stands on it, that it needs nothing else, and what it says of studies that say little."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.pages import LOADING, Page
from support.studies import write, write_results
from vfmseg.cli.program import main
from vfmseg.report.study import write_study_report
from vfmseg.report.study_charts import _score_ticks
from vfmseg.report.study_trials import trouble_table
from vfmseg.studies.plan_file import read_plan

MODELS = ["dino", "<b>mae & co</b>", "sam", "clip", "eva", "a model with a name that is far too long"]
SCORES = {
    name: {
        model: [0.6 - 0.02 * (place * shift % 7), 0.61 - 0.02 * (place * shift % 7)]
        for place, model in enumerate(MODELS)
    }
    for name, shift in (("default", 1), ("frozen", 2), ("patch 8", 3))
}
SECONDS = {"default": 100.0, "default dino": 400.0, "frozen": 20.0, "patch 8": 900.0}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return write_results(
        tmp_path / "my study",
        SCORES,
        seconds=SECONDS,
        failed="CUDA out of <memory>",
        skipped="no such window",
    )


RACE: dict[str, Any] = {
    "shares": [0.25],
    "eta": 2.0,
    "confidence": 0.95,
    "settings": [
        {
            "setting": "default",
            "rungs": [{"share": 0.25, "survivors": ["dino"], "out": ["<b>mae & co</b>"]}],
            "stopped_at": {"<b>mae & co</b>": 5},
            "winners": ["dino"],
            "cost_share": 0.625,
        }
    ],
}


def page_of(folder: Path) -> Page:
    return Page(write_study_report(folder).read_text(encoding="utf-8"))


def test_page__needs_nothing_else_and_is_accessible(results: Path) -> None:
    html = write_study_report(results).read_text(encoding="utf-8")
    page = Page(html)
    for tag, attributes in page.elements:
        for name in LOADING & set(attributes):
            assert attributes[name].startswith(("data:", "#")), tag
    assert not page.all("script")
    assert "http://" not in html
    assert "https://" not in html
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert all(link["href"].removeprefix("#") in ids for link in page.all("a"))
    assert len(page.all("svg")) >= 3 + 2 + 1 + 2
    assert all(set(drawing["aria-labelledby"].split()) <= set(ids) for drawing in page.all("svg"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all("scope" in header for header in page.all("th"))
    assert page.all("html") == [{"lang": "en"}]


def test_page__tells_a_race(results: Path) -> None:
    write(results / "race.json", RACE)
    html = write_study_report(results).read_text(encoding="utf-8")
    assert '<a href="#race">' in html
    assert "<td>&lt;b&gt;mae &amp; co&lt;/b&gt;</td><td>dino</td><td>62.5\u00a0%</td>" in html
    assert "1 in 2 of the models stays" in Page(html).text
    assert "| default | <b>mae & co</b> | dino | 62.5\u00a0% |" in (results / "ranking.md").read_text(
        encoding="utf-8"
    )


def test_page__tells_which_models_a_race_stopped(tmp_path: Path) -> None:
    scores = {"default": {"dino": [0.6, 0.61], "mae": [0.5, 0.51]}, "frozen": {"dino": [0.6, 0.61]}}
    folder = write_results(tmp_path / "out", scores)
    settings = [{**RACE["settings"][0], "setting": "frozen", "stopped_at": {"mae": 5}}]
    write(folder / "race.json", {**RACE, "settings": settings})
    html = write_study_report(folder).read_text(encoding="utf-8")
    said = "frozen has no score of mae, which the race stopped: ranks there are among the others."
    assert f'<li class="note"><b>note</b><div>{said}</div></li>' in html


def test_chart__of_one_score_has_an_axis_near_it() -> None:
    ticks = _score_ticks([0.324], 4)
    assert 0.28 <= ticks[0] < 0.324 < ticks[-1] <= 0.36
    assert _score_ticks([0.0], 4)[0] == 0.0
    assert _score_ticks([1.0], 4)[-1] == 1.0


def test_page__tells_what_fewer_steps_would_have_said(results: Path) -> None:
    text = page_of(results).text
    assert "What would fewer steps have said?" in text
    assert "Earlier validations of 12 runs of default, against their end." in text
    assert "a schedule of its own, may rank otherwise" in text
    # all models have 0.1 there, so the choice may be the worst
    assert "Which loses (points) 5 50 % – a model with a name that is far too long 10.0" in text


def test_page__tells_what_shared_features_saved(results: Path) -> None:
    assert "shared features" not in page_of(results).text
    for place, trial in enumerate(sorted(results.glob("trials/*"))[:2]):
        about = {
            "read": 30 * place,
            "computed": 30,
            "saved_seconds": 91.0 * place - 1,
            "saved_cpu_seconds": 0.0,
        }
        write(trial / "features.json", about)
    text = page_of(results).text
    assert "Saved by shared features 1 min 29 s" in text.replace("\u00a0", " ")
    assert "Times and hours are as if each trial had been alone" in text


def test_report__of_a_study_that_still_runs_writes_its_table(results: Path) -> None:
    assert not (results / "trials.csv").exists()
    write_study_report(results)
    assert len((results / "trials.csv").read_text().splitlines()) == 1 + len(SCORES) * len(MODELS) * 2 + 2
    before = (results / "trials.csv").stat().st_mtime_ns
    write_study_report(results)
    assert (results / "trials.csv").stat().st_mtime_ns == before  # nothing has come further
    failed = next(path.parent for path in results.glob("trials/*/failure.json"))
    (failed / "failure.json").unlink()
    write_study_report(results)
    assert "waiting" in (results / "trials.csv").read_text()


def test_page__tells_the_study(results: Path) -> None:
    text = page_of(results).text
    for words in (
        "dino has the best mIoU, 60.5 %.",
        "Do settings agree?",
        "What would a cheaper setting have said?",
        "Agreement of every two settings",
        "Ranks across settings",
        "1 trial failed; the reasons are under Trials.",
        "CUDA out of <memory>",
        "no such window",
        "36 of 37",
        f"vfmseg fit -c '{results}/trials/000000000000/recipe.yaml' --out runs/000000000000",
        "default and frozen:",
        "a model with a name that is far too long",
        "sky",
    ):
        assert words in text
    assert "<b>mae & co</b>" in text  # as words, not as markup


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ({}, "No trial is finished, so there is nothing to rank yet."),
        ({"default": {"dino": [0.5, 0.6]}}, "dino is the only model with a score: mIoU 55.0 %."),
        ({"default": {"dino": [0.5], "mae": [0.4]}}, "How sure that is cannot be said."),
    ],
)
def test_page__of_a_study_that_says_little(
    scores: dict[str, dict[str, list[float]]], said: str, tmp_path: Path
) -> None:
    assert said in page_of(write_results(tmp_path / "out", scores)).text


def test_page__of_many_trials_shows_the_first_and_says_where_the_rest_is(tmp_path: Path) -> None:
    models = {f"model {number}": [0.5 + number / 1000, 0.51] for number in range(60)}
    text = page_of(write_results(tmp_path / "out", {"default": models})).text
    assert "20 more rows are in trials.csv" in text


def test_report__takes_the_folder(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(results)]) == 0
    assert capsys.readouterr().out.strip() == str(results / "report.html")
    assert main(["report", str(results), str(tmp_path)]) == 2
    assert "holds a study, which has a page of its own" in capsys.readouterr().err
    (results / "plan.json").write_text("[")
    assert main(["report", str(results)]) == 2
    assert "plan.json is damaged" in capsys.readouterr().err


def test_trials_stopped_by_a_race__are_told(results: Path) -> None:
    plan = read_plan(results)
    row = {"prepares": "", "axis.model": "dino", "axis.setting": "default", "axis.seed": "0"}
    table = trouble_table([{**row, "status": "stopped at 30", "reason": "surely not the best"}], plan)
    assert table is not None
    assert [cell.text for cell in table.rows[0]] == [
        "stopped at 30 (1)",
        "surely not the best",
        "dino default seed 0",
    ]


def test_models__with_one_score_share_the_first_place(tmp_path: Path) -> None:
    text = page_of(write_results(tmp_path / "equal", {"one": {"a": [0.5], "b": [0.5], "c": [0.4]}})).text
    assert "a and b have the best mIoU, 50.0 %." in text


def test_facts__count_what_rows_of_one_trial_have_cost_once(tmp_path: Path) -> None:
    folder = write_results(tmp_path / "equal", {"one": {"a": [0.5], "b": [0.4]}}, seconds={"one": 300.0})
    assert "Time of all trials 10 min" in page_of(folder).text.replace("\u00a0", " ")
    plan = json.loads((folder / "plan.json").read_text())
    plan["trials"][1]["id"] = plan["trials"][0]["id"]  # two combinations with one recipe
    write(folder / "plan.json", plan)
    assert "Time of all trials 5 min" in page_of(folder).text.replace("\u00a0", " ")
