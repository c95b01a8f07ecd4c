"""Jobs that are stopped from outside, in child processes of a server that has imported everything once."""

import hashlib
import multiprocessing
import os
import random
import signal
import time

import killed_job
import pytest
from tiny_scenes import random_pixels, write_scene

from mapmend.core import preemption

RASTERS = ("class.tif", "confidence.tif")


@pytest.fixture(scope="module")
def context():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mapmend.predict.job"])
    return context


@pytest.fixture
def scene(tmp_path):
    pixels = random_pixels(90, 90)
    pixels[:, :30, :30] = 0
    return write_scene(tmp_path, pixels)


@pytest.fixture
def low_scene(tmp_path):
    """Of two blocks, where every moment is tried."""
    pixels = random_pixels(48, 90)
    pixels[:, :30, :30] = 0
    return write_scene(tmp_path, pixels, name="low")


@pytest.fixture
def calm(scene, tmp_path):
    """The hashes of an uninterrupted job's rasters, and the names of its files."""
    killed_job.map_scene(scene, tmp_path / "calm")
    return _left(tmp_path / "calm")


def _left(folder):
    return [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in RASTERS], _names(folder)


def _names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _start(context, function, *arguments):
    started = context.Event()
    child = context.Process(target=killed_job.exit_with, args=(started, function, *arguments))
    child.start()
    assert started.wait(60)
    return child


def test_a_job_that_is_killed_at_random_moments_ends_with_the_bytes_of_one_that_is_not(context, scene, calm, tmp_path):
    draws, out = random.Random(7), tmp_path / "map"
    for _ in range(5):
        child = _start(context, killed_job.map_scene, scene, out, 0.01)
        child.join(draws.uniform(0.02, 0.3))
        child.kill()
        child.join()
    child = _start(context, killed_job.map_scene, scene, out)
    child.join()
    assert child.exitcode == 0
    assert _left(out) == calm


def test_a_job_that_is_killed_after_any_rename_ends_with_the_same_bytes(context, low_scene, tmp_path):
    killed_job.map_scene(low_scene, tmp_path / "calm")
    calm, kills = _left(tmp_path / "calm"), 0
    while True:
        out = tmp_path / f"map{kills}"
        child = _start(context, killed_job.die_after_rename, kills + 1, low_scene, out)
        child.join()
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        kills += 1
        again = _start(context, killed_job.map_scene, low_scene, out)
        again.join()
        assert again.exitcode == 0
        assert _left(out) == calm
    assert kills > 2 * 6  # two rasters, staged and put in place, and two entries for each block; then the map


def test_processes_that_do_one_job_at_once_share_its_blocks_and_all_see_the_map(context, scene, calm, tmp_path):
    out = tmp_path / "map"
    children = [_start(context, killed_job.map_scene, scene, out, 0.05) for _ in range(3)]
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert _left(out) == calm


def test_a_worker_that_dies_leaves_its_block_to_another_one(context, scene, calm, tmp_path):
    out, touched = tmp_path / "map", tmp_path / "working"
    dying = _start(context, killed_job.map_scene, scene, out, 0.3, str(touched))
    while not touched.exists():
        time.sleep(0.01)
    living = _start(context, killed_job.map_scene, scene, out)
    time.sleep(0.1)
    dying.kill()
    dying.join()
    living.join()
    assert living.exitcode == 0
    assert _left(out) == calm


@pytest.mark.parametrize(("most", "kept"), [(512, False), (1100, False), (4096, True)])  # job.json, a block, the map
def test_a_full_disk_is_an_error_that_leaves_only_whole_blocks_and_the_next_call_succeeds(
    most, kept, context, scene, calm, tmp_path
):
    out = tmp_path / "map"
    child = _start(context, killed_job.map_on_full_disk, most, scene, out)
    child.join()
    assert child.exitcode == 2
    assert out.exists() == kept
    again = _start(context, killed_job.map_scene, scene, out)
    again.join()
    assert again.exitcode == 0
    assert _left(out) == calm


def test_a_block_that_outlasts_the_grace_after_a_signal_is_given_up(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(preemption, "_GRACE", -1)
    monkeypatch.setattr(killed_job.time, "sleep", lambda seconds: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(preemption.Preempted, match="after 0 of 4 blocks") as stop:
        killed_job.map_scene(scene, tmp_path / "map")
    assert stop.value.code == 75
    assert _names(tmp_path / "map") == ["blocks", "blocks/plan.json", "job.json"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_the_job_after_the_block_with_code_75_and_the_same_call_goes_on(
    number, context, scene, calm, tmp_path
):
    out, touched = tmp_path / "map", tmp_path / "working"
    child = _start(context, killed_job.map_scene, scene, out, 0.05, str(touched))
    while not touched.exists():
        assert child.is_alive()
        time.sleep(0.01)
    os.kill(child.pid, number)
    child.join()
    assert child.exitcode == 75
    done = [name for name in _names(out) if name.endswith(".json") and name.startswith("blocks/r")]
    assert 1 <= len(done) < 4
    assert len(_names(out)) == 3 + 3 * len(done)
    again = _start(context, killed_job.map_scene, scene, out)
    again.join()
    assert again.exitcode == 0
    assert _left(out) == calm
