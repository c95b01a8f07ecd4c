import math

import pytest
import torch

from mapmend.losses.posterior import belief_likelihood, blurred, posterior, running_mean
from mapmend.losses.robust import mixture_cross_entropy


def naive(logits, target, prior, marginal, weight):
    """−log Σ s·q/m, pixel by pixel, in plain Python."""
    total, count = 0.0, 0
    for b, i in [(b, i) for b in range(len(logits)) for i in range(logits.shape[2])]:
        if target[b, i] == 255:
            continue
        raised = [math.exp(v) for v in logits[b, :, i].tolist()]
        beliefs = zip(prior[b, :, i].tolist(), raised, marginal.tolist(), strict=True)
        total -= float(weight[b, i]) * math.log(sum(s * e / sum(raised) / m for s, e, m in beliefs))
        count += 1
    return total / count


def a_case():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 7, generator=generator).requires_grad_()
    target = torch.randint(3, (2, 7), generator=generator)
    target[0, :3] = 255
    prior = torch.rand(2, 3, 7, generator=generator).softmax(1)
    return logits, target, prior, torch.tensor([0.5, 0.3, 0.2]), torch.rand(2, 7, generator=generator)


def test_a_belief_is_weighed_against_how_common_a_class_is():
    log_q, prior, marginal = torch.zeros(1, 2, 1), torch.tensor([[[0.9], [0.1]]]), torch.tensor([0.8, 0.2])
    r = posterior(log_q, prior, marginal).exp()[0, :, 0]
    torch.testing.assert_close(r, torch.tensor([0.9 / 0.8, 0.1 / 0.2]) / (0.9 / 0.8 + 0.1 / 0.2))


def test_it_equals_a_naive_loop():
    logits, target, prior, marginal, weight = a_case()
    found = belief_likelihood(logits, target, prior, marginal, pixel_weight=weight)
    assert float(found.detach()) == pytest.approx(naive(logits, target, prior, marginal, weight), rel=1e-5)


def test_its_slope_is_that_of_cross_entropy_against_the_posterior():
    logits, target, prior, marginal, _ = a_case()
    belief_likelihood(logits, target, prior, marginal).backward()
    r = posterior(logits.detach().log_softmax(1), prior, marginal).exp()
    slope = (logits.detach().softmax(1) - r) * (target != 255)[:, None] / (target != 255).sum()
    torch.testing.assert_close(logits.grad, slope)


def test_the_mean_is_of_many_batches_and_of_labelled_pixels():
    logits = torch.tensor([[[2.0, -1.0, 9.0], [0.0, 0.5, 9.0]]])
    target, before, q = torch.tensor([[0, 1, 255]]), torch.tensor([0.9, 0.1]), logits.softmax(1)
    own = q[0, :, :2].mean(1)
    torch.testing.assert_close(running_mean(q, target, torch.zeros(2)), own)
    torch.testing.assert_close(running_mean(q, target, before), 0.95 * before + 0.05 * own)
    torch.testing.assert_close(running_mean(q, torch.full_like(target, 255), before), before)


def test_no_label_teaches_nothing():
    logits = torch.randn(1, 3, 4, requires_grad=True)
    target = torch.full((1, 4), 255)
    loss = belief_likelihood(logits, target, torch.full((1, 3, 4), 1 / 3), torch.tensor([0.5, 0.3, 0.2]))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_beliefs_are_blurred_by_those_around_that_have_a_label():
    generator = torch.Generator().manual_seed(0)
    shares = torch.randn(2, 3, 9, 11, generator=generator).softmax(1)
    labelled = torch.rand(2, 9, 11, generator=generator) < 0.7
    found = blurred(shares, labelled, 1.3)
    for b, y, x in ((0, 0, 0), (0, 4, 5), (1, 8, 3)):
        total, mean = 0.0, torch.zeros(3)
        for i, j in [(i, j) for i in range(9) for j in range(11) if labelled[b, i, j]]:
            if max(abs(i - y), abs(j - x)) <= 3:  # two standard deviations
                weight = math.exp(-0.5 * ((i - y) ** 2 + (j - x) ** 2) / 1.3**2)
                total, mean = total + weight, mean + weight * shares[b, :, i, j]
        torch.testing.assert_close(found[b, :, y, x], mean / total)


@pytest.mark.parametrize("start", [0.0, 1.0, -1.0])
def test_it_finds_a_class_where_every_code_but_the_image_calls_it_unlikely(start):
    """Meadows of which more than half lie in cells of a forest code, as after a felling, among much forest.

    The cross-entropy of mixtures calls them forest, for their mean belief does.
    """
    looks = torch.tensor([0] * 850 + [1] * 150)  # 0 looks like forest, 1 like meadow
    forest_code = torch.cat([torch.arange(850) < 820, torch.arange(150) < 100])
    prior = torch.where(forest_code, torch.tensor([[0.93], [0.07]]), torch.tensor([[0.4], [0.6]]))[None]
    target = torch.zeros(1, 1000, dtype=torch.int64)

    def learned(loss):
        table = torch.tensor([[start, 0.0]] * 2, requires_grad=True)
        optimiser = torch.optim.Adam([table], 0.1)
        for _ in range(300):
            optimiser.zero_grad()
            loss(table[looks].T[None]).backward()
            optimiser.step()
        return table.softmax(1).detach()

    mixture = learned(lambda logits: mixture_cross_entropy(logits, target, prior))
    mean = torch.zeros(2)

    def likelihood(logits):
        mean.copy_(running_mean(logits.softmax(1), target, mean))
        return belief_likelihood(logits, target, prior, torch.maximum(mean, prior.mean((0, 2))))

    mended = learned(likelihood)
    assert mixture.argmax(1).tolist() == [0, 0]
    assert mended.argmax(1).tolist() == [0, 1] and mended[0, 0] > 0.95
