"""A study that says which images belong together: what its ranking says then, and what it says that it cannot say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from support.studies import write_results
from vfmseg.report.study_tables import pairs_table
from vfmseg.studies.analysis import analyse
from vfmseg.studies.analysis_ranking import SettingRanking
from vfmseg.studies.analysis_settings import CountedImages, settings_of
from vfmseg.studies.plan_file import read_plan
from vfmseg.studies.statistics.noise import image_noise
from vfmseg.studies.statistics.ranks import rank_models
from vfmseg.studies.store import rows_of

VIDEOS, FRAMES = 20, 4
NAMES = [f"val/v{video:02d}_{frame}.png" for video in range(VIDEOS) for frame in range(FRAMES)]
PATTERN = "/(v[0-9]+)_"


def write_study(folder: Path, names: Sequence[str], repeats: int, pattern: str = "") -> Path:
    """Write two models, counted on images that stand there ``repeats`` times each: a video that does not move."""
    write_results(folder, {"full": {"A": [0.0], "B": [0.0]}})
    rng = np.random.default_rng(0)
    shape = (len(names) // repeats, 2)
    unions = np.full((len(names), 2), 100)
    for place, trial in enumerate(sorted(folder.glob("trials/*"))):
        hits = np.clip(60 - 2 * place + rng.integers(-20, 21, shape), 0, 100).repeat(repeats, axis=0)
        np.savez(trial / "image_counts.npz", names=np.array(names), intersections=hits, unions=unions)
        score = float((hits.sum(0) / unions.sum(0)).mean())
        (trial / "result.json").write_text(json.dumps({"best/miou": score, "val/miou": score}))
    plan = json.loads((folder / "plan.json").read_text())
    (folder / "plan.json").write_text(json.dumps(plan | {"image_groups": pattern}))
    return folder


def ranking_of(folder: Path) -> SettingRanking:
    plan = read_plan(folder)
    return analyse(plan, rows_of(plan, folder), folder).settings[0]


def counted(folder: Path) -> CountedImages:
    plan = read_plan(folder)
    found = settings_of(plan, rows_of(plan, folder))[0].image_counts(folder)
    assert isinstance(found, CountedImages)
    return found


def test_counts__are_those_that_the_library_groups(tmp_path: Path) -> None:
    images = counted(write_study(tmp_path / "images", NAMES, 1))
    groups = counted(write_study(tmp_path / "groups", NAMES, 1, PATTERN))
    assert (images.groups, groups.groups) == (None, VIDEOS)
    expected = images.counts.grouped([name[4:7] for name in NAMES])
    np.testing.assert_array_equal(groups.counts.intersections, expected.intersections)
    np.testing.assert_array_equal(groups.counts.unions, expected.unions)


def test_ranking__is_that_of_the_library_on_groups(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "out", NAMES, 1, PATTERN)
    found = ranking_of(folder)
    expected = rank_models(image_noise(counted(folder).counts), confidence=0.95)
    (pair,) = found.pairs
    assert (pair.lower, pair.upper) == (expected.lower[0, 1], expected.upper[0, 1])
    assert found.image_groups == VIDEOS
    assert "Images were resampled in groups: 80 images in 20 groups." in found.notes


def test_frames_of_a_video_that_does_not_move__say_as_much_as_one_of_them(tmp_path: Path) -> None:
    (one,) = ranking_of(write_study(tmp_path / "one", NAMES[::FRAMES], 1)).pairs
    (alone,) = ranking_of(write_study(tmp_path / "alone", NAMES, FRAMES)).pairs
    (grouped,) = ranking_of(write_study(tmp_path / "grouped", NAMES, FRAMES, PATTERN)).pairs
    for pair in (alone, grouped):
        assert pair.difference == pytest.approx(one.difference)
    assert (one.lower, one.upper) == pytest.approx((grouped.lower, grouped.upper))
    assert grouped.lower is not None
    assert grouped.upper is not None
    assert alone.lower is not None
    assert alone.upper is not None
    # images by themselves take the frames for four times the knowledge: half the width
    assert (grouped.upper - grouped.lower) / (alone.upper - alone.lower) == pytest.approx(2, rel=0.1)
    # and a size is of what is drawn: as many videos as there would have been images
    assert grouped.images == one.images
    assert grouped.images is not None


def test_table__has_sizes_in_groups(tmp_path: Path) -> None:
    alone, grouped = (
        pairs_table(ranking_of(write_study(tmp_path / name, NAMES, FRAMES, pattern)), 0.95)
        for name, pattern in (("alone", ""), ("grouped", PATTERN))
    )
    assert (alone.header[-1], grouped.header[-1]) == ("Images", "Groups of images")
    assert "Seeds (of each model) or groups of images that would tell two apart" in grouped.caption


def test_names_that_are_not_matched__are_said_and_groups_of_their_own(tmp_path: Path) -> None:
    names = [*NAMES[:-2], "val/odd-1.png", "val/odd-2.png"]
    found = ranking_of(write_study(tmp_path / "out", names, 1, PATTERN))
    assert found.image_groups == VIDEOS + 2
    assert found.notes[-2:] == (
        "Images were resampled in groups: 80 images in 22 groups.",
        "2 of 80 images do not match the study's image_groups, such as val/odd-1.png: each is a group of its own.",
    )


def test_pattern_that_matches_nothing__is_said(tmp_path: Path) -> None:
    found = ranking_of(write_study(tmp_path / "out", NAMES, 1, "^([a-z]+)_"))
    assert found.image_groups is None
    assert found.chance == "images"
    assert found.notes[-1] == (
        "No image matches the study's image_groups, such as val/v00_0.png: images were resampled one by one."
    )


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (NAMES, "80 images in 1 group are too few groups; 10 are the least, 100 better."),
        (
            [*NAMES[:-1], "odd"],
            "80 images in 2 groups are too few groups; 10 are the least, 100 better. 1 of 80 images do not match the "
            "study's image_groups, such as odd: each is a group of its own.",
        ),
    ],
)
def test_few_groups__are_not_resampled(names: list[str], said: str, tmp_path: Path) -> None:
    found = ranking_of(write_study(tmp_path / "out", names, 1, "^(val)/"))
    assert found.chance == ""
    assert found.image_groups is None
    assert found.notes[-1] == f"Images were not resampled: {said}"
    assert found.models[0].best_rank is None
