import math

import ot
import pytest
import torch

from mapmend.losses.transport import sinkhorn


def costs(groups=3, size=12, seed=0, top=3.0):
    return top * torch.rand(groups, size, size, generator=torch.Generator().manual_seed(seed))


def everyone(cost):
    return torch.ones(cost.shape[:2], dtype=torch.bool)


def naive(cost, epsilon, sweeps=3000):
    """Rows and columns of exp(−C/ε) made to sum to one in turn, cell by cell, in double precision."""
    n = len(cost)
    plan = [[math.exp(-float(c) / epsilon) for c in row] for row in cost]
    for _ in range(sweeps):
        for i in range(n):
            total = sum(plan[i])
            plan[i] = [value / total for value in plan[i]]
        for j in range(n):
            total = sum(plan[i][j] for i in range(n))
            for i in range(n):
                plan[i][j] /= total
    return torch.tensor(plan)


def test_a_batch_is_as_each_group_alone_done_naively():
    cost = costs(2, 6)
    for group, plan in zip(cost, sinkhorn(cost, everyone(cost), tolerance=1e-6), strict=True):
        torch.testing.assert_close(plan, naive(group, 0.1), atol=2e-4, rtol=0)


def test_it_agrees_with_pot():
    cost = costs(4, 40, seed=1).double()
    uniform = torch.full((40,), 1 / 40, dtype=torch.float64)
    plans = sinkhorn(cost, everyone(cost), tolerance=1e-6)
    for group, plan in zip(cost, plans, strict=True):
        expected = ot.sinkhorn(uniform, uniform, group, 0.1, method="sinkhorn_log", stopThr=1e-9, numItermax=20000)
        torch.testing.assert_close(plan.double(), 40 * expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("top", [0.0, 1.0, 30.0])
def test_rows_sum_to_one_and_columns_nearly(top):
    cost = costs(3, 64, seed=2, top=top)
    plan = sinkhorn(cost, everyone(cost))
    torch.testing.assert_close(plan.sum(2), torch.ones(3, 64))
    assert (plan.sum(1) - 1).abs().max() < 1e-3


def test_padding_has_no_say():
    cost = costs(1, 9, seed=3)
    alone = sinkhorn(cost, everyone(cost))
    padded = torch.full((2, 14, 14), float("nan"))
    padded[0, :9, :9] = cost[0]
    padded[1] = costs(1, 14)[0]
    member = torch.zeros(2, 14, dtype=torch.bool)
    member[0, :9] = member[1] = True
    plan = sinkhorn(padded, member)
    torch.testing.assert_close(plan[0, :9, :9], alone[0], atol=1e-3, rtol=0)
    assert not plan[0, 9:].any()
    assert not plan[0, :, 9:].any()


@pytest.mark.parametrize("members", [0, 1])
def test_groups_of_one_and_of_none(members):
    member = torch.zeros(1, 4, dtype=torch.bool)
    member[0, :members] = True
    plan = sinkhorn(costs(1, 4), member)
    assert plan.sum() == members
    assert plan[0, 0, 0] == members


def test_costs_that_overflow_the_exponential_are_no_obstacle():
    cost = 1000 * (1 - torch.eye(8))[None]
    torch.testing.assert_close(sinkhorn(cost, everyone(cost), epsilon=0.01), torch.eye(8)[None])
