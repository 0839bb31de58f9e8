"""Which trials share the features of a frozen encoder, until when; and what costs are then compared by."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vfmseg.runs.folder import write_json
from vfmseg.studies.costs import cost_of
from vfmseg.studies.shared_features import FeaturePlan
from vfmseg.studies.study_file import study_of
from vfmseg.studies.trials import Trial, plan


def trials_of(**axes: Any) -> dict[str, Trial]:
    tree = {"base": "configs/scenes_linear_semantic.yaml", "keys": {"tuning.method": "frozen"}, "axes": axes}
    return {trial.label: trial for trial in plan(study_of(tree, name="shared"))}


def kept_of(trials: dict[str, Trial], folder: Path, gib: float = 1.0) -> dict[str, tuple[str, bool] | None]:
    features = FeaturePlan(trials.values(), folder, gib)
    found = {}
    for label, trial in trials.items():
        place = features.place_of(trial)
        found[label] = None if place is None else (place.folder, place.keeps_training)
    return found


def test_plan__keeps_training_batches_that_another_trial_sees_again(tmp_path: Path) -> None:
    rates = trials_of(**{"training.learning_rate": [1e-3, 1e-2], "seed": [0, 1]})
    assert all(kept is not None and kept[1] for kept in kept_of(rates, tmp_path).values())
    seeds = trials_of(**{"decoder.name": ["linear"], "seed": [0, 1]})  # crops of their own
    assert [kept is not None and kept[1] for kept in kept_of(seeds, tmp_path).values()] == [False, False]
    lonely = {"only": next(iter(rates.values()))}
    assert kept_of(lonely, tmp_path)["only"] == (str(tmp_path / "features" / _name(lonely, tmp_path)), False)


def _name(trials: dict[str, Trial], folder: Path) -> str:
    place = FeaturePlan(trials.values(), folder, 1.0).place_of(next(iter(trials.values())))
    assert place is not None
    return Path(place.folder).name


def test_plan__decoders_that_read_the_same_blocks_share(tmp_path: Path) -> None:
    masks = {"decoder.num_queries": 5}
    decoders = {
        "linear": {"decoder.name": "linear"},
        "mask2former": {"decoder.name": "mask2former", **masks},
        "eomt": {"decoder.name": "eomt", **masks},
    }
    found = kept_of(trials_of(decoder=decoders), tmp_path)
    assert {label: kept is not None and kept[1] for label, kept in found.items()} == {
        "linear": True,
        "mask2former": True,
        "eomt": False,
    }
    assert len({kept[0] for kept in found.values() if kept is not None}) == 1


def test_plan__encoders_and_drawn_weights_have_folders_of_their_own(tmp_path: Path) -> None:
    found = kept_of(trials_of(**{"encoder.patch_size": [8, 16], "seed": [0, 1]}), tmp_path)
    folders = {kept[0] for kept in found.values() if kept is not None}
    assert len(folders) == 4  # this recipe's weights are random, so each seed draws its own


@pytest.mark.parametrize(
    "changes",
    [
        {"tuning.method": "full"},
        {"tuning.method": "lora"},
        {"training.compile": True},
        {"trainer.strategy": "fsdp"},
    ],
)
def test_plan__keeps_nothing_of_an_encoder_that_changes_or_is_compiled(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    trials = trials_of(**{"how": {"so": changes}, "training.learning_rate": [1e-3, 1e-2]})
    assert list(kept_of(trials, tmp_path).values()) == [None, None]


def test_plan__keeps_nothing_where_it_may_take_no_disk(tmp_path: Path) -> None:
    assert set(kept_of(trials_of(**{"training.learning_rate": [1e-3, 1e-2]}), tmp_path, 0).values()) == {None}


def test_plan__deletes_features_when_the_last_trial_has_left(tmp_path: Path) -> None:
    trials = trials_of(**{"encoder.patch_size": [8, 16], "training.learning_rate": [1e-3, 1e-2]})
    features = FeaturePlan(trials.values(), tmp_path, 1.0)
    places = {label: features.place_of(trial) for label, trial in trials.items()}
    folders = {label: Path(place.folder) for label, place in places.items() if place is not None}
    stale = tmp_path / "features" / "of-before"
    for folder in (*folders.values(), stale):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "one").write_text("x")
    features.leave(trials["8 0.001"])
    assert folders["8 0.001"].is_dir()
    features.leave(trials["8 0.01"])
    features.leave(trials["8 0.01"])  # once is enough
    assert not folders["8 0.01"].exists()
    assert folders["16 0.001"].is_dir()
    features.leave(trials["16 0.001"])
    assert folders["16 0.01"].is_dir()
    features.leave(trials["16 0.01"])
    assert not (tmp_path / "features").exists()


USES = """
import sys, time
from vfmseg.studies.shared_features import FeaturePlace, in_use
with in_use(FeaturePlace(sys.argv[1], sys.argv[2], 1.0, True)):
    print("uses", flush=True)
    time.sleep(60)
"""


def test_plan__leaves_features_that_a_trial_of_another_driver_uses(tmp_path: Path) -> None:
    trials = trials_of(**{"training.learning_rate": [1e-3, 1e-2]})
    place = FeaturePlan(trials.values(), tmp_path, 1.0).place_of(trials["0.001"])
    assert place is not None
    folder = Path(place.folder)
    user = subprocess.Popen([sys.executable, "-c", USES, folder, folder.parent], stdout=subprocess.PIPE)
    assert user.stdout is not None
    try:
        assert user.stdout.readline() == b"uses\n"
        folder.mkdir()
        for is_used in (True, False):
            features = FeaturePlan(trials.values(), tmp_path, 1.0)
            for trial in trials.values():
                features.leave(trial)
            assert folder.parent.exists() == folder.exists() == is_used
            user.kill()
            user.wait()
    finally:
        user.kill()
        user.stdout.close()


def test_cost__is_compared_as_if_the_trial_had_been_alone(tmp_path: Path) -> None:
    assert cost_of(tmp_path) == {}
    spent = {"seconds": 40.0, "cpu_hours": 0.01, "gpu_hours": 0.02, "energy_kwh": 0.5, "attempts": 1}
    write_json(tmp_path / "cost.json", spent)
    alone = {"seconds_alone": 40.0, "cpu_hours_alone": 0.01, "gpu_hours_alone": 0.02}
    assert cost_of(tmp_path) == {**spent, **alone}
    write_json(tmp_path / "features.json", {"read": 7, "saved_seconds": 10.0, "saved_cpu_seconds": 18.0})
    alone = {"seconds_alone": 50.0, "cpu_hours_alone": 0.015, "gpu_hours_alone": 0.025}
    assert cost_of(tmp_path) == {**spent, **alone, "energy_kwh": None}
