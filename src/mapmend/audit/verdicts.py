"""Verdicts of a review, read back from the layer."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError

from mapmend.audit.objects import ACCEPT, LAYER, REJECT
from mapmend.core.errors import JobError

_FIELDS = ("rank", "site", "date", "proposed_id", "verdict", "note")


@dataclass(frozen=True)
class Verdicts:
    """Rows of a reviewed layer.

    Attributes:
        rank: of each object.
        site: of each.
        date: of each.
        proposed_id: of each.
        verdict: accept, reject or empty.
        note: of each.
        geometry: of each, WKB.
    """

    rank: npt.NDArray[np.int64]
    site: npt.NDArray[np.object_]
    date: npt.NDArray[np.object_]
    proposed_id: npt.NDArray[np.int64]
    verdict: npt.NDArray[np.object_]
    note: npt.NDArray[np.object_]
    geometry: npt.NDArray[np.object_]


def read_verdicts(path: Path, *, geometry: bool = True) -> Verdicts:
    """The rows of a reviewed `audit.gpkg`.

    Raises:
        JobError: it cannot be read, lacks a field, or holds a verdict that is neither accept nor reject.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # without a CRS
            meta, _, shapes, values = pyogrio.raw.read(path, layer=LAYER, read_geometry=geometry)
    except (DataSourceError, DataLayerError) as fault:
        raise JobError(f"cannot be read ({fault})", where=path, fix="give the reviewed audit.gpkg") from None
    columns = dict(zip(meta["fields"].tolist(), values, strict=True))
    for name in _FIELDS:
        if name not in columns:
            raise JobError(f"has no field '{name}'", where=path, fix="keep the fields of audit.gpkg")
    verdict = _texts(columns["verdict"], lower=True)
    for rank, word in zip(columns["rank"].tolist(), verdict.tolist(), strict=True):
        if word not in ("", ACCEPT, REJECT):
            raise JobError(
                f"verdict '{word}' of object {rank} is unknown", where=path, fix=f"write {ACCEPT}, {REJECT} or nothing"
            )
    found = shapes if shapes is not None else np.full(len(verdict), None, object)
    whole = (columns[name].astype(np.int64) for name in ("rank", "proposed_id"))
    rank, proposed = whole
    site, date, note = (_texts(columns[name]) for name in ("site", "date", "note"))
    return Verdicts(rank, site, date, proposed, verdict, note, found)


def _texts(values: npt.NDArray[np.generic], *, lower: bool = False) -> npt.NDArray[np.object_]:
    texts = ["" if value is None or value != value else str(value).strip() for value in values.tolist()]
    return np.array([text.lower() if lower else text for text in texts], object)
