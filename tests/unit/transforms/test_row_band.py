"""Mixing rows and picking classes: pruned, threaded and gathered ways give one answer."""

import numpy as np
import pytest
import torch

from vfmseg.transforms.row_band import RowBand, classify_by_gathering, mix_by_gathering


def band_of(num_classes, *, spread, seed=0, width=300):
    """48 image rows that mix two or three of seven given rows; ``spread`` makes one class stand out."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(num_classes, 7, width, generator=generator)
    winner = torch.arange(width) * 5 // width % num_classes
    rows[winner, :, torch.arange(width)] += spread
    first = np.arange(48) // 8
    last = np.minimum(first + 1, 6)
    share = ((np.arange(48) % 8 + 0.5) / 8).astype(np.float32)
    ids = np.stack([first, last, first], 1)
    weights = np.stack([1 - share, share, np.zeros_like(share)], 1)
    return RowBand(0, rows, ids, weights)


def directly(band):
    weights = torch.from_numpy(band.weights)[..., None]
    return sum(band.rows[:, band.ids[:, tap]] * weights[:, tap] for tap in range(3))


@pytest.mark.parametrize("spread", [0.0, 3.0, 30.0])
@pytest.mark.parametrize("num_classes", [1, 2, 19, 150, 255, 256, 300])
def test_classified__argmax_and_softmax_of_the_mixed(num_classes, spread):
    band = band_of(num_classes, spread=spread)
    logits = directly(band)
    torch.testing.assert_close(band.mixed(), logits, rtol=0, atol=1e-5)
    torch.testing.assert_close(mix_by_gathering(band, 0, 48), logits, rtol=0, atol=1e-5)

    expected = logits.argmax(0)
    for confidence, certainty in ((None, None), ("softmax", logits.softmax(0)), ("score", logits)):
        for found in (band.classified(confidence), classify_by_gathering(band, confidence)):
            assert found.classes.dtype == (torch.uint8 if num_classes <= 255 else torch.int16)
            assert (found.classes != expected).float().mean() < 1e-4
            if certainty is None:
                assert found.confidence is None
            else:
                torch.testing.assert_close(
                    found.confidence.float(), certainty.amax(0), rtol=2e-3, atol=1e-4, check_dtype=False
                )


def test_classified__of_equals_the_first():
    band = band_of(5, spread=0.0)
    band.rows[2] = band.rows[4] = 9.0
    assert (band.classified().classes == 2).all()
    band.rows[:] = 0.0
    assert (band.classified().classes == 0).all()


def test_classified__columns_decided_in_part():
    band = band_of(40, spread=50.0)
    band.rows[:, :, 100:120] = torch.randn(40, 7, 20, generator=torch.Generator().manual_seed(3))
    expected = directly(band)
    found = band.classified("softmax")
    assert torch.equal(found.classes, expected.argmax(0).to(torch.uint8))
    torch.testing.assert_close(found.confidence.float(), expected.softmax(0).amax(0), rtol=2e-3, atol=1e-4)


def test_classified__infinite_and_nan_logits():
    band = band_of(6, spread=0.0)
    band.rows[4] = -1e6
    expected = directly(band).argmax(0).to(torch.uint8)
    band.rows[4] = -torch.inf
    band.rows[5, :, 50:100] = torch.inf
    band.rows[3, :, 100:150] = torch.nan
    classes = band.classified().classes
    assert torch.equal(classes[:, :50], expected[:, :50])
    assert torch.equal(classes[:, 150:], expected[:, 150:])
    assert (classes[:, 50:100] == 5).all()
    assert (classes[:, 100:150] == 0).all()
    band.classified("softmax")
