"""The project file: what is to be mapped, from what, in which steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from mapmend.change.settings import ChangeSettings
from mapmend.core.error_matrix import ROUNDED, read_error_matrix, read_transition
from mapmend.core.errors import LegendError, ProjectError
from mapmend.core.grouping import Grouping
from mapmend.core.legend import Crosswalk, Legend, load_crosswalk, load_legend
from mapmend.core.plain import read_yaml, suggestion
from mapmend.core.sensor import Sensor, load_sensor
from mapmend.core.settings import from_mapping, settings
from mapmend.core.three_state import RISKS
from mapmend.pseudo.settings import PseudoSettings
from mapmend.row import VERBS, Row, Step, read_row
from mapmend.step_settings import PredictSettings, ReportSettings, TrainSettings, check_settings, train_settings

__all__ = ["VERBS", "Project", "load_project"]
EVERY_CLASS = "all"  # what `probabilities` may say instead of names
OLD_IS_BEFORE = "before"  # what `old` says for the earlier map


@settings
class ScoreAs:
    """Classes that maps are scored in.

    Attributes:
        legend: of the references.
        crosswalk: from the project's legend to it; empty for the one that has the name of the project's legend.
    """

    legend: str
    crosswalk: str = ""


@settings
class _Document:
    """The keys of a project file."""

    name: str
    legend: str | dict[str, Any]
    sensors: dict[str, str | dict[str, Any]]
    scenes: str | list[dict[str, Any]]
    reference: str | list[dict[str, Any]] | None = None
    score_as: str | ScoreAs = ""
    data: str = ""
    aoi: str | None = None
    seed: Annotated[int, Field(ge=0)] = 0
    steps: list[str | dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Project:
    """A project, read and checked.

    Attributes:
        folder: where relative paths to legends, sensor cards and the area of interest start.
        data: where relative paths of scenes and references start.
        steps: verbs in their order, with what the file says about each; of several trainings, the last and what comes
            after it.
        row: all steps with their names.
        score_legend: legend of the references, in which maps are shown and scored; the project's own by default.
        score_crosswalk: from the project's legend to that one.
        listed: whether the file lists its steps; where it does not, `change` is done if there is something to compare.
    """

    name: str
    path: Path
    folder: Path
    data: Path
    legend: Legend
    sensors: Mapping[str, Sensor]
    scenes: str | Sequence[Mapping[str, Any]]
    reference: str | Sequence[Mapping[str, Any]] | None
    aoi: Path | None
    seed: int
    steps: Mapping[str, Mapping[str, Any]]
    score_legend: Legend
    score_crosswalk: Crosswalk
    listed: bool = True
    row: Row = Row((), {})

    def at(self, step: Step) -> Project:
        """The project as a training or labelling before the last one sees it."""
        return replace(self, steps={step.verb: step.own}, row=Row((), {step.verb: step}), listed=True)

    def pseudo_settings(self) -> PseudoSettings:
        """How labels are made."""
        return from_mapping(PseudoSettings, self.steps.get("pseudo", {}), where=self.path)

    def train_settings(self) -> TrainSettings:
        """How the model is trained; the project's seed draws, unless the step has its own."""
        return train_settings({"seed": self.seed, **self.steps.get("train", {})}, self.path)

    def predict_settings(self) -> PredictSettings:
        """How the model is applied."""
        return from_mapping(PredictSettings, self.steps.get("predict", {}), where=self.path)

    def change_settings(self) -> ChangeSettings:
        """What counts as a change."""
        return from_mapping(ChangeSettings, self.steps.get("change", {}), where=self.path)

    @property
    def dates(self) -> Literal["latest", "all", "pair"]:
        """Which dates of a site are mapped."""
        asked = self.predict_settings().dates
        if asked == "auto":
            return "pair" if "change" in self.steps or self._trains_on_pairs() else "latest"
        return asked

    def _trains_on_pairs(self) -> bool:
        if "method" not in self.steps.get("train", {}):  # of one date, and torch is not waited for
            return False
        return self.train_settings().method.dates > 1

    @property
    def old_map(self) -> str:
        """The map that changes are put into: its path, `before`, or empty, as in `ChangeSettings`."""
        old = self.change_settings().old
        return str(self.data / old) if old not in ("", OLD_IS_BEFORE) else old

    def grouping(self) -> Grouping | None:
        """How the report groups sites.

        Raises:
            ProjectError: `group_by` does not say where a name has its group.
        """
        pattern = self.report_settings().group_by
        return Grouping.of(pattern, where=f"{self.path}: report: group_by") if pattern else None

    def report_settings(self) -> ReportSettings:
        """What the report shows."""
        return from_mapping(ReportSettings, self.steps.get("report", {}), where=self.path)


def load_project(path: str | Path, data: Path | None = None) -> Project:
    """Read a project file and check every key of it, before any work starts.

    Args:
        path: of the file.
        data: folder that the scenes' relative paths start from; the file's `data`, or else its own folder.

    Raises:
        ProjectError: it is missing, not YAML, or has an unknown key or a value of the wrong type.
        LegendError, SensorError: a name in it is unknown.
    """
    path = Path(path)
    document = from_mapping(_Document, read_yaml(path, ProjectError), where=path)
    folder = path.absolute().parent
    if not document.name or "/" in document.name or document.name.startswith("."):
        raise ProjectError(f"name '{document.name}' cannot name a folder", where=path, fix="use letters, digits, - _")
    if not document.sensors:
        raise ProjectError("names no sensor", where=path, fix="for example `sensors: {optical: naip}`")
    aoi = folder / document.aoi if document.aoi else None
    if aoi is not None and not aoi.is_file():
        raise ProjectError(f"no such file: {aoi}", where=f"{path}: aoi", fix="correct the path")
    legend = load_legend(document.legend, folder)
    row = read_row(document.steps, path, check_settings)
    score_legend, score_crosswalk = _scored_as(document.score_as, legend, folder)
    project = Project(
        document.name,
        path,
        folder,
        data.absolute() if data is not None else folder / document.data,
        legend,
        {name: load_sensor(spec, folder) for name, spec in document.sensors.items()},
        document.scenes,
        document.reference,
        aoi,
        document.seed,
        {verb: step.own for verb, step in row.last.items()},
        score_legend,
        score_crosswalk,
        listed=bool(document.steps),
        row=row,
    )
    for step in row.earlier:
        if step.verb == "train":
            _check_matrix(project.at(step))
    _check_sensors(project)
    _check_change(project)
    _check_probabilities(project)
    _check_prior(project)
    _check_matrix(project)
    project.grouping()
    return project


def _scored_as(asked: str | ScoreAs, legend: Legend, folder: Path) -> tuple[Legend, Crosswalk]:
    wanted = ScoreAs(legend=asked) if isinstance(asked, str) else asked
    if not wanted.legend:
        return legend, load_crosswalk(None, legend)
    target = load_legend(wanted.legend, folder)
    return target, load_crosswalk(wanted.crosswalk or legend.name, target, folder)


def _check_probabilities(project: Project) -> None:
    """Refuse classes that no map of the project has."""
    settings = project.predict_settings()
    if settings.risk not in RISKS:
        raise ProjectError(
            f"no model has thresholds at a risk of {settings.risk:g}",
            where=f"{project.path}: predict: risk",
            fix=f"use {', '.join(map(str, RISKS))}",
        )
    asked = settings.probabilities
    asked = (asked,) if isinstance(asked, str) else asked
    named = {"certain": settings.certain, "suppress": settings.suppress}
    for key, names in (("probabilities", set(asked) - {EVERY_CLASS}), *((k, set(v)) for k, v in named.items())):
        for name in sorted(names):
            try:
                project.legend.index_of(name)
            except LegendError as fault:
                raise LegendError(fault.what, where=f"{project.path}: predict: {key}", fix=fault.fix) from None


def _check_prior(project: Project) -> None:
    """Refuse what a label that counts beside the image does not go with."""
    settings = project.predict_settings()
    if settings.prior == "none":
        return
    where = f"{project.path}: predict: prior"
    if settings.certain:
        fix = "leave out `certain`, whose thresholds are those of the model alone"
        raise ProjectError("a label has no part in three-state maps", where=where, fix=fix)
    if project.dates == "pair":
        raise ProjectError("a label is of one date, and two are mapped together", where=where, fix="map one date")


def _check_matrix(project: Project) -> None:
    """Refuse a matrix of label errors that does not fit the legend; files are read here and again by the method."""
    from mapmend.methods.robust_settings import CROSSWALK, RobustSettings

    own = project.train_settings().own if "train" in project.steps else None
    if not isinstance(own, RobustSettings):
        return
    for key, read in (("error_matrix", read_error_matrix), ("transition", read_transition)):
        given = getattr(own, key)
        if given in ("", CROSSWALK):
            continue
        if isinstance(given, str):
            read(project.folder / given).of(project.legend.names)
        elif given:
            wanted = len(project.legend)
            if len(given) != wanted or any(len(row) != wanted or abs(sum(row) - 1) > ROUNDED for row in given):
                raise ProjectError(
                    f"is not {wanted} rows of {wanted} shares that sum to one",
                    where=f"{project.path}: train: {key}",
                    fix=f"rows are true classes, columns labels: {', '.join(project.legend.names)}",
                )


def _check_sensors(project: Project) -> None:
    """Refuse sensors that the project does not have."""
    for step in (*project.row.earlier, *project.row.last.values()):
        if step.verb == "train":
            for name in project.at(step).train_settings().data.sensors:
                if name not in project.sensors:
                    where = f"{project.path}: train: sensors"
                    raise ProjectError(
                        f"sensor '{name}' is unknown", where=where, fix=suggestion(name, project.sensors)
                    )


def _check_change(project: Project) -> None:
    """Refuse, before anything is trained, what would stop `change` at the end."""
    if "change" not in project.steps:
        return
    where = f"{project.path}: steps"
    if "method" in project.steps.get("train", {}):
        _refuse_change_of_change(project.train_settings(), where)
    if project.score_legend != project.legend:
        raise ProjectError("change is not scored in other classes than the map's", where=where, fix="leave out one")
    if project.dates != "pair":
        raise ProjectError(
            f"predict has `dates: {project.dates}`, and change compares maps that are made as a pair",
            where=where,
            fix="write `dates: pair`, or leave `dates` out",
        )
    old = project.old_map
    if old not in ("", OLD_IS_BEFORE) and not Path(old).is_file():
        raise ProjectError(f"no such file: {old}", where=f"{where}: change: old", fix="correct the path")


def _refuse_change_of_change(train: TrainSettings, where: str) -> None:
    if train.method.change_alone(train.own):
        raise ProjectError(
            f"the map of method '{train.method.name}' is the change itself, and has no classes to compare",
            where=where,
            fix="leave out `change`, or use a method that learns classes",
        )
