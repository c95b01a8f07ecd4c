"""What a job folder says of itself: how far it is, what failed, whether its files are those that were written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from mapmend.core.errors import JobError
from mapmend.core.provenance import RECORD, file_hash
from mapmend.predict.blocks import block_of_id
from mapmend.predict.entries import Entry, read_entry
from mapmend.predict.ledger import JOB, PLAN, is_running, read_plain


@dataclass(frozen=True)
class JobStatus:
    """How far a mapping job is.

    Attributes:
        folder: of the job.
        state: finished, running (a process is at work), stopped, or failed (stopped, and blocks have failed).
        pending, running, done, failed: numbers of blocks; of a finished map all 0.
        pixels_done: of the blocks that are done.
        pixels: of all blocks.
        seconds: that the blocks took which are done, over all workers.
        seconds_left: what the others would take at that speed with the workers at work now; None where nobody knows.
        workers: that are at work, as host-process-start.
        errors: why blocks failed, by their ids.
    """

    folder: str
    state: Literal["finished", "running", "stopped", "failed"]
    pending: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    pixels_done: int = 0
    pixels: int = 0
    seconds: float = 0.0
    seconds_left: float | None = None
    workers: tuple[str, ...] = ()
    errors: Mapping[str, str] | None = None

    def to_dict(self) -> dict[str, object]:
        """As plain values."""
        return {**asdict(self), "workers": list(self.workers), "errors": dict(self.errors or {})}

    def describe(self) -> str:
        """In one line, and one more for each error."""
        if self.state == "finished":
            return f"{self.folder}: finished, {self.pixels / 1e6:.1f} Mpx in {self.seconds / 60:.1f} min"
        total = self.pending + self.running + self.done + self.failed
        left = f", about {self.seconds_left / 60:.1f} min left" if self.seconds_left is not None else ""
        counts = f"{self.done} of {total} blocks done, {self.running} running, {self.failed} failed"
        pixels = f"{self.pixels_done / 1e6:.1f} of {self.pixels / 1e6:.1f} Mpx"
        line = f"{self.folder}: {self.state}, {counts}, {pixels}{left}"
        return "\n".join([line, *(f"  {name}: {error}" for name, error in (self.errors or {}).items())])


def job_status(folder: Path) -> JobStatus:
    """How far the job in a folder is; nothing is written.

    Raises:
        JobError: it is no job's folder.
    """
    _check_is_job(folder)
    if (folder / RECORD).is_file():
        record = read_plain(folder / RECORD)
        return JobStatus(
            str(folder), "finished", pixels=int(record.get("pixels", 0)), seconds=float(record.get("seconds", 0))
        )
    entries = _entries(folder)
    here = {name: entry for name, entry in entries.items() if entry is not None}
    done = [(name, entry) for name, entry in here.items() if entry.state == "done"]
    at_work = [entry.worker.name for name, entry in here.items() if is_running(entry, _file(folder, name))]
    workers, running = sorted(set(at_work)), len(at_work)
    errors = {name: entry.error for name, entry in here.items() if entry.state == "failed"}
    pixels = {name: block_of_id(name).window.area for name in entries}
    seconds = sum(entry.seconds for _, entry in done)
    ready, whole = sum(pixels[name] for name, _ in done), sum(pixels.values())
    return JobStatus(
        str(folder),
        "running" if running else "failed" if errors else "stopped",
        pending=len(entries) - len(done) - running - len(errors),
        running=running,
        done=len(done),
        failed=len(errors),
        pixels_done=ready,
        pixels=whole,
        seconds=seconds,
        seconds_left=seconds / ready * (whole - ready) / len(workers) if ready and workers else None,
        workers=tuple(workers),
        errors=errors,
    )


@dataclass(frozen=True)
class Checked:
    """Whether a job's files are those that were written.

    Attributes:
        folder: of the job.
        files: that were looked at.
        damaged: names of those that are missing, or have other bytes.
    """

    folder: str
    files: int
    damaged: tuple[str, ...]

    def describe(self) -> str:
        """In one line, and one more for each damaged file."""
        if not self.damaged:
            return f"{self.folder}: {self.files} files are as they were written"
        return "\n".join([f"{self.folder}: {len(self.damaged)} of {self.files} files differ", *self.damaged])


def check_job(folder: Path) -> Checked:
    """Compare every file of a finished map, or of the blocks that are done, with its checksum; nothing is written.

    Raises:
        JobError: it is no job's folder.
    """
    _check_is_job(folder)
    if (folder / RECORD).is_file():
        listed = read_plain(folder / RECORD).get("files", {})
        expected = {folder / name: str(value) for name, value in listed.items()}
    else:
        entries = [entry for entry in _entries(folder).values() if entry is not None and entry.state == "done"]
        expected = {folder / "blocks" / name: value for entry in entries for name, value in entry.files.items()}
    damaged = [path for path, value in expected.items() if not path.is_file() or file_hash(path) != value]
    return Checked(str(folder), len(expected), tuple(str(path.relative_to(folder)) for path in damaged))


def _check_is_job(folder: Path) -> None:
    if not (folder / JOB).is_file():
        raise JobError("holds no mapping job", where=folder, fix="give the folder that `predict --out` was given")


def _entries(folder: Path) -> dict[str, Entry | None]:
    """What is written down about every block of the plan; empty where there is no plan yet."""
    plan = folder / "blocks" / PLAN
    names = read_plain(plan)["blocks"] if plan.is_file() else []
    return {str(name): read_entry(_file(folder, str(name))) for name in names}


def _file(folder: Path, name: str) -> Path:
    """Where the state of a block stands."""
    return folder / "blocks" / f"{name}.json"
