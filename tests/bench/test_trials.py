"""Trials are run once, whatever ends the program."""

import json

import pytest

from mapmend.bench.trials import Trials
from mapmend.core.errors import JobError


def counted(value):
    calls = []

    def trial():
        calls.append(value)
        return {"score": value}

    return trial, calls


def test_what_has_its_line_is_not_run_again(tmp_path):
    trial, calls = counted(1)
    assert Trials(tmp_path / "r.jsonl").run({"seed": 0}, trial) == {"seed": 0, "score": 1}
    again = Trials(tmp_path / "r.jsonl")
    assert again.run({"seed": 0}, trial) == {"seed": 0, "score": 1} and len(calls) == 1
    again.run({"seed": 1}, trial)
    assert len(calls) == 2 and len((tmp_path / "r.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("torn", ['{"seed": 1, "sc', '{"seed": 1, "score": 5}'])
def test_a_line_that_a_kill_left_half_written_is_run_again(tmp_path, torn):
    whole = json.dumps({"seed": 0, "score": 4})
    (tmp_path / "r.jsonl").write_text(f"{whole}\n{torn}")
    trial, calls = counted(7)
    trials = Trials(tmp_path / "r.jsonl")
    assert trials.run({"seed": 0}, trial)["score"] == 4 and not calls
    assert trials.run({"seed": 1}, trial)["score"] == 7
    assert [json.loads(line)["score"] for line in (tmp_path / "r.jsonl").read_text().splitlines()] == [4, 7]


def test_a_file_of_something_else_is_named(tmp_path):
    (tmp_path / "r.jsonl").write_text("seed,score\n0,1\n")
    with pytest.raises(JobError, match="damaged"):
        Trials(tmp_path / "r.jsonl")
