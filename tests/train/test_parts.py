"""The small parts of training: average, schedule, optimiser's groups, draws, loading."""

import math
import os
import random
import signal

import numpy as np
import pytest
import torch
from tiny_training import TinyNetwork, TrainingSamples, ValidationSamples

from mapmend.core.errors import ProjectError, RasterError, TrainError
from mapmend.core.settings import from_mapping
from mapmend.methods import METHODS
from mapmend.train.config import LoopConfig
from mapmend.train.ema import Average
from mapmend.train.loading import ValidationBatches, training_batches
from mapmend.train.optimiser import make_optimiser
from mapmend.train.randomness import seed_everything
from mapmend.train.schedule import rate_factor


def supervised():
    kind = METHODS["supervised"]
    return kind(TinyNetwork(), kind.config_class(), (1, 1, 1))


def test_the_average_follows_its_formula_for_weights_and_buffers():
    network, decay = TinyNetwork(), 0.8
    average = Average(network, decay)
    names = ("decoder.weight", "encoder.1.running_var")
    expected = dict.fromkeys(names, 0.0)  # what it starts from is forgotten at the first update
    for t in range(12):
        with torch.no_grad():
            for tensor in network.state_dict().values():
                tensor.copy_(tensor * 0 + math.sin(t) if tensor.is_floating_point() else tensor + 1)
        average.update(t)
        kept = min(1 - 1 / (t + 1), decay)
        expected = {name: kept * value + (1 - kept) * math.sin(t) for name, value in expected.items()}
    for name in names:
        assert average.tensors[name].flatten()[0].item() == pytest.approx(expected[name], rel=1e-5)
    assert average.tensors["encoder.1.num_batches_tracked"] == 12


def test_early_averages_are_plain_means():
    network = TinyNetwork()
    average = Average(network, 0.999)
    for t, value in enumerate((1.0, 4.0, 7.0)):
        with torch.no_grad():
            network.decoder.bias.fill_(value)
        average.update(t)
    assert average.tensors["decoder.bias"].tolist() == pytest.approx([4.0] * 3)


def test_the_average_computes_in_place_and_leaves_no_trace():
    network = TinyNetwork()
    average = Average(network, 0.5)
    with torch.no_grad():
        network.decoder.bias.fill_(3.0)
    own = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(ZeroDivisionError), average.in_place():
        assert torch.equal(network.decoder.bias, average.tensors["decoder.bias"])
        raise ZeroDivisionError
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, own[name])


@pytest.mark.parametrize(
    ("schedule", "middle", "end"), [("poly", 0.5, 0.0), ("cosine", 0.5, 0.0), ("constant", 1.0, 1.0)]
)
def test_the_rate_rises_over_the_warm_up_then_falls(schedule, middle, end):
    config = LoopConfig(steps=1000, warmup=0.2, schedule=schedule)
    factors = [rate_factor(step / 1000, config) for step in range(1001)]
    assert 0 < factors[0] < 0.01
    assert factors[100] == pytest.approx(0.5, abs=0.01)
    assert factors[:201] == sorted(factors[:201])
    assert factors[200] == 1
    assert factors[600] == pytest.approx(middle)
    assert factors[1000] == pytest.approx(end, abs=1e-12)
    assert factors[200:] == sorted(factors[200:], reverse=True)


def test_the_schedules_differ_where_they_should():
    poly, cosine = (LoopConfig(warmup=0.0, schedule=name) for name in ("poly", "cosine"))
    assert rate_factor(0.25, poly) == pytest.approx(0.75)
    assert rate_factor(0.25, cosine) == pytest.approx((1 + math.cos(math.pi / 4)) / 2)


def test_norms_and_biases_do_not_decay_and_the_head_learns_at_its_own_rate():
    method = supervised()
    optimiser = make_optimiser(method, LoopConfig(head_lr=10.0, weight_decay=0.3))
    seen = {}
    names = {id(parameter): name for name, parameter in method.named_parameters()}
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            seen[names[id(parameter)]] = (group["factor"], group["weight_decay"])
    assert seen == {
        "network.encoder.0.weight": (1.0, 0.3),
        "network.encoder.0.bias": (1.0, 0.0),
        "network.encoder.1.weight": (1.0, 0.0),
        "network.encoder.1.bias": (1.0, 0.0),
        "network.decoder.weight": (10.0, 0.3),
        "network.decoder.bias": (10.0, 0.0),
    }


def test_a_method_that_cannot_learn_is_refused():
    with pytest.raises(TrainError, match="no parameter that learns"):
        make_optimiser(supervised().requires_grad_(False), LoopConfig())


def test_draws_depend_on_the_numbers_alone():
    def draws(*numbers):
        generator = seed_everything(*numbers)
        legacy = np.random.random()  # noqa: NPY002
        return (torch.rand(()).item(), random.random(), legacy, torch.rand((), generator=generator).item())

    assert draws(1, 2, 3) == draws(1, 2, 3)
    others = [draws(*numbers) for numbers in ((1, 2, 3), (1, 3, 2), (12, 3, 0), (1, 23, 0))]
    for column in zip(*others, strict=True):
        assert len(set(column)) == 4


def config(**settings):
    return LoopConfig(**{"steps": 4, "batch": 2, "workers": 0, **settings})


class Failing(TrainingSamples):
    def __getitem__(self, key):
        if key[0] == 1:
            raise RasterError("cannot be read", where="scene.tif", fix="mend it")
        return super().__getitem__(key)


class Killed(TrainingSamples):
    def __getitem__(self, key):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_fault_in_a_sample_arrives_as_it_was_raised(workers):
    with pytest.raises(RasterError) as caught:
        list(training_batches(Failing(), config(workers=workers), 0, 0))
    assert str(caught.value) == "scene.tif: cannot be read; mend it"


def test_a_killed_reader_is_said_in_one_line():
    with pytest.raises(TrainError, match="reads samples was killed; set fewer workers"):
        list(training_batches(Killed(), config(workers=1), 0, 0))


def test_batches_are_the_same_from_any_start_and_with_any_readers():
    whole = list(training_batches(TrainingSamples(), config(), 0, 1))
    late = list(training_batches(TrainingSamples(), config(workers=2), 2, 1))
    assert len(whole) == 4
    for one, other in zip(whole[2:], late, strict=True):
        assert torch.equal(one["image"], other["image"])


def test_ranks_share_the_validation_set_without_overlap():
    class Numbers(ValidationSamples):
        def __getitem__(self, index):
            return {"index": torch.tensor(index)}

    seen, lengths = [], []
    for rank in range(3):
        batches = list(ValidationBatches(Numbers(7), config(), rank, 3))
        lengths.append(len(batches))
        seen += [int(i) for batch in batches for i in batch["index"]]
    assert sorted(seen) == list(range(7))
    assert max(lengths) == ValidationBatches(Numbers(7), config(), 2, 3).most


def test_settings_name_the_nearest_key():
    with pytest.raises(ProjectError, match="unknown key 'patiance'; did you mean 'patience'"):
        from_mapping(LoopConfig, {"patiance": 3}, "project.yaml: train")
