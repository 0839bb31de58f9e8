"""Pixels of unknown objects: of values in labels, or of masks that belong to images by their names."""

import re

import numpy as np
import pytest
import yaml
from PIL import Image

from vfmseg.data.dataset import open_dataset
from vfmseg.data.unknown import WithUnknownMasks, WithUnknownValues, mark_unknown
from vfmseg.errors import DataError, LabelError


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


@pytest.fixture
def dataset(tmp_path):
    """Two images of 2 x 3 in folders, whose labels hold the classes 0 and 1, 254 (no class) and 255 (ignore)."""
    for place in ("day/a", "night/b"):
        save(tmp_path / f"data/images/val/{place}_rgb.png", np.zeros((2, 3, 3)))
        save(tmp_path / f"data/masks/val/{place}.png", [[0, 1, 254], [255, 1, 1]])
    (tmp_path / "data/data.yaml").write_text(yaml.safe_dump({"names": ["road", "car"], "ignore_index": 255}))
    return open_dataset("folder", tmp_path / "data/data.yaml", "val")


MASK = [[0, 1, 7], [1, 255, 0]]


def test_values__are_unknown_and_of_no_class(dataset):
    marked = mark_unknown(dataset, "254,253")
    assert isinstance(marked, WithUnknownValues)
    assert len(marked) == 2
    sample = marked[1]
    assert sample.name == dataset.image_name(1)
    assert sample.image.shape == (3, 2, 3)
    assert sample.targets.id_map.tolist() == [[0, 1, 255], [255, 1, 1]]
    assert sample.unknown.tolist() == [[False, False, True], [False, False, False]]
    with pytest.raises(LabelError, match="holds values that no class has: 254"):
        dataset[1]  # is as it was


def test_values__that_are_a_class(dataset):
    with pytest.raises(
        LabelError, match=r"The value 1 cannot mark unknown objects: in .* it is the class 'car'"
    ):
        mark_unknown(dataset, "254,1")


def test_values__in_colours(dataset, tmp_path):
    for path in (tmp_path / "data/masks/val").rglob("*.png"):
        save(path, np.zeros((2, 3, 3)))
    with pytest.raises(LabelError, match=r"day/a.png is stored as colours, of which no value can mark"):
        mark_unknown(dataset, "254")


@pytest.mark.parametrize("names", [("a.png", "b.png"), ("day/a_mask.png", "x/b_labels_semantic.PNG")])
def test_masks__belong_by_name(dataset, tmp_path, names):
    for path in (tmp_path / "data/masks/val").rglob("*.png"):
        save(path, [[0, 1, 1], [255, 1, 1]])
    for name in names:
        save(tmp_path / "ood" / name, MASK)
    save(tmp_path / "ood/other.png", MASK)
    marked = mark_unknown(dataset, str(tmp_path / "ood"))
    assert isinstance(marked, WithUnknownMasks)
    assert [path.name for path in marked.masks] == [name.split("/")[-1] for name in names]
    sample = marked[0]
    assert sample.unknown.tolist() == [[False, True, True], [True, False, False]]
    # 255 where the label has no class, the mask says unknown, or the mask ignores it
    assert sample.targets.id_map.tolist() == [[0, 255, 255], [255, 255, 1]]


def test_masks__of_one_name_belong_by_folder(dataset, tmp_path):
    for place in ("day", "night"):
        for stem in ("a", "b"):
            save(tmp_path / f"ood/{place}/{stem}.png", MASK)
    marked = mark_unknown(dataset, str(tmp_path / "ood"))
    assert [path.parent.name for path in marked.masks] == ["day", "night"]
    (tmp_path / "ood/night").rename(tmp_path / "ood/dusk")
    with pytest.raises(
        DataError, match=r"has several masks by the name of .*b_rgb.png, of which none lies in folders"
    ):
        mark_unknown(dataset, str(tmp_path / "ood"))


def test_masks__that_are_missing_or_shared(dataset, tmp_path):
    with pytest.raises(DataError, match=r"There is no folder .*ood with masks of unknown objects"):
        mark_unknown(dataset, str(tmp_path / "ood"))
    (tmp_path / "ood").mkdir()
    (tmp_path / "ood/a.txt").touch()
    with pytest.raises(DataError, match=r"ood holds no PNG"):
        mark_unknown(dataset, str(tmp_path / "ood"))
    save(tmp_path / "ood/a.png", MASK)
    message = "has no mask of unknown objects for images/val/night/b_rgb.png: looked for b_rgb.png or b.png"
    with pytest.raises(DataError, match=re.escape(message)):
        mark_unknown(dataset, str(tmp_path / "ood"))


def test_masks__two_images_of_one_name_share_none(dataset, tmp_path):
    for kind, name in (("images", "a_rgb"), ("masks", "a")):
        path = tmp_path / f"data/{kind}/val/night/{name}.png"
        save(path, np.zeros((2, 3, 3) if kind == "images" else (2, 3)))
    again = open_dataset("folder", tmp_path / "data/data.yaml", "val")
    for stem in ("a", "b"):
        save(tmp_path / f"ood/{stem}.png", MASK)
    with pytest.raises(
        DataError, match=r"a.png would be the mask of both .*day/a_rgb.png and .*night/a_rgb.png"
    ):
        mark_unknown(again, str(tmp_path / "ood"))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((3, 2)), "a.png is 3 x 2 (height x width), its image images/val/day/a_rgb.png 2 x 3"),
        (np.zeros((2, 3, 3)), "a.png is stored as RGB. A mask of unknown objects has one channel"),
    ],
)
def test_masks__that_do_not_fit(dataset, tmp_path, mask, message):
    save(tmp_path / "data/masks/val/day/a.png", np.zeros((2, 3)))
    for stem in ("a", "b"):
        save(tmp_path / f"ood/{stem}.png", mask)
    with pytest.raises(LabelError, match=re.escape(message)):
        mark_unknown(dataset, str(tmp_path / "ood"))[0]
    (tmp_path / "ood/a.png").write_bytes(b"")
    with pytest.raises(LabelError, match=r"a.png cannot be decoded as a label"):
        mark_unknown(dataset, str(tmp_path / "ood"))[0]
