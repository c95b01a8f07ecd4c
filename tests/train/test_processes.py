"""Two processes that train together, over gloo."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mapmend.methods import METHODS

JOB = Path(__file__).parent / "processes_job.py"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of all trainings, as two lists of weights by name."""
    out = tmp_path_factory.mktemp("processes")
    run = subprocess.run([sys.executable, JOB, out], capture_output=True, text=True, timeout=300, env=environment())
    assert run.returncode == 0, run.stderr[-3000:]
    return out


def environment():
    return {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "TORCHELASTIC"))}


def weights(folder, rank):
    return load_file(folder / f"weights-{rank}.safetensors")


def test_two_halves_of_a_batch_teach_what_the_whole_does(trained):
    whole, halves = weights(trained / "whole", 0), weights(trained / "halves", 0)
    for name, tensor in whole.items():
        torch.testing.assert_close(halves[name], tensor, rtol=1e-6, atol=1e-6)


def test_they_score_the_whole_validation_set_together(trained):
    def miou(folder):
        rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        return [(row["metrics"]["pixels"], row["miou"]) for row in rows if row["kind"] == "validation"]

    alone, together = miou(trained / "whole"), miou(trained / "halves")
    assert len(alone) == 2
    assert [pixels for pixels, _ in alone] == [pixels for pixels, _ in together]
    assert [value for _, value in together] == pytest.approx([value for _, value in alone], abs=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_processes_stay_equal_bit_for_bit_whatever_they_began_with(trained, method):
    first, second = weights(trained / method, 0), weights(trained / method, 1)
    assert any("running_mean" in name for name in first)
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_a_signal_to_one_stops_both_and_they_resume_exactly(trained):
    assert [(trained / "stopped" / f"preempted-{rank}").read_text() for rank in (0, 1)] == ["4", "4"]
    resumed, straight = weights(trained / "stopped", 0), weights(trained / "unstopped", 0)
    for name, tensor in straight.items():
        assert torch.equal(resumed[name], tensor), name
