import json
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from mapmend.core.errors import JobError
from mapmend.core.grid import Window
from mapmend.predict.blocks import Block, block_of_id
from mapmend.predict.entries import Entry, read_entry
from mapmend.predict.executors.shard import Shard
from mapmend.predict.job import predict_scene, predict_shard
from mapmend.predict.ledger import Ledger
from mapmend.predict.status import check_job, job_status
from mapmend.predict.worker import Worker, this_worker, worker_named

BLOCK = Block(Window(0, 96, 54, 74))


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "map")
    ledger.claim({"model": "m"})
    with ledger.at_work():
        yield ledger


def _taken_by(ledger, worker):
    (ledger.blocks / f"{BLOCK.id}.json").write_text(json.dumps(Entry("running", worker).to_dict()))


def test_a_worker_is_known_by_its_name_and_knows_whether_it_lives():
    worker = this_worker()
    assert worker.alive and worker_named(worker.name) == worker
    assert worker_named(Worker("a-b.c", 12, 345).name) == Worker("a-b.c", 12, 345) and worker_named("else") is None
    assert Worker(worker.host, worker.process, worker.started - 1).alive is False  # its number was given again
    child = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(0,))
    child.start()
    gone = Worker(worker.host, child.pid, worker.started)
    child.join()
    assert gone.alive is False
    assert Worker("elsewhere", 1, 1).alive is None


def test_a_block_is_left_to_a_process_that_lives_and_taken_from_one_that_does_not(ledger):
    here = this_worker()
    parent = os.getppid()
    started = int(Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19])
    _taken_by(ledger, Worker(here.host, parent, started))
    assert not ledger.take(BLOCK)
    _taken_by(ledger, Worker(here.host, parent, started + 1))
    assert ledger.take(BLOCK)
    assert ledger.state(BLOCK).worker == here


def test_a_worker_of_another_machine_is_dead_when_it_has_been_silent_for_long(ledger):
    _taken_by(ledger, Worker("elsewhere", 1, 1))
    assert not ledger.take(BLOCK)
    silent = time.time() - 1000
    os.utime(ledger.blocks / f"{BLOCK.id}.json", (silent, silent))
    assert ledger.take(BLOCK)


def test_an_entry_that_was_cut_off_is_a_block_that_is_pending(ledger):
    for text in ("", '{"state": "done"', '{"state": "asleep", "host": "h", "process": 1, "started": 1}', "[1]"):
        (ledger.blocks / f"{BLOCK.id}.json").write_text(text)
        assert ledger.state(BLOCK) is None and ledger.done(BLOCK) is None
    assert ledger.take(BLOCK)


def test_an_entry_survives_its_file(tmp_path):
    entry = Entry("done", this_worker(), {"a.tif": "00"}, 3, 4, 5.5)
    (tmp_path / "e.json").write_text(json.dumps(entry.to_dict()))
    assert read_entry(tmp_path / "e.json") == entry
    assert block_of_id(BLOCK.id) == BLOCK
    with pytest.raises(JobError, match="no block"):
        block_of_id("plan")


def test_many_processes_may_create_a_job_at_once_and_a_different_one_is_refused(tmp_path):
    for _ in range(3):
        Ledger(tmp_path / "map").claim({"model": "m"})
    with pytest.raises(JobError, match="its model is m, now n"):
        Ledger(tmp_path / "map").claim({"model": "n"})
    assert [path.name for path in (tmp_path / "map").iterdir()] == ["job.json"]


def test_status_counts_the_blocks_of_a_job_that_is_not_finished(model, scene, tmp_path):
    predict_shard(model, scene, tmp_path / "map", Shard(1, 4), block=96)
    entry = tmp_path / "map" / "blocks" / "r0000000_c0000096_96x74.json"
    entry.write_text(json.dumps(Entry("failed", this_worker(), error="a.tif: is truncated").to_dict()))
    running = tmp_path / "map" / "blocks" / "r0000096_c0000000_54x96.json"
    running.write_text(json.dumps(Entry("running", this_worker()).to_dict()))
    status = job_status(tmp_path / "map")
    assert (status.state, status.pending, status.running, status.done, status.failed) == ("running", 1, 1, 1, 1)
    assert (status.pixels_done, status.pixels) == (96 * 96, 150 * 170)
    assert status.seconds > 0 and status.seconds_left > status.seconds
    assert status.workers == (this_worker().name,)
    assert "1 of 4 blocks done" in status.describe() and "a.tif: is truncated" in status.describe()
    running.unlink()
    assert job_status(tmp_path / "map").state == "failed"


def test_check_finds_files_that_are_not_as_they_were_written(model, scene, tmp_path):
    predict_shard(model, scene, tmp_path / "map", Shard(1, 2), block=96)
    assert check_job(tmp_path / "map").damaged == () and check_job(tmp_path / "map").files == 4
    path = tmp_path / "map" / "blocks" / "r0000000_c0000000_96x96.class.tif"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert check_job(tmp_path / "map").damaged == (f"blocks/{path.name}",)
    result = predict_scene(model, scene, tmp_path / "map", block=96)
    assert job_status(tmp_path / "map").state == "finished" and check_job(tmp_path / "map").damaged == ()
    result.confidence_path.unlink()
    assert check_job(tmp_path / "map").damaged == ("confidence.tif",)
    with pytest.raises(JobError, match="no mapping job"):
        job_status(tmp_path)
