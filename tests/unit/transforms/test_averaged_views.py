from __future__ import annotations

import pytest

from vfmseg.errors import RecipeError
from vfmseg.transforms.averaged_views import AveragedViews, parse_augment


@pytest.mark.parametrize(
    ("text", "views"),
    [
        ("flip", AveragedViews((1.0,), flip=True)),
        ("0.75, 1", AveragedViews((0.75, 1.0))),
        ("flip,0.75,1,1.25", AveragedViews((0.75, 1.0, 1.25), flip=True)),
    ],
)
def test_parse_augment__reads_what_is_typed(text: str, views: AveragedViews):
    assert parse_augment(text) == views
    assert views.text == text.replace(" ", "")
    assert len(views.variants) == len(views.scales) * (1 + views.flip)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flop", "'flop' is neither flip nor a scale. Write flip, scales, or both"),
        ("", "'' is neither flip nor a scale"),
        ("flip,flip", "flip is there twice"),
        ("1,1", "each is needed once"),
        ("8", "has the scale 8; allowed are 0.25 to 4"),
        ("nan", "has the scale nan; allowed are 0.25 to 4"),
    ],
)
def test_parse_augment__what_it_cannot_read(text: str, message: str):
    with pytest.raises(RecipeError, match=message):
        parse_augment(text)
