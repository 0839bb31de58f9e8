import itertools

import pytest
import torch
from torch import Tensor

from vfmseg.losses.masks import Segments
from vfmseg.losses.matcher import assign, join, matching_cost


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_matching_cost__is_the_sum_over_points_written_out() -> None:
    P, Q, M, K = 40, 5, 3, 4
    mask_values, segment_values = 3 * torch.randn(P, Q), torch.rand(M, P)
    class_logits, labels = torch.randn(Q, K + 1), torch.tensor([2, 0, 2])
    cost = matching_cost(
        mask_values, segment_values, class_logits, labels, mask_weight=5, dice_weight=3, class_weight=2
    )
    assert cost.shape == (Q, M)
    for q, m in itertools.product(range(Q), range(M)):
        p, t = mask_values[:, q].double().sigmoid(), segment_values[m].double()
        cross = -(t * p.log() + (1 - t) * (1 - p).log()).mean()
        dice = 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1)
        expected = 5 * cross + 3 * dice - 2 * class_logits[q].softmax(0)[labels[m]]
        torch.testing.assert_close(cost[q, m].double(), expected, rtol=1e-5, atol=1e-5)


def test_matching_cost__is_float32_under_autocast() -> None:
    arguments = (torch.randn(300, 5), torch.rand(3, 300), torch.randn(5, 4), torch.tensor([0, 1, 2]))
    weights = {"mask_weight": 5.0, "dice_weight": 5.0, "class_weight": 2.0}
    with torch.autocast("cpu", torch.bfloat16):
        cost = matching_cost(*arguments, **weights)
    assert cost.dtype == torch.float32
    assert cost.equal(matching_cost(*arguments, **weights))


def test_assign__is_the_cheapest_of_all_assignments() -> None:
    costs = [torch.randn(4, 3), torch.randn(2, 4), torch.randn(5, 0), torch.randn(3, 3)]
    assignments, nonfinite = assign(costs)
    assert nonfinite == 0
    for cost, found in zip(costs, assignments, strict=True):
        pairs = min(cost.shape)
        assert len(found.queries) == len(found.segments) == pairs
        assert found.queries.tolist() == sorted(set(found.queries.tolist()))
        assert len(set(found.segments.tolist())) == pairs
        if pairs:
            wide = cost if cost.shape[0] <= cost.shape[1] else cost.t()
            best = min(
                sum(float(wide[row, column]) for row, column in enumerate(columns))
                for columns in itertools.permutations(range(wide.shape[1]), wide.shape[0])
            )
            assert float(cost[found.queries, found.segments].sum()) == pytest.approx(best, abs=1e-5)


def test_assign__counts_costs_that_are_not_finite_and_matches_the_others_as_if_they_were_not_there() -> None:
    cost = torch.tensor(
        [[float("nan"), float("nan")], [1.0, 5.0], [float("inf"), -float("inf")], [4.0, 2.0], [0.5, 9.0]]
    )
    (found,), nonfinite = assign([cost])
    assert nonfinite == 4
    assert found.queries.tolist() == [3, 4]
    assert found.segments.tolist() == [1, 0]


def test_assign__nothing_but_nan_still_makes_pairs() -> None:
    (found,), nonfinite = assign([torch.full((3, 2), float("nan"))])
    assert nonfinite == 6
    assert len(found.queries) == 2


def test_assign__no_matrices() -> None:
    assert assign([]) == ([], 0)


def test_assign__one_transfer_for_all_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    transfers = []
    to_host = Tensor.cpu
    monkeypatch.setattr(Tensor, "cpu", lambda tensor: transfers.append(tensor) or to_host(tensor))
    assign([torch.randn(4, 3) for _ in range(6)])
    assert len(transfers) == 1


def test_join__layers_images_and_queries_in_order() -> None:
    segments = [
        Segments(torch.tensor([4, 9]), torch.tensor([1, 2])),
        Segments(torch.tensor([7]), torch.tensor([0])),
    ]
    first, second = torch.tensor([[0.0, 9], [9, 9], [9, 0]]), torch.tensor([[9.0], [9], [0]])
    third, fourth = torch.tensor([[9.0, 0], [0, 9], [9, 9]]), torch.tensor([[0.0], [9], [9]])
    pairs = join(assign([first, second, third, fourth])[0], segments, 2).to(torch.device("cpu"))
    assert pairs.image.tolist() == [[0, 0, 1], [0, 0, 1]]
    assert pairs.query.tolist() == [[0, 2, 2], [0, 1, 0]]
    assert pairs.id.tolist() == [[4, 9, 7], [9, 4, 7]]
    assert pairs.label.tolist() == [[1, 2, 0], [2, 1, 0]]
