"""What a training learns, logs, chooses and deploys."""

import pytest
import torch
from tiny_training import TrainingSamples, ValidationSamples, assert_equal, newest, rows, run, supervised, weights


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


def test_the_best_evaluation_is_deployed_not_the_last(tmp_path):
    """From step 20 on the labels are wrong: the average of the first steps is the best, and patience ends the rest."""

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
