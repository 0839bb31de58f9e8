"""Usual layouts of people's own data are understood; ambiguous ones are refused with names."""

from __future__ import annotations

import pytest

from support.errors import raises
from vfmseg.data.layouts import describe_layout, detect_layout
from vfmseg.data.pairing import sort_key
from vfmseg.data.patterns import select
from vfmseg.errors import DataError

LAYOUTS = {
    "images|masks/train|val": ("images/{split}/{stem}.jpg", "masks/{split}/{stem}.png"),
    "images|labels/train|val": ("images/{split}/{stem}.jpg", "labels/{split}/{stem}.png"),
    "train|val/images|masks": ("{split}/images/{stem}.jpg", "{split}/masks/{stem}.png"),
    "mmsegmentation": ("img_dir/{split}/{stem}.jpg", "ann_dir/{split}/{stem}.png"),
    "inside a folder": ("camvid/images/{split}/{stem}.jpg", "camvid/labels/{split}/{stem}.png"),
    "deep folders": ("images/{split}/city/seq/{stem}.jpg", "masks/{split}/city/seq/{stem}.png"),
    "ADE20K": ("images/{split}/{stem}.jpg", "annotations/{split}/{stem}.png"),
    "train, train_labels": ("{split}/{stem}.png", "{split}_labels/{stem}_L.png"),
    "train, trainannot": ("{split}/{stem}.png", "{split}annot/{stem}.png"),
    "train_images, train_masks": ("{split}_images/{stem}.png", "{split}_masks/{stem}.png"),
    "capital letters": ("Images/{split}/{stem}.JPG", "Masks/{split}/{stem}.PNG"),
    "suffix _mask": ("images/{split}/{stem}.jpg", "masks/{split}/{stem}_mask.png"),
    "suffix _label": ("images/{split}/{stem}.jpg", "masks/{split}/{stem}_label.png"),
    "suffix _gt": ("images/{split}/{stem}.jpg", "gt/{split}/{stem}_gt.tif"),
    "suffixes on both": ("images/{split}/{stem}_img.jpg", "masks/{split}/{stem}_mask.png"),
    "masks beside images": ("{split}/{stem}.jpg", "{split}/{stem}_mask.png"),
    "folder named after masks": (
        "masks_of_mine/images/{split}/{stem}.jpg",
        "masks_of_mine/masks/{split}/{stem}.png",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_detect_layout__usual_ones(layout: str):
    image, label = LAYOUTS[layout]
    expected = [
        (image.format(split=folder, stem=f"s{i}"), label.format(split=folder, stem=f"s{i}"), split)
        for folder, split in (("train", "train"), ("val", "val"))
        for i in range(3)
    ]
    names = [name for pair in expected for name in pair[:2]]
    found = detect_layout(names[::-1])
    assert sorted((p.image, p.label, p.split) for p in found.pairs) == sorted(expected)
    assert found.splits == {"train": 3, "val": 3}
    assert (found.images_alone, found.labels_alone, found.outside) == ({}, {}, [])


@pytest.mark.parametrize(
    ("word", "split"), [("training", "train"), ("validation", "val"), ("valid", "val"), ("testing", "test")]
)
def test_detect_layout__other_words_for_splits(word: str, split: str):
    assert detect_layout([f"images/{word}/a.jpg", f"masks/{word}/a.png"]).splits == {split: 1}


def test_detect_layout__no_splits():
    assert detect_layout(["images/a.jpg", "masks/a.png"]).splits == {"all": 1}


def test_detect_layout__order_is_by_first_integer_then_path():
    names = [f"{kind}/{stem}.png" for stem in ("f10", "f9", "x", "f9b") for kind in ("images", "masks")]
    images = [pair.image for pair in detect_layout(names).pairs]
    assert images == ["images/f9.png", "images/f9b.png", "images/f10.png", "images/x.png"]


def test_sort_key__published_order():
    assert sorted(["b/2.png", "a/10.png", "a/2.png", "z"], key=sort_key) == [
        "a/2.png",
        "b/2.png",
        "a/10.png",
        "z",
    ]


def test_detect_layout__files_without_partner_and_other_files():
    layout = detect_layout(
        [
            "images/train/a.jpg",
            "images/test/b.jpg",
            "masks/train/a.png",
            "masks/train/c.png",
            "plot.png",
            "README.md",
        ]
    )
    assert layout.images_alone == {"images/test/b.jpg": "test"}
    assert layout.labels_alone == {"masks/train/c.png": "train"}
    assert layout.outside == ["plot.png"]


def test_detect_layout__hidden_files_do_not_count():
    layout = detect_layout(
        ["images/a.jpg", "masks/a.png", "images/._a.jpg", "__MACOSX/images/a.jpg", ".x/images/b.jpg"]
    )
    assert layout.splits == {"all": 1}
    assert layout.images_alone == {}


def test_detect_layout__two_masks_of_one_image():
    with raises(DataError, "images/a.jpg has two masks, masks/a.png and masks/a_mask.png", "train.txt"):
        detect_layout(["images/a.jpg", "masks/a.png", "masks/a_mask.png"])


def test_detect_layout__two_images_of_one_name():
    with raises(DataError, "images/a.jpg and images/a.png are two images of one name. Rename one"):
        detect_layout(["images/a.jpg", "images/a.png", "masks/a.png"])


def test_describe_layout__folders_and_counts():
    pairs = detect_layout(
        [f"{kind}/{split}/{i}.{end}" for kind, end in (("images", "jpg"), ("masks", "png"))
         for split, count in (("train", 3), ("val", 1)) for i in range(count)]
    ).pairs  # fmt: skip
    text = describe_layout(pairs)
    assert "images/train/*.jpg with masks/train/*.png (3 train)" in text
    assert "images/val/*.jpg with masks/val/*.png (1 val)" in text


NAMES = ["cam/images/train/0001TP_1.jpg", "cam/images/train/0006R0_1.jpg", "cam/images/val/0016E5_1.jpg"]


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (["*"], [0, 1, 2]),
        (["*", "!0001TP*"], [1, 2]),
        (["!0001TP*"], [1, 2]),
        (["0001TP*"], [0]),
        (["cam/images/train"], [0, 1]),
        (["images/train/"], [0, 1]),
        (["./images/train/*"], [0, 1]),
        (["images/*/00*6*"], [1, 2]),
        (["train"], [0, 1]),
        (["0001TP*", "val"], [0, 2]),
        (["!train", "*"], [2]),
    ],
)
def test_select__patterns(patterns: list[str], chosen: list[int]):
    assert select(NAMES, patterns, "x") == {NAMES[i] for i in chosen}


@pytest.mark.parametrize("pattern", ["dusk*", "!dusk*", "rain", "mages/train"])
def test_select__pattern_that_fits_nothing(pattern: str):
    with raises(
        DataError, f"the pattern '{pattern}' fits no image", "for example, cam/images/train/0001TP_1.jpg"
    ):
        select(NAMES, ["*", pattern], "x")
