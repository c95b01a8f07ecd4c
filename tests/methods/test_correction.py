import numpy as np
import pytest
import torch
from tiny_training import TinyNetwork, TrainingSamples

from mapmend.core.manifest import TRUSTS
from mapmend.methods import StepState
from mapmend.methods.correction import Rules, Trigger, correct_objects, stops_falling
from mapmend.methods.supervised import Supervised, SupervisedConfig
from mapmend.train.batches import settle


def scene():
    """A truth with two objects of class 1 and one of class 2 on class 0."""
    truth = np.zeros((60, 60), np.uint8)
    truth[5:15, 5:15] = 1
    truth[5:15, 40:50] = 1
    truth[40:52, 20:35] = 2
    return truth


def sure_of(label, confidence=0.9, classes=3):
    one = np.stack([(label == k) for k in range(classes)]).astype(float)
    return one * confidence + (1 - one) * (1 - confidence) / (classes - 1)


def test_what_is_missing_is_put_in_what_is_false_goes_and_what_is_swapped_is_renamed():
    truth = scene()
    label = truth.copy()
    label[5:15, 5:15] = 0  # missing
    label[25:33, 5:13] = 1  # false
    label[40:52, 20:35] = 1  # swapped
    assert (correct_objects(label, sure_of(truth), Rules()) == truth).all()


def test_a_label_that_only_draws_an_object_larger_or_smaller_is_left_alone():
    truth = scene()
    for grown in (-2, 3):
        label = np.zeros_like(truth)
        label[5 - grown : 15 + grown, 5 - grown : 15 + grown] = 1
        label[5 - grown : 15 + grown, 40 - grown : 50 + grown] = 1
        label[40 - grown : 52 + grown, 20 - grown : 35 + grown] = 2
        assert (correct_objects(label, sure_of(truth), Rules()) == label).all()


@pytest.mark.parametrize("confidence", [0.5, 0.79, 0.81])
def test_a_teacher_is_believed_when_it_is_sure(confidence):
    truth = scene()
    label = np.zeros_like(truth)
    corrected = correct_objects(label, sure_of(truth, confidence), Rules(sure=0.8))
    assert (corrected == (truth if confidence > 0.8 else label)).all()


def test_specks_and_places_without_a_label_stay():
    truth = scene()
    label = truth.copy()
    label[:30] = 255
    told = truth.copy()
    told[55, 55] = 2
    corrected = correct_objects(label, sure_of(told), Rules())
    assert (corrected == label).all()


def _accuracy(kind):
    t = np.arange(40)
    early = 1 - np.exp(-t / 4)
    if kind == "early":
        return (0.7 * early).tolist()
    return (0.7 * early + 0.3 / (1 + np.exp(-(t - 22) / 3))).tolist()  # from about 18 on errors are learned by heart


def test_the_slope_of_early_learning_alone_never_triggers():
    curve = _accuracy("early")
    assert not any(stops_falling(curve[:length]) for length in range(1, 41))


def test_learning_by_heart_triggers_near_its_beginning():
    curve = _accuracy("both")
    first = next(length for length in range(1, 41) if stops_falling(curve[:length]))
    assert 10 <= first <= 22


def test_the_trigger_remembers_means_over_intervals_and_stays_fired():
    trigger, steps = Trigger(), 400
    fired = []
    for step in range(steps):
        right = torch.tensor(round(10_000 * _accuracy("both")[step // 10]))
        trigger.watch(right, torch.tensor(10_000), step, steps)
        fired.append(bool(trigger.fired))
    assert fired[-1] and not fired[90]
    assert sorted(fired) == fired
    assert trigger.means[:20].tolist() == pytest.approx(_accuracy("both")[:20], abs=1e-4)


def test_a_training_corrects_after_the_trigger_and_never_a_reference():
    samples = [TrainingSamples(cell=16)[(0, 0, i)] for i in range(2)]
    given = settle({key: torch.stack([one[key] for one in samples]) for key in samples[0]}, torch.device("cpu"))
    truth = given["mask"].clone()
    given["mask"][:, 0, :16, :16] = (truth[:, 0, :16, :16] + 1).where(truth[:, 0, :16, :16] < 2, 0)
    given["mask"][truth == 255] = 255
    given["trust"] = torch.tensor([TRUSTS.index("noisy"), TRUSTS.index("reference")])
    method = Supervised(TinyNetwork(), SupervisedConfig(correction="objects"), (5, 5, 5))

    class Knows(torch.nn.Module):
        def forward(self, image, valid):
            return 9 * torch.nn.functional.one_hot(truth[:, 0].where(truth[:, 0] < 255, 0), 3).movedim(-1, 1).float()

    method.robustness.teacher.network = Knows()
    seen = {}
    for fired in (False, True):
        method.robustness.trigger.fired.fill_(fired)
        logits = torch.zeros(2, 3, 32, 32)
        state = StepState(5, 100, 0, 1, torch.Generator())
        image, valid, mask = given["image"][:, 0], given["valid"].all(2), given["mask"][:, 0]
        seen[fired] = method.robustness.believe(given, image, valid, mask, logits, state).mask
    assert torch.equal(seen[False], given["mask"][:, 0])
    assert torch.equal(seen[True][0], truth[0, 0])
    assert torch.equal(seen[True][1], given["mask"][1, 0])
