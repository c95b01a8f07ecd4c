"""Filled sample files, their design and a map, put together and checked: what all estimates are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mapmend.accuracy.design import SampleDesign
from mapmend.assessing.frame import Frame, check_strata, frame_of
from mapmend.assessing.inference import Bool, Ints, Units
from mapmend.assessing.mapped import MapAreas, MappedClasses, covers
from mapmend.assessing.places import locate
from mapmend.assessing.points import Points, gather, listed
from mapmend.assessing.refusals import (
    check_columns,
    check_numbers,
    check_patches,
    check_pixels,
    check_probabilities,
    design_of,
)
from mapmend.assessing.training import check_training
from mapmend.core.errors import SampleError
from mapmend.sampling.files import SampleTable, read_samples


@dataclass(frozen=True)
class Sample:
    """A sample on a map; classes that neither the map nor an answer has are left out.

    Attributes:
        design: how it was drawn, with the K classes that are left.
        points: with their answers.
        rows: n, of the map.
        cols: n, of the map.
        mapped: n, class index in the map.
        mapped_before: n, of the earlier date; None where the map or the sample is of one date.
        areas: of the map.
        frame: how points are weighted.
        one_population: whether the map is of the design's population, as far as its size tells.
        reader: of the map.
        left_out: names of classes.
    """

    design: SampleDesign
    points: Points
    rows: Ints
    cols: Ints
    mapped: Ints
    mapped_before: Ints | None
    areas: MapAreas
    frame: Frame
    one_population: bool
    reader: MappedClasses
    left_out: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes."""
        return self.design.classes

    def units(self, chosen: Bool) -> Units:
        """The points for which `chosen`."""
        patches = self.points.patches if self.design.kind == "cluster" else None
        chosen_patches = None if patches is None else patches[chosen]
        return Units(self.frame.form, self.frame.stratum[chosen], self.frame.sizes, chosen_patches)


def gather_sample(
    files: Sequence[Path], design: SampleDesign | Path | None, map_path: Path, training: Path | None
) -> Sample:
    """Read a sample on a map, and refuse one from which nothing valid follows; arguments as in `assess_sample`."""
    drawn = design_of(design, files)
    table = read_samples(files, needed=("reference",))
    check_columns(table)
    points = gather(table, drawn)
    check_numbers(points, drawn)
    check_patches(points, drawn)
    reader = MappedClasses(map_path, drawn)
    rows, cols = locate(table, points, reader.grid)
    own = _own_pixels(table, points)
    check_pixels(points, *(own if own is not None else (rows, cols)), drawn)
    mapped, before = reader.at(rows, cols)
    nothing = mapped < 0
    if nothing.any():
        raise SampleError(
            f"{int(nothing.sum())} of {nothing.size} points lie where the map has no class (points "
            f"{listed(points.ids[nothing])})",
            where=map_path,
            fix="give a map that has a class wherever the sample was drawn",
        )
    if training is not None:
        check_training(training, points, rows, cols, reader.grid, drawn)
    areas = _population(reader, drawn)
    same_grid = own is not None and all((one == other).all() for one, other in zip(own, (rows, cols), strict=True))
    unit_areas = None
    if areas.unit == "px":
        unit_areas = np.ones(rows.size)
    elif same_grid and drawn.kind != "cluster":
        unit_areas = reader.areas_at(rows, cols) * (sum(areas.pixels) / sum(areas.areas))
    check_probabilities(points, table, drawn, unit_areas)
    check_strata(drawn, points.ids, points.stratum, mapped, areas.pixels)
    return _compact(drawn, points, (rows, cols), (mapped, before), areas, reader)


def _population(reader: MappedClasses, design: SampleDesign) -> MapAreas:
    """How much of each class the map has; of the map that the sample was drawn on, within what it was drawn from."""
    areas = reader.areas()
    if not design.class_pixels or not reader.sampled:
        return areas
    if sum(areas.pixels) == sum(design.class_pixels):
        if areas.pixels != design.class_pixels:
            raise SampleError(
                "the design's class_pixels are not those of this map, though it is the one that was sampled",
                fix="give the design as `mapmend sample` wrote it",
            )
        return areas
    return replace(areas, pixels=design.class_pixels, areas=design.class_areas_ha or design.class_pixels, changed=None)


def _own_pixels(table: SampleTable, points: Points) -> tuple[Ints, Ints] | None:
    """Rows and columns on the grid that the sample was drawn on."""
    if table.rows is None or table.cols is None:
        return None
    return table.rows[points.first].astype(np.intp), table.cols[points.first].astype(np.intp)


def _compact(
    design: SampleDesign,
    points: Points,
    places: tuple[Ints, Ints],
    mapped: tuple[Ints, Ints | None],
    areas: MapAreas,
    reader: MappedClasses,
) -> Sample:
    """Leave out classes that neither the map nor an answer has, as far as two are left."""
    used = np.array(areas.pixels) > 0
    for seen in (points.answers, points.answers_before, mapped[1]):
        if seen is not None:
            used[np.unique(seen[seen >= 0])] = True
    if used.sum() < 2:
        used[:] = True
    place: Ints = np.append(np.cumsum(used) - 1, -1).astype(np.intp)  # the last one is for -1, no answer
    kept = np.flatnonzero(used).tolist()
    names = design.classes
    drawn = replace(
        design,
        classes=tuple(names[k] for k in kept),
        class_ids=tuple(design.class_ids[k] for k in kept),
        class_pixels=(),
        class_areas_ha=(),
    )
    points = replace(
        points,
        answers=place[points.answers],
        answers_before=None if points.answers_before is None else place[points.answers_before],
    )
    small = replace(areas, pixels=tuple(areas.pixels[k] for k in kept), areas=tuple(areas.areas[k] for k in kept))
    here, one_population = place[mapped[0]], covers(areas, design)
    answered = points.headline[0] >= 0
    known = small.shares if one_population else None
    return Sample(
        design=drawn,
        points=points,
        rows=places[0],
        cols=places[1],
        mapped=here,
        mapped_before=None if mapped[1] is None else place[mapped[1]],
        areas=small,
        frame=frame_of(drawn, points.stratum, here, answered, small.pixels, known),
        one_population=one_population,
        reader=reader,
        left_out=tuple(name for k, name in enumerate(names) if not used[k]),
    )
