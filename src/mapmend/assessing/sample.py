"""An assessment from filled sample files, the design they were drawn by, and a map."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mapmend.accuracy.design import SampleDesign
from mapmend.accuracy.estimators import Estimate
from mapmend.accuracy.intervals import checked_level
from mapmend.assessing import assisted, notes, trees
from mapmend.assessing.assessment import INTERVALS, Assessment
from mapmend.assessing.figure import Accuracy, Figure
from mapmend.assessing.frame import possible_classes
from mapmend.assessing.gathering import Sample, gather_sample
from mapmend.assessing.inference import FORMS, Bool, Ints, Units, judge, matched_matrix, share
from mapmend.assessing.interpreters import ByInterpreter, Interpreters, agreement
from mapmend.assessing.transitions import Dated, Transitions, transitions
from mapmend.core.errors import SampleError
from mapmend.core.plain import suggestion

_SAMPLES = {
    "stratified": "stratified random",
    "simple": "simple random",
    "systematic": "systematic",
    "cluster": "clusters, stratified random",
}
_Table = tuple[tuple[int, ...], ...]


def assess_sample(
    files: Sequence[Path],
    design: SampleDesign | Path | None,
    map: Path,
    *,
    level: float = 0.95,
    training: Path | None = None,
    probability: tuple[str, Path] | None = None,
) -> Assessment:
    """Accuracy and areas of a map from a reference sample; the map may be another than the sample was drawn on.

    Args:
        files: filled samples, CSV or GeoPackage: of several rounds, of several interpreters. Where two answered a
            point, the headline takes the answer of the one whose answers come first in the files.
        design: how it was drawn; None: `design.json` beside the files.
        map: class raster in the ids of the design, or the folder of a map or of a change.
        level: of confidence, between 0 and 1.
        training: vector file or label raster that a model was trained on: no point may be among it.
        probability: a class and the raster of its probability, for a model-assisted estimate of its area.

    Raises:
        SampleError: a sample from which nothing valid can be estimated.
        RasterError: a raster cannot be read.
        VectorError: a vector file cannot be read.
        GridError: rasters that do not lie on one grid, or have no CRS where one is needed.
    """
    checked_level(level)
    sample = gather_sample(files, design, map, training)
    headline = _Headline.of(sample)
    units, names, total_ha = headline.units, sample.names, sample.design.total_ha
    found = _accuracy(sample, headline, level)
    people = _interpreters(sample, level)
    helped = None if probability is None else _assisted(sample, headline, found, *probability, level)
    changes = _transitions(sample, headline, level)
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, (headline.mapped, headline.true), 1)
    table: _Table = tuple(tuple(row) for row in counts.tolist())
    return Assessment(
        names=names,
        counts=table,
        mapped_ha=_mapped_ha(sample),
        total_ha=total_ha,
        level=level,
        accuracy=found,
        design=_plain(sample, units),
        notes=tuple(_notes(sample, units, table, people, helped)),
        trees=_trees(sample, headline),
        transitions=changes,
        interpreters=people,
        assisted=helped,
    )


@dataclass(frozen=True)
class _Headline:
    """Answered points, as the figures take them.

    Attributes:
        chosen: n, which of the sample's points.
        units: of these.
        mapped: class index in the map.
        true: class index in the reference.
        before: at the earlier date; None where the sample is of one.
    """

    chosen: Bool
    units: Units
    mapped: Ints
    true: Ints
    before: Ints | None

    @classmethod
    def of(cls, sample: Sample) -> _Headline:
        """That of a sample."""
        answers, before = sample.points.headline
        chosen = answers >= 0
        earlier = None if before is None else before[chosen]
        return cls(chosen, sample.units(chosen), sample.mapped[chosen], answers[chosen], earlier)


def _accuracy(sample: Sample, headline: _Headline, level: float) -> Accuracy:
    units, classes, possible = headline.units, len(sample.names), sample.frame.possible
    if units.form != "matched":
        return judge(units, headline.mapped, headline.true, classes, level, possible)
    assert possible is not None
    sizes, counts = np.zeros(classes), np.zeros((classes, classes), np.int64)
    sizes[possible.argmax(axis=1)] = units.sizes
    np.add.at(counts, (headline.mapped, headline.true), 1)
    return matched_matrix(counts, sizes, level)


def _transitions(sample: Sample, headline: _Headline, level: float) -> Transitions | None:
    if headline.before is None:
        return None
    earlier, possible = None, None
    if sample.mapped_before is not None:
        earlier = sample.mapped_before[headline.chosen]
        if sample.frame.form in ("stratified", "matched") and sample.areas.changed is not None:
            changed = (sample.mapped != sample.mapped_before).astype(np.intp)
            parts = sum(sample.areas.pixels) - sample.areas.changed, sample.areas.changed
            possible = possible_classes(sample.design, sample.points.stratum, changed, parts)
    dated = Dated(headline.before, headline.true, earlier, headline.mapped)
    return transitions(headline.units, dated, sample.names, sample.design.total_ha, level, possible)


def _trees(sample: Sample, headline: _Headline) -> trees.Trees:
    """Every class, and of two dates all that changed and every transition found, at the standard's level."""
    names, total_ha = sample.names, sample.design.total_ha

    def area(hits: Bool) -> Figure:
        return share(headline.units, hits, trees.TREES_LEVEL)

    rows = [trees.trees_row(name, area(headline.true == k), total_ha) for k, name in enumerate(names)]
    if headline.before is not None:
        rows.append(trees.trees_row("all change", area(headline.before != headline.true), total_ha))
        pairs = sorted(set(zip(headline.before.tolist(), headline.true.tolist(), strict=True)))
        for i, j in pairs:
            if i != j:
                hits = (headline.before == i) & (headline.true == j)
                rows.append(trees.trees_row(f"{names[i]} → {names[j]}", area(hits), total_ha))
    return trees.Trees(tuple(rows))


def _assisted(
    sample: Sample, headline: _Headline, found: Accuracy, name: str, path: Path, level: float
) -> assisted.Assisted:
    by_name = {one.casefold(): k for k, one in enumerate(sample.names)}
    if name.casefold() not in by_name:
        raise SampleError(f"'{name}' is no class of the sample", where=path, fix=suggestion(name, sample.names))
    k = by_name[name.casefold()]
    places = sample.rows[headline.chosen], sample.cols[headline.chosen]
    plain = Estimate(found.areas[k].estimate, found.areas[k].se)
    truth = headline.true == k
    return assisted.assist(path, sample.names[k], headline.units, truth, sample.reader, *places, plain, level)


def _interpreters(sample: Sample, level: float) -> Interpreters | None:
    points, names = sample.points, sample.names
    if len(points.interpreters) < 2:
        return None
    each = []
    for name, answers in zip(points.interpreters, points.answers, strict=True):
        chosen = answers >= 0
        units, true = sample.units(chosen), answers[chosen]
        areas = tuple(share(units, true == k, level) for k in range(len(names)))
        each.append(ByInterpreter(name, int(chosen.sum()), areas))
    pairs = itertools.combinations(zip(points.interpreters, points.answers, strict=True), 2)
    found = (agreement(*pair, names) for pair in pairs)
    return Interpreters(names, sample.design.total_ha, tuple(each), tuple(one for one in found if one is not None))


def _mapped_ha(sample: Sample) -> tuple[float, ...] | None:
    """Counted areas, with the design's total: its pixels may be rounded in area."""
    if not sample.one_population:
        return None
    return tuple(share_of * sample.design.total_ha for share_of in sample.areas.shares)


def _plain(sample: Sample, units: Units) -> dict[str, Any]:
    design, frame = sample.design, sample.frame
    answered = _answered(sample)
    return {
        "sample": _SAMPLES[design.kind],
        "strata": frame.strata,
        "estimator": FORMS[frame.form],
        "stratum_pixels": [one.pixels for one in design.strata],
        "samples": answered,
        "pixel_area_ha": design.pixel_area_ha,
        "total_ha": design.total_ha,
        "stratum_table": [
            {"name": one.name, "pixels": one.pixels, "area_ha": one.area_ha, "drawn": one.samples, "answered": number}
            for one, number in zip(design.strata, answered, strict=True)
        ],
        "weights": {name: weight for name, weight in zip(frame.names, units.weights.tolist(), strict=True)},
        "map": {
            "name": sample.reader.path.name,
            "class_pixels": dict(zip(sample.names, sample.areas.pixels, strict=True)),
        },
        "seed": design.seed,
    }


def _answered(sample: Sample) -> list[int]:
    """Answered units of each of the design's strata."""
    chosen = sample.points.headline[0] >= 0
    stratum = sample.points.stratum[chosen]
    if sample.design.kind == "cluster" and sample.points.patches is not None:
        stratum = stratum[np.unique(sample.points.patches[chosen], return_index=True)[1]]
    return [int(number) for number in np.bincount(stratum, minlength=len(sample.design.strata))]


def _notes(
    sample: Sample, units: Units, counts: _Table, people: Interpreters | None, helped: assisted.Assisted | None
) -> Iterator[str]:
    design, frame = sample.design, sample.frame
    yield INTERVALS
    yield from notes.on_form(frame.form, sample.one_population)
    yield from notes.on_kind(design.kind)
    unit = "patches" if design.kind == "cluster" else "points"
    yield from notes.on_answers(design, _answered(sample), sample.points.half, unit)
    matched = frame.form == "matched"
    yield from notes.on_lone_samples(frame.names, frame.sizes.tolist(), units.answered.tolist(), matched=matched)
    yield from notes.on_classes(sample.names, counts, sample.areas.pixels)
    if sample.left_out:
        yield f"in neither map nor reference, and left out: {', '.join(sample.left_out)}"
    if not sample.one_population:
        yield "the map covers another area than the sample's population: its counted areas are not compared"
    if design.two_dates and sample.points.answers_before is None:
        yield "the design is of two dates, and no 'reference_before' is filled: transitions are not estimated"
    if people is not None:
        yield (
            "where several interpreters answered a point, the first counts of: "
            f"{', '.join(sample.points.interpreters)}; agreement is of points, unweighted"
        )
    if helped is not None:
        yield assisted.NOTE
    yield trees.NOTE
