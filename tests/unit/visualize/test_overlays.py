import numpy as np

from vfmseg.types import LabelSpace
from vfmseg.visualize.overlays import Painted, confidence_image, legend, name_segments, overlay, side_by_side

_SPACE = LabelSpace(("road", "car"), ((200, 0, 0), (0, 0, 200)), (False, True))


def test_overlay__mixes_colours_and_leaves_ignored_pixels_alone() -> None:
    image = np.full((4, 6, 3), 100, np.uint8)
    ids = np.zeros((4, 6), np.uint8)
    ids[:, 4:] = 255
    mixed = overlay(image, ids, _SPACE, alpha=0.5, borders=False)
    assert mixed[0, 0].tolist() == [150, 50, 50]
    assert mixed[0, 5].tolist() == [100, 100, 100]
    assert image.min() == 100


def test_overlay__draws_borders_between_classes() -> None:
    image = np.zeros((4, 6, 3), np.uint8)
    ids = np.zeros((4, 6), np.uint8)
    ids[:, 3:] = 1
    plain, lined = (overlay(image, ids, _SPACE, borders=b) for b in (False, True))
    changed = (plain != lined).any(-1)
    assert changed[:, 3].all()
    assert not changed[:, [0, 1, 2, 4, 5]].any()


def test_overlay__shows_ids_above_255() -> None:
    colours = [(0, 0, 0)] * 300
    colours[299] = (10, 200, 30)
    space = LabelSpace(tuple(map(str, range(300))), tuple(colours), (False,) * 300)
    ids = np.full((2, 2), 299, np.int16)
    assert overlay(np.zeros((2, 2, 3), np.uint8), ids, space, alpha=1.0).tolist() == [[[10, 200, 30]] * 2] * 2


def test_side_by_side__has_three_panels_and_a_legend_for_any_size() -> None:
    for height, width in ((40, 60), (600, 900), (77, 33), (1, 3000)):
        image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
        ids = np.zeros((height, width), np.uint8)
        picture = side_by_side(image, Painted(ids), Painted(ids), _SPACE)
        assert picture.shape[1] > picture.shape[0] * 0.9
        assert picture.shape[1] >= 3 * min(width, 200)


def test_legend__wraps_where_names_do_not_fit() -> None:
    assert legend(_SPACE, [0, 1], width=60).shape[0] > legend(_SPACE, [0, 1], width=400).shape[0]


def test_confidence_image__covers_the_range() -> None:
    assert confidence_image(np.array([[0.0, 0.5, 1.0]], np.float16)).tolist() == [[0, 128, 255]]
    assert confidence_image(np.array([[np.nan, 0.5]], np.float16)).tolist() == [[0, 128]]


def test_overlay__borders_part_two_objects_of_one_class() -> None:
    image, classes = np.zeros((4, 8, 3), np.uint8), np.ones((4, 8), np.uint8)
    segments = np.repeat(np.arange(8)[None] // 4, 4, 0)
    plain = overlay(image, classes, _SPACE)
    parted = overlay(image, classes, _SPACE, segments=segments)
    assert (plain == plain[0, 0]).all()
    assert (parted[:, 4] != plain[:, 4]).any()
    assert (parted[:, 5:] == plain[:, 5:]).all()


def test_name_segments__writes_inside_the_segment_and_leaves_small_ones() -> None:
    picture = np.zeros((60, 120, 3), np.uint8)
    segments = np.full((60, 120), -1)
    segments[10:50, 60:110] = 0
    segments[0, 0] = 1
    named = name_segments(picture, segments, ("car", "dot"))
    assert named[20:40, 70:100].any()
    assert not named[:, :50].any()


def test_name_segments__names_stand_inside_their_segments() -> None:
    segments = np.full((120, 200), -1, np.int32)
    segments[5:45, 100:195] = 0
    segments[60:118, 3:90] = 1
    picture = name_segments(np.zeros((120, 200, 3), np.uint8), segments, ["car", "bus"], font_size=16)
    written = picture.any(-1)
    assert written[segments == 0].any()
    assert written[segments == 1].any()
    assert not written[segments == -1].any()
