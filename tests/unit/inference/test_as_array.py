"""Whatever may be called an image in, RGB bytes or one clear error out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vfmseg.errors import ImageError
from vfmseg.inference.predictor import as_array


def test_as_array__every_kind_of_image(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a b.png")
    for image in (
        pixels,
        torch.from_numpy(pixels).permute(2, 0, 1),
        Image.fromarray(pixels),
        tmp_path / "a b.png",
        str(tmp_path / "a b.png"),
    ):
        assert np.array_equal(as_array(image), pixels)
    assert as_array(pixels[..., 0]).shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (torch.zeros(4, 6, dtype=torch.uint8), r"\(4, 6\) torch\.uint8"),
        (torch.zeros(3, 4, 6, dtype=torch.bfloat16), r"\(3, 4, 6\) torch\.bfloat16"),
        (torch.zeros(3, 4, 6, requires_grad=True), r"\(3, 4, 6\) torch\.float32"),
        (np.zeros((4, 6, 4), np.uint8), r"\(4, 6, 4\) uint8"),
        (np.zeros((4, 6, 3)), r"float64"),
        (Image.fromarray(np.full((4, 6), 40000, np.uint16)), r"mode 'I;16' holds more than 8 bits"),
        (Image.new("F", (6, 4)), r"mode 'F' holds more than 8 bits"),
    ],
)
def test_as_array__what_is_no_image_is_said(image: object, said: str) -> None:
    with pytest.raises(ImageError, match=said):
        as_array(image)  # type: ignore[arg-type]


def test_as_array__file_that_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(ImageError, match=r"a\.jpg cannot be decoded as an image"):
        as_array(tmp_path / "a.jpg")
