"""Names of images in, the numbers that COCO files call them by out."""

import json
from pathlib import Path

import pytest

from support.errors import raises
from vfmseg.errors import DataError
from vfmseg.inference.coco import categories, image_ids, image_ids_of
from vfmseg.inference.image_files import ImageFile
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


def _listed(path: Path, **files: int | str) -> Path:
    images = [{"id": number, "file_name": name, "height": 4, "width": 3} for name, number in files.items()]
    path.write_text(json.dumps({"images": images, "annotations": [{"segmentation": []}], "categories": []}))
    return path


def _files(*names: str) -> list[ImageFile]:
    return [ImageFile(Path(name), Path(name).stem) for name in names]


def test_image_ids_of__the_longest_end_of_a_path_that_is_listed(tmp_path: Path) -> None:
    json_file = _listed(tmp_path / "x.json", **{"x.jpg": 0, "a/x.jpg": 9, "b/x.jpg": "b", "y.png": 7})
    assert image_ids_of(json_file, _files("c/x.jpg", "data/a/x.jpg", "b/x.jpg", "a/b/y.png")) == [
        0,
        9,
        "b",
        7,
    ]


def test_image_ids_of__cityscapes_names_images_by_their_ids(tmp_path: Path) -> None:
    stem = "munster_000000_000019"
    json_file = _listed(tmp_path / "x.json", **{f"{stem}_gtFine_leftImg8bit.png": stem})
    assert image_ids_of(json_file, _files(f"val/munster/{stem}_leftImg8bit.png")) == [stem]


def test_image_ids_of__what_it_does_not_tell(tmp_path: Path) -> None:
    json_file = _listed(tmp_path / "x.json", **{"x.jpg": 1})
    with raises(DataError, "x.json does not list 2 of the 3 images, such as y.jpg.", "leave out --image_ids"):
        image_ids_of(json_file, _files("x.jpg", "y.jpg", "ax.jpg"))
    with raises(DataError, "a/x.jpg and b/x.jpg are both the image 1 of"):
        image_ids_of(json_file, _files("a/x.jpg", "b/x.jpg"))
    with raises(DataError, "none.json cannot be read: No such file"):
        image_ids_of(tmp_path / "none.json", _files("x.jpg"))
    for text in ("no JSON", '{"annotations": []}'):
        json_file.write_text(text)
        with raises(DataError, "x.json is no JSON in COCO's format, which lists `images`"):
            image_ids_of(json_file, _files("x.jpg"))
