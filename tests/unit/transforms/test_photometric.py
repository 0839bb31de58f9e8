"""The photometric distortion against its definition, step by step on floats."""

import colorsys
import itertools

import cv2
import numpy as np
import pytest

from vfmseg.transforms.photometric import PhotometricDraws, distort, draw_photometric

CORNERS = np.array(list(itertools.product((0, 1, 64, 127, 128, 200, 254, 255), repeat=3)), np.uint8)[None]


def eight_bits(values):
    return np.clip(values, 0, 255).astype(np.uint8)


def to_hsv(pixels):
    """8-bit HSV by its formula: hue in steps of two degrees, rounded."""
    rows = [colorsys.rgb_to_hsv(*(c / 255 for c in map(float, p))) for p in pixels.reshape(-1, 3)]
    return np.array([[round(h * 180) % 180, round(s * 255), round(v * 255)] for h, s, v in rows])


def from_hsv(hsv):
    rows = [colorsys.hsv_to_rgb(h / 180, s / 255, v / 255) for h, s, v in hsv]
    return np.array([[round(c * 255) for c in row] for row in rows], np.uint8)


def by_definition(pixels, draws):
    def contrast(values):
        return eight_bits(values.astype(np.float32) * np.float32(draws.contrast))

    if draws.brightness is not None:
        pixels = eight_bits(pixels.astype(np.float32) + np.float32(draws.brightness))
    if draws.contrast is not None and draws.contrast_first:
        pixels = contrast(pixels)
    if draws.saturation is not None:
        hsv = to_hsv(pixels)
        hsv[:, 1] = eight_bits(hsv[:, 1] * np.float32(draws.saturation))
        pixels = from_hsv(hsv)[None]
    if draws.hue is not None:
        hsv = to_hsv(pixels)
        hsv[:, 0] = (hsv[:, 0] + draws.hue) % 180
        pixels = from_hsv(hsv)[None]
    if draws.contrast is not None and not draws.contrast_first:
        pixels = contrast(pixels)
    return pixels


@pytest.mark.parametrize(
    "draws",
    [
        PhotometricDraws(brightness=31.7),
        PhotometricDraws(brightness=-12.3, contrast=1.37),
        PhotometricDraws(brightness=20.0, contrast=0.61, contrast_first=False),
    ],
)
def test_distort__brightness_and_contrast_by_definition(draws):
    assert np.array_equal(distort(CORNERS, draws), by_definition(CORNERS, draws))


@pytest.mark.parametrize(
    ("draws", "within", "share"),
    [
        (PhotometricDraws(saturation=1.42), 1, 0.99),
        (PhotometricDraws(saturation=0.55), 1, 0.99),
        (PhotometricDraws(hue=-18), 1, 0.99),
        (PhotometricDraws(hue=17), 1, 0.99),
        (
            PhotometricDraws(brightness=-9.0, contrast=1.2, saturation=0.8, hue=5, contrast_first=False),
            4,
            0.98,
        ),
    ],
)
def test_distort__saturation_and_hue_by_definition(draws, within, share):
    found, expected = (
        image.astype(int) for image in (distort(CORNERS, draws), by_definition(CORNERS, draws))
    )
    off = np.abs(found - expected)
    # OpenCV's fixed-point HSV rounds some hues and saturations to the neighbour of what the formula gives.
    assert (off <= within).mean() > share
    assert off.max() < 10


def test_distort__is_opencv_hsv_in_either_channel_order():
    draws = PhotometricDraws(saturation=1.31, hue=-4)
    pixels = np.ascontiguousarray(CORNERS[..., ::-1])  # as the published program holds them: blue, green, red
    hsv = cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV)
    hsv[..., 1] = eight_bits(hsv[..., 1].astype(np.float32) * np.float32(1.31))
    hsv = cv2.cvtColor(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), cv2.COLOR_BGR2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(int) - 4) % 180
    assert np.array_equal(distort(CORNERS, draws), cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[..., ::-1])


def test_distort__nothing_drawn_changes_nothing():
    assert distort(CORNERS, PhotometricDraws()) is CORNERS


def test_distort__grey_stays_grey_and_hue_does_not_touch_it():
    grey = np.arange(256, dtype=np.uint8)[None, :, None].repeat(3, axis=2)
    assert np.array_equal(distort(grey, PhotometricDraws(saturation=1.5, hue=11)), grey)


def test_draw_photometric__half_of_each_within_the_published_ranges():
    rng = np.random.default_rng(0)
    drawn = [draw_photometric(rng) for _ in range(4000)]
    for name, low, high in (
        ("brightness", -32, 32),
        ("contrast", 0.5, 1.5),
        ("saturation", 0.5, 1.5),
        ("hue", -18, 17),
    ):
        values = [getattr(one, name) for one in drawn if getattr(one, name) is not None]
        assert 0.46 < len(values) / len(drawn) < 0.54
        assert low <= min(values) < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < max(values) <= high
    assert {one.hue for one in drawn} == {None, *range(-18, 18)}
    assert 0.46 < np.mean([one.contrast_first for one in drawn]) < 0.54
