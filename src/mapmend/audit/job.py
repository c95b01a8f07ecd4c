"""`audit`: a label judged by models that have not seen it, and what looks wrong in it as files."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from mapmend.audit.examining import Examined, examine
from mapmend.audit.folds import cross_fit
from mapmend.audit.given import judged_by_model
from mapmend.audit.held_out import Judged
from mapmend.audit.label_files import label_files
from mapmend.audit.mending import KEPT, REPLACED, choices_of
from mapmend.audit.objects import ACCEPT, REJECT, Listed, write_layer, write_rasters
from mapmend.audit.page import write_page
from mapmend.audit.record import AuditResult, LabelFile, Record, record_of, same_record
from mapmend.audit.review import recalibrated
from mapmend.audit.settings import AuditSettings
from mapmend.audit.verdicts import Verdicts, read_verdicts
from mapmend.core.durable import replace_json, typed_faults
from mapmend.core.errors import LabelError, ManifestError, MapmendError
from mapmend.core.legend import Legend
from mapmend.core.plain import suggestion
from mapmend.core.provenance import RECORD, file_hash, provenance, value_hash
from mapmend.data.sites import PreparedSite, load_prepared
from mapmend.maps import PREPARED
from mapmend.project import Project
from mapmend.steps import prepare_step

AUDIT = "audit"
_WORK = ".work"


def audit_project(
    project: Project,
    out: Path,
    settings: AuditSettings | None = None,
    *,
    sites: Sequence[str] = (),
    reviewed: Path | None = None,
    device: str = "auto",
) -> AuditResult:
    """Judge a project's labels by models that were trained on other ground, and list the objects that look wrong.

    What an earlier call with the same project has trained and predicted is used again.

    Args:
        project: whose `train` settings train a model per fold.
        out: the project's folder; results go to `audit` in it.
        settings: of the audit.
        sites: to be judged; all labelled ones where none is named. Models are trained on all of them.
        reviewed: a layer of this very audit with verdicts, by which chances are recalibrated.
        device: auto, cpu, cuda or mps.

    Raises:
        MapmendError: an input or a setting is wrong.
        Preempted: a signal came; the same call goes on.
    """
    start, settings = time.perf_counter(), settings or AuditSettings()
    verdicts = _verdicts(reviewed)
    prepare_step(project, out)
    prepared = load_prepared(out / PREPARED)
    labelled = _chosen(prepared.labelled, ())
    chosen = {site.name for site in _chosen(labelled, sites)}
    files = label_files(project, out, [site for site in labelled if site.name in chosen])
    predict = asdict(project.predict_settings())
    looks = [predict[name] for name in ("window", "overlap", "precision", "views", "suppress")]
    train = project.steps.get("train", {})
    trained = value_hash([train, project.seed, file_hash(out / PREPARED), settings.folds, looks])
    work = out / AUDIT / _WORK / trained[:16]
    judged = cross_fit(project, out, work, labelled, settings.folds, device)
    judged = tuple(one for one in judged if one.site.name in chosen)
    task = _Task(judged, prepared.legend, files, settings, settings.folds, trained)
    return task.finish(out / AUDIT, work, verdicts, start)


def audit_model(
    model: Path,
    images: Sequence[Path],
    label: Path,
    out: Path,
    settings: AuditSettings | None = None,
    *,
    label_legend: str | None = None,
    reviewed: Path | None = None,
    device: str = "auto",
) -> AuditResult:
    """Judge a label by a model that was trained elsewhere, and list the objects that look wrong.

    Args:
        model: its folder.
        images: of the place, one per sensor of the model.
        label: class raster or polygons.
        out: folder of the results.
        settings: of the audit; there are no folds.
        label_legend: what the label's codes are, as in a manifest.
        reviewed: as of `audit_project`.
        device: auto, cpu, cuda or mps.

    Raises:
        LabelError: the model was trained on this label, or cannot tell.
        MapmendError: an input or a setting is wrong.
        Preempted: a signal came; the same call goes on.
    """
    start, settings = time.perf_counter(), settings or AuditSettings()
    verdicts = _verdicts(reviewed)
    work = out / _WORK
    with _cleared(out):
        judged, legend, file, identity = judged_by_model(model, images, label, work, label_legend, device)
        task = _Task((judged,), legend, (file,), settings, 0, identity)
        return task.finish(out, work, verdicts, start)


@dataclass(frozen=True)
class _Task:
    """What is to be examined, and what it is called."""

    judged: tuple[Judged, ...]
    legend: Legend
    files: tuple[LabelFile, ...]
    settings: AuditSettings
    folds: int
    trained: str

    def finish(
        self, out: Path, work: Path, verdicts: tuple[Record, Verdicts, Path] | None, start: float
    ) -> AuditResult:
        """Examine, write all files, and say what was found."""
        settings = self.settings
        labels = [[file.site, file.date, file.sha256] for file in self.files]
        whole = [self.trained, settings.min_pixels, settings.seed, labels]
        audit = value_hash(whole)[:16]
        record = Record(audit, self.files, self.legend.to_dict())
        if verdicts is not None:
            same_record(verdicts[0], verdicts[2], audit)
        found = examine(self.judged, self.legend, settings)
        rows = found.order[: settings.objects]
        listed, found = _listed(found, rows, verdicts[1] if verdicts is not None else None)
        with typed_faults(out):
            out.mkdir(parents=True, exist_ok=True)
            (out / RECORD).unlink(missing_ok=True)
        place = np.full(len(found.parts), -1)
        place[rows] = np.arange(len(rows))
        choices = choices_of(found)
        choices[rows[listed.verdicts == ACCEPT]], choices[rows[listed.verdicts == REJECT]] = REPLACED, KEPT
        polygons, mended = write_rasters(found, place, choices, self.legend, out, work)
        write_layer(listed, polygons, found.sites, self.legend, out, record.to_text())
        budget = found.budget(np.random.default_rng([settings.seed, 0xB0D6E7]))
        result = AuditResult(
            folder=out,
            audit=audit,
            legend=self.legend,
            sites=tuple(one.key for one in self.judged),
            folds=self.folds,
            labelled=found.labelled,
            parts=len(found.parts),
            suspicious=len(found.order),
            listed=len(rows),
            reviewed=int((listed.verdicts != "").sum()),
            expected=float(found.chances.sum()),
            mended=mended,
            moved=found.shift,
            diagnosis=found.diagnosis,
            matrix=found.matrix,
            budget=budget,
            seconds=round(time.perf_counter() - start, 1),
            notes=_notes(found, len(rows)),
        )
        write_page(result, listed, polygons, found.sites, out / "audit.html")
        replace_json(out / "audit.json", result.to_dict())
        config = {"audit": audit, "folds": self.folds, "settings": asdict(settings), "labels": asdict(record)["labels"]}
        replace_json(out / RECORD, provenance(config, seed=settings.seed))
        return result


def _listed(found: Examined, rows: np.ndarray, verdicts: Verdicts | None) -> tuple[Listed, Examined]:
    """The objects of some rows, and the chances of all as the verdicts change them."""
    words, notes = np.full(len(rows), "", object), np.full(len(rows), "", object)
    if verdicts is not None:
        known = (verdicts.rank >= 1) & (verdicts.rank <= len(rows))
        words[verdicts.rank[known] - 1], notes[verdicts.rank[known] - 1] = (
            verdicts.verdict[known],
            verdicts.note[known],
        )
        seen = words != ""
        before, wrong = found.chances[rows][seen], (words[seen] == ACCEPT).astype(np.float64)
        differs = found.parts.differs
        chances = np.where(differs, recalibrated(found.chances, before, wrong), 0.0)
        draws = tuple(np.where(differs, recalibrated(drawn, before, wrong), 0.0) for drawn in found.draws)
        found = replace(found, chances=chances, draws=draws)
    parts = found.parts.chosen(rows)
    return Listed(parts, found.scores[rows], found.chances[rows], found.reasons[rows], words, notes), found


def _notes(found: Examined, listed: int) -> tuple[str, ...]:
    notes = []
    if listed < len(found.order):
        notes.append(f"{len(found.order) - listed} less suspicious objects are not listed.")
    unknown = [
        name for name, row in zip(found.sites[0].reader.legend.names, found.matrix.shares, strict=True) if row is None
    ]
    if unknown:
        notes.append(f"Too few confident pixels to say how {', '.join(unknown)} is labelled.")
    return tuple(notes)


def _chosen(labelled: Sequence[PreparedSite], names: Sequence[str]) -> tuple[PreparedSite, ...]:
    if not labelled:
        raise LabelError("no site has a label to audit", fix="give the manifest a `label`")
    for name in names:
        if name not in {site.name for site in labelled}:
            known = [site.name for site in labelled]
            raise ManifestError(f"no labelled site '{name}'", where="--site", fix=suggestion(name, known))
    return tuple(site for site in labelled if not names or site.name in names)


def _verdicts(reviewed: Path | None) -> tuple[Record, Verdicts, Path] | None:
    if reviewed is None:
        return None
    return record_of(reviewed), read_verdicts(reviewed, geometry=False), reviewed


@contextlib.contextmanager
def _cleared(out: Path) -> Iterator[None]:
    """Leave no folder behind that was made for an audit which was refused."""
    there = out.exists()
    try:
        yield
    except MapmendError:
        if not there:
            shutil.rmtree(out, ignore_errors=True)
        raise
