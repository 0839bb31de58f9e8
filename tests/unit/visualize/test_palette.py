from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vfmseg.types import LabelSpace
from vfmseg.visualize.palette import distinct_colours, palette_bytes, save_id_png, save_picture

_SPACE = LabelSpace(("road", "car"), ((10, 20, 30), (40, 50, 60)), (False, True))


def test_distinct_colours__stay_apart() -> None:
    colours = np.array(distinct_colours(30), int)
    distances = np.abs(colours[:, None] - colours[None]).sum(-1) + 1000 * np.eye(30, dtype=int)
    assert distances.min() > 15


def test_save_id_png__ids_come_back_and_colours_show(tmp_path: Path) -> None:
    ids = np.array([[0, 1], [255, 1]], np.uint8)
    save_id_png(tmp_path / "a.png", ids, _SPACE)
    opened = Image.open(tmp_path / "a.png")
    assert opened.mode == "P"
    assert np.array_equal(np.asarray(opened), ids)
    assert np.asarray(opened.convert("RGB")).tolist() == [
        [[10, 20, 30], [40, 50, 60]],
        [[255] * 3, [40, 50, 60]],
    ]
    assert len(palette_bytes(_SPACE)) == 768


def test_save_id_png__many_classes_make_16_bit(tmp_path: Path) -> None:
    space = LabelSpace(tuple(map(str, range(300))), tuple(distinct_colours(300)), (False,) * 300)
    ids = np.array([[0, 299]], np.int16)
    save_id_png(tmp_path / "a.png", ids, space)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), ids)


def test_save_id_png__leaves_nothing_half(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        save_id_png(tmp_path / "missing" / "a.png", np.zeros((2, 2), np.uint8), _SPACE)
    assert not list(tmp_path.iterdir())


def test_save_picture__that_fails_leaves_the_one_before(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3), (9, 8, 7)).save(tmp_path / "a.png")
    with pytest.raises(OSError, match="cannot write mode RGBA as JPEG"):
        save_picture(tmp_path / "a.png", Image.new("RGBA", (4, 3)), "JPEG")
    assert Image.open(tmp_path / "a.png").getpixel((0, 0)) == (9, 8, 7)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
