import math

import pytest
import torch

from mapmend.losses.consistency import balanced_thresholds, class_alignment, pseudo_label_loss
from mapmend.losses.mixing import cut_mix, draw_boxes


def case(seed=0, batch=3, classes=2, side=4, sharp=4.0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (sharp * torch.randn(batch, classes, side, side, generator=generator) for _ in range(2))
    valid = torch.rand(batch, side, side, generator=generator) > 0.2
    return student, teacher, valid


@pytest.mark.parametrize("threshold", [0.6, 0.95, 1.0])
def test_pseudo_labels_by_loops(threshold):
    student, teacher, valid = case()
    total = 0.0
    for b, y, x in valid.nonzero().tolist():
        p = teacher[b, :, y, x].softmax(0).tolist()
        if max(p) >= threshold:
            total -= math.log(student[b, :, y, x].softmax(0)[p.index(max(p))])
    loss = pseudo_label_loss(student, teacher, valid, threshold)
    assert loss.item() == pytest.approx(total / valid.numel(), rel=1e-5, abs=1e-7)
    loss = pseudo_label_loss(student, teacher, valid, threshold, among_valid=True)
    assert loss.item() == pytest.approx(total / int(valid.sum()), rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("classes", [2, 5])
def test_balanced_thresholds_take_as_large_a_share_of_each_class(classes):
    logits, _, valid = case(7, 4, classes, 32, sharp=1.5)
    logits[:, 0] += 1.0  # easy
    levels = balanced_thresholds(logits, valid, 0.8)
    p, likeliest = logits.softmax(1).max(1)
    of = [p[valid & (likeliest == one)] for one in range(classes)]
    plain = [float((one >= 0.8).float().mean()) for one in of]
    share = max(plain)
    assert min(plain) < share - 0.1
    assert (levels <= 0.8).all() and levels[plain.index(share)] == pytest.approx(0.8, abs=0.01)
    for one, level in zip(of, levels, strict=True):
        assert float((one >= level).float().mean()) == pytest.approx(share, abs=2 / len(one))


def test_balanced_thresholds_are_plain_where_nothing_is_sure_or_a_class_is_not_seen():
    logits, _, valid = case(8, sharp=0.1)
    assert torch.equal(balanced_thresholds(logits, valid, 0.9), torch.full((2,), 0.9))
    assert torch.equal(balanced_thresholds(logits, valid & False, 0.9), torch.full((2,), 0.9))
    logits[:, 0] += 10
    assert torch.equal(balanced_thresholds(logits, valid, 0.9), torch.full((2,), 0.9))


def test_a_threshold_for_each_class():
    student, teacher, valid = case(9, sharp=1.0)
    feature = torch.randn(3, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    for loss in (
        lambda at: pseudo_label_loss(student, teacher, valid, at),
        lambda at: class_alignment(feature, teacher, valid, at),
    ):
        assert torch.equal(loss(0.8), loss(torch.tensor([0.8, 0.8])))
        assert loss(0.8) != loss(torch.tensor([0.8, 0.55]))


def test_only_the_taught_view_learns_and_only_where_the_other_is_sure():
    student, teacher, valid = case(1)
    student.requires_grad_(), teacher.requires_grad_()
    pseudo_label_loss(student, teacher, valid, 0.9).backward()
    assert teacher.grad is None
    sure = (teacher.detach().softmax(1).amax(1) >= 0.9) & valid
    assert 0 < sure.sum() < sure.numel()
    assert ((student.grad.abs().sum(1) > 0) == sure).all()


def test_nothing_valid_teaches_nothing():
    student, teacher, valid = case(2)
    feature = torch.randn(3, 5, 4, 4, generator=torch.Generator().manual_seed(0))
    student.requires_grad_(), feature.requires_grad_()
    nowhere = valid & False
    loss = pseudo_label_loss(student, teacher, nowhere, 0.5, among_valid=True)
    loss = loss + class_alignment(feature, teacher, nowhere, 0.5)
    loss.backward()
    assert loss == 0 and not student.grad.any() and not feature.grad.any()


def alignment_by_loops(feature, logits, valid, threshold):
    """Of logits at the features' own resolution."""
    batch, classes = logits.shape[:2]
    means = {}
    for b in range(batch):
        for k in range(classes):
            chosen = [
                feature[b, :, y, x].tolist()
                for y in range(logits.shape[2])
                for x in range(logits.shape[3])
                if valid[b, y, x] and logits[b, :, y, x].softmax(0)[k] >= threshold
            ]
            mean = [sum(values) / (len(chosen) + 1e-5) for values in zip(*chosen, strict=True)] or [0.0]
            length = math.sqrt(sum(value**2 for value in mean))
            means[b, k] = [value / length for value in mean] if length else None
    total = 0.0
    for k in range(classes):
        for b in range(batch):
            for c in range(batch):
                if means[b, k] and means[c, k]:  # S is 0 where a class is empty
                    total += 0.5 - sum(i * j for i, j in zip(means[b, k], means[c, k], strict=True)) / 2
    return total / (classes * batch**2)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [0.6, 0.97])
def test_alignment_by_loops(seed, threshold):
    _, logits, valid = case(seed)
    feature = torch.randn(3, 5, 4, 4, generator=torch.Generator().manual_seed(seed + 10))
    loss = class_alignment(feature, logits, valid, threshold)
    assert loss.item() == pytest.approx(alignment_by_loops(feature, logits, valid, threshold), rel=1e-4, abs=1e-6)


def test_probabilities_are_resized_by_nearest_neighbour_before_the_threshold():
    feature = torch.randn(2, 5, 3, 3, generator=torch.Generator().manual_seed(1))
    _, logits, valid = case(5, batch=2, side=12)
    coarse = class_alignment(feature, logits[..., ::4, ::4], valid[..., ::4, ::4], 0.8)
    torch.testing.assert_close(class_alignment(feature, logits, valid, 0.8), coarse)


def test_alignment_pulls_features_of_a_class_together_and_the_logits_do_not_learn():
    _, logits, valid = case(6)
    logits.requires_grad_()
    feature = torch.randn(3, 5, 4, 4, generator=torch.Generator().manual_seed(2)).requires_grad_()
    loss = class_alignment(feature, logits, valid, 0.7)
    loss.backward()
    assert logits.grad is None
    assert class_alignment(feature.detach() - 5 * feature.grad, logits, valid, 0.7) < loss


def test_centred_alignment_is_that_of_features_about_their_mean():
    _, logits, valid = case(3)
    feature = torch.randn(3, 5, 4, 4, generator=torch.Generator().manual_seed(13))
    mean = torch.stack([pixel for image, seen in zip(feature, valid, strict=True) for pixel in image[:, seen].T]).mean(
        0
    )
    expected = alignment_by_loops(feature - mean[:, None, None], logits, valid, 0.6)
    for shift in (0.0, 7.0):
        loss = class_alignment(feature + shift, logits, valid, 0.6, centred=True)
        assert loss.item() == pytest.approx(expected, rel=1e-3)


def test_only_as_published_are_features_that_tell_no_class_aligned_best():
    label = torch.zeros(2, 4, 4).long()
    label[:, :2] = 1
    logits = 20.0 * torch.nn.functional.one_hot(label, 2).movedim(-1, 1)
    valid = torch.ones(2, 4, 4, dtype=torch.bool)
    noise = torch.randn(2, 5, 4, 4, generator=torch.Generator().manual_seed(4))
    blind = torch.ones(5)[:, None, None] + 0.01 * noise  # one direction for all
    telling = torch.where(label[:, None] == 1, 1.0, -1.0) + 0.3 * noise
    for centred in (False, True):
        of_blind, of_telling = (class_alignment(one, logits, valid, 0.5, centred=centred) for one in (blind, telling))
        assert (of_blind < of_telling) != centred


def test_a_batch_of_one_has_nothing_to_align():
    feature = torch.randn(1, 5, 4, 4).requires_grad_()
    loss = class_alignment(feature, case(batch=1)[1], torch.ones(1, 4, 4, dtype=torch.bool), 0.5)
    loss.backward()
    assert loss == 0 and not feature.grad.any()


def test_boxes_are_rectangles_of_the_published_sizes_in_half_of_the_images():
    boxes = draw_boxes(400, 40, 60, torch.Generator().manual_seed(0))
    some = boxes[boxes.any(2).any(1)]
    assert abs(len(some) / 400 - 0.5) < 5 * math.sqrt(0.25 / 400)
    for box in some:
        rows, cols = (int(box.any(axis).sum()) for axis in (1, 0))
        assert int(box.sum()) == rows * cols
        assert 0.01 <= rows * cols / 2400 <= 0.42
        assert rows in (40, 60) or cols in (40, 60) or 0.2 <= rows / cols <= 5
    assert torch.equal(boxes, draw_boxes(400, 40, 60, torch.Generator().manual_seed(0)))


def test_one_box_serves_both_dates():
    maps = torch.arange(3.0)[:, None, None, None, None].expand(3, 2, 4, 6, 6)
    boxes = torch.zeros(3, 6, 6, dtype=torch.bool)
    boxes[0, :2] = True
    mixed = cut_mix(maps, boxes)
    assert (mixed[0, :, :, :2] == 1).all() and (mixed[0, :, :, 2:] == 0).all()
    assert (mixed[1] == 1).all() and (mixed[2] == 2).all()
    assert torch.equal(cut_mix(maps[:1], boxes[:1]), maps[:1])  # of itself
