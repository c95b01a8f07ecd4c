import math

import pytest
import torch
import torch.nn.functional as F

from mapmend.losses.contrast import margin_cross_entropy, two_view_contrast, vague_divergence
from mapmend.losses.views import other_light


def logits_of(seed=0, shape=(2, 4, 3, 5)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_the_margin_is_taken_off_the_labels_logit_alone():
    logits, s, m = 16 * torch.tensor([[0.5, 0.4, -0.3]]), 16, 0.1
    own, others = s * (0.5 - m), [s * 0.4, s * -0.3]
    expected = -own + math.log(math.exp(own) + sum(math.exp(one) for one in others))
    loss = margin_cross_entropy(logits, torch.tensor([0]), torch.ones(1), margin=s * m)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_without_margin_it_is_weighted_cross_entropy():
    logits = logits_of()
    target = torch.randint(4, (2, 3, 5), generator=torch.Generator().manual_seed(1))
    target[0, 0] = 255
    weight = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(2))
    each = F.cross_entropy(logits, target, ignore_index=255, reduction="none")
    expected = (each * weight).sum() / weight[target != 255].sum()
    torch.testing.assert_close(margin_cross_entropy(logits, target, weight), expected)
    assert margin_cross_entropy(logits, target, torch.zeros(2, 3, 5)) == 0


def test_vague_pixels_learn_a_distribution_as_far_as_it_is_sure():
    logits = logits_of(3)
    target = logits_of(4).mul(2).softmax(1)
    vague = torch.zeros(2, 3, 5, dtype=torch.bool)
    vague[1, :2] = True
    values = []
    for row in range(2):
        for col in range(5):
            q, p = target[1, :, row, col].tolist(), logits[1, :, row, col].softmax(0).tolist()
            divergence = sum(a * math.log(a / b) for a, b in zip(q, p, strict=True))
            entropy = -sum(a * math.log(a) for a in q)
            values.append(divergence * (1 - entropy / math.log(4)))
    assert vague_divergence(logits, target, vague).item() == pytest.approx(sum(values) / len(values), rel=1e-5)
    assert vague_divergence(logits, target, vague & False) == 0


def test_a_vague_pixel_at_its_distribution_or_without_any_preference_teaches_nothing():
    logits = logits_of(5).requires_grad_()
    everywhere = torch.ones(2, 3, 5, dtype=torch.bool)
    assert vague_divergence(logits, logits.detach().softmax(1), everywhere).item() == pytest.approx(0, abs=1e-6)
    assert vague_divergence(logits, torch.full((2, 4, 3, 5), 0.25), everywhere).item() == pytest.approx(0, abs=1e-6)
    one_hot = F.one_hot(torch.zeros(2, 3, 5, dtype=torch.int64), 4).movedim(-1, 1).float()
    vague_divergence(logits, one_hot, everywhere).backward()
    assert torch.isfinite(logits.grad).all()


def test_two_views_by_hand():
    generator = torch.Generator().manual_seed(6)
    first, second = torch.randn(6, 8, generator=generator), torch.randn(6, 8, generator=generator)
    label = [0, 0, 1, 2, 1, 0]
    total = 0.0
    for i in range(6):
        cosine = [float(F.cosine_similarity(first[i], second[j], dim=0)) / 0.1 for j in range(6)]
        against = sum(math.exp(cosine[j]) for j in range(6) if label[j] != label[i])
        total -= math.log(math.exp(cosine[i]) / (math.exp(cosine[i]) + against))
    loss = two_view_contrast(first, second, torch.tensor(label))
    assert loss.item() == pytest.approx(total / 6, rel=1e-4)


def test_only_the_first_view_learns_and_one_label_teaches_nothing():
    first, second = (logits_of(seed, (5, 3)).requires_grad_() for seed in (7, 8))
    two_view_contrast(first, second, torch.tensor([0, 1, 0, 1, 2])).backward()
    assert first.grad.any()
    assert second.grad is None
    assert two_view_contrast(first, second, torch.zeros(5)).item() == pytest.approx(0, abs=1e-6)
    assert two_view_contrast(first[:0], second[:0], torch.zeros(0)) == 0


def test_other_light_keeps_order_and_stays_near():
    image = torch.randint(0, 255, (3, 2, 16, 16), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)
    valid = torch.ones(3, 1, 16, 16, dtype=torch.bool)
    valid[:, :, 0] = False
    junk = image.float().where(valid, float("nan"))
    view = other_light(junk, valid, torch.Generator().manual_seed(0), 0.2)
    again = other_light(image, valid, torch.Generator().manual_seed(0), 0.2)
    torch.testing.assert_close(view[..., 1:, :], again[..., 1:, :])
    for before, after in zip(image.float().flatten(0, 1), view.flatten(0, 1), strict=True):
        before, after = before[1:], after[1:]
        gain = (after.max() - after.min()) / (before.max() - before.min())
        assert 0.8 <= gain <= 1.2
        assert abs(after.mean() - before.mean()) <= 0.2 * before.std() + 1e-3
        assert torch.equal(before.flatten().argsort(stable=True), after.flatten().argsort(stable=True))
    torch.testing.assert_close(other_light(image, valid, torch.Generator(), 0.0)[..., 1:, :], image.float()[..., 1:, :])
