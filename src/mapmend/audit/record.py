"""What an audit says of itself: in its GeoPackage, so that a review comes back to the right label; and in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mapmend.audit.diagnosis import Diagnosis
from mapmend.audit.matrix import NoiseMatrix
from mapmend.audit.odds import Budget
from mapmend.core.errors import JobError
from mapmend.core.legend import Legend
from mapmend.raster.vector_writing import read_record


@dataclass(frozen=True)
class LabelFile:
    """A label that was judged.

    Attributes:
        site: whose label it is.
        date: of the site.
        path: of the file.
        sha256: of the file's bytes.
        codes: (code, legend id) of each code that means a class.
        grid: of the site, as plain values.
        fault: why a corrected copy cannot be written; empty where it can.
    """

    site: str
    date: str
    path: str
    sha256: str
    codes: tuple[tuple[int, int], ...]
    grid: Mapping[str, Any]
    fault: str = ""


@dataclass(frozen=True)
class Record:
    """What a layer of suspicious objects belongs to.

    Attributes:
        audit: identity of the audit.
        labels: that were judged.
        legend: as plain values.
    """

    audit: str
    labels: tuple[LabelFile, ...]
    legend: Mapping[str, Any]

    def to_text(self) -> str:
        """As it is written into the GeoPackage."""
        return json.dumps({"format": "mapmend-audit", **asdict(self)})


def record_of(path: Path) -> Record:
    """The record of a reviewed GeoPackage.

    Raises:
        JobError: there is no such file, or no audit wrote it.
    """
    if not path.is_file():
        raise JobError("no such file", where=path, fix="give the reviewed audit.gpkg")
    try:
        plain = json.loads(read_record(path) or "")
        labels = tuple(
            LabelFile(**{**one, "codes": tuple((int(code), int(id_)) for code, id_ in one["codes"])})
            for one in plain["labels"]
        )
        return Record(str(plain["audit"]), labels, plain["legend"])
    except (ValueError, KeyError, TypeError):
        raise JobError(
            "does not say which labels it judges",
            where=path,
            fix="give the audit.gpkg itself with verdicts filled in, not an export of it",
        ) from None


@dataclass(frozen=True)
class AuditResult:
    """A finished audit.

    Attributes:
        folder: of the files.
        audit: identity.
        legend: of the labels.
        sites: that were judged.
        folds: parts the labelled ground was cut into; 0 where a given model judged.
        labelled: pixels that were judged.
        parts: of the labels that are large enough, and
        suspicious: those of them for which another class is proposed.
        listed: objects in the files.
        reviewed: verdicts that were taken into account.
        expected: suspicious objects that are wrong, as far as can be told.
        mended: pixels of the labels that have another class in `mended.tif`, and
        moved: (down, right) pixels by which the labels were moved back there.
        diagnosis: of the noise.
        matrix: of the noise.
        budget: what looking finds.
        seconds: it took, trainings that were found done not included.
        notes: what a reader should know.
    """

    folder: Path
    audit: str
    legend: Legend
    sites: tuple[str, ...]
    folds: int
    labelled: int
    parts: int
    suspicious: int
    listed: int
    reviewed: int
    expected: float
    mended: int
    moved: tuple[int, int]
    diagnosis: Diagnosis
    matrix: NoiseMatrix
    budget: tuple[Budget, ...]
    seconds: float
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        plain = {name: value for name, value in vars(self).items() if name not in ("folder", "legend")}
        matrix = {"classes": self.legend.names, **asdict(self.matrix)}
        budget = [asdict(one) for one in self.budget]
        return {
            **plain,
            "folder": str(self.folder),
            "diagnosis": asdict(self.diagnosis),
            "matrix": matrix,
            "budget": budget,
        }


def same_record(given: Record, path: Path, audit: str) -> None:
    """Refuse a reviewed file of another audit.

    Raises:
        JobError: it is.
    """
    if given.audit != audit:
        raise JobError(
            "is of another audit: its ranks mean other objects", where=path, fix="review the audit.gpkg of this folder"
        )


def label_of(record: Record, sha256: str, path: Path, reviewed: Path) -> Sequence[LabelFile]:
    """The entries of a record that are of a label file.

    Raises:
        JobError: it judges other labels.
    """
    found = [one for one in record.labels if one.sha256 == sha256]
    if not found:
        names = ", ".join(dict.fromkeys(Path(one.path).name for one in record.labels[:3]))
        raise JobError(
            f"judges another label ({names}), not {path.name} as it is now",
            where=reviewed,
            fix="give the very file that was audited",
        )
    return found
