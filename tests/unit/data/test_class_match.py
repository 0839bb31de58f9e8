from __future__ import annotations

import pytest

from vfmseg.data.class_match import is_same, match_classes
from vfmseg.data.spec import read_label_map
from vfmseg.errors import DataError
from vfmseg.types import LabelSpace


def space(*names: str) -> LabelSpace:
    return LabelSpace(names, ((0, 0, 0),) * len(names), (False,) * len(names))


def test_match_classes__other_order_subset_and_superset():
    model = space("road", "sky", "car", "traffic light")
    other_order = match_classes(model, space("car", "road", "traffic light", "sky"))
    assert other_order.model_ids == (2, 0, 3, 1)
    assert not is_same(other_order)
    fewer = match_classes(model, space("car", "road"))
    assert (fewer.shared, fewer.left_out, fewer.ignored) == ((0, 2), ("sky", "traffic light"), ())
    more = match_classes(model, space("car", "lamp", "sky", "road", "Traffic_Light"))
    assert (more.model_ids, more.ignored, more.left_out) == ((2, None, 1, 0, 3), ("lamp",), ())
    assert more.sentence == (
        "scored on 4 of the model's 4 classes; ignored, as the model does not know them: lamp"
    )
    assert is_same(match_classes(model, model))


def test_match_classes__synthia_has_sixteen_of_cityscapes_classes():
    label_map = read_label_map("synthia", (), "cityscapes")
    model = read_label_map("cityscapes").label_space
    match = match_classes(model, label_map.label_space, drawn=label_map.drawn_ids)
    assert len(match.shared) == 16
    assert match.left_out == ("terrain", "truck", "train")
    assert not match.ignored
    assert "scored on 16 of the model's 19 classes; left out, as the data lacks them" in match.sentence


def test_match_classes__as_chosen():
    model = space("road", "car")
    chosen = {"sedan": "car", "van": "car", "road": None, "track": "road"}
    match = match_classes(model, space("sedan", "van", "road", "track", "car"), chosen=chosen)
    assert match.model_ids == (1, 1, None, 0, 1)
    assert match.ignored == ("road",)


@pytest.mark.parametrize(
    ("data", "chosen", "message"),
    [
        (space("cat", "dog"), {}, r"no class in common(.|\n)*model has: road, car(.|\n)*data has: cat, dog"),
        (space("road"), {"rood": "car"}, "the data has no class 'rood'. Did you mean road?"),
        (space("road"), {"road": "cat"}, "the model has no class 'cat'. Did you mean car?"),
        (space("Road", "ROAD"), {}, "'Road' and 'ROAD' could both be the model's 'road'"),
    ],
)
def test_match_classes__what_cannot_be_matched(data: LabelSpace, chosen: dict[str, str | None], message: str):
    with pytest.raises(DataError, match=message):
        match_classes(space("road", "car"), data, chosen=chosen)


def test_match_classes__a_name_that_could_be_either_of_two():
    with pytest.raises(DataError, match=r"'CAR' could be the model's 'Car' or 'car'\. Say which"):
        match_classes(space("Car", "car"), space("CAR"))
    assert match_classes(space("Car", "car"), space("car")).model_ids == (1,)
