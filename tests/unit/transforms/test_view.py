"""How evaluation looks at images: the published sizes of each data set, and OpenCV's resize."""

import cv2
import numpy as np
import pytest
import torch

from vfmseg.transforms.sliding_window import DEFAULT_VIEW, View, cut, plan_windows, stride_plan


@pytest.mark.parametrize(
    ("image", "fit", "resized", "windows"),
    [
        ((1024, 2048), (512, 1024), (512, 1024), (1, 3)),  # Cityscapes
        ((720, 1280), (720, 1280), (720, 1280), (2, 4)),  # BDD100K
        ((951, 540), (512, 1024), (902, 512), (3, 1)),  # a tall one of Mapillary, halved: 901.69
        ((1080, 1920), (540, 960), (540, 960), (2, 3)),  # ACDC
        ((300, 400), (512, 1024), (512, 683), (1, 2)),  # made larger: 682.67
    ],
)
def test_view__scales_to_fit_as_published(image, fit, resized, windows):
    plan = View(341, fit).plan(image, (512, 512))
    assert plan.resized_size == resized
    assert plan.shape == windows
    assert not plan.antialias


def test_view__without_a_box_is_as_before():
    assert DEFAULT_VIEW.plan((300, 500), (64, 64)) == plan_windows((300, 500), (64, 64))
    assert View(40).plan((300, 500), (64, 64)) == stride_plan((300, 500), (64, 64), 40)


@pytest.mark.parametrize("fit", [(20, 40), (90, 150)])
def test_cut__a_fitted_image_is_resized_as_opencv_does(fit):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (60, 100, 3)).astype(np.uint8)
    plan = View(16, fit).plan((60, 100), (16, 16))
    expected = cv2.resize(image, plan.resized_size[::-1], interpolation=cv2.INTER_LINEAR)
    windows = cut(torch.from_numpy(image).permute(2, 0, 1), plan)
    seen = np.zeros((*plan.resized_size, 3), np.uint8)
    places = [(top, left) for top in plan.rows.starts for left in plan.columns.starts]
    for (top, left), window in zip(places, windows, strict=True):
        part = seen[top : top + 16, left : left + 16]
        part[:] = window.permute(1, 2, 0).numpy()[: part.shape[0], : part.shape[1]]
    # OpenCV interpolates with weights of 11 bits.
    assert np.abs(seen.astype(int) - expected).max() <= 1
