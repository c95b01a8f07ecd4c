"""Interrupted trainings end with the bits of those that were not; what is another training is refused."""

import math
import os
import signal

import numpy as np
import pytest
import torch
from tiny_training import (
    TinyNetwork,
    TrainingSamples,
    ValidationSamples,
    assert_equal,
    newest,
    rows,
    run,
    signal_at,
    supervised,
    timeless,
    weights,
)
from torch import nn

from mapmend.core.errors import JobError
from mapmend.core.preemption import Preempted
from mapmend.methods import METHODS, Method
from mapmend.train import holding


def test_a_signal_ends_it_after_the_step_and_the_same_call_goes_on_bit_for_bit(tmp_path):
    how = {"validation": ValidationSamples(), "steps": 12, "validate_every": 4, "log_every": 5, "checkpoint_every": 5}
    straight, _ = run(tmp_path / "straight", **how)
    with pytest.raises(Preempted) as stopped:
        run(tmp_path / "stopped", on_step=signal_at(3), **how)
    assert (stopped.value.done, stopped.value.code) == (4, 75)  # the signal came between two steps: one more is taken
    with pytest.raises(Preempted):
        run(tmp_path / "stopped", on_step=signal_at(8, signal.SIGUSR1), **how)
    resumed, result = run(tmp_path / "stopped", **how)
    assert_equal(weights(straight), weights(resumed))
    (tensors, scalars), (other_tensors, other_scalars) = newest(tmp_path / "straight"), newest(tmp_path / "stopped")
    assert_equal(tensors, other_tensors)
    assert scalars == other_scalars
    assert timeless(tmp_path / "straight") == timeless(tmp_path / "stopped")
    assert result.steps == 12


def test_signals_are_the_callers_again_afterwards(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    run(tmp_path, steps=1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_signal_during_the_evaluation_does_not_wait_for_its_end(tmp_path):
    class Slow(ValidationSamples):
        read = 0

        def __getitem__(self, index):
            Slow.read += 1
            if Slow.read == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return super().__getitem__(index)

    how = {"steps": 2, "validate_every": 2, "batch": 1}
    with pytest.raises(Preempted):
        run(tmp_path, validation=Slow(50), **how)
    assert Slow.read == 3
    _, result = run(tmp_path, validation=ValidationSamples(3), **how)
    assert [row["step"] for row in result.history] == [2]


def test_a_finished_training_is_not_done_again(tmp_path):
    how = {"validation": ValidationSamples(), "steps": 4, "validate_every": 2}
    first, result = run(tmp_path, **how)
    steps = []
    again, same = run(tmp_path, on_step=lambda done, outcome: steps.append(done), **how)
    assert not steps
    assert same == result
    assert_equal(weights(first), weights(again))


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    how = {"steps": 8, "checkpoint_every": 2}
    straight, _ = run(tmp_path / "straight", **how)
    with pytest.raises(Preempted):
        run(tmp_path / "damaged", on_step=signal_at(5), **how)
    path = max((tmp_path / "damaged" / "checkpoints").iterdir()) / "state.safetensors"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    done = []
    with pytest.warns(UserWarning, match="damaged"):
        resumed, _ = run(tmp_path / "damaged", on_step=lambda step, outcome: done.append(step), **how)
    assert done == [5, 6, 7, 8]
    assert_equal(weights(straight), weights(resumed))
    assert timeless(tmp_path / "straight") == timeless(tmp_path / "damaged")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"steps": 9}, "loop.steps"),
        ({"identity": {"data": "other"}}, "given.data"),
        ({"method": supervised(dice=1.0)}, "method.dice"),
        ({"method": supervised(TinyNetwork(norm=False))}, "tensors"),
    ],
    ids=["steps", "data", "method", "network"],
)
def test_another_trainings_folder_is_refused(tmp_path, change, named):
    run(tmp_path, steps=2, identity={"data": "one"})
    with pytest.raises(JobError, match=f"belongs to another training .differs in {named}"):
        run(tmp_path, **{"steps": 2, "identity": {"data": "one"}, **change})


def test_a_folder_in_which_another_process_trains_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(holding, "_PATIENCE", 0.1)
    with holding.held(tmp_path), pytest.raises(JobError, match="another process is training here"):
        run(tmp_path, steps=1)
    run(tmp_path, steps=1)


def test_what_does_not_change_the_weights_may_change(tmp_path):
    run(tmp_path, steps=2)
    run(tmp_path, steps=2, workers=1, log_every=1, checkpoint_every=1, max_minutes=5)


class TwoParts(Method):
    """Two loaders, two losses that are backpropagated one after the other, a teacher, a memory."""

    name = "two_parts"
    config_class = METHODS["supervised"].config_class
    loaders = ("labelled", "unlabelled")

    def __init__(self, network, config, counts):
        super().__init__(network, config, counts)
        self.teacher = TinyNetwork(seed=5).requires_grad_(False)
        self.register_buffer("memory", torch.zeros(2, 3, 4, 5))
        self.register_buffer("pointer", torch.tensor(0))

    def train(self, mode=True):
        super().train(mode)
        self.teacher.eval()
        return self

    def training_step(self, batches, state):
        for name, batch in batches.items():
            valid = batch["valid"].flatten(0, 1)
            logits = self.network(batch["image"].flatten(0, 1), valid)
            target = batch["mask"].flatten(0, 1)
            if name == "unlabelled":
                target = self.teacher(batch["image"].flatten(0, 1), valid).argmax(1)
                state.note("share", (target == 1).float().mean())
                state.note("none", torch.tensor(math.nan))
            yield name, nn.functional.cross_entropy(logits, target, ignore_index=255)
        self.memory[:, int(self.pointer)] = torch.rand((), generator=state.generator)

    def after_step(self, state):
        self.pointer.copy_((self.pointer + 1) % 3)
        with torch.no_grad():
            for old, new in zip(self.teacher.parameters(), self.network.parameters(), strict=True):
                old.lerp_(new, 1 - min(1 - 1 / (state.step + 1), 0.9))


def test_a_method_with_loaders_teacher_and_memory_resumes_exactly(tmp_path):
    how = {"steps": 8, "checkpoint_every": 3, "log_every": 2}
    data = {"labelled": TrainingSamples(0), "unlabelled": TrainingSamples(1)}

    def method():
        return TwoParts(TinyNetwork(), TwoParts.config_class(), (1, 1, 1))

    straight, _ = run(tmp_path / "straight", method(), data, **how)
    with pytest.raises(Preempted):
        run(tmp_path / "stopped", method(), data, on_step=signal_at(4), **how)
    resumed, _ = run(tmp_path / "stopped", method(), data, **how)
    assert_equal(weights(straight), weights(resumed))
    assert int(resumed.pointer) == 8 % 3
    assert rows(tmp_path / "stopped", "train")[0]["losses"].keys() == {"labelled", "unlabelled"}
    assert rows(tmp_path / "stopped", "train")[0]["notes"] == {"share": pytest.approx(0.5, abs=0.5), "none": None}


def test_losses_that_are_yielded_add_up_like_their_sum(tmp_path):
    class Split(TwoParts):
        def training_step(self, batches, state):
            for i, (name, batch) in enumerate(batches.items()):
                logits = self.network(batch["image"].flatten(0, 1), batch["valid"].flatten(0, 1))
                yield name, (i + 1) * nn.functional.cross_entropy(logits, batch["mask"].flatten(0, 1), ignore_index=255)

    class Summed(Split):
        def training_step(self, batches, state):
            yield "sum", torch.stack([loss for _, loss in super().training_step(batches, state)]).sum()

    data = {"labelled": TrainingSamples(0), "unlabelled": TrainingSamples(1)}
    ends = []
    for kind in (Split, Summed):
        method = kind(TinyNetwork(dropout=0.0), kind.config_class(), (1, 1, 1))
        run(tmp_path / kind.__name__, method, data, steps=3)
        ends.append(weights(method))
    for name, tensor in ends[0].items():
        torch.testing.assert_close(tensor, ends[1][name], rtol=1e-5, atol=1e-5)


def test_random_state_of_the_caller_does_not_matter(tmp_path):
    ends = []
    for seed in (1, 2):
        method = supervised()
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        ends.append(weights(run(tmp_path / str(seed), method, steps=3)[0]))
    assert_equal(*ends)


def test_readers_in_other_processes_change_nothing(tmp_path):
    how = {"validation": ValidationSamples(), "steps": 4, "validate_every": 2}
    alone, _ = run(tmp_path / "alone", **how)
    helped, _ = run(tmp_path / "helped", workers=2, **how)
    assert_equal(weights(alone), weights(helped))
