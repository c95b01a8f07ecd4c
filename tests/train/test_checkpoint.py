import errno
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from mapmend.core.errors import DiskError, JobError
from mapmend.train import checkpoint
from mapmend.train.checkpoint import load_checkpoint, save_checkpoint

SCALARS = {"identity": "me", "rate": 0.1 + 0.2, "names": ["a"], "none": None}


def tensors(value):
    return {"a": torch.full((3, 2), float(value)), "b/c": torch.tensor(value), "flag": torch.tensor([True, False])}


def save(folder, step):
    return save_checkpoint(folder, step, tensors(step), SCALARS)


def assert_holds(folder, step):
    found = load_checkpoint(folder, "me")
    assert found.step == step
    assert dict(found.scalars) == SCALARS
    for name, tensor in tensors(step).items():
        assert torch.equal(found.tensors[name], tensor)


def test_what_is_saved_comes_back_and_the_last_two_stay(tmp_path):
    assert load_checkpoint(tmp_path / "none", "me") is None
    for step in (5, 40, 1000):
        save(tmp_path, step)
        assert_holds(tmp_path, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000040", "000001000"]


def test_tied_and_strided_tensors_are_kept(tmp_path):
    tied = torch.arange(12.0).view(3, 4)
    save_checkpoint(tmp_path, 1, {"one": tied, "same": tied, "turned": tied.T}, SCALARS)
    found = load_checkpoint(tmp_path, "me").tensors
    assert torch.equal(found["same"], tied)
    assert torch.equal(found["turned"], tied.T)


def test_there_is_no_pickle(tmp_path):
    folder = save(tmp_path, 1)
    assert sorted(path.name for path in folder.iterdir()) == ["state.json", "state.safetensors"]
    json.loads((folder / "state.json").read_text())


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
@pytest.mark.parametrize("harm", ["gone", "cut", "flipped", "empty"])
def test_damage_to_the_last_falls_back_to_the_one_before(tmp_path, name, harm):
    save(tmp_path, 1)
    path = save(tmp_path, 2) / name
    content = path.read_bytes()
    middle = len(content) // 2
    if harm == "gone":
        path.unlink()
    else:
        flipped = content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :]
        path.write_bytes({"cut": content[:middle], "flipped": flipped, "empty": b""}[harm])
    with pytest.warns(UserWarning, match="000000002: checkpoint is damaged"):
        assert_holds(tmp_path, 1)
    save(tmp_path, 2)  # takes the damaged one's place
    assert_holds(tmp_path, 2)


def test_another_trainings_checkpoint_is_refused(tmp_path):
    save(tmp_path, 1)
    with pytest.raises(JobError, match="another training's"):
        load_checkpoint(tmp_path, "you")


def test_a_schema_of_the_future_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SCHEMA", 2)
    save(tmp_path, 1)
    monkeypatch.undo()
    with pytest.raises(JobError, match="schema 2"):
        load_checkpoint(tmp_path, "me")


class Faults:
    """Lets the n-th call that touches the disk fail, and counts them."""

    def __init__(self, monkeypatch, at, number):
        self.count, self.at, self.number = 0, at, number
        for place, name in (
            (os, "fsync"),
            (os, "open"),
            (Path, "rename"),
            (Path, "mkdir"),
            (Path, "open"),
            (shutil, "rmtree"),
            (checkpoint, "save_file"),
            (checkpoint, "file_hash"),
        ):
            monkeypatch.setattr(place, name, self.wrapped(getattr(place, name)))

    def wrapped(self, call):
        def calling(*args, **kwargs):
            self.count += 1
            if self.count == self.at:
                raise OSError(self.number, os.strerror(self.number))
            return call(*args, **kwargs)

        return calling


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, DiskError), (errno.EACCES, JobError)])
def test_whichever_call_fails_the_old_state_or_the_new_is_there(tmp_path, monkeypatch, number, kind):
    at, failed = 0, True
    while failed:
        at += 1
        folder = tmp_path / str(at)
        for step in (1, 2):
            save(folder, step)
        with monkeypatch.context() as patch:
            Faults(patch, at, number)
            try:
                save(folder, 3)
                failed = False
            except (DiskError, JobError) as error:
                assert type(error) is kind
        found = load_checkpoint(folder, "me").step
        assert found in ((2, 3) if failed else (3,))
        assert_holds(folder, found)
        save(folder, 4)
        assert_holds(folder, 4)
        assert not list(folder.glob(".*"))
    assert at > 10


def test_a_full_disk_that_safetensors_reports_in_words_only(tmp_path, monkeypatch):
    def full(*args):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(DiskError, match="the disk is full"):
        save(tmp_path, 1)
    assert not list(tmp_path.iterdir())
