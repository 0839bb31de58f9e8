"""A study in, a race out: every model trained to a rung, the weak ones stopped there, the others gone on with.

A trial is paused at a rung and resumed from its checkpoint, on the schedule of the full run, so what a race finishes is
bit for bit what the study without a race finishes. See :mod:`vfmseg.studies.statistics.racing` for how it is decided.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from vfmseg.studies.clock import Clock
from vfmseg.studies.folder import RACE, STOPPED, trial_folder
from vfmseg.studies.lanes import Lane
from vfmseg.studies.racing_contests import (
    Contest,
    Rules,
    contests_of,
    headline_of,
    refuse_without_rungs,
    rung_step,
    score_at,
    scores_of,
)
from vfmseg.studies.runner import Say, Tally, run_stage, say_damaged, what_is_left
from vfmseg.studies.shared_features import FeaturePlan
from vfmseg.studies.statistics.racing import halve, possible_winners, shared_confidence
from vfmseg.studies.study_file import Study
from vfmseg.studies.trials import Trial


def race_trials(
    study: Study,
    trials: Sequence[Trial],
    results: Path,
    lanes: Sequence[Lane],
    *,
    rules: Rules | None = None,
    retry: bool = False,
    say: Say,
) -> tuple[Tally, list[Contest]]:
    """Run a study as a race in each of its settings, preparations first.

    Models that lack a score, as one of their trials failed, are not judged and go on. What was decided before is decided
    again from what the runs have written down, so a race that was killed goes on where it was.

    Args:
        study: for its targets, its budget and its ranked axis.
        trials: as planned; those left out are passed over.
        results: folder made by :func:`vfmseg.studies.runner.open_results`.
        lanes: where trials run; closed at the end.
        rules: how it is run; as published for successive halving if left out, at 95 % confidence.
        retry: run those again that failed before.
        say: where lines for trials, rungs and winners go.

    Raises:
        StudyError: a model has one seed, or fewer than another one, or no validation comes before the end of the trials.
    """
    rules = rules or Rules()
    contests = contests_of(study, trials)
    refuse_without_rungs(contests, rules)
    each = shared_confidence(rules.confidence, len(rules.shares))
    assert each is not None
    tally, todo = what_is_left(study, trials, results, retry=retry)
    say_damaged(tally.damaged, say)
    for trial in todo:
        (trial_folder(results, trial.id) / STOPPED).unlink(missing_ok=True)
    clock = Clock(
        len(tally.before) + len(tally.damaged) + len(tally.failed) + len(todo),
        len(tally.before),
        len(todo),
        len(lanes),
        study,
        say,
    )
    features = FeaturePlan(todo, results, study.budget.features_gib)
    open_ids = {trial.id for trial in todo}
    try:
        run_stage(
            [one for one in todo if one.prepares is not None], study, results, lanes, tally, clock, features
        )
        for share in rules.shares:
            steps = _rung(contests, share, results)
            running = _open(contests, open_ids, tally)
            stage = [
                one for one in running if one.id in steps and score_at(one, steps[one.id], results) is None
            ]
            run_stage(stage, study, results, lanes, tally, clock, features, pause_at=steps)
            if tally.waiting or tally.elsewhere:
                break
            for contest in contests:
                _decide(contest, share, steps, each, rules.eta, results, say)
            _write_stopped(contests, open_ids, results, tally, clock, features)
        else:
            run_stage(_open(contests, open_ids, tally), study, results, lanes, tally, clock, features)
    finally:
        for lane in lanes:
            lane.close()
    if tally.waiting or tally.elsewhere:
        say("the race is not over: type the same command again")
        tally.waiting += [t.id for t in _open(contests, open_ids, tally) if t.id not in tally.waiting]
    else:
        for contest in contests:
            _finish(contest, each, results, say)
    _write_race(contests, rules, results)
    return tally, contests


def _rung(contests: Sequence[Contest], share: float, results: Path) -> dict[str, int]:
    """Return trial id -> step of this rung; without trials whose earlier rung, or end, it is."""
    found = {}
    for contest in contests:
        before = {trial for rung in contest.rungs for trial in rung["steps"].items()}
        for model in contest.alive:
            for trial in contest.runs[model]:
                step = rung_step(trial, share)
                if step is not None and (trial.id, step) not in before:
                    found[trial.id] = step
    return found


def _open(contests: Sequence[Contest], open_ids: set[str], tally: Tally) -> list[Trial]:
    """Return the trials of models still in a race that are neither done nor failed, each once."""
    over = {*tally.done, *tally.failed}
    found = {
        trial.id: trial
        for contest in contests
        for model in contest.alive
        for trial in contest.runs[model]
        if trial.id in open_ids and trial.id not in over
    }
    return list(found.values())


def _decide(
    contest: Contest,
    share: float,
    steps: dict[str, int],
    confidence: float,
    eta: float,
    results: Path,
    say: Say,
) -> None:
    scores = scores_of(contest, steps, results)
    if len(scores) < 2:
        return
    survivors, out = halve(list(scores), list(scores.values()), eta=eta, confidence=confidence)
    for model in out:
        contest.stopped_at[model] = max(steps[trial.id] for trial in contest.runs[model])
    contest.alive = [model for model in contest.alive if model not in out]
    own_steps = {t.id: steps[t.id] for model in scores for t in contest.runs[model]}
    contest.rungs.append({"share": share, "steps": own_steps, "survivors": survivors, "out": out})
    leaves = f"{', '.join(out)} stopped" if out else "nobody can be stopped yet"
    say(f"race{_in(contest)}, {share:.3g} of the steps: {leaves}; in the race: {', '.join(contest.alive)}")


def _write_stopped(
    contests: Sequence[Contest],
    open_ids: set[str],
    results: Path,
    tally: Tally,
    clock: Clock,
    features: FeaturePlan,
) -> None:
    """Write down which trials race nowhere any more."""
    from vfmseg.runs.folder import write_json

    racing = {t.id for contest in contests for model in contest.alive for t in contest.runs[model]}
    for contest in contests:
        for model, step in contest.stopped_at.items():
            for trial in contest.runs[model]:
                if trial.id in racing | set(tally.stopped) or trial.id not in open_ids:
                    continue
                tally.stopped[trial.id] = step
                clock.leave()
                features.leave(trial)
                reason = "left the race: surely not among the models kept"
                scores = {headline_of(trial): score_at(trial, step, results)}
                write_json(
                    trial_folder(results, trial.id) / STOPPED,
                    {"step": step, "scores": scores, "reason": reason},
                )


def _finish(contest: Contest, confidence: float, results: Path, say: Say) -> None:
    scores = scores_of(contest, None, results)
    if scores:
        contest.winners = possible_winners(list(scores), list(scores.values()), confidence=confidence)
    named = ", ".join(contest.winners) or "none, as no model has all its scores"
    say(
        f"race{_in(contest)}: may be the best: {named}; {contest.cost_share:.0%} of the steps of the full study"
    )


def _in(contest: Contest) -> str:
    return f" ({contest.setting})" if contest.setting else ""


def _write_race(contests: Sequence[Contest], rules: Rules, results: Path) -> None:
    from vfmseg.runs.folder import write_json

    about = [
        {
            "setting": one.setting,
            "rungs": [{k: v for k, v in rung.items() if k != "steps"} for rung in one.rungs],
            "stopped_at": one.stopped_at,
            "winners": one.winners,
            "cost_share": one.cost_share,
        }
        for one in contests
    ]
    raced = [trial.id for one in contests for trials in one.runs.values() for trial in trials]
    write_json(results / RACE, {**dataclasses.asdict(rules), "settings": about, "trials": raced})
