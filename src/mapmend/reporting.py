"""What a run hands over: its scores where a reference exists, and the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from mapmend.accuracy.change import ChangeAccuracy, change_metrics
from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.metrics import map_metrics
from mapmend.change.record import ChangeResult, read_change
from mapmend.core.durable import replace_json
from mapmend.core.errors import JobError
from mapmend.core.legend import Legend
from mapmend.data.prepare import class_areas
from mapmend.data.sites import PreparedSite
from mapmend.maps import MapJob, map_jobs
from mapmend.nn.model_folder import read_card
from mapmend.project import Project
from mapmend.report.change_gather import change_report
from mapmend.report.data import Accuracy, ClassAreas, CurvePoint, ReportData, SitePanel, StepTime
from mapmend.report.estimated import read_assessment
from mapmend.report.gather import pair_panel, pair_rasters, site_panel
from mapmend.report.page import write_report
from mapmend.report.panel import draw_panel
from mapmend.report.reliability import Reliability, reliability_of
from mapmend.report.score import score_change, score_site
from mapmend.steps import MODEL, TRAINING
from mapmend.train.log import read_log

_SPARSE = 0.5  # share of pixels without a label from which on it is no map


@dataclass(frozen=True)
class Shown:
    """A class raster that is counted and scored.

    Attributes:
        site: that it maps.
        raster: legend ids.
        other: the other date, where the maps of both were made consistent and end where either image does.
    """

    site: PreparedSite
    raster: Path
    other: PreparedSite | None = None


@dataclass(frozen=True)
class RunResult:
    """Where a run left its results, and how good label, map and change are where a reference exists."""

    out: Path
    model: Path | None
    maps: Mapping[str, Path]
    report: Path | None
    accuracy: Accuracy | None
    changes: Mapping[str, Path] = field(default_factory=dict)
    accuracy_before: Accuracy | None = None
    change_accuracy: ChangeAccuracy | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": str(self.model) if self.model else None,
            "maps": {name: str(path) for name, path in self.maps.items()},
            "report": str(self.report) if self.report else None,
            "changes": {name: str(path) for name, path in self.changes.items()},
            **self.scores(),
        }

    def scores(self) -> dict[str, Any]:
        """All metrics as plain values; of two dates, `accuracy` is the later one's."""
        change = self.change_accuracy
        return {
            "accuracy": None if self.accuracy is None else scores_of(self.accuracy),
            "accuracy_before": None if self.accuracy_before is None else scores_of(self.accuracy_before),
            "change": None if change is None else {**change_metrics(change).to_dict(), "counts": change.to_dict()},
        }


@dataclass(frozen=True)
class _Mapped:
    """A finished map, and what `change` made of it if the site has two dates and the step was done."""

    job: MapJob
    legend: Legend

    @cached_property
    def change(self) -> ChangeResult | None:
        return read_change(self.job.change_folder) if self.job.compared is not None else None

    @property
    def _change_folder(self) -> Path | None:
        return self.job.change_folder if self.change is not None else None

    @property
    def dates(self) -> tuple[Shown | None, Shown]:
        """The earlier date, if there is one, and the later: the maps consistent with the change, once it is known."""
        before, after = self.job.compared, self.job.site
        if before is None:
            return None, Shown(after, self.job.folder / "class.tif")
        rasters = pair_rasters(self.job.folder, self._change_folder)
        if self.change is None:
            return Shown(before, rasters[0]), Shown(after, rasters[1])
        return Shown(before, rasters[0], after), Shown(after, rasters[1], before)

    def panel(self) -> SitePanel:
        if self.job.compared is None:
            return site_panel(self.job.site, self.legend, self.job.folder)
        return pair_panel(self.job.compared, self.job.site, self.legend, self.job.folder, self._change_folder)

    def scored_change(self, aoi: Path | None) -> ChangeAccuracy | None:
        if self.job.compared is None or self.change is None:
            return None
        return score_change(self.job.compared, self.job.site, self.job.change_folder, self.legend, aoi)


def report_project(project: Project, out: Path, seconds: Mapping[str, float]) -> RunResult:
    """Score maps and change where a reference exists; write `report.html`, `panel.png` and `accuracy.json`.

    Args:
        project: whose maps are reported on.
        out: its output folder.
        seconds: that each step took.

    Raises:
        JobError: there is no map yet, or the folder's `assessment.json` is damaged.
    """
    settings, legend = project.report_settings(), project.legend
    mapped = [_Mapped(job, legend) for job in map_jobs(project, out) if job.mapped]
    if not mapped:
        raise JobError("there is no map to report on", where=out, fix="predict first")
    later = [one.dates[1] for one in mapped]
    earlier = [before for one in mapped if (before := one.dates[0]) is not None]
    changes = {one.job.key: one.change for one in mapped if one.change is not None}
    change = change_report(list(changes.values()), legend, [one.scored_change(project.aoi) for one in mapped])
    card = read_card(out / MODEL) if (out / MODEL).is_dir() else None
    reliability = reliability_of(card.metrics, out / MODEL) if card else None
    best = card.metrics.get("best_step") if card else None
    data = ReportData(
        settings.title or project.name,
        legend,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        sites=tuple(one.panel() for one in mapped[: settings.sites]),
        curves=tuple(_curves(out / TRAINING / "log.jsonl")),
        best_step=best if isinstance(best, int) else None,
        areas=_areas(later, legend),
        areas_before=_areas(earlier, legend) if earlier else None,
        accuracy=score(later, legend, project.aoi),
        accuracy_before=score(earlier, legend, project.aoi),
        change=change,
        times=tuple(StepTime(verb, took) for verb, took in seconds.items()),
        notes=_notes([one.job.site for one in mapped], settings.sites, reliability),
        reliability=None if isinstance(reliability, str) else reliability,
        estimated=read_assessment(out),
        provenance=dict(card.provenance) if card else {},
    )
    result = RunResult(
        out,
        out / MODEL if card else None,
        {one.job.key: one.job.folder for one in mapped},
        write_report(data, out / "report.html"),
        data.accuracy,
        {key: one.folder for key, one in changes.items()},
        data.accuracy_before,
        change.accuracy if change is not None else None,
    )
    draw_panel(data.sites[0], legend, out / "panel.png")
    if result.accuracy is not None:
        replace_json(out / "accuracy.json", result.scores())
    return result


def score(shown: Sequence[Shown], legend: Legend, aoi: Path | None = None) -> Accuracy | None:
    """Confusion of maps and labels with the references, pooled over the sites that have one; None without any.

    A label that says nothing of most of these pixels (points, some polygons) is no map, and is not compared with one.
    """
    scored = [score_site(one.site, one.raster, legend, one.other, aoi) for one in shown if one.site.reference]
    if not scored:
        return None
    nothing = ConfusionMatrix(legend.names)
    labels = [of_label for of_label, _ in scored if of_label is not None]
    label = sum(labels, nothing) if len(labels) == len(scored) else None
    words = f"{len(scored)} of {len(shown)} mapped sites have a reference."
    if label is not None and label.missing.sum() > _SPARSE * label.pixels:
        share = 1 - label.missing.sum() / label.pixels
        words += f" The label knows {share:.1%} of its pixels, and is not compared with the map."
        label = None
    return Accuracy(sum((of_map for _, of_map in scored), nothing), label, words)


def scores_of(accuracy: Accuracy) -> dict[str, Any]:
    """All metrics of label and map, as plain values."""
    label = accuracy.label
    return {
        "reference": accuracy.reference,
        "label": None if label is None else map_metrics(label).to_dict(),
        "map": map_metrics(accuracy.map).to_dict(),
    }


def _areas(shown: Sequence[Shown], legend: Legend) -> ClassAreas:
    totals: dict[str, list[tuple[float, ...]]] = {"map": [], "label": [], "reference": []}
    units = set()
    for one in shown:
        site = one.site
        for kind, path in (("map", one.raster), ("label", site.label), ("reference", site.reference)):
            if path is not None:
                areas, unit = class_areas(path, site.grid, legend)
                totals[kind].append(areas)
                units.add(unit)
    if len(units) > 1:
        raise JobError("some sites have a CRS and some have none: areas cannot be added", fix="assign the CRS")
    summed = {
        kind: tuple(map(sum, zip(*rows, strict=True))) for kind, rows in totals.items() if len(rows) == len(shown)
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


def _notes(sites: Sequence[PreparedSite], shown: int, reliability: Reliability | str | None) -> tuple[str, ...]:
    notes = []
    trained = [site for site in sites if site.label is not None and site.split != "test"]
    if trained and any(site.reference for site in trained):
        notes.append(
            "The model was trained on the labels of sites that are scored here (never on their reference): the scores "
            "say how well the labels were mended, not how well the model transfers to other places."
        )
    if len(sites) > shown:
        notes.append(f"{len(sites)} sites were mapped; the first {shown} are shown, all of them are counted.")
    if isinstance(reliability, str):
        notes.append(f"The map's confidence is not calibrated: {reliability}.")
    return tuple(notes)
