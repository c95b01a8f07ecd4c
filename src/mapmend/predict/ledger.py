"""The state of a mapping job, one small file per block, so that it can be stopped, moved and shared at any moment.

Any number of processes, of any machines that see the folder, may work on a job at once, without a service between
them. Who takes a block says so in its file. Two that take the same block in the same moment do no harm: each writes in
a folder of its own, their bytes are equal, and files are renamed into place whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapmend.core.durable import create_json, replace_json, sync, typed_faults, write_synced
from mapmend.core.errors import JobError, MapmendError
from mapmend.core.provenance import RECORD, file_hash
from mapmend.predict.blocks import Block
from mapmend.predict.entries import Entry, State, read_entry
from mapmend.predict.layers import Layers
from mapmend.predict.run_block import BlockResult
from mapmend.predict.worker import Worker, this_worker, worker_named

JOB, PLAN = "job.json", "plan.json"
_AT_WORK = ".at-work-"  # a worker's own folder among the blocks
_SILENCE = 900.0  # seconds after which a worker of another machine that gave no sign is taken for dead


@dataclass(frozen=True)
class Ledger:
    """Which blocks of a job are pending, running, done or failed.

    Attributes:
        folder: of the job.
        layers: that are mapped.
    """

    folder: Path
    layers: Layers = Layers()

    @property
    def blocks(self) -> Path:
        """Where blocks' files lie until the map is put together."""
        return self.folder / "blocks"

    @property
    def own(self) -> Path:
        """Where this process writes before it renames into place."""
        return self.blocks / f"{_AT_WORK}{this_worker().name}"

    def claim(self, identity: Mapping[str, object]) -> None:
        """Make the folder that of a job, or see that it already is.

        Args:
            identity: all that the job's bytes depend on, as plain values.

        Raises:
            JobError: it is another job's; it is named in what they differ.
        """
        file, given = self.folder / JOB, json.loads(json.dumps(identity))
        if not file.is_file():
            if any((self.folder / name).exists() for name in ("class.tif", "confidence.tif", RECORD)):
                raise JobError(
                    "holds a map without its job.json", where=self.folder, fix="choose another output folder"
                )
            with typed_faults(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            try:
                created = create_json(file, given)
            except MapmendError:
                self.discard()
                raise
            if created:
                return
        found = read_plain(file)
        differing = sorted(key for key in {*given, *found} if given.get(key) != found.get(key))
        if ("date_before" in found) != ("date_before" in given):
            fault = "one date, and two" if "date_before" in given else "two dates, and one"
            raise JobError(
                f"holds a map of {fault} shall be mapped",
                where=self.folder,
                fix="delete this folder, or choose another output folder",
            )
        if differing == ["threads"]:
            raise JobError(
                f"was begun with {found.get('threads')} threads, and this process has {given.get('threads')}",
                where=self.folder,
                fix=f"set --threads {found.get('threads')}",
            )
        if differing:
            raise JobError(
                f"holds another job: {', '.join(_difference(key, found, given) for key in differing)}",
                where=self.folder,
                fix="choose another output folder, or delete this one",
            )

    def plan(self, side: int, blocks: Sequence[Block], *, shared: bool) -> None:
        """Write down which blocks the job has.

        Args:
            side: of a block.
            blocks: of the whole job.
            shared: whether others work on the same blocks, so that they must not change.

        Raises:
            JobError: others are at work on blocks of another side.
        """
        file = self.blocks / PLAN
        content = {"side": side, "blocks": [block.id for block in blocks]}
        if file.is_file():
            found = read_plain(file)
            if found == content:
                return
            if shared:
                raise JobError(
                    f"is cut into blocks of {found.get('side')} pixels, this shard's are {side}",
                    where=self.folder,
                    fix="give every shard the same --block",
                )
            replace_json(file, content)
        elif not create_json(file, content):
            self.plan(side, blocks, shared=shared)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """This process's own folder among the blocks; those of processes that have died are removed."""
        for left in self.blocks.glob(f"{_AT_WORK}*"):
            if not self._works(left):
                shutil.rmtree(left, ignore_errors=True)
        try:
            with typed_faults(self.own):
                self.own.mkdir(parents=True, exist_ok=True)
            yield
        finally:
            shutil.rmtree(self.own, ignore_errors=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the job for putting the map together; another process waits here until that is done."""
        with ExitStack() as stack:
            with typed_faults(self.folder):
                file = stack.enter_context((self.folder / JOB).open("r+b"))
                fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @property
    def started(self) -> bool:
        """Whether any block is done, or another process is at work."""
        if self._others:
            return True
        entries = (read_entry(path) for path in self.blocks.glob("[!.]*.json"))
        return any(entry is not None and entry.state == "done" for entry in entries)

    def clean(self) -> None:
        """Remove the blocks' files, and what a killed process left half-written; the last one at work does."""
        if self._others:
            return
        for folder in (self.blocks, *self.folder.glob(".*.part")):
            shutil.rmtree(folder, ignore_errors=True)
        for file in self.folder.glob(".*.new"):
            file.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove all traces of a job that came to nothing."""
        self.clean()
        (self.folder / JOB).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # it holds other files
            self.folder.rmdir()

    def state(self, block: Block) -> Entry | None:
        """What is written down about a block; None where it is pending."""
        return read_entry(self._entry(block))

    def done(self, block: Block) -> BlockResult | None:
        """What a block became, if its files are still those that were written; else None."""
        entry = self.state(block)
        if entry is None or entry.state != "done":
            return None
        files = self.layers.of_block(block, self.blocks)
        if not all(path.is_file() and file_hash(path) == entry.files.get(path.name) for path in files):
            return None
        return BlockResult(files, entry.windows, entry.pixels, entry.seconds)

    def take(self, block: Block) -> bool:
        """Write down that this process is at work on a block, unless another one is that lives."""
        entry = self.state(block)
        if entry is not None and entry.worker != this_worker() and is_running(entry, self._entry(block)):
            return False
        self._put(block, "running")
        return True

    def beat(self, block: Block) -> None:
        """Give a sign of life."""
        with contextlib.suppress(OSError):
            os.utime(self._entry(block))
            os.utime(self.own)

    def record(self, block: Block, result: BlockResult) -> BlockResult:
        """Rename a block's files from this process's folder into place, and write down that it is done."""
        hashes = {path.name: file_hash(path) for path in result.files}
        files = self.layers.of_block(block, self.blocks)
        with typed_faults(self.blocks):
            for made, path in zip(result.files, files, strict=True):
                made.replace(path)
        numbers = {"windows": result.windows, "pixels": result.pixels, "seconds": round(result.seconds, 3)}
        self._put(block, "done", files=hashes, **numbers)
        return BlockResult(files, result.windows, result.pixels, result.seconds)

    def fail(self, block: Block, error: MapmendError) -> None:
        """Write down why a block failed; the next run tries it again."""
        self._put(block, "failed", error=str(error))

    def release(self, block: Block) -> None:
        """Give a block back that was taken and not finished."""
        with contextlib.suppress(OSError):
            self._entry(block).unlink(missing_ok=True)

    @property
    def _others(self) -> bool:
        """Whether other processes that live are at work."""
        return any(path != self.own and self._works(path) for path in self.blocks.glob(f"{_AT_WORK}*"))

    def _works(self, folder: Path) -> bool:
        worker = worker_named(folder.name.removeprefix(_AT_WORK))
        return worker is not None and lives(worker, folder)

    def _put(self, block: Block, state: State, **more: Any) -> None:
        place, made = self._entry(block), self.own / f"{block.id}.json"
        with typed_faults(place):
            write_synced(made, (json.dumps(Entry(state, this_worker(), **more).to_dict(), indent=1) + "\n").encode())
            made.replace(place)
            sync(place.parent)

    def _entry(self, block: Block) -> Path:
        return self.blocks / f"{block.id}.json"


def lives(worker: Worker, sign: Path) -> bool:
    """Whether a worker runs; of another machine's, whether its file was changed lately: clocks are taken to agree."""
    if worker.alive is not None:
        return worker.alive
    with contextlib.suppress(OSError):
        return time.time() - sign.stat().st_mtime < _SILENCE
    return False


def is_running(entry: Entry, file: Path) -> bool:
    """Whether the block of an entry, which stands in a file, is being worked on by a worker that lives."""
    return entry.state == "running" and lives(entry.worker, file)


def read_plain(path: Path) -> dict[str, Any]:
    """A JSON file of a job.

    Raises:
        JobError: it is none.
    """
    try:
        plain = json.loads(path.read_text())
    except (OSError, ValueError):
        plain = None
    if not isinstance(plain, dict):
        raise JobError("is not a file of a mapping job", where=path, fix="delete the folder and start again")
    return plain


def _difference(key: str, found: Mapping[str, object], given: Mapping[str, object]) -> str:
    values = [str(plain.get(key)) for plain in (found, given)]
    return f"its {key} is {values[0]}, now {values[1]}" if max(map(len, values)) <= 24 else f"its {key} differ"
