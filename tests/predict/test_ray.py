"""A cluster of this machine, started for each job."""

import os
import signal
import time
from pathlib import Path

import pytest
from tiny_predictors import Local, predictor
from tiny_scenes import random_pixels, write_scene

from mapmend.core.errors import JobError, ProjectError, RasterError
from mapmend.core.preemption import Watch
from mapmend.predict.executors.ray import Ray, _stop_file, _Worker
from mapmend.predict.executors.shard import Shard
from mapmend.predict.job import predict_scene, predict_shard
from mapmend.predict.ledger import Ledger
from mapmend.predict.plan import plan_job

ray = pytest.importorskip("ray")


class Dying:
    """A predictor whose process is killed at the first batch of all."""

    def __init__(self, inner, mark):
        self._inner, self._mark = inner, str(mark)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)  # while it is unpickled
        return getattr(self._inner, name)

    def probabilities(self, pixels, valid):
        try:
            os.close(os.open(self._mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return self._inner.probabilities(pixels, valid)
        os.kill(os.getpid(), signal.SIGKILL)


class Failing(Dying):
    """A predictor that fails where the first pixel of a batch is bright."""

    def probabilities(self, pixels, valid):
        if (pixels[0] == 251).any():
            raise RasterError("cannot be read", where="a.tif")
        return self._inner.probabilities(pixels, valid)


@pytest.fixture
def small(legend, monkeypatch):
    """A predictor whose module a worker finds, as it finds an installed one."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    return predictor(Local(), legend, batch=1)


@pytest.mark.slow
def test_a_cluster_ends_with_the_bytes_of_one_process_though_a_worker_dies_and_a_shard_began(small, scene, tmp_path):
    calm = predict_scene(small, scene, tmp_path / "calm", block=96)
    predict_shard(small, scene, tmp_path / "map", Shard(1, 4), block=96)
    model = Dying(small, tmp_path / "died")
    result = predict_scene(model, scene, tmp_path / "map", block=96, executor=Ray(workers=2))
    assert (tmp_path / "died").exists()
    for layer in ("class_path", "confidence_path"):
        assert getattr(result, layer).read_bytes() == getattr(calm, layer).read_bytes()
    assert sorted(path.name for path in result.folder.iterdir()) == sorted(path.name for path in calm.folder.iterdir())
    assert not ray.is_initialized()


@pytest.mark.slow
def test_a_block_that_fails_on_a_cluster_does_not_stop_the_others(small, tmp_path):
    pixels = random_pixels(150, 170)
    pixels[:, 140, 160] = 251
    scene = write_scene(tmp_path, pixels)
    with pytest.raises(JobError, match=r"1 of 4 blocks failed.*a\.tif"):
        predict_scene(Failing(small, ""), scene, tmp_path / "map", block=96, executor=Ray(workers=1))
    assert len(list((tmp_path / "map" / "blocks").glob("*.class.tif"))) == 3


def test_a_worker_begins_no_block_once_a_signal_has_come(small, scene, tmp_path):
    job = plan_job(small, scene, 96, (), False)
    ledger = Ledger(tmp_path / "map", job.layers)
    ledger.claim(job.identity)
    ledger.plan(job.side, job.blocks, shared=False)
    watch, rows = Watch(), [{"block": block.id} for block in job.blocks]
    with _stop_file(ledger, watch) as stop:
        worker = _Worker(job, ledger.folder, 1, stop)
        assert worker(rows[0]) == {**rows[0], "error": None, "done": True}
        assert worker(rows[0])["done"]  # one that is done is not done again
        watch(signal.SIGTERM, None)
        deadline = time.monotonic() + 10
        while not stop.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert worker(rows[1]) == {**rows[1], "error": None, "done": False}
    assert ledger.state(job.blocks[0]).state == "done" and ledger.state(job.blocks[1]) is None
    assert not stop.exists()


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-host.invalid:6379", "nonsense", "127.0.0.1:99999999"])
def test_an_address_that_does_not_answer_is_one_line_and_nothing_is_left(address, small, scene, tmp_path):
    started = time.monotonic()
    with pytest.raises(ProjectError, match="no Ray cluster answers at") as fault:
        predict_scene(small, scene, tmp_path / "map", executor=Ray(address))
    assert "\n" not in str(fault.value) and time.monotonic() - started < 30
    assert not (tmp_path / "map").exists()
