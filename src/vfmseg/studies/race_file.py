"""``race.json`` of a folder of results in, what the race decided out: who left at which rung, and who may be the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from vfmseg.errors import StudyError
from vfmseg.studies.folder import RACE

_MOST_NAMED = 12
"""Models in one cell of a table; ``race.json`` has all."""


@dataclass(frozen=True, kw_only=True)
class RaceRung:
    """What was decided at one rung."""

    share: float
    """Of the training steps, in 0..1."""
    survivors: tuple[str, ...]
    out: tuple[str, ...]
    """Models that left."""


@dataclass(frozen=True, kw_only=True)
class RacedSetting:
    """The race in one setting."""

    setting: str
    """Its levels in a word each; empty where the study has one setting."""
    rungs: tuple[RaceRung, ...]
    stopped_at: Mapping[str, int]
    """Model -> step at which it left."""
    winners: tuple[str, ...]
    """Models that may be the best; none before the race has ended, or where no model has all its scores."""
    cost_share: float
    """Steps trained over those of training every model to the end."""


@dataclass(frozen=True, kw_only=True)
class Race:
    """A race: its rules, and what became of it."""

    shares: tuple[float, ...]
    """Of the training steps, of each rung."""
    eta: float
    """What the number of models is divided by at a rung, where the noise allows."""
    confidence: float
    """Of all decisions in a setting together, in 0..1."""
    settings: tuple[RacedSetting, ...]
    trials: tuple[str, ...] = ()
    """Ids of those that raced."""


def read_race(results: Path) -> Race | None:
    """Return what the race of a study decided; None where none was run.

    Raises:
        StudyError: ``race.json`` is damaged.
    """
    path = results / RACE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Race)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise StudyError(
            f"{path} is damaged ({error}). Type the `vfmseg benchmark ... --race` of this study again, which writes it "
            "anew, or delete it."
        ) from None


def race_words(race: Race) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows of a table: who left at each rung, who may be the best, what it cost."""
    shares = sorted({rung.share for one in race.settings for rung in one.rungs} | set(race.shares))
    header = ["Setting", *(f"Left at {_percent(share)}" for share in shares)]
    rows = []
    for one in race.settings:
        out = {rung.share: _names(rung.out, "nobody") for rung in one.rungs}
        left = [out.get(share, "–") for share in shares]
        rows.append([one.setting or "validation", *left, _names(one.winners, "–"), _percent(one.cost_share)])
    return [*header, "May be the best", "Share of the full study's steps"], rows


def race_promise(race: Race) -> str:
    """Return what the decisions of a race promise, in sentences."""
    return (
        f"At each rung 1 in {race.eta:g} of the models stays, with everyone who may still be among these; all decisions "
        f"of a setting hold together with {_percent(race.confidence)} confidence. They are of the scores at that step: "
        "a model that would have caught up later is not seen. A dash: nothing was decided."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g}\u00a0%"


def _names(names: Sequence[str], nobody: str) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join([*names[:_MOST_NAMED], *([f"{more} more"] if more > 0 else [])]) or nobody
