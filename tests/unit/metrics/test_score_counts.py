import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from support.processes import in_two_processes
from vfmseg.errors import LabelError
from vfmseg.metrics.score_counts import LEVELS, ScoreCounts, _bins_of

SCALES = ("probability", "real")


def counted(counts, scores, is_positive=None, is_counted=None):
    scores = torch.as_tensor(scores, dtype=torch.float32)
    positive = torch.zeros(scores.shape, dtype=torch.bool) if is_positive is None else is_positive
    counts.update(scores, positive, torch.ones_like(positive) if is_counted is None else is_counted)
    return counts


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one.counts(), other.counts(), strict=True))


floats = st.floats(width=32, allow_nan=False)


@given(st.lists(floats, min_size=2, max_size=30))
@settings(max_examples=60, deadline=None)
def test_bins__keep_the_order_of_real_scores(values):
    scores = torch.tensor(sorted(values), dtype=torch.float32)
    bins = _bins_of(scores, "real")
    assert (bins.diff() >= 0).all()
    assert 0 <= int(bins[0]) <= int(bins[-1]) < 1 << 20
    assert (bins.diff()[scores.diff() == 0] == 0).all(), "equal scores, such as 0 and -0, are in one bin"


def test_bins__of_half_precision_numbers_are_their_own():
    halves = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(torch.float16)
    values = halves[~halves.isnan()].float().unique()
    assert len(_bins_of(values, "real").unique()) == len(values)


def test_bins__of_probabilities_are_the_levels_of_bravo():
    scores = torch.tensor([0, 0.9999 / LEVELS, 1 / LEVELS, 0.5, 1 - 1 / LEVELS, 1])
    assert _bins_of(scores, "probability").tolist() == [0, 0, 1, 32768, 65535, 65535]


images = st.lists(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.sampled_from([0, 1, 2])), max_size=9), max_size=6
)


@pytest.mark.parametrize("scale", SCALES)
@given(images=images, keep=st.sampled_from([0, 5, 100]), random=st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None)
def test_merge__any_split_in_any_order_equals_the_whole(scale, images, keep, random):
    whole = ScoreCounts(scale, keep=keep)
    parts = [ScoreCounts(scale, keep=keep), ScoreCounts(scale, keep=keep)]

    def show(counts, image):
        kinds = torch.tensor([kind for _, kind in image], dtype=torch.int64)
        counted(counts, [score for score, _ in image], kinds == 1, kinds != 2)

    for image in images:
        show(whole, image)
    random.shuffle(images)
    cut = random.randint(0, len(images))
    for part, share in zip(parts, (images[:cut], images[cut:]), strict=True):
        for image in share:
            show(part, image)
    before = parts[1].counts()
    parts[0].merge(parts[1])
    assert same(parts[0], whole)
    assert parts[0].is_exact == whole.is_exact
    assert all(np.array_equal(a, b) for a, b in zip(parts[1].counts(), before, strict=True))


def test_counts__are_exact_up_to_the_limit_and_binned_beyond():
    counts = counted(ScoreCounts(keep=4), [0.5, 0.5 + 1e-6, 0.5, 1], torch.tensor([True, False, False, True]))
    assert counts.is_exact
    assert [kind.tolist() for kind in counts.counts()] == [[1, 0, 1], [1, 1, 0]]
    counted(counts, [0.25])
    assert not counts.is_exact
    positives, negatives = counts.counts()
    assert positives.nonzero()[0].tolist() == [32768, 65535]
    assert negatives[[16384, 32768]].tolist() == [1, 2]
    counts.reset()
    assert counts.is_exact
    assert counts.counts()[0].size == 0


@pytest.mark.parametrize("keep", [0, 10])
def test_update__pixels_left_out_do_not_count(keep):
    counts = ScoreCounts(keep=keep)
    counted(counts, [0.1, 0.2, 0.3], torch.tensor([True, True, False]), torch.tensor([False, True, False]))
    positives, negatives = counts.counts()
    assert (positives.sum(), negatives.sum()) == (1, 0)


@pytest.mark.parametrize("scale", SCALES)
def test_state__does_not_grow_with_the_pixels(scale):
    counts = ScoreCounts(scale, keep=50)

    def held():
        return sum(kept.nbytes for kept in counts._kept) + (
            0 if counts._bins is None else counts._bins.nbytes
        )

    generator = torch.Generator().manual_seed(0)
    sizes = []
    for _ in range(6):
        counted(counts, torch.rand(10, 4, generator=generator))
        sizes.append(held())
    assert sizes[0] == 40 * 8
    assert set(sizes[1:]) == {2 * 8 * (LEVELS if scale == "probability" else 1 << 20)}


@pytest.mark.parametrize("keep", [0, 100])
def test_update__nan_is_named_and_nothing_is_counted(keep):
    counts = counted(ScoreCounts(keep=keep), [0.5])
    message = "The confidence of image 'a.png' is NaN at 2 of 3 pixels: every pixel needs a number"
    scores, none = torch.tensor([0.5, torch.nan, torch.nan]), torch.zeros(3, dtype=torch.bool)
    with pytest.raises(LabelError, match=re.escape(message)):
        counts.update(scores, none, ~none, name="a.png")
    assert counts.counts()[1].sum() == 1


@pytest.mark.parametrize("value", [-0.1, 1.5, torch.inf])
def test_update__outside_of_a_probability(value):
    with pytest.raises(LabelError, match=r"and a probability is in 0..1. Rank other .* scale='real'"):
        counted(ScoreCounts(), [0.5, value])
    assert counted(ScoreCounts("real", keep=0), [0.5, value]).counts()[1].sum() == 2


def test_update__image_without_pixels_counts_nothing():
    assert counted(ScoreCounts(keep=0), torch.zeros(0)).counts()[0].sum() == 0


def test_score_counts__refuses_what_makes_no_sense():
    with pytest.raises(LabelError, match="Scores have no scale 'log': use 'probability' or 'real'"):
        ScoreCounts("log")
    with pytest.raises(LabelError, match="-1 scores cannot be kept"):
        ScoreCounts(keep=-1)
    with pytest.raises(LabelError, match="Counts of scale 'real' that keep 3 scores cannot be added"):
        ScoreCounts(keep=3).merge(ScoreCounts("real", keep=3))


def count_in_one_of_two_processes(rank, folder):
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    for keep in (3, 4, 7, 100):
        counts = counted(ScoreCounts(keep=keep), share_of(rank), torch.full((3 + rank,), rank == 1))
        counts.all_reduce()
        torch.save([torch.from_numpy(kind) for kind in counts.counts()], f"{folder}/{rank}_{keep}.pt")
    torch.distributed.destroy_process_group()


def share_of(rank):
    return torch.linspace(0.1, 0.9, 3 + rank)


def test_all_reduce__two_processes_hold_what_one_would(tmp_path):
    in_two_processes(count_in_one_of_two_processes, str(tmp_path))
    for keep in (3, 4, 7, 100):
        whole = ScoreCounts(keep=keep)
        for rank in (0, 1):
            counted(whole, share_of(rank), torch.full((3 + rank,), rank == 1))
        whole.all_reduce()  # alone: changes nothing
        for rank in (0, 1):
            kinds = torch.load(tmp_path / f"{rank}_{keep}.pt", weights_only=True)
            for kind, expected in zip(kinds, whole.counts(), strict=True):
                assert kind.tolist() == expected.tolist()


@pytest.mark.gpu
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("keep", [0, 10**6])
def test_update__cuda_equals_cpu(scale, keep):
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(200, 300, generator=generator)
    kinds = torch.randint(0, 3, (200, 300), generator=generator)
    pair = [ScoreCounts(scale, keep=keep, device=device) for device in ("cpu", "cuda")]
    for counts in pair:
        counts.update(scores, kinds == 1, kinds != 2)
    assert same(*pair)
