"""Names of images in, the numbers that COCO files call them by out."""

import pytest

from vfmseg.inference.coco import categories, image_ids
from vfmseg.types import LabelSpace


@pytest.mark.parametrize(
    ("stems", "numbers"),
    [
        (["000000000139", "val/000000000285"], [139, 285]),
        (["000000000139", "photo"], [1, 2]),
        (["1", "01"], [1, 2]),
        (["a", "b/a", "c"], [1, 2, 3]),
        (["9" * 30, "8"], [1, 2]),
        (["²", "8"], [1, 2]),
        ([], []),
    ],
)
def test_image_ids__are_those_in_the_names_where_all_have_one(stems: list[str], numbers: list[int]) -> None:
    assert image_ids(stems) == numbers


@pytest.mark.parametrize(("given", "ids"), [((), (0, 1)), ((7, 26), (7, 26))])
def test_categories__have_the_ids_of_the_data(given: tuple[int, ...], ids: tuple[int, ...]) -> None:
    space = LabelSpace(("road", "car"), ((1, 2, 3), (4, 5, 6)), (False, True), given)
    assert categories(space) == [
        {"id": ids[0], "name": "road", "isthing": 0, "color": [1, 2, 3]},
        {"id": ids[1], "name": "car", "isthing": 1, "color": [4, 5, 6]},
    ]
