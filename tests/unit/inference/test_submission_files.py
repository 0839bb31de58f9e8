"""Where the files of a submission go, what they hold, and which image sets are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from vfmseg.data.spec import read_label_map
from vfmseg.errors import DataError, RecipeError
from vfmseg.inference.image_files import ImageFile
from vfmseg.inference.submission import (
    SUBMISSIONS,
    Submission,
    codes_of,
    find_submission,
    plan_entries,
    save_entry,
)
from vfmseg.types import LabelSpace

CITY = read_label_map("cityscapes").label_space


def files(*paths: str) -> list[ImageFile]:
    return [ImageFile(Path("/data") / path, Path(path).stem) for path in paths]


def small(name: str, **counts: int) -> Submission:
    """Return a submission whose parts have these numbers of images, and others none to miss."""
    asked = SUBMISSIONS[name]
    parts = {key: (start, counts.get(key, 0)) for key, (start, _) in asked.parts.items()}
    return replace(asked, parts=parts)


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_submissions__their_example_is_an_image_of_theirs(name: str):
    asked = SUBMISSIONS[name]
    found = asked.image.search(asked.example)
    assert found is not None
    assert any(f"{found['part']}/".startswith(start) for start, _ in asked.parts.values())


@pytest.mark.parametrize(
    ("name", "counts", "image", "prediction", "confidence"),
    [
        (
            "cityscapes",
            {"test": 1},
            "leftImg8bit/test/berlin/berlin_000000_000019_leftImg8bit.png",
            "berlin/berlin_000000_000019_pred_labelIds.png",
            "",
        ),
        (
            "acdc",
            {"night": 1},
            "rgb_anon/night/test/GOPR0355/GOPR0355_frame_000138_rgb_anon.png",
            "labelTrainIds/GOPR0355_frame_000138_rgb_anon.png",
            "",
        ),
        (
            "bravo",
            {"ACDCfog": 1},
            "bravo_ACDC/fog/test/GOPR0475/GOPR0475_frame_000247_rgb_anon.png",
            "bravo_ACDC/fog/test/GOPR0475/GOPR0475_frame_000247_rgb_anon_pred.png",
            "bravo_ACDC/fog/test/GOPR0475/GOPR0475_frame_000247_rgb_anon_conf.png",
        ),
        (
            "bravo",
            {"SMIYC": 1},
            "bravo_SMIYC/RoadAnomaly21/images/airplane0000.jpg",
            "bravo_SMIYC/RoadAnomaly21/images/airplane0000_pred.png",
            "bravo_SMIYC/RoadAnomaly21/images/airplane0000_conf.png",
        ),
        (
            "bravo",
            {"synobjs": 1},
            "bravo_synobjs/armchair/1.png",
            "bravo_synobjs/armchair/1_pred.png",
            "bravo_synobjs/armchair/1_conf.png",
        ),
        (
            "bravo",
            {"synflare": 1},
            "bravo_synflare/lindau/lindau_000000_000019_leftImg8bit.png",
            "bravo_synflare/lindau/lindau_000000_000019_leftImg8bit_pred.png",
            "bravo_synflare/lindau/lindau_000000_000019_leftImg8bit_conf.png",
        ),
    ],
)
def test_plan_entries__files_are_named_as_the_server_asks(name, counts, image, prediction, confidence):
    (entry,) = plan_entries(small(name, **counts), files(image))
    assert (entry.prediction, entry.confidence) == (prediction, confidence)


@pytest.mark.parametrize(
    ("name", "images", "message"),
    [
        (
            "cityscapes",
            ("a/berlin_1.png",),
            r"1 of 1 images are not of Cityscapes test: /data/a/berlin_1\.png",
        ),
        (
            "acdc",
            ("rgb_anon/fog/val/S/S_frame_000001_rgb_anon.png",),
            "Its images lie and are named as rgb_anon/fog/test",
        ),
        (
            "cityscapes",
            ("x/berlin_000000_000019_leftImg8bit.png", "y/berlin_000000_000019_leftImg8bit.png"),
            "would both be written as berlin/berlin_000000_000019_pred_labelIds.png",
        ),
        ("cityscapes", ("x/berlin_000000_000019_leftImg8bit.png",), "test has 1 images, 1525 are asked for"),
        (
            "bravo",
            ("bravo_synobjs/armchair/1.png",),
            r"ACDCfog has 0 images, 500 are asked for(.|\n)*SMIYC has 0 images, at least 1(.|\n)*synobjs has 1 images, 6",
        ),
    ],
)
def test_plan_entries__a_set_that_is_not_whole_is_refused(name, images, message):
    with pytest.raises(DataError, match=message):
        plan_entries(SUBMISSIONS[name], files(*images))


def test_find_submission__unknown():
    with pytest.raises(RecipeError, match=r"no submission 'cityscape'\. Did you mean cityscapes"):
        find_submission("cityscape")


def test_codes_of__label_ids_or_train_ids_by_name():
    assert codes_of(SUBMISSIONS["cityscapes"], CITY).tolist() == list(CITY.category_ids)
    assert codes_of(SUBMISSIONS["cityscapes"], CITY)[:3].tolist() == [7, 8, 11]
    assert codes_of(SUBMISSIONS["acdc"], CITY).tolist() == list(range(19))
    backwards = LabelSpace(CITY.names[::-1], CITY.colours[::-1], CITY.is_thing[::-1])
    assert codes_of(SUBMISSIONS["bravo"], backwards).tolist() == list(range(19))[::-1]
    with pytest.raises(DataError, match="but the model also has cat"):
        codes_of(SUBMISSIONS["acdc"], LabelSpace(("road", "cat"), ((0, 0, 0),) * 2, (False, True)))


def test_save_entry__grey_pngs_of_8_and_16_bits(tmp_path: Path):
    (entry,) = plan_entries(small("bravo", synobjs=1), files("bravo_synobjs/box/58.png"))
    confidence = np.array([[0.0, 0.5, 0.99999, 1.0, 1.3]], np.float32)
    classes = np.array([[0, 1, 2, 1, 0]], np.uint8)
    save_entry(tmp_path, entry, classes, np.array([5, 6, 7], np.uint8), confidence)
    found = cv2.imread(str(tmp_path / entry.prediction), cv2.IMREAD_UNCHANGED)
    assert found.dtype == np.uint8
    assert found.tolist() == [[5, 6, 7, 6, 5]]
    sure = cv2.imread(str(tmp_path / entry.confidence), cv2.IMREAD_UNCHANGED)
    assert sure.dtype == np.uint16
    assert sure.tolist() == [[0, 32768, 65535, 65535, 65535]]
