"""Which images are resampled together, by their names."""

import numpy as np
import pytest

from vfmseg.studies.image_groups import group_images, wrong_pattern
from vfmseg.studies.study_file import read_study

CITIES = [
    "leftImg8bit/val/frankfurt/frankfurt_000000_000294_leftImg8bit.png",
    "leftImg8bit/val/munster/munster_000000_000019_leftImg8bit.png",
    "leftImg8bit/val/frankfurt/frankfurt_000001_000538_leftImg8bit.png",
    "leftImg8bit/val/frankfurt/frankfurt_000000_000576_leftImg8bit.png",
]


@pytest.mark.parametrize(
    ("names", "pattern", "labels"),
    [
        (CITIES, "/([^/_]+)_[^/]*$", [0, 1, 0, 0]),
        (CITIES, "/([a-z]+_[0-9]+)_[0-9]+_left", [0, 1, 2, 0]),
        (["camvid/images/val/0016E5_07959.jpg", "Seq05VD_f00000.png"], "([^/_]+)_[^/]*$", [0, 1]),
        (["videos/a/1.png", "videos/b/1.png", "videos/a/2.png"], "([^/]+)/[^/]*$", [0, 1, 0]),
    ],
)
def test_group__is_what_names_share(names: list[str], pattern: str, labels: list[int]) -> None:
    found = group_images(names, pattern)
    assert found.labels.tolist() == labels
    assert found.num_groups == max(labels) + 1
    assert found.unmatched == ()
    assert not found.matches_none


def test_shipped_study__groups_the_videos_of_camvid() -> None:
    names = [
        "camvid/images/val/0016E5_07959.jpg",
        "camvid/images/train/0001TP_006690.jpg",
        "camvid/images/train/0006R0_f00930.jpg",
        "camvid/images/test/Seq05VD_f00000.jpg",
        "camvid/images/val/0016E5_08159.jpg",
    ]
    found = group_images(names, read_study("configs/studies/camvid_tunings.yaml").image_groups)
    assert found.labels.tolist() == [0, 1, 2, 3, 0]


def test_group__does_not_depend_on_the_order_of_names() -> None:
    rng = np.random.default_rng(0)
    names = [f"{'abc'[n % 3]}_{n}.png" for n in range(20)] + ["odd.png"]
    order = rng.permutation(len(names))
    first = group_images(names, "^([a-z])_").labels
    second = group_images([names[i] for i in order], "^([a-z])_").labels
    together = first[:, None] == first
    assert ((second[:, None] == second) == together[np.ix_(order, order)]).all()


def test_group__a_name_that_is_not_matched_is_one_by_itself() -> None:
    # "b" is the text of a group, and an image without an underscore, which is no part of it
    found = group_images(["b_1", "b", "b_2", "c"], "^([a-z])_")
    assert found.labels.tolist() == [0, 1, 0, 2]
    assert found.unmatched == ("b", "c")
    assert not found.matches_none


def test_group__that_takes_no_part_is_no_match() -> None:
    found = group_images(["x1", "y2"], r"(a)?\d")
    assert found.unmatched == ("x1", "y2")
    assert found.matches_none
    assert found.num_groups == 2


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("([a-z", "is no regular expression (unterminated"),
        ("^[a-z]+_", "has no group; put in parentheses, once,"),
        ("([a-z]+)_([0-9]+)", "has 2 groups; put in parentheses, once,"),
    ],
)
def test_wrong__is_said_in_a_sentence(pattern: str, said: str) -> None:
    assert (wrong_pattern(pattern) or "").startswith(f"{pattern!r} {said}")


def test_wrong__other_parentheses_are_fine() -> None:
    assert wrong_pattern("(?:val|test)/([^/]+)/") is None
