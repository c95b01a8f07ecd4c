"""From finished change jobs to what a report says of them, all sites together."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.change import ChangeAccuracy
from mapmend.change.record import ChangeResult
from mapmend.core.errors import JobError
from mapmend.core.legend import Legend
from mapmend.report.change_data import ChangeReport

# a GeoPackage is an SQLite file: its polygons are counted there, however many they are
_COUNT = "SELECT from_id, to_id, COUNT(*) FROM changes GROUP BY from_id, to_id"


def change_report(
    results: Sequence[ChangeResult], legend: Legend, scored: Sequence[ChangeAccuracy | None] = ()
) -> ChangeReport | None:
    """The change of all sites together; None without any.

    Args:
        results: of the sites that were mapped at two dates, see `mapmend.change.record.read_change`.
        legend: of all maps.
        scored: their accuracies, see `mapmend.report.score.score_change`; None for a site without references.

    Raises:
        JobError: some sites have areas in hectares and some in pixels, one has other classes, or its polygons cannot
            be read.
    """
    if not results:
        return None
    for result in results:
        if result.from_to.names != legend.names:
            raise JobError("holds change between other classes", where=result.folder, fix="run change again")
    units = {result.from_to.unit for result in results}
    if len(units) > 1:
        raise JobError("some sites have a CRS and some have none: areas cannot be added", fix="assign the CRS")
    patches = sum((_patches(result.folder, legend) for result in results), np.zeros((len(legend),) * 2, np.int64))
    known = [one for one in scored if one is not None]
    total = sum((np.array(result.from_to.areas) for result in results), np.zeros((len(legend), len(legend))))
    return ChangeReport(
        unit=units.pop(),
        areas=tuple(tuple(row) for row in total.tolist()),
        patches=sum(result.patches for result in results),
        patches_of=tuple(tuple(row) for row in patches.tolist()),
        dates=tuple((result.date_before, result.date_after) for result in results),
        threshold=results[0].threshold,
        mmu=results[0].mmu,
        dropped_patches=sum(result.dropped_patches for result in results),
        dropped_area=sum(result.dropped_area for result in results),
        accuracy=sum(known[1:], known[0]) if known else None,
        reference=f"{len(known)} of {len(results)} sites have a reference at both dates." if known else "",
    )


def _patches(folder: Path, legend: Legend) -> npt.NDArray[np.int64]:
    """How many polygons of each transition a change folder holds, K×K [before][after]."""
    counts = np.zeros((len(legend), len(legend)), np.int64)
    path = folder / "changes.gpkg"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as polygons:
            for before, after, number in polygons.execute(_COUNT):
                counts[legend.ids.index(before), legend.ids.index(after)] = number
    except (sqlite3.Error, ValueError) as error:
        raise JobError(f"cannot be read ({error})", where=path, fix="run change again") from None
    return counts
