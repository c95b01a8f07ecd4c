"""`run`: the row of a project's steps, which goes on where it stopped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from mapmend.core.durable import replace_json, typed_faults
from mapmend.core.errors import JobError, MapmendError
from mapmend.core.provenance import value_hash
from mapmend.project import Project
from mapmend.reporting import RunResult, report_project
from mapmend.stages import MODEL
from mapmend.steps import (
    PredictOptions,
    change_step,
    earlier_step,
    has_pairs,
    is_first_process,
    predict_step,
    prepare_step,
    pseudo_step,
    train_step,
)
from mapmend.training import console

_STATE, _LOCK = "run.json", ".lock"


@dataclass(frozen=True)
class _State:
    """`run.json`: whose results a folder holds, and how long each step took."""

    project: str
    seconds: dict[str, float]


def run(project: Project, out: Path, *, device: str = "auto") -> RunResult:
    """Do every step of a project; what is done already, with the same settings and inputs, is not done again.

    Args:
        project: from `load_project`.
        out: folder of the results; made if it does not exist.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        MapmendError: an input or a setting is wrong, or `out` holds another project's results.
        Preempted: a signal came; the same call goes on.
    """
    if is_first_process():
        console.print("[bold]prepare[/bold]")
        with claimed(project, out, "prepare"):
            prepare_step(project, out)
    for step in project.row.earlier:
        console.print(f"[bold]{step.verb}[/bold] {step.name}")
        if step.verb == "train" or is_first_process():
            with claimed(project, out, f"{step.verb} {step.name}"):
                earlier_step(project, step, out, device=device)
    verbs: dict[str, Callable[[], object]] = {
        "train": lambda: train_step(project, out, device=device),
        "pseudo": lambda: pseudo_step(project, project.row.last["pseudo"], out, device=device),
        "predict": lambda: predict_step(project, out, PredictOptions(device=device)),
        "change": lambda: change_step(project, out),
    }
    for verb in [verb for verb in verbs if verb in project.steps]:
        if verb == "change" and not project.listed and not has_pairs(project, out):
            continue
        console.print(f"[bold]{verb}[/bold]")
        with claimed(project, out, verb):
            verbs[verb]()
    if "report" in project.steps:
        return report_step(project, out)
    return RunResult(out, out / MODEL if (out / MODEL).is_dir() else None, {}, None, None)


@contextmanager
def claimed(project: Project, out: Path, verb: str) -> Iterator[None]:
    """Hold the output folder for one step of this project, and note how long the step took.

    Raises:
        JobError: the folder is another project's, or another run works in it.
    """
    if not is_first_process():
        yield
        return
    state, fresh = _State(_identity(project), _read_state(out, project)), not (out / _STATE).is_file()
    with typed_faults(out):
        new = not out.is_dir()
        out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        replace_json(out / _STATE, asdict(state))
        started = time.monotonic()
        try:
            yield
        except MapmendError:
            if fresh and {path.name for path in out.iterdir()} <= {_STATE, _LOCK}:
                _unclaim(out, new)
            raise
        took = round(time.monotonic() - started, 1)
        # a step that was found done took no time now
        seconds = {**state.seconds, verb: max(took, state.seconds.get(verb, 0.0))}
        replace_json(out / _STATE, asdict(replace(state, seconds=seconds)))


def _unclaim(out: Path, new: bool) -> None:
    """Leave a folder as it was before it was claimed for a step that did nothing."""
    (out / _STATE).unlink()
    (out / _LOCK).unlink(missing_ok=True)
    if new:
        out.rmdir()


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    lock = FileLock(out / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise JobError("another run is working in this folder", where=out, fix="wait for it") from None
    try:
        yield
    finally:
        lock.release()


def _identity(project: Project) -> str:
    """Hash of what the whole folder belongs to; the steps know what they depend on besides."""
    sensors = {name: sensor.to_dict() for name, sensor in project.sensors.items()}
    return value_hash([project.name, project.legend.to_dict(), sensors, project.scenes, project.reference])


def report_step(project: Project, out: Path) -> RunResult:
    """Score the maps and their change where references exist, and write the report; see `report_project`."""
    return report_project(project, out, _read_state(out, project))


def _read_state(out: Path, project: Project) -> dict[str, float]:
    """Seconds by step of earlier runs in this folder.

    Raises:
        JobError: they were another project's.
    """
    if not (out / _STATE).is_file():
        return {}
    try:
        state = _State(**json.loads((out / _STATE).read_text()))
    except (ValueError, TypeError):
        raise JobError("is damaged", where=out / _STATE, fix="use a new output folder") from None
    if state.project != _identity(project):
        raise JobError("holds the results of another project", where=out, fix="use a new output folder")
    return state.seconds
