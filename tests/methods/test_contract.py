"""What every registered method promises; two processes are tested in tests/train/test_processes.py."""

import os
import signal

import pytest
import torch
from tiny_training import TrainingSamples, ValidationSamples, classes_of, knows_classes, network_of

from mapmend.core.errors import LabelError
from mapmend.core.preemption import Preempted
from mapmend.methods import METHODS, StepState
from mapmend.train.batches import settle
from mapmend.train.config import LoopConfig
from mapmend.train.loop import fit

every_method = pytest.mark.parametrize("name", METHODS)


def make(name, counts=(5, 5, 5), **settings):
    kind = METHODS[name]
    return kind(network_of(kind), kind.config_class(**settings), counts[: len(classes_of(kind))])


def batches(method, size=2, change=None):
    found = {}
    for loader in method.loaders:
        samples = [TrainingSamples(dates=method.dates)[(0, 0, i)] for i in range(size)]
        batch = {key: torch.stack([one[key] for one in samples]) for key in samples[0]}
        found[loader] = settle(change(batch) if change else batch, torch.device("cpu"))
    return found


def losses(method, given):
    """Names and values of a step's losses, each backpropagated as it comes."""
    state = StepState(0, 10, 0, 1, torch.Generator().manual_seed(0))
    found = []
    for name, loss in method.training_step(given, state):
        assert loss.ndim == 0
        loss.backward()
        found.append((name, float(loss.detach())))
    method.after_step(state)
    assert found
    return found


def gradients(method):
    return [parameter.grad for parameter in method.parameters() if parameter.grad is not None]


def with_mask(value):
    def change(batch):
        return {**batch, **{name: torch.full_like(batch[name], value) for name in ("mask", "change") if name in batch}}

    return change


@every_method
@pytest.mark.parametrize(
    ("size", "change"),
    [(2, None), (1, None), (2, with_mask(1))],
    ids=["ordinary", "batch of one", "one class"],
)
def test_a_batch_gives_finite_losses_and_gradients(name, size, change):
    method = make(name).train()
    assert all(torch.isfinite(torch.tensor(value)) for _, value in losses(method, batches(method, size, change)))
    assert gradients(method)
    assert all(torch.isfinite(gradient).all() for gradient in gradients(method))
    assert sum(float(gradient.abs().sum()) for gradient in gradients(method)) > 0


@every_method
@pytest.mark.parametrize(
    "change",
    [with_mask(255), lambda batch: {**batch, "valid": torch.zeros_like(batch["valid"])}],
    ids=["nothing labelled", "nothing valid"],
)
def test_nothing_to_learn_from_is_a_loss_of_zero(name, change):
    """Unlabelled pairs, of which a network of random weights may be certain, do not count: nothing reaches τ = 1."""
    certain = {"threshold": 1.0} if hasattr(METHODS[name].config_class, "threshold") else {}
    method = make(name, **certain).train()
    assert all(value == 0 for _, value in losses(method, batches(method, change=change)))
    assert all((gradient == 0).all() for gradient in gradients(method))


@every_method
def test_labels_of_one_class_are_refused(name):
    with pytest.raises(LabelError, match="fewer than two classes"):
        make(name, counts=(0, 7, 0))


@every_method
def test_the_deployed_network_predicts_alone(name):
    method = make(name).eval()
    one = ValidationSamples(dates=method.dates)[0]
    kind = METHODS[name]
    if not knows_classes(kind):  # its image is the pair
        one = {key: value[None] for key, value in one.items()}
    with torch.no_grad():
        logits = method.predict(one["image"], one["valid"])
        assert logits.shape == (len(one["image"]), len(classes_of(kind)), 32, 32)
        assert torch.equal(logits, method.deployed()(one["image"], one["valid"]))


@every_method
def test_a_stopped_training_goes_on_bit_for_bit(name, tmp_path):
    def run(out, stop=0):
        def on_step(done, outcome):
            if done == stop:
                os.kill(os.getpid(), signal.SIGUSR1)

        method = make(name)
        config = LoopConfig(steps=6, batch=2, validate_every=3, workers=0, accelerator="cpu")
        data = {loader: TrainingSamples(seed, dates=method.dates) for seed, loader in enumerate(method.loaders)}
        held, classes = ValidationSamples(2, dates=method.dates), classes_of(method)
        fit(method, data, held, config, out, classes=classes, identity={}, on_step=on_step)
        return method.state_dict()

    straight = run(tmp_path / "straight")
    with pytest.raises(Preempted):
        run(tmp_path / "stopped", stop=2)
    resumed = run(tmp_path / "stopped")
    for key, tensor in straight.items():
        assert torch.equal(tensor, resumed[key]), key
