"""Corruptions against recorded runs of the published ones: how far each kind and severity is from the clean image.

Recorded from imagecorruptions 1.1.2 (with NumPy 1.26, scikit-image 0.21, Pillow 13): for each kind and severity PSNR in
dB against the clean image, the mean over as many seeds as the numbers need. Kinds that draw random numbers draw others
here, so that images cannot be compared, but their distances can. Frost is left out: it is photographs there and drawn
here.
"""

import numpy as np
import pytest

from support.photo import picture
from vfmseg.transforms.corruption_textures import plasma
from vfmseg.transforms.corruptions import SEVERITIES, corrupt

PUBLISHED = {  # kind: PSNR of severities 1 to 5, tolerance
    "gaussian_noise": ((22.19, 18.74, 15.43, 12.72, 10.40), 0.1),
    "shot_noise": ((21.75, 18.00, 14.98, 11.65, 9.88), 0.15),
    "impulse_noise": ((20.23, 17.44, 15.61, 12.83, 10.82), 0.3),
    "defocus_blur": ((26.42, 24.87, 22.56, 21.25, 20.30), 0.05),
    # The published blur carries the image half a pixel to one side, round after round; here it stays on its labels.
    "glass_blur": ((24.35, 24.71, 20.69, 21.44, 20.64), 1.8),
    "motion_blur": ((25.24, 22.80, 20.95, 19.54, 18.76), 0.8),
    "zoom_blur": ((20.50, 18.96, 18.10, 17.28, 16.71), 0.3),
    "snow": ((15.22, 10.83, 10.69, 8.94, 7.72), 0.4),
    "fog": ((15.20, 14.28, 13.49, 13.44, 13.10), 0.7),
    # The published programs cut off fractions of a value where these round.
    "brightness": ((21.97, 15.82, 12.35, 10.05, 8.64), 0.25),
    "contrast": ((17.36, 16.02, 14.87, 13.85, 13.38), 0.05),
    "elastic_transform": ((23.23, 21.83, 20.48, 19.70, 18.88), 0.3),
    "pixelate": ((32.43, 27.21, 23.52, 27.88, 23.82), 0.01),
    "jpeg_compression": ((31.29, 29.85, 29.47, 27.49, 25.89), 0.1),
}
SEEDS = {"motion_blur": 30, "snow": 8, "fog": 30, "elastic_transform": 8, "glass_blur": 2}


@pytest.mark.parametrize("kind", PUBLISHED)
def test_corrupt__is_as_far_from_the_image_as_published(kind):
    image = picture(160, 120)
    published, tolerance = PUBLISHED[kind]
    distances = []
    for severity in SEVERITIES:
        corrupted = (corrupt(image, kind, severity, seed) for seed in range(SEEDS.get(kind, 1)))
        errors = [np.square(one.astype(float) - image).mean() for one in corrupted]
        distances.append(np.mean([10 * np.log10(255**2 / error) for error in errors]))
    np.testing.assert_allclose(distances, published, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("decay", "deviation"), [(2.0, 0.162), (1.5, 0.183)])
def test_plasma__spreads_over_its_range_as_published(decay, deviation):
    fields = [plasma((64, 64), decay, np.random.default_rng(seed)) for seed in range(60)]
    assert np.mean([field.std() for field in fields]) == pytest.approx(deviation, rel=0.06)
