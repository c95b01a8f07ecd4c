"""What a run hands over: its scores where a reference exists, and the report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from mapmend.accuracy.change import ChangeAccuracy, change_metrics
from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.conventions import mean_class_accuracy
from mapmend.accuracy.group_means import group_figures, group_means
from mapmend.accuracy.metrics import map_metrics
from mapmend.change.record import ChangeResult, read_change
from mapmend.core.durable import replace_json
from mapmend.core.errors import JobError
from mapmend.core.grouping import Grouping
from mapmend.core.legend import Crosswalk, Legend
from mapmend.core.places import TRAINED_ON, TRANSDUCTIVE, Role, trained_places
from mapmend.core.provenance import RECORD
from mapmend.data.prepare import class_areas
from mapmend.data.sites import PreparedSite
from mapmend.maps import MapJob, map_jobs
from mapmend.nn.model_folder import ModelCard, model_hash, read_card
from mapmend.project import Project
from mapmend.raster.trained import TrainedGround
from mapmend.report.change_gather import change_report
from mapmend.report.data import Accuracy, ClassAreas, CurvePoint, ReportData, SitePanel, StepTime
from mapmend.report.estimated import read_assessment
from mapmend.report.gather import pair_panel, pair_rasters, site_panel
from mapmend.report.page import write_report
from mapmend.report.panel import draw_panel
from mapmend.report.reliability import Reliability, reliability_of
from mapmend.report.score import score_change, score_site
from mapmend.stages import MODEL, TRAINING
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
    codes: Crosswalk

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
        before, site = self.job.compared, self.job.site
        if before is None:
            return site_panel(site, self.legend, self.job.folder, self.codes)
        return pair_panel(before, site, self.legend, self.job.folder, self._change_folder, self.codes)

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
    settings, legend, codes = project.report_settings(), project.score_legend, project.score_crosswalk
    mapped = [_Mapped(job, legend, codes) for job in map_jobs(project, out) if job.mapped]
    if not mapped:
        raise JobError("there is no map to report on", where=out, fix="predict first")
    later = [one.dates[1] for one in mapped]
    earlier = [before for one in mapped if (before := one.dates[0]) is not None]
    changes = {one.job.key: one.change for one in mapped if one.change is not None}
    change = change_report(list(changes.values()), legend, [one.scored_change(project.aoi) for one in mapped])
    card = read_card(out / MODEL) if (out / MODEL).is_dir() else None
    reliability = reliability_of(card.metrics, out / MODEL) if card else None
    best = card.metrics.get("best_step") if card else None
    seen = _seen([one.job for one in mapped], card, out / MODEL)
    grouping = project.grouping()
    accuracies = [
        score(shown, legend, project.aoi, codes=codes, seen=seen, grouping=grouping) for shown in (later, earlier)
    ]
    data = ReportData(
        settings.title or project.name,
        legend,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        sites=tuple(one.panel() for one in mapped[: settings.sites]),
        curves=tuple(_curves(out / TRAINING / "log.jsonl")),
        best_step=best if isinstance(best, int) else None,
        areas=_areas(later, codes),
        areas_before=_areas(earlier, codes) if earlier else None,
        accuracy=accuracies[0],
        accuracy_before=accuracies[1],
        change=change,
        times=tuple(StepTime(verb, took) for verb, took in seconds.items()),
        notes=_notes(accuracies[0], len(mapped), settings.sites, reliability, project.predict_settings().prior),
        reliability=None if isinstance(reliability, str) else reliability,
        estimated=read_assessment(out),
        provenance={key: value for key, value in card.provenance.items() if key != TRAINED_ON} if card else {},
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


def score(
    shown: Sequence[Shown],
    legend: Legend,
    aoi: Path | None = None,
    *,
    codes: Crosswalk | None = None,
    seen: Mapping[str, Role | None] | None = None,
    grouping: Grouping | None = None,
) -> Accuracy | None:
    """Confusion of maps and labels with the references, pooled over the sites that have one; None without any.

    A label that says nothing of most of these pixels (points, some polygons) is no map, and is not compared with one.

    Args:
        shown: maps and their sites.
        legend: of the references.
        aoi: vector file outside of which there is no map, or None.
        codes: what codes of labels and maps mean in that legend; None: they are its ids.
        seen: by site, what it was to the model; None where nobody knows.
        grouping: of the sites' names.
    """
    judged = [one for one in shown if one.site.reference]
    scored = [score_site(one.site, one.raster, legend, one.other, aoi, codes) for one in judged]
    if not scored:
        return None
    groups: dict[str, ConfusionMatrix] = {}
    if grouping is not None:
        for one, (_, of_map) in zip(judged, scored, strict=True):
            group = grouping.group(one.site.name, where="report: group_by")
            groups[group] = groups.get(group, ConfusionMatrix(legend.names)) + of_map
    nothing = ConfusionMatrix(legend.names)
    labels = [of_label for of_label, _ in scored if of_label is not None]
    label = sum(labels, nothing) if len(labels) == len(scored) else None
    words = f"{len(scored)} of {len(shown)} mapped sites have a reference."
    if label is not None and label.missing.sum() > _SPARSE * label.pixels:
        share = 1 - label.missing.sum() / label.pixels
        words += f" The label knows {share:.1%} of its pixels, and is not compared with the map."
        label = None
    trained = None if seen is None else any(seen.get(one.site.name) == "train" for one in judged)
    kind = grouping.kind if grouping is not None else ""
    return Accuracy(sum((of_map for _, of_map in scored), nothing), label, words, trained, groups, kind)


def scores_of(accuracy: Accuracy) -> dict[str, Any]:
    """All metrics of label and map, as plain values.

    `headline` has the map's under the names by which they may be told: with `_transductive` at the end where the model
    was trained on one of the places; a mean over groups says of what, as in `miou_state_mean`.
    """
    label, found = accuracy.label, map_metrics(accuracy.map)
    told = {"oa": found.oa, "kappa": found.kappa, "miou": found.miou, "mf1": found.mf1}
    told["macc"] = mean_class_accuracy(accuracy.map)
    told |= group_means(accuracy.kind, accuracy.groups)
    suffix = TRANSDUCTIVE if accuracy.transductive else ""
    groups = {name: {**group_figures(one), "counts": one.to_dict()} for name, one in sorted(accuracy.groups.items())}
    return {
        "reference": accuracy.reference,
        "label": None if label is None else map_metrics(label).to_dict(),
        "map": found.to_dict(),
        "transductive": accuracy.transductive,
        "headline": {f"{name}{suffix}": value for name, value in told.items()},
        **({"groups": groups} if groups else {}),
    }


def _seen(jobs: Sequence[MapJob], card: ModelCard | None, model: Path) -> dict[str, Role | None] | None:
    """By site, what it was to the model of its map; None where a map is another model's, or the model does not say."""
    places = trained_places(card.provenance, model) if card is not None else None
    if places is None:
        return None
    weights, ground = model_hash(model), TrainedGround(places)
    if any(json.loads((job.folder / RECORD).read_text())["config"].get("weights") != weights for job in jobs):
        return None
    return {job.site.name: ground.role_of(job.site.name, job.site.grid) for job in jobs}


def _areas(shown: Sequence[Shown], codes: Crosswalk) -> ClassAreas:
    totals: dict[str, list[tuple[float, ...]]] = {"map": [], "label": [], "reference": []}
    units = set()
    for one in shown:
        site = one.site
        for kind, path in (("map", one.raster), ("label", site.label), ("reference", site.reference)):
            if path is not None:
                areas, unit = class_areas(path, site.grid, codes.target, None if kind == "reference" else codes)
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


def _notes(
    accuracy: Accuracy | None, sites: int, shown: int, reliability: Reliability | str | None, prior: str
) -> tuple[str, ...]:
    notes = []
    if prior == "label":
        notes.append(
            "A place's own label counted beside its image (`prior: label`). How well its confidence holds was found "
            "for images alone."
        )
    if accuracy is not None and accuracy.transductive:
        notes.append(
            "The model was trained on the labels of sites that are scored here (never on their reference): the scores "
            "say how well the labels were mended, not how well the model transfers to other places."
        )
    if sites > shown:
        notes.append(f"{sites} sites were mapped; the first {shown} are shown, all of them are counted.")
    if isinstance(reliability, str):
        notes.append(f"The map's confidence is not calibrated: {reliability}.")
    return tuple(notes)
