import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax
from scipy.stats import entropy

from vfmseg.errors import RecipeError
from vfmseg.postprocess.confidence import (
    MEASURES,
    accepted,
    certainty,
    energy,
    max_probability,
    max_score,
    max_share,
    measure_of,
    said_by,
    share_certainty,
)
from vfmseg.postprocess.semantic import semantic_scores
from vfmseg.types import MaskLogits, PixelLogits


def logits(seed: int = 0, size: tuple[int, ...] = (2, 5, 3, 4), scale: float = 3) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * scale


def test_measures_of_logits__equal_scipy() -> None:
    z = logits()
    probabilities = softmax(z.double().numpy(), 1)
    expected = {
        "max_probability": probabilities.max(1),
        "entropy": 1 - entropy(probabilities, axis=1) / math.log(5),
        "energy": logsumexp(z.double().numpy(), 1),
    }
    for name, values in expected.items():
        measure, _ = measure_of(name, "logits")
        found = measure(z)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, torch.from_numpy(values).float(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(measure(z[0]), found[0])


def test_energy__temperature() -> None:
    z = logits()
    torch.testing.assert_close(energy(z, 2.0), 2 * (z / 2).logsumexp(1))
    with pytest.raises(
        RecipeError, match=re.escape("The temperature of the energy is 0; it must be above 0")
    ):
        energy(z, 0)


def test_measures_of_scores__by_hand() -> None:
    scores = torch.tensor([[0.6, 0.2, 0.0], [1.2, 0.0, 0.0]]).T[:, None]  # K 1 W: two pixels of three classes
    torch.testing.assert_close(max_score(scores), torch.tensor([[0.6, 1.2]]))
    torch.testing.assert_close(max_share(scores), torch.tensor([[0.75, 1.0]]))
    expected = torch.tensor([[math.tanh(0.6) + math.tanh(0.2), math.tanh(1.2)]])
    torch.testing.assert_close(accepted(scores), expected)
    uneven = 1 - entropy([0.75, 0.25]) / math.log(3)
    torch.testing.assert_close(share_certainty(scores), torch.tensor([[uneven, 1.0]], dtype=torch.float32))


def test_accepted__is_low_where_every_query_rejects_the_pixel() -> None:
    prediction = MaskLogits(
        torch.tensor([[[[9.0, -9.0]], [[-9.0, -9.0]]]]),  # the second pixel is in no mask
        torch.tensor([[[9.0, 0, 0], [0, 9.0, 0]]]),
    )
    scores = semantic_scores(prediction, (1, 2))[0]
    known, rejected = accepted(scores)[0].tolist()
    assert known > 0.7
    assert rejected < 0.01
    assert max_share(scores)[0, 1] > 0.49, "what is left still has a largest part"


def test_shares__of_pixels_without_any_score_are_equal() -> None:
    nothing = torch.zeros(4, 2, 3)
    assert max_share(nothing).eq(0.25).all()
    assert share_certainty(nothing).eq(0).all()


@pytest.mark.parametrize("said", ["logits", "scores"])
def test_measures__of_one_class_are_certain(said: str) -> None:
    one = torch.rand(1, 2, 3) + 0.1
    for name in ("max_probability", "entropy"):
        assert measure_of(name, said)[0](one).eq(1).all()


@given(st.integers(0, 10**6), st.sampled_from([0.0, 1e-3, 1.0, 30.0, 1e4]))
@settings(max_examples=60, deadline=None)
def test_measures__are_on_the_scale_they_say(seed: int, scale: float) -> None:
    z = logits(seed, (7, 3, 3), scale)
    for name, kinds in MEASURES.items():
        for said, (measure, kind) in kinds.items():
            found = measure(z if said == "logits" else z.sigmoid())
            assert found.isfinite().all(), name
            if kind == "probability":
                assert 0 <= found.min() <= found.max() <= 1, name


def test_measures_of_logits__class_ruled_out_by_minus_infinity() -> None:
    z = logits(size=(5, 3, 4))
    z[2] = -torch.inf
    rest = z[[0, 1, 3, 4]]
    torch.testing.assert_close(max_probability(z), max_probability(rest))
    torch.testing.assert_close(energy(z), energy(rest))
    scaled = 1 - (1 - certainty(rest)) * math.log(4) / math.log(5)
    torch.testing.assert_close(certainty(z), scaled)


def test_measures__half_precision_is_computed_in_float32() -> None:
    z = logits().half()
    for name, kinds in MEASURES.items():
        for said, (measure, _) in kinds.items():
            given_ = z if said == "logits" else z.sigmoid()
            assert measure(given_).equal(measure(given_.float())), name


@pytest.mark.parametrize("said", ["logits", "scores"])
def test_measures__leave_what_they_are_given(said: str) -> None:
    z = logits().abs()
    before = z.clone()
    for name, kinds in MEASURES.items():
        if said in kinds:
            measure_of(name, said)[0](z)
    assert z.equal(before)


def test_measure_of__what_makes_no_sense() -> None:
    message = (
        "There is no confidence 'energy' of mask decoders, which say masks: choose max_probability, entropy, "
        "max_score or rejected_by_all."
    )
    with pytest.raises(RecipeError, match=re.escape(message)):
        measure_of("energy", "scores")
    message = "There is no confidence 'rejected_by_all' of pixel decoders, which say logits: choose"
    with pytest.raises(RecipeError, match=re.escape(message)):
        measure_of("rejected_by_all", "logits")


def test_said_by__kind_of_output() -> None:
    assert said_by(PixelLogits(logits())) == "logits"
    assert said_by((MaskLogits(logits(), torch.rand(2, 5, 4)),)) == "scores"
