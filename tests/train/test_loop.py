import json
import math
import os
import signal

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_training import CLASSES, TinyNetwork, TrainingSamples, ValidationSamples
from torch import nn

from mapmend.core.errors import JobError, LabelError, TrainError
from mapmend.methods import METHODS, Method
from mapmend.train import durable
from mapmend.train.config import LoopConfig
from mapmend.train.log import read_log
from mapmend.train.loop import fit
from mapmend.train.preemption import Preempted

QUICK = {"batch": 2, "workers": 0, "accelerator": "cpu", "lr": 0.02}


def supervised(network=None, **settings):
    kind = METHODS["supervised"]
    return kind(network or TinyNetwork(), kind.config_class(**settings), (1, 1, 1))


def run(
    out, method=None, training=None, validation=None, header=None, augment=None, on_step=None, identity=None, **config
):
    method = method or supervised()
    result = fit(
        method,
        training or TrainingSamples(),
        validation,
        LoopConfig(**{**QUICK, **config}),
        out,
        classes=CLASSES,
        identity=identity or {},
        header=header,
        augment=augment,
        on_step=on_step,
    )
    return method, result


def weights(method):
    return {name: tensor.clone() for name, tensor in method.state_dict().items()}


def rows(out, kind):
    return [row for row in read_log(out / "log.jsonl") if row["kind"] == kind]


def timeless(out):
    """The log without what the clock says."""
    clock = ("seconds", "samples_per_second")
    return [{name: value for name, value in row.items() if name not in clock} for row in read_log(out / "log.jsonl")]


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def newest(out):
    """Every tensor and counter of the newest checkpoint; the clock aside."""
    folder = max((out / "checkpoints").iterdir())
    scalars = json.loads((folder / "state.json").read_text())["scalars"]
    for name in ("seconds", "evaluation_seconds"):
        scalars.pop(name)
    return load_file(folder / "state.safetensors"), scalars


def signal_at(step, number=signal.SIGTERM):
    def on_step(done, outcome):
        if done == step:
            os.kill(os.getpid(), number)

    return on_step


def test_it_learns_what_can_be_learned(tmp_path):
    _, result = run(tmp_path, validation=ValidationSamples(), steps=60, validate_every=20, batch=4, lr=0.05)
    assert result.metrics["miou"] > 0.9
    assert result.stopped == "steps"
    assert [row["step"] for row in result.history] == [20, 40, 60]


def test_the_log_says_what_the_report_needs(tmp_path):
    _, result = run(
        tmp_path,
        supervised(dice=1.0),
        validation=ValidationSamples(),
        header={"weights": "none"},
        steps=6,
        log_every=3,
        validate_every=6,
    )
    [start] = rows(tmp_path, "start")
    assert start["weights"] == "none"
    assert start["training"]["loop"]["steps"] == 6
    train = rows(tmp_path, "train")
    assert [row["step"] for row in train] == [3, 6]
    assert train[0]["losses"]["loss"] == pytest.approx(sum(train[0]["notes"].values()), rel=1e-5)
    assert train[0]["notes"].keys() == {"ce", "dice"}
    assert all(row["lr"] > 0 and row["samples_per_second"] > 0 and row["seconds"] > 0 for row in train)
    [validation] = rows(tmp_path, "validation")
    assert validation["miou"] == validation["metrics"]["miou"] == result.metrics["miou"]


def test_a_signal_ends_it_after_the_step_and_the_same_call_goes_on_bit_for_bit(tmp_path):
    how = {"validation": ValidationSamples(), "steps": 12, "validate_every": 4, "log_every": 5, "checkpoint_every": 5}
    straight, _ = run(tmp_path / "straight", **how)
    with pytest.raises(Preempted) as stopped:
        run(tmp_path / "stopped", on_step=signal_at(3), **how)
    assert (stopped.value.step, stopped.value.code) == (4, 75)  # the signal came between two steps: one more is taken
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
    monkeypatch.setattr(durable, "_PATIENCE", 0.1)
    with durable.held(tmp_path), pytest.raises(JobError, match="another process is training here"):
        run(tmp_path, steps=1)
    run(tmp_path, steps=1)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="file.*cannot be written"):
        run(tmp_path / "file" / "out", steps=1)


def test_an_accelerator_that_is_not_there_is_said(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(TrainError, match="cannot start on 'cuda'"):
        run(tmp_path, steps=1, accelerator="cuda")


def test_what_does_not_change_the_weights_may_change(tmp_path):
    run(tmp_path, steps=2)
    run(tmp_path, steps=2, workers=1, log_every=1, checkpoint_every=1, max_minutes=5)


def test_the_best_evaluation_is_deployed_not_the_last(tmp_path):
    """From step 4 on the labels are wrong: the average of the first steps is the best, and patience ends the rest."""

    class Turning(TrainingSamples):
        def __getitem__(self, key):
            one = super().__getitem__(key)
            if key[0] >= 20:
                one["mask"] = torch.where(one["mask"] == 255, 255, 2 - one["mask"])
            return one

    validation = ValidationSamples()
    method, result = run(
        tmp_path,
        training=Turning(),
        validation=validation,
        steps=60,
        validate_every=10,
        patience=2,
        ema_decay=0.5,
        lr=0.1,
        batch=4,
    )
    assert (result.best_step, result.steps, result.stopped) == (20, 40, "patience")
    assert "validation" in result.criterion
    right = total = 0
    with torch.no_grad():
        for one in (validation[i] for i in range(len(validation))):
            prediction = method.predict(one["image"], one["valid"]).argmax(1)
            labelled = one["valid"][0] & (one["mask"] != 255)
            right += int((prediction == one["mask"])[labelled].sum())
            total += int(labelled.sum())
    assert right / total == pytest.approx(result.metrics["oa"])


@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_without_validation_the_last_average_is_deployed(tmp_path, decay):
    method, result = run(tmp_path, steps=5, ema_decay=decay)
    tensors, _ = newest(tmp_path)
    group = "average" if decay else "method"
    prefix = f"{group}/" + ("" if decay else "network.")
    deployed = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    assert_equal(dict(method.network.state_dict()), deployed)
    assert (result.best_step, result.metrics) == (5, None)
    assert result.criterion.startswith("last step")


def test_what_is_invalid_or_ignored_teaches_nothing(tmp_path):
    """Labels and pixel values there may be anything: the weights do not see them."""

    class Rubbish(TrainingSamples):
        def __getitem__(self, key):
            one = super().__getitem__(key)
            invalid = ~one["valid"][0]
            one["mask"][invalid] = key[0] % 3
            one["image"] = torch.where(one["valid"], one["image"], torch.tensor(7, dtype=torch.uint8))
            return one

    assert_equal(weights(run(tmp_path / "a", steps=3)[0]), weights(run(tmp_path / "b", training=Rubbish(), steps=3)[0]))


class Poisoned(TrainingSamples):
    """Images that are not finite from one step to before another."""

    def __init__(self, first, end):
        super().__init__()
        self.bad = range(first, end)

    def __getitem__(self, key):
        one = super().__getitem__(key)
        one["image"] = one["image"].float()
        if key[0] in self.bad:
            one["image"] += math.inf
        return one


def test_a_step_that_is_not_finite_changes_nothing_but_the_count(tmp_path):
    seen = []
    method = supervised()

    def on_step(done, outcome):
        seen.append((outcome.finite, weights(method)))

    run(tmp_path, method, training=Poisoned(2, 4), steps=5, log_every=1, on_step=on_step)
    assert [finite for finite, _ in seen] == [True, True, False, False, True]
    assert_equal(seen[1][1], seen[3][1])  # batch norm's statistics too, which the forward pass had spoilt
    skipped = rows(tmp_path, "skipped")
    assert [(row["step"], row["in_a_row"]) for row in skipped] == [(3, 1), (4, 2)]
    assert all(torch.isfinite(tensor).all() for tensor in method.state_dict().values())
    # the rate is lower after each of the two, and the rows' means know finite steps only
    expected = [row["lr"] for row in rows(tmp_path, "train")]
    assert expected[-1] < 0.3 * expected[-2]
    assert all(math.isfinite(row["losses"]["loss"]) for row in rows(tmp_path, "train"))


def test_too_many_in_a_row_stop_with_the_keys_of_the_batches(tmp_path):
    with pytest.raises(TrainError, match="not finite in 10 steps in a row"):
        run(tmp_path, training=Poisoned(3, 100), steps=50)
    dump = json.loads((tmp_path / "nonfinite.json").read_text())
    assert dump["keys"][0] == [[3, 0, 0], [3, 0, 1]]
    assert dump["keys"][-1] == [[12, 0, 0], [12, 0, 1]]


def test_out_of_memory_is_advice_not_a_traceback(tmp_path):
    class Huge(TinyNetwork):
        def forward(self, image, valid):
            return torch.empty(1 << 60)

    with pytest.raises(TrainError, match="memory is out; set a smaller batch"):
        run(tmp_path, supervised(Huge()), steps=1)


def test_a_validation_set_without_labels_is_said(tmp_path):
    with pytest.raises(LabelError, match="validation set has no labelled pixel"):
        run(tmp_path, validation=ValidationSamples(labelled=0.0), steps=1)


def test_a_missing_loader_is_said(tmp_path):
    with pytest.raises(TrainError, match="needs samples for labelled, not unlabelled"):
        run(tmp_path, training={"unlabelled": TrainingSamples()}, steps=1)


def test_a_time_limit_ends_it_cleanly_with_an_evaluation(tmp_path):
    _, result = run(tmp_path, validation=ValidationSamples(), steps=10**6, max_minutes=1.5 / 60, validate_every=10**6)
    assert result.stopped == "minutes"
    assert 1 < result.seconds < 10
    assert [row["step"] for row in result.history] == [result.steps]
    rates = [row["lr"] for row in rows(tmp_path, "train")]
    assert rates[-1] < 0.3 * max(rates)


def test_augmentation_gets_the_batch_and_a_generator_of_the_step(tmp_path):
    drawn = []

    def augment(batch, generator):
        drawn.append(float(torch.rand((), generator=generator)))
        assert batch["image"].shape == (2, 1, 3, 32, 32)
        return batch

    run(tmp_path / "a", augment=augment, steps=3)
    run(tmp_path / "b", augment=augment, steps=3)
    assert drawn[:3] == drawn[3:]
    assert len(set(drawn)) == 3


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


def test_tensorboard_events_on_request(tmp_path):
    pytest.importorskip("tensorboard")
    run(tmp_path, steps=2, log_every=1, tensorboard=True)
    assert list((tmp_path / "tensorboard").glob("events*"))


def test_bfloat16_trains_with_weights_in_float32(tmp_path):
    method, result = run(
        tmp_path, validation=ValidationSamples(), steps=40, validate_every=40, batch=4, lr=0.05, precision="bf16-mixed"
    )
    assert all(t.dtype in (torch.float32, torch.int64) for t in method.state_dict().values())
    assert result.metrics["miou"] > 0.7


def test_readers_in_other_processes_change_nothing(tmp_path):
    how = {"validation": ValidationSamples(), "steps": 4, "validate_every": 2}
    alone, _ = run(tmp_path / "alone", **how)
    helped, _ = run(tmp_path / "helped", workers=2, **how)
    assert_equal(weights(alone), weights(helped))


def test_random_state_of_the_caller_does_not_matter(tmp_path):
    ends = []
    for seed in (1, 2):
        method = supervised()
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        ends.append(weights(run(tmp_path / str(seed), method, steps=3)[0]))
    assert_equal(*ends)
