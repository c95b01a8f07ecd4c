import pytest
import torch
import torch.nn.functional as F
from tests.methods.test_change_alone import PUBLISHED, batches, state
from tiny_training import network_of

from mapmend.methods.change_views import strong_image, weak_view
from mapmend.methods.clearscd import ClearSCD, ClearSCDConfig
from mapmend.methods.clearscd_semi import SemiClearSCD, SemiClearSCDConfig

COUNTS = (4, 4, 4)
CLEAR = {"fresh": 8, "queue": 20, "rotation": 0}


def make(**settings):
    given = {**CLEAR, "scale": (1.0, 1.0), "threshold": 0.4, "teacher_decay": 0.0, **PUBLISHED, **settings}
    return SemiClearSCD(network_of(SemiClearSCD), SemiClearSCDConfig(**given), COUNTS).eval()


def steps(method, given):
    now = state()
    return dict(method.training_step(given, now)), now.notes


def test_labelled_pairs_teach_what_they_teach_clearscd():
    method, given = make(), batches()
    losses, _ = steps(method, given)
    plain = ClearSCD(network_of(ClearSCD), ClearSCDConfig(**CLEAR), COUNTS).eval()
    plain.load_state_dict(method.state_dict())
    plain.memory.load_state_dict(make().memory.state_dict())
    [(_, expected)] = plain.training_step({"labelled": given["labelled"]}, state())
    torch.testing.assert_close(losses["loss"], expected)


def test_the_weak_view_teaches_classes_of_both_dates_and_change():
    method, given = make(memory=0.0, local=0.0), batches()  # which draw nothing, so that the views are known
    losses, notes = steps(method, given)
    now = state()
    view = weak_view(given["unlabelled"], method.config, now)
    strong = strong_image(method.network, view, method.config, now)
    with torch.no_grad():
        told, learned = method.network.pair(view.image, view.valid), method.network.pair(strong, view.valid)
    classes = 0.0
    for date in range(2):
        p, target = told.classes[:, date].softmax(1).max(1)
        each = F.cross_entropy(learned.classes[:, date], target, reduction="none")
        classes += float((each * ((p >= 0.4) & view.valid[:, date, 0])).mean()) / 2
    p, target = told.change.sigmoid(), (told.change > 0).float()
    sure = torch.maximum(p, 1 - p) >= 0.4
    each = F.binary_cross_entropy_with_logits(learned.change, target, reduction="none")
    change = float((each * (sure & view.seen)).mean())
    assert classes > 0 and change > 0
    assert float(notes["classes_taught"]) == pytest.approx(classes, rel=1e-4)
    assert float(notes["change_taught"]) == pytest.approx(change, rel=1e-4)
    assert float(losses["unlabelled"].detach()) == pytest.approx(classes + change, rel=1e-4)


def test_unlabelled_pairs_wait_for_their_start():
    assert steps(make(start=0.5), batches())[0].keys() == {"loss"}


def test_strong_views_leave_no_trace_in_the_statistics_that_map():
    given, kept = batches(), []
    for start in (0.0, 0.5):
        method = make(start=start, teacher_decay=0.9)
        method.train()
        assert ("unlabelled" in steps(method, given)[0]) == (start == 0)
        kept.append({name: tensor for name, tensor in method.network.named_buffers() if "running" in name})
    assert kept[0]
    torch.testing.assert_close(kept[0], kept[1])


def test_what_is_not_certain_teaches_nothing():
    losses, _ = steps(make(threshold=1.0), batches())
    assert float(losses["unlabelled"].detach()) == 0


def test_a_teacher_looks_at_the_weak_view_and_follows():
    method, given = make(teacher_decay=0.9), batches()
    with torch.no_grad():
        for weight in method.teacher.network.parameters():
            weight.zero_()
    steps(method, given)
    # its logits are all zero: a third each of the classes, and one half of the change, of which that is enough
    losses, notes = steps(method, given)
    assert float(notes["classes_taught"]) == 0 and float(notes["change_taught"]) > 0
    losses["unlabelled"].backward()
    assert all(weight.grad is None for weight in method.teacher.parameters())
    method.after_step(state(at=5))
    assert any(weight.any() for weight in method.teacher.network.parameters())
