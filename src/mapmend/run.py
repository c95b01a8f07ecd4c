"""`run`: the row of a project's steps, which goes on where it stopped; and the report of what came out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.metrics import map_metrics
from mapmend.core.durable import replace_json, typed_faults
from mapmend.core.errors import JobError
from mapmend.core.legend import Legend
from mapmend.core.provenance import value_hash
from mapmend.data.prepare import class_areas
from mapmend.data.sites import PreparedSite
from mapmend.nn.model_folder import read_card
from mapmend.project import Project
from mapmend.report.data import Accuracy, ClassAreas, CurvePoint, ReportData, StepTime
from mapmend.report.gather import site_panel
from mapmend.report.page import write_report
from mapmend.report.panel import draw_panel
from mapmend.report.score import score_site
from mapmend.steps import (
    MODEL,
    TRAINING,
    PredictOptions,
    console,
    is_first_process,
    map_jobs,
    predict_step,
    prepare_step,
    train_step,
)
from mapmend.train.log import read_log

Pairs = Sequence[tuple[PreparedSite, Path]]

_STATE = "run.json"


@dataclass(frozen=True)
class _State:
    """`run.json`: whose results a folder holds, and how long each step took."""

    project: str
    seconds: dict[str, float]


@dataclass(frozen=True)
class RunResult:
    """Where a run left its results, and how good label and map are where a reference exists."""

    out: Path
    model: Path | None
    maps: Mapping[str, Path]
    report: Path | None
    accuracy: Accuracy | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": str(self.model) if self.model else None,
            "maps": {name: str(path) for name, path in self.maps.items()},
            "report": str(self.report) if self.report else None,
            "accuracy": None if self.accuracy is None else scores_of(self.accuracy),
        }


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
    verbs: dict[str, Callable[[], object]] = {
        "prepare": lambda: prepare_step(project, out),
        "train": lambda: train_step(project, out, device=device),
        "predict": lambda: predict_step(project, out, PredictOptions(device=device)),
    }
    for verb in [verb for verb in verbs if verb == "prepare" or verb in project.steps]:
        if verb == "prepare" and not is_first_process():
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
    state = _State(_identity(project), _read_state(out, project))
    with typed_faults(out):
        out.mkdir(parents=True, exist_ok=True)
    with _locked(out):
        replace_json(out / _STATE, asdict(state))
        started = time.monotonic()
        yield
        took = round(time.monotonic() - started, 1)
        # a step that was found done took no time now
        seconds = {**state.seconds, verb: max(took, state.seconds.get(verb, 0.0))}
        replace_json(out / _STATE, asdict(replace(state, seconds=seconds)))


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    lock = FileLock(out / ".lock")
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
    """Score the maps where a reference exists, and write `report.html`, `panel.png` and `accuracy.json`.

    Raises:
        JobError: there is no map yet.
    """
    settings, legend = project.report_settings(), project.legend
    mapped = [job for job in map_jobs(project, out) if (job[2] / "mapmend.json").is_file()]
    if not mapped:
        raise JobError("there is no map to report on", where=out, fix="predict first")
    pairs = [(site, folder) for _, site, folder in mapped]
    accuracy = score(pairs, legend)
    card = read_card(out / MODEL) if (out / MODEL).is_dir() else None
    best = card.metrics.get("best_step") if card else None
    data = ReportData(
        settings.title or project.name,
        legend,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        sites=tuple(site_panel(site, legend, folder) for site, folder in pairs[: settings.sites]),
        curves=tuple(_curves(out / TRAINING / "log.jsonl")),
        best_step=best if isinstance(best, int) else None,
        areas=_areas(pairs, legend),
        accuracy=accuracy,
        times=tuple(StepTime(verb, seconds) for verb, seconds in _read_state(out, project).items()),
        notes=_notes(pairs, settings.sites),
        provenance=dict(card.provenance) if card else {},
    )
    report = write_report(data, out / "report.html")
    draw_panel(data.sites[0], legend, out / "panel.png")
    if accuracy is not None:
        replace_json(out / "accuracy.json", scores_of(accuracy))
    return RunResult(out, out / MODEL if card else None, {key: folder for key, _, folder in mapped}, report, accuracy)


def score(pairs: Pairs, legend: Legend) -> Accuracy | None:
    """Confusion of maps and labels with the references, pooled over the sites that have one; None without any."""
    scored = [score_site(site, folder / "class.tif", legend) for site, folder in pairs if site.reference]
    if not scored:
        return None
    nothing = ConfusionMatrix(legend.names)
    labels = [of_label for of_label, _ in scored if of_label is not None]
    return Accuracy(
        sum((of_map for _, of_map in scored), nothing),
        sum(labels, nothing) if len(labels) == len(scored) else None,
        f"{len(scored)} of {len(pairs)} mapped sites have a reference.",
    )


def scores_of(accuracy: Accuracy) -> dict[str, Any]:
    """All metrics of label and map, as plain values."""
    label = accuracy.label
    return {
        "reference": accuracy.reference,
        "label": None if label is None else map_metrics(label).to_dict(),
        "map": map_metrics(accuracy.map).to_dict(),
    }


def _areas(pairs: Pairs, legend: Legend) -> ClassAreas:
    totals: dict[str, list[tuple[float, ...]]] = {"map": [], "label": [], "reference": []}
    units = set()
    for site, folder in pairs:
        for kind, path in (("map", folder / "class.tif"), ("label", site.label), ("reference", site.reference)):
            if path is not None:
                areas, unit = class_areas(path, site.grid, legend)
                totals[kind].append(areas)
                units.add(unit)
    if len(units) > 1:
        raise JobError("some sites have a CRS and some have none: areas cannot be added", fix="assign the CRS")
    summed = {
        kind: tuple(map(sum, zip(*rows, strict=True))) for kind, rows in totals.items() if len(rows) == len(pairs)
    }
    return ClassAreas(units.pop(), **summed)


def _curves(log: Path) -> Iterator[CurvePoint]:
    if not log.is_file():
        return
    for row in read_log(log):
        if row["kind"] == "train":
            yield CurvePoint(row["step"], losses=row["losses"], lr=row["lr"])
        elif row["kind"] == "validation":
            yield CurvePoint(row["step"], metrics={"mIoU": row["miou"]})


def _notes(pairs: Pairs, shown: int) -> tuple[str, ...]:
    notes = []
    trained = [site for site, _ in pairs if site.label is not None and site.split != "test"]
    if trained and any(site.reference for site in trained):
        notes.append(
            "The model was trained on the labels of sites that are scored here (never on their reference): the scores "
            "say how well the labels were mended, not how well the model transfers to other places."
        )
    if len(pairs) > shown:
        notes.append(f"{len(pairs)} sites were mapped; the first {shown} are shown, all of them are counted.")
    return tuple(notes)


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
