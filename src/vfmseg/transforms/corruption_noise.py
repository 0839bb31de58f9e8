"""Turns an image into a noisy one: Gaussian, shot and impulse noise, each as one look-up a value.

What noise makes of a pixel value depends on that value only, and there are 256 of them. So each kind is a table:
for every value, the outcomes in rising order, each as often as it is likely (the inverse of the distribution
function). An image is made noisy by looking up its values and as many random numbers. Probabilities are
rounded to 1 / 16384, which cuts Gaussian tails at four standard deviations.

Constants: those of the ImageNet-C release (arXiv 1903.12261), for values scaled to [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import erf, lgamma, sqrt

import numpy as np
from numpy.typing import NDArray

from vfmseg.transforms.color import Pixels

Distribution = NDArray[np.float64]
"""(256, 256): row = value before, column = value after, entry = probability that it is at most that."""

_GAUSSIAN_SIGMA = (0.08, 0.12, 0.18, 0.26, 0.38)
"""Standard deviation at severities 1 to 5."""
_SHOT_PHOTONS = (60.0, 25.0, 12.0, 5.0, 3.0)
"""Photons that white is made of."""
_IMPULSE_SHARE = (0.03, 0.06, 0.09, 0.17, 0.27)
"""Share of the values that become 0 or 255, half of them each."""

_TABLE_BITS = 14
_BLOCK_VALUES = 1 << 16
"""Values are looked up in blocks of about this many, so that temporaries stay in the cache."""


def gaussian_noise(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Add normal noise to each value: what sensors give in little light."""
    return _look_up(image, _table(_gaussian, _GAUSSIAN_SIGMA[severity - 1]), rng)


def shot_noise(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Replace each value by a count of photons with that mean: Poisson noise."""
    return _look_up(image, _table(_poisson, _SHOT_PHOTONS[severity - 1]), rng)


def impulse_noise(image: Pixels, severity: int, rng: np.random.Generator) -> Pixels:
    """Replace a share of the values by 0 or 255: salt and pepper in each channel."""
    return _look_up(image, _table(_impulse, _IMPULSE_SHARE[severity - 1]), rng)


def _gaussian(sigma: float) -> Distribution:
    # A value ends at or below t where value + noise < t + 1/2; beyond 0 and 255 it is clipped to them.
    reach = [(1 + erf((step + 0.5) / (255 * sigma * sqrt(2)))) / 2 for step in range(-255, 256)]
    before, after = np.ogrid[:256, :256]
    return np.asarray(reach)[after - before + 255]


def _poisson(photons: float) -> Distribution:
    counts = np.arange(int(photons + 10 * sqrt(photons)) + 10)  # the rest is less likely than 1e-15
    mean = np.arange(1, 256)[:, None] * photons / 255
    log_factorial = np.array([lgamma(count + 1) for count in counts.tolist()])
    at_most = np.exp(counts * np.log(mean) - mean - log_factorial).cumsum(axis=1)
    # Counts that make at most the value t, after rounding; -1 where none does.
    last = np.searchsorted(counts * 255 / photons, np.arange(256) + 0.5) - 1
    reach: Distribution = np.ones((256, 256))  # black has no photons
    reach[1:] = at_most[:, last]
    return reach


def _impulse(share: float) -> Distribution:
    before, after = np.ogrid[:256, :256]
    return np.asarray(share / 2 + (1 - share) * (after >= before), np.float64)


@lru_cache(maxsize=3)
def _table(distribution: Callable[[float], Distribution], constant: float) -> Pixels:
    """Return (256 * 2 ** 14) outcomes: those of value v are the v-th part, rising, as often as they are likely."""
    steps = 1 << _TABLE_BITS
    ends = np.rint(distribution(constant) * steps).astype(np.int64)
    ends[:, -1] = steps
    times = np.diff(ends, axis=1, prepend=0)
    return np.repeat(np.tile(np.arange(256, dtype=np.uint8), 256), times.reshape(-1))


def _look_up(image: Pixels, table: Pixels, rng: np.random.Generator) -> Pixels:
    values = image.reshape(-1)
    noisy = np.empty_like(values)
    for start in range(0, values.size, _BLOCK_VALUES):
        block = values[start : start + _BLOCK_VALUES]
        # Raw bits are the one stream that NumPy promises never to change; four numbers of 16 bits in each.
        bits = rng.bit_generator.random_raw(-(-block.size // 4)).view(np.uint16)[: block.size]
        index = block.astype(np.int64)
        index <<= _TABLE_BITS
        index |= bits >> (16 - _TABLE_BITS)
        np.take(table, index, out=noisy[start : start + _BLOCK_VALUES], mode="clip")
    return noisy.reshape(image.shape)
