"""Trials to run in, which of them keep the features of their frozen encoder where, and until when, out.

Files hold what is bit for bit computed anyway (:mod:`vfmseg.models.encoders.features`), so what is decided here changes
no number, only what is computed twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vfmseg.runs.recipe import Recipe, can_share_features
from vfmseg.runs.recipe_id import short_hash
from vfmseg.runs.recipe_reader import recipe_tree
from vfmseg.studies.trials import Trial

FOLDER = "features"
_LOCK = ".lock"
_NOT_TRAINED_ON = ("num_workers", "test_size", "test_halved")
"""Keys of the data that do not say which crops are trained on in which order."""


@dataclass(frozen=True)
class FeaturePlace:
    """Where a trial keeps features; it can be sent to another machine."""

    folder: str
    """Of the trials with its encoder."""
    whole: str
    """Of all encoders."""
    most_gib: float
    """What the latter may hold."""
    keeps_training: bool
    """Whether other trials see the same training batches."""


class FeaturePlan:
    """Knows where each trial keeps features, and deletes those that no trial needs any more.

    Args:
        todo: trials that are to run.
        results: folder of results.
        most_gib: that features may take; 0 keeps none.
    """

    def __init__(self, todo: Iterable[Trial], results: Path, most_gib: float) -> None:
        self._whole, self._most_gib = (results / FOLDER).resolve(), most_gib
        self._encoders: dict[str, str] = {}
        self._streams: dict[str, str] = {}
        for trial in todo if most_gib > 0 else ():
            if (recipe := trial.recipe) is not None and can_share_features(recipe):
                self._encoders[trial.id], self._streams[trial.id] = _encoder_key(recipe), _stream_key(recipe)
        self._users = Counter(self._encoders.values())
        self._seen_by = Counter(self._streams.values())

    def place_of(self, trial: Trial) -> FeaturePlace | None:
        """Return where a trial keeps features; None where it keeps none."""
        encoder = self._encoders.get(trial.id)
        if encoder is None:
            return None
        keeps_training = self._seen_by[self._streams[trial.id]] > 1
        return FeaturePlace(str(self._whole / encoder), str(self._whole), self._most_gib, keeps_training)

    def leave(self, trial: Trial) -> None:
        """Note that a trial needs its features no more, and delete them if it was the last one."""
        encoder = self._encoders.pop(trial.id, None)
        if encoder is None:
            return
        self._users[encoder] -= 1
        if not self._users[encoder]:
            _delete(self._whole / encoder)
        if not self._encoders:
            with contextlib.suppress(OSError):  # another driver deletes them, too, or its trials use some
                # of encoders that the study had before it was changed, too
                for name in {path.name.removesuffix(_LOCK) for path in self._whole.iterdir()}:
                    _delete(self._whole / name)
                self._whole.rmdir()


@contextlib.contextmanager
def in_use(place: FeaturePlace) -> Iterator[None]:
    """Keep features from being deleted by another driver, which knows nothing of this trial."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # the trial goes on without features, or with some of them deleted
            Path(place.whole).mkdir(parents=True, exist_ok=True)
            file = held.enter_context(open(place.folder + _LOCK, "a+b"))
            fcntl.lockf(file, fcntl.LOCK_SH)
        yield


def _delete(folder: Path) -> None:
    """Delete features, unless a trial uses them: the driver of the last one deletes them then."""
    lock = Path(f"{folder}{_LOCK}")
    with contextlib.suppress(OSError), open(lock, "a+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
        lock.unlink()


def _encoder_key(recipe: Recipe) -> str:
    """Return a word for trials of the same encoder, as far as their recipes say."""
    tree = recipe_tree(recipe)
    drawn = recipe.seed if recipe.encoder.weights == "random" else None
    return short_hash([tree["encoder"], tree["init_from"], drawn])


def _stream_key(recipe: Recipe) -> str:
    """Return a word for trials that may train on the same crops in the same order, with the same features of them.

    Whether they do is seen by the crops themselves; where they do not, some features were written in vain.
    """
    tree: dict[str, Any] = recipe_tree(recipe)
    data = {key: value for key, value in tree["data"].items() if key not in _NOT_TRAINED_ON}
    decoder = tree["decoder"]
    # linear and mask2former read the last block; others read earlier ones, too
    reads = None if recipe.decoder.name in ("linear", "mask2former") else decoder
    parts = [tree["encoder"], tree["init_from"], tree["task"], tree["seed"], tree["augmentation"]]
    return short_hash([*parts, data, reads, recipe.training.precision])
