"""What goes wrong while training is one line that says what to do."""

import json
import math

import pytest
import torch
from tiny_training import (
    TinyNetwork,
    TrainingSamples,
    ValidationSamples,
    assert_equal,
    rows,
    run,
    supervised,
    weights,
)

from mapmend.core.errors import JobError, LabelError, TrainError


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


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="file.*cannot be written"):
        run(tmp_path / "file" / "out", steps=1)


def test_an_accelerator_that_is_not_there_is_said(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(TrainError, match="cannot start on 'cuda'"):
        run(tmp_path, steps=1, accelerator="cuda")
