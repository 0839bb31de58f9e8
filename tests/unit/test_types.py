"""The nouns: what they refuse, and how they travel as JSON."""

import json

import pytest

from vfmseg.types import LabelSpace

_COLOURS = ((1, 2, 3), (4, 5, 6))


def test_label_space__comes_back_from_json() -> None:
    space = LabelSpace(("road", "car"), _COLOURS, (False, True), (7, 26))
    assert LabelSpace.from_dict(json.loads(json.dumps(space.as_dict()))) == space


def test_label_space__classes_without_ids_of_their_own_have_their_numbers() -> None:
    space = LabelSpace(("road", "car"), _COLOURS, (False, True))
    assert space.category_ids == (0, 1)
    older = {key: value for key, value in space.as_dict().items() if key != "category_ids"}
    assert LabelSpace.from_dict(older) == space


@pytest.mark.parametrize(
    ("ids", "message"), [((7,), "must have one entry per class"), ((7, 7), "must differ from class to class")]
)
def test_label_space__ids_that_do_not_tell_classes_apart(ids: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LabelSpace(("road", "car"), _COLOURS, (False, True), ids)
