"""The teacher's step as the paper has it, and the student's losses."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_training import TinyNetwork, TrainingSamples

from mapmend.core.errors import ProjectError
from mapmend.losses.robust import (
    cross_entropy,
    published_symmetric_cross_entropy,
    reverse_cross_entropy,
    symmetric_cross_entropy,
)
from mapmend.methods import METHODS, StepState
from mapmend.methods.robust_settings import TrustWeights
from mapmend.nn.build import build_network
from mapmend.nn.spec import NetworkSpec
from mapmend.train.batches import settle


def batch(seed=0, size=2, unlabelled=False):
    samples = [TrainingSamples(seed)[(0, 0, i)] for i in range(size)]
    made = {key: torch.stack([one[key] for one in samples]) for key in samples[0]}
    if unlabelled:
        made["mask"] = torch.full_like(made["mask"], 255)
    return settle(made, torch.device("cpu"))


def teacher(**settings):
    kind = METHODS["all_weather"]
    return kind(TinyNetwork(dropout=0.0), kind.config_class(**settings), (5, 5, 5)).train()


def state(step=0, seed=0):
    return StepState(step, 10, 0, 1, torch.Generator().manual_seed(seed))


def losses(method, now=None):
    given = {"labelled": batch(), "unlabelled": batch(7, unlabelled=True)}
    return {name: float(loss.detach()) for name, loss in method.training_step(given, now or state())}


def test_source_and_mixed_losses_add_up_to_one_step():
    method = teacher()
    for _, loss in method.training_step({"labelled": batch(), "unlabelled": batch(7, unlabelled=True)}, state()):
        loss.backward()
    summed = {name: p.grad.clone() for name, p in method.network.named_parameters()}
    assert any(float(g.abs().sum()) > 0 for g in summed.values())
    assert all(p.grad is None for p in method.teacher.parameters())
    assert set(losses(teacher())) == {"source", "mixed"}


def test_the_target_teaches_from_its_start_on():
    assert set(losses(teacher(start=0.5), state(4))) == {"source"}
    assert set(losses(teacher(start=0.5), state(5))) == {"source", "mixed"}


def test_the_mixed_loss_is_the_weighted_cross_entropy_of_guesses_and_pasted_labels():
    """By hand, without the strong view: half of the classes from the source, the teacher's guesses elsewhere."""
    method = teacher(jitter=0, threshold=0.4)
    source, target = batch(), batch(7, unlabelled=True)
    image, valid, mask = source["image"][:, 0], source["valid"][:, 0, 0], source["mask"][:, 0]
    other, seen = target["image"][:, 0], target["valid"][:, 0, 0]
    with torch.no_grad():
        p = method.teacher.network(other, seen[:, None]).softmax(1)
    from mapmend.losses.class_mix import draw_classes

    chosen = draw_classes(mask, 3, torch.Generator().manual_seed(0))
    mixed, known, label, weight = other.float().clone(), seen.clone(), p.argmax(1), torch.zeros(mask.shape)
    label[~seen] = 255
    for b in range(2):
        sure = [float(p[b, :, y, x].max()) >= 0.4 for y, x in np.ndindex(32, 32) if seen[b, y, x]]
        weight[b] = sum(sure) / len(sure)
        for y, x in np.ndindex(32, 32):
            if mask[b, y, x] != 255 and chosen[b, mask[b, y, x]]:
                mixed[b, :, y, x], known[b, y, x] = image[b, :, y, x].float(), valid[b, y, x]
                label[b, y, x], weight[b, y, x] = mask[b, y, x], 1
    assert 0 < float(weight.min()) < 1
    each = F.cross_entropy(method.network(mixed, known[:, None]), label, ignore_index=255, reduction="none")
    expected = float(((each * weight).sum() / (label != 255).sum()).detach())
    assert losses(method)["mixed"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("weighting", "threshold"), [("image", 0.5), ("pixel", 0.5), ("none", 0.5)])
def test_weightings_differ_and_a_teacher_that_is_never_sure_teaches_only_without_them(weighting, threshold):
    never = losses(teacher(weighting=weighting, threshold=1.0, mix=False, jitter=0))["mixed"]
    assert (never > 0) == (weighting == "none")
    assert np.isfinite(losses(teacher(weighting=weighting, threshold=threshold))["mixed"])


def test_the_average_of_the_first_steps_forgets_where_it_began():
    """a = min(1 − 1/(it + 1), 0.999): 0, 1/2, 2/3, … so after n steps it is their plain mean."""
    method, seen = teacher(), []
    for step in range(4):
        with torch.no_grad():
            for parameter in method.network.parameters():
                parameter.fill_(float(step + 1))
        method.after_step(state(step))
        seen.append(float(next(iter(method.teacher.network.parameters())).flatten()[0]))
    assert seen == pytest.approx([1, 1.5, 2, 2.5])
    assert not method.teacher.network.training


def test_reverse_cross_entropy_is_no_cross_entropy():
    """The published code's reverse term is −log p_y again: this fails on it."""
    logits = torch.tensor([[[2.0, -1.0, 0.0]], [[0.0, 1.0, 0.0]]])
    target = torch.tensor([[0, 1, 1]])
    p = logits.softmax(0)[None]
    found = reverse_cross_entropy(logits[None], target[:, None])
    of_label = torch.stack([p[0, 0, 0, 0], p[0, 1, 0, 1], p[0, 1, 0, 2]])
    assert float(found) == pytest.approx(float((4 * (1 - of_label)).mean()))
    assert abs(float(found) - float(cross_entropy(logits[None], target[:, None]))) > 0.1
    published = published_symmetric_cross_entropy(logits[None], target[:, None])
    assert float(published) == pytest.approx(3 * float(cross_entropy(logits[None], target[:, None])))


def test_a_certain_label_costs_nothing_and_a_wrong_one_pulls_no_harder_than_a_bound():
    logits = torch.tensor([[60.0, 0.0]]).T[None, :, :, None]
    assert float(symmetric_cross_entropy(logits, torch.zeros(1, 1, 1, dtype=torch.long))) == pytest.approx(0, abs=1e-6)
    for value in np.linspace(-30, 30, 61):
        pixel = torch.tensor([value, 0.0]).view(1, 2, 1, 1).requires_grad_()
        reverse_cross_entropy(pixel, torch.zeros(1, 1, 1, dtype=torch.long)).backward()
        assert float(pixel.grad.abs().max()) <= 4 * 0.25 + 1e-6  # |A|·p(1 − p), at most |A|/4


def test_the_published_variant_gives_each_mask_to_every_image():
    rng = torch.Generator().manual_seed(0)
    logits, target = torch.randn(3, 4, 5, 6, generator=rng), torch.randint(0, 4, (3, 5, 6), generator=rng)
    target[0, :2], target[2, :, 3:] = 255, 255
    each = [F.cross_entropy(logits[j : j + 1], target[j : j + 1], ignore_index=255, reduction="none") for j in range(3)]
    total = [((target[i] != 255).float() * each[j][0]).mean() for i in range(3) for j in range(3)]
    assert float(published_symmetric_cross_entropy(logits, target)) == pytest.approx(
        3 * float(torch.stack(total).mean())
    )


def student(**settings):
    kind = METHODS["supervised"]
    spec = NetworkSpec("resnet10t", "fpn", 3, 3, (100.0,) * 3, (60.0,) * 3, (32, 32))
    torch.manual_seed(0)
    network, _ = build_network(spec)
    config = kind.config_class(robust="sce", sce_alpha=1.0, sce_beta=0.5, lovasz=1.0, **settings)
    return kind(network, config, (5, 5, 5)).train()


def test_the_auxiliary_head_learns_beside_the_deployed_network():
    method = student(auxiliary=1.0)
    [(_, loss)] = method.training_step({"labelled": batch()}, state())
    loss.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in method.auxiliary.parameters())
    assert method.in_head("auxiliary.head.layers.0.weight")
    assert not any("auxiliary" in name for name, _ in method.deployed().named_parameters())
    now = state()
    list(student(auxiliary=1.0).training_step({"labelled": batch()}, now))
    assert set(now.notes) == {"ce", "lovasz", "auxiliary"}


def test_a_pixel_counts_as_much_as_its_label_is_sure():
    given = batch()
    sure = torch.zeros(given["mask"].shape, dtype=torch.uint8)
    sure[:, :, :16] = 200
    kind = METHODS["supervised"]
    network = TinyNetwork(dropout=0.0)
    method = kind(network, kind.config_class(confidence_weight=True), (5, 5, 5)).eval()
    [(_, loss)] = method.training_step({"labelled": {**given, "confidence": sure}}, state())
    logits, mask = network(given["image"][:, 0], given["valid"][:, 0]), given["mask"][:, 0]
    each = F.cross_entropy(logits, mask, ignore_index=255, reduction="none")[:, :16]
    assert float(loss) == pytest.approx(float(each.sum() / (mask != 255).sum()), rel=1e-4)


def test_settings_that_do_not_go_together_are_refused():
    kind = METHODS["supervised"]
    for settings in (
        {"published_variant": True},
        {"robust": "sce", "published_variant": True, "confidence_weight": True},
        {"robust": "sce", "published_variant": True, "class_weights": "inverse_sqrt"},
        {"robust": "sce", "published_variant": True, "trust": TrustWeights(pseudo=0.5)},
        {"robust": "posterior", "class_weights": "inverse_sqrt"},
        {"confidence_weight": True, "proportions": 1.0, "label_pixel": 4.0},
        {"auxiliary": 1.0, "ce": 0.0, "proportions": 1.0, "label_pixel": 4.0},
    ):
        with pytest.raises(ProjectError):
            kind(TinyNetwork(), kind.config_class(**settings), (5, 5, 5))
