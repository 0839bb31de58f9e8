import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from vfmseg.errors import ImageError
from vfmseg.report.pictures import album, embed, spread
from vfmseg.report.run_folder import read_run


def decoded(picture):
    return Image.open(io.BytesIO(base64.b64decode(picture.uri.removeprefix("data:image/jpeg;base64,"))))


def noise(path, size, kind="JPEG"):
    pixels = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, kind)
    return path


def test_embed__small_pictures_stay_byte_for_byte(tmp_path):
    path = noise(tmp_path / "a.jpg", (60, 20))
    picture = embed(path, 100)
    assert (picture.width, picture.height) == (60, 20)
    assert base64.b64decode(picture.uri.split(",")[1]) == path.read_bytes()


def test_embed__wide_pictures_are_scaled_down(tmp_path):
    picture = embed(noise(tmp_path / "a.jpg", (300, 50)), 120)
    assert (picture.width, picture.height) == decoded(picture).size == (120, 20)


def test_embed__other_formats_become_jpeg(tmp_path):
    picture = embed(noise(tmp_path / "a.jpg", (30, 20), "PNG"), 120)
    assert decoded(picture).format == "JPEG"
    assert decoded(picture).size == (30, 20)


def test_embed__file_that_is_no_picture(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_text("no picture")
    with pytest.raises(
        ImageError, match=re.escape(f"'{path}' is no picture that can be read (cannot identify")
    ):
        embed(path, 100)


def test_embed__truncated_file(tmp_path):
    path = noise(tmp_path / "a.jpg", (60, 60))
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ImageError, match=r"is no picture that can be read \(.*\)\. Remove it\."):
        embed(path, 100)


def test_spread__ends_included():
    assert spread(range(3), 6) == [0, 1, 2]
    assert spread(range(10), 6) == [0, 2, 4, 5, 7, 9]
    assert spread(range(100), 2) == [0, 99]


def test_album__worst_and_best_by_score_and_pictures_over_time(run_folder):
    found = album(read_run(run_folder))
    assert [one.caption for one in found.worst] == ["val/00.png", "val/01.png"]
    assert [one.caption for one in found.best] == ["val/11.png", "val/10.png"]
    assert found.worst[0].score == "mIoU 20.0\u00a0%, 30.0\u00a0% of pixels right"
    assert found.worst[0].alt == (
        "val/00.png: image, ground truth and prediction side by side; mIoU "
        "20.0\u00a0%, 30.0\u00a0% of pixels right"
    )
    (images,) = found.over_time
    assert [one.caption for one in images] == [f"step {step}" for step in (20, 60, 100, 120, 160, 200)]
    assert decoded(images[-1].picture).getpixel((5, 5))[0] > decoded(images[0].picture).getpixel((5, 5))[0]
    assert found.unreadable == []


def test_album__scores_of_other_tasks(panoptic_folder):
    found = album(read_run(panoptic_folder))
    assert found.worst[0].score == "PQ 20.0\u00a0%, SQ 75.0\u00a0%, RQ 75.0\u00a0%"


def test_album__scores_of_instances(instance_folder):
    assert album(read_run(instance_folder)).worst[0].score == "Mask AP 20.0\u00a0%, AP50 75.0\u00a0%"


def test_album__broken_picture_becomes_a_finding(run_folder):
    (run_folder / "predictions/best/11.jpg").write_text("no picture")
    found = album(read_run(run_folder))
    assert [one.caption for one in found.best] == ["val/10.png"]
    (finding,) = found.unreadable
    assert finding.level == "warning"
    assert "predictions/best/11.jpg' is no picture that can be read" in finding.text


def test_album__run_without_validation(run_folder):
    (run_folder / "validation.json").unlink()
    found = album(read_run(run_folder))
    assert found.worst == found.best == []
