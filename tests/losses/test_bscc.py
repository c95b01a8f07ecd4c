import pytest
import torch

from mapmend.losses.bscc import semantic_correlation


def logit(p):
    return torch.logit(torch.tensor(p, dtype=torch.float64)).float()


def case(seed=0, batch=2, channels=5, side=4):
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(batch, channels, side, side, generator=generator) for _ in range(2))
    return first, second, 2 * torch.randn(batch, 1, side, side, generator=generator)


def by_loops(first, second, change, margin=2.0, counted=None):
    near = far = near_weight = far_weight = 0.0
    for b in range(first.shape[0]):
        for y in range(first.shape[2]):
            for x in range(first.shape[3]):
                if counted is not None and not counted[b, y, x]:
                    continue
                p = torch.sigmoid(change[b, 0, y, x]).item()
                d = [abs(a - c) for a, c in zip(first[b, :, y, x].tolist(), second[b, :, y, x].tolist(), strict=True)]
                if round(p) == 0:
                    near += (1 - p) * sum(one**2 for one in d)
                    near_weight += 1 - p
                else:
                    far += p * sum(max(margin - one, 0) ** 2 for one in d)
                    far_weight += p
    return (near / (near_weight + 1e-4) + far / (far_weight + 1e-4)) / (2 * first.shape[1])


def test_the_papers_check_value():
    second = torch.zeros(1, 2, 1, 2)
    first = torch.tensor([[0.5, 1.0], [0.3, 2.5]]).T.reshape(1, 2, 1, 2)
    loss = semantic_correlation(first, second, logit([0.2, 0.9]).reshape(1, 1, 1, 2))
    assert loss.item() == pytest.approx(1.0348806735, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_published_sum(seed):
    first, second, change = case(seed)
    counted = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(seed)) > 0.3
    for kept in (None, counted):
        loss = semantic_correlation(first, second, change, margin=1.5, counted=kept)
        assert loss.item() == pytest.approx(by_loops(first, second, change, 1.5, kept), rel=1e-5)


def test_the_change_learns_unless_it_is_detached():
    first, second, change = case(1)
    change.requires_grad_(), first.requires_grad_()
    semantic_correlation(first, second, change).backward()
    assert change.grad.abs().min() > 0
    change.grad = None
    semantic_correlation(first, second, change.detach()).backward()
    assert change.grad is None


def test_features_close_in_where_nothing_changed_and_part_where_it_did():
    first, second, _ = case(2, channels=1)
    second = second.where((first - second).abs() < 2, first + 0.5)
    change = torch.full((2, 1, 4, 4), -4.0)
    change[:, :, :2] = 4.0
    first.requires_grad_()
    semantic_correlation(first, second, change).backward()
    apart = (first.detach() - second).abs()
    moved = (first.detach() - 0.1 * first.grad - second).abs()
    assert (moved[:, :, :2] > apart[:, :, :2]).all()
    assert (moved[:, :, 2:] < apart[:, :, 2:]).all()


def test_what_does_not_count_moves_nothing():
    first, second, change = case(3)
    for tensor in (first, second, change):
        tensor.requires_grad_()
    loss = semantic_correlation(first, second, change, counted=torch.zeros(2, 4, 4, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert all(not tensor.grad.any() for tensor in (first, second, change))
