import math

import pytest
import torch
import torch.nn.functional as F
from tiny_training import TinyNetwork, TrainingSamples

from mapmend.core.errors import ProjectError
from mapmend.core.settings import from_mapping
from mapmend.methods import METHODS, StepState
from mapmend.methods.supervised import Supervised, SupervisedConfig, inverse_sqrt_weights
from mapmend.train.batches import settle


def batch():
    samples = [TrainingSamples()[(0, 0, i)] for i in range(3)]
    return settle({key: torch.stack([one[key] for one in samples]) for key in samples[0]}, torch.device("cpu"))


def loss_of(method, given):
    state = StepState(0, 10, 0, 1, torch.Generator())
    [(name, loss)] = method.eval().training_step({"labelled": given}, state)
    assert name == "loss"
    return loss.detach(), state.notes


@pytest.mark.parametrize(
    ("settings", "weights", "smoothing"),
    [
        ({}, None, 0.0),
        ({"label_smoothing": 0.1}, None, 0.1),
        ({"class_weights": [1, 2, 5], "label_smoothing": 0.2}, (1.0, 2.0, 5.0), 0.2),
        ({"ce": 3.0}, None, 0.0),
    ],
)
def test_cross_entropy_is_torchs_over_labelled_valid_pixels(settings, weights, smoothing):
    method = Supervised(TinyNetwork(), from_mapping(SupervisedConfig, settings, "here"), (4, 4, 4))
    raw = [TrainingSamples()[(0, 0, i)] for i in range(3)]
    logits = method.network.eval()(torch.cat([one["image"] for one in raw]), torch.cat([one["valid"] for one in raw]))
    keep = torch.cat([one["valid"] for one in raw])[:, 0]
    expected = F.cross_entropy(
        logits.movedim(1, -1)[keep],
        torch.cat([one["mask"] for one in raw])[keep],
        weight=None if weights is None else torch.tensor(weights),
        label_smoothing=smoothing,
    )
    loss, _ = loss_of(method, batch())
    torch.testing.assert_close(loss, expected.detach() * settings.get("ce", 1.0), rtol=1e-5, atol=1e-6)


def test_parts_are_weighed_and_noted():
    def value(**settings):
        method = Supervised(TinyNetwork(), SupervisedConfig(**settings), (4, 4, 4))
        loss, notes = loss_of(method, batch())
        return float(loss), {name: float(part) for name, part in notes.items()}

    ce, dice, lovasz = (value(**{"ce": 0.0, name: 1.0})[0] for name in ("ce", "dice", "lovasz"))
    total, notes = value(ce=1.0, dice=2.0, lovasz=0.5)
    assert total == pytest.approx(ce + 2 * dice + 0.5 * lovasz, rel=1e-5)
    assert notes == pytest.approx({"ce": ce, "dice": 2 * dice, "lovasz": 0.5 * lovasz}, rel=1e-5)
    assert value()[1] == {}


def test_inverse_square_root_weights():
    weights = inverse_sqrt_weights((900, 100, 0, 25))
    shares = (900 / 1025, 100 / 1025, 0, 25 / 1025)
    assert weights[1] / weights[0] == pytest.approx(3)  # √(900/100)
    assert weights[3] / weights[0] == pytest.approx(6)
    assert weights[2] == weights[3]
    assert math.fsum(w * s for w, s in zip(weights, shares, strict=True)) == pytest.approx(1)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"class_weights": (1.0, 2.0)}, "has 2 values for 3 classes"),
        ({"ce": 0.0}, "all losses of 'supervised' weigh 0"),
    ],
)
def test_settings_that_contradict_the_data(settings, says):
    with pytest.raises(ProjectError, match=says):
        Supervised(TinyNetwork(), SupervisedConfig(**settings), (4, 4, 4))


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"lovas": 1}, "did you mean 'lovasz'"),
        ({"dice": -1}, "'dice' is -1"),
        ({"class_weights": "sqrt"}, "inverse_sqrt"),
    ],
)
def test_settings_of_the_wrong_kind(mapping, says):
    with pytest.raises(ProjectError, match=says):
        from_mapping(METHODS["supervised"].config_class, mapping, "project.yaml")


def test_two_dates_are_two_samples():
    """B×2 dates give the loss of 2·B single dates."""
    one = batch()
    twice = {key: torch.cat([value, value.flip(0)], 1) for key, value in one.items() if key != "trust"}
    flat = {key: torch.cat([value, value.flip(0)], 0) for key, value in one.items()}
    method = Supervised(TinyNetwork(), SupervisedConfig(dice=1.0), (4, 4, 4))
    torch.testing.assert_close(loss_of(method, twice)[0], loss_of(method, flat)[0])


def test_a_pixel_counts_where_all_its_modalities_are_valid():
    one = batch()
    holes = torch.rand(one["valid"].shape, generator=torch.Generator().manual_seed(0)) > 0.3
    two = {**one, "valid": torch.cat([one["valid"], holes], 2)}
    both = settle(two, torch.device("cpu"))["mask"]
    assert ((both == 255) == ~(one["valid"] & holes)[:, :, 0]).all()
