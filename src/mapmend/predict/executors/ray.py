"""Blocks of a job done by the actors of a Ray cluster: this machine's, or one that is there already.

Rows of the data set are blocks' ids, nothing else: pixels are read, and files written, by the workers, which see the
folders of the scene and of the job. What is done, and what failed, stands in the ledger as with every executor.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mapmend.core.errors import DiskError, JobError, MapmendError, ProjectError
from mapmend.core.preemption import Preempted, Watch
from mapmend.predict.blocks import Block, block_of_id
from mapmend.predict.executors.local import MOST_FAILURES, run_one, work_through
from mapmend.predict.ledger import Ledger
from mapmend.predict.plan import Job
from mapmend.predict.progress import MappingProgress
from mapmend.predict.worker import this_worker

_RETRIES = 3  # of a block whose process died
_ANSWERS = 10.0  # seconds that an address has to answer
_GRACE, _LOOK = 20.0, 0.2  # seconds for the blocks at hand after a signal, and between looks for one
_LEFT_OVER = 0.1  # of an actor's processors, so that the tasks which hand it rows are not left without any


@dataclass(frozen=True)
class Ray:
    """Where blocks are done.

    Attributes:
        address: host:port of a cluster's head, or auto for the cluster that this machine belongs to; "" to start one
            on this machine, which ends with the job.
        workers: processes, each with as many threads as this one, or a GPU; 0 for as many as there is room for.
    """

    address: str = ""
    workers: int = 0

    def __call__(self, job: Job, ledger: Ledger, blocks: Sequence[Block], watch: Watch, bar: MappingProgress) -> None:
        """Do the blocks that are not done; as `work_through`, which also does what a cluster leaves undone.

        Raises:
            ProjectError: Ray is not installed, or the address does not answer.
            JobError: the cluster failed.
            DiskError, MapmendError, Preempted: as `work_through`.
        """
        todo = [block for block in blocks if ledger.done(block) is None]
        for block in set(blocks) - set(todo):
            bar.skip(block.window.area)
        if todo:
            with _cluster(self.address) as ray, _stop_file(ledger, watch) as stop:
                self._work(ray, job, ledger, todo, stop, bar)
        entries = {block: ledger.state(block) for block in blocks}
        if watch.asked:
            done = sum(entry is not None and entry.state == "done" for entry in entries.values())
            raise Preempted(done, len(blocks), "blocks")
        left = [block for block, entry in entries.items() if entry is None or entry.state == "running"]
        work_through(job, ledger, left, watch, bar)

    def _work(
        self, ray: Any, job: Job, ledger: Ledger, blocks: Sequence[Block], stop: Path, bar: MappingProgress
    ) -> None:
        failures, done = 0, 0
        fault: MapmendError = JobError("no block could be done", where=ledger.folder)
        try:
            for row in _results(ray, self.workers, job, ledger, blocks, stop):
                if isinstance(row["error"], MapmendError):
                    fault, failures = row["error"], failures + 1
                    if failures == MOST_FAILURES or isinstance(fault, DiskError):
                        raise fault
                elif row["done"]:
                    failures, done = 0, done + 1
                    bar.advance(block_of_id(str(row["block"])).window.area)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[0]
            raise JobError(
                f"the Ray cluster failed ({reason})", where=ledger.folder, fix="the same command goes on"
            ) from None
        if failures and not done:
            raise fault


class _Worker:
    """An actor: a process with its own copy of the job's predictor."""

    def __init__(self, job: Job, folder: Path, threads: int, stop: Path) -> None:
        torch.set_num_threads(threads)
        self._job, self._ledger, self._watch = job, Ledger(folder, job.layers), _Told(stop)
        self._bar = MappingProgress(job.scene.name, 0, shown=False)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        block = block_of_id(str(row["block"]))
        told: dict[str, Any] = {"block": block.id, "error": None, "done": False}
        if self._watch.asked:
            return told
        with self._ledger.at_work():
            if self._ledger.done(block) is not None:  # before its worker died
                return {**told, "done": True}
            if not self._ledger.take(block):
                return told
            try:
                run_one(self._job, block, self._ledger, self._watch, self._bar, Preempted(0, 0, "blocks"))
            except MapmendError as error:
                return {**told, "error": error}
            except Preempted:
                return told
        return {**told, "done": True}


class _Told(Watch):
    """A signal that came to another process, which wrote a file then."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = file

    @property
    def asked(self) -> bool:
        """Whether the file is there."""
        return self._file.exists()

    @property
    def urgent(self) -> bool:
        """Whether it has been there for long."""
        try:
            return time.time() - self._file.stat().st_mtime > _GRACE
        except OSError:
            return False


@contextmanager
def _stop_file(ledger: Ledger, watch: Watch) -> Iterator[Path]:
    """The file by which workers hear of a signal; a thread writes it, for the main one waits for them."""
    file, over = ledger.blocks.absolute() / f".stop-{this_worker().name}", threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            if watch.asked:
                file.touch()
                return

    thread = threading.Thread(target=look, name="signals", daemon=True)
    thread.start()
    try:
        yield file
    finally:
        over.set()
        thread.join()
        file.unlink(missing_ok=True)


def _results(
    ray: Any, workers: int, job: Job, ledger: Ledger, blocks: Sequence[Block], stop: Path
) -> Iterator[dict[str, Any]]:
    """What became of each block, as it comes."""
    gpu = job.predictor.identity.get("device") == "cuda"
    threads = max(1, torch.get_num_threads())
    room = int(ray.cluster_resources().get("GPU" if gpu else "CPU", 1)) // (1 if gpu else threads)
    share = {"num_gpus": 1, "num_cpus": 1 - _LEFT_OVER} if gpu else {"num_cpus": threads - _LEFT_OVER}
    rows = [{"block": block.id} for block in blocks]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the limits' keyword, which the version in `[ray]` still has
        made = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            _Worker,
            fn_constructor_args=(job, ledger.folder.absolute(), threads, stop),
            compute=ray.data.ActorPoolStrategy(
                size=max(1, min(workers or room, len(blocks))), max_tasks_in_flight_per_actor=1
            ),
            ray_remote_args_fn=lambda: {"max_restarts": _RETRIES, "max_task_retries": _RETRIES},
            **share,
        )
    yield from made.iter_rows()


@contextmanager
def _cluster(address: str) -> Iterator[Any]:
    """Ray, connected; what was started here is stopped at the end."""
    if importlib.util.find_spec("ray") is None:
        raise ProjectError("Ray is not installed", where="--executor ray", fix="pip install 'mapmend[ray]'")
    if address and address != "auto":
        _check_answers(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    if not address:
        os.environ.setdefault("RAY_worker_niceness", "0")  # as every other way to map
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # loopback, whatever the system
    import ray
    import ray.data
    import ray.exceptions

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="mm-", ignore_cleanup_errors=True) as folder:
        own: dict[str, Any] = {"_temp_dir": folder, "include_dashboard": False}
        try:
            ray.init(
                **({"address": address} if address else {"address": "local", **own}),
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise _unreachable(address, str(error).strip().splitlines()[0]) from None
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_errored_blocks = -1  # what fails stands in the ledger; what a dead process leaves is done after
        context.actor_task_retry_on_errors = True
        context.max_consecutive_actor_init_deaths = 0  # a worker that cannot begin will not later
        try:
            yield ray
        finally:
            ray.shutdown()


def _check_answers(address: str) -> None:
    """Knock first: Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_ANSWERS):
            return
    except (OSError, ValueError, OverflowError) as error:
        raise _unreachable(address, str(error)) from None


def _unreachable(address: str, reason: str) -> ProjectError:
    return ProjectError(
        f"no Ray cluster answers at '{address or 'this machine'}' ({reason})",
        where="--ray-address",
        fix="give host:port of its head, or leave it out to use this machine",
    )
