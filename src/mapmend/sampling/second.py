"""A further round of a sample, for which the answers of the earlier ones say where it pays most.

Units are drawn from those not drawn yet, so that all rounds together are a simple random sample within each stratum.
The inclusion probability of every unit, those of earlier rounds too, is then that of the design which is written
here: n_h a_u / A_h with the samples of all rounds. It replaces what the earlier files say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mapmend.accuracy.allocation import MINIMUM, accuracy_spread, allocate_further, area_spread
from mapmend.accuracy.design import SampleDesign, read_design
from mapmend.core.errors import SampleError
from mapmend.core.provenance import file_hash
from mapmend.raster.progress import StagedProgress
from mapmend.sampling.answers import FirstRound, first_round
from mapmend.sampling.counting import UnitArea, count
from mapmend.sampling.drawing import draw
from mapmend.sampling.files import read_samples
from mapmend.sampling.frame import Frame
from mapmend.sampling.inputs import MapReader, SampledMap
from mapmend.sampling.job import probabilities
from mapmend.sampling.planning import Expected, half_widths
from mapmend.sampling.points import points_of
from mapmend.sampling.population import population_of
from mapmend.sampling.reference import with_references
from mapmend.sampling.strata import StrataRule
from mapmend.sampling.summary import SampleResult
from mapmend.sampling.writing import check_folder, write_sample

_NOTE = "inclusion probabilities of all rounds follow from this design; assess all files together with it"


def second_round(
    source: SampledMap,
    design_file: Path,
    files: Sequence[Path],
    out: Path,
    add: int,
    *,
    aims: Sequence[str] = (),
    minimum: int = MINIMUM,
    level: float = 0.95,
    seed: int | None = None,
    reference: Path | None = None,
    reference_before: Path | None = None,
    reference_legend: str | None = None,
    progress: bool = True,
) -> SampleResult:
    """Draw further units; only these are written, with a design of all rounds.

    Args:
        source: the map of the first round, with the same probabilities and area of interest.
        design_file: of the rounds so far.
        files: the samples of all of them, filled.
        out: folder of the added sample, another one than that of the first.
        add: units to be drawn now.
        aims: classes whose areas matter; none: those of the first round, or else the overall accuracy.
        minimum: of units in each stratum, all rounds together.
        level: of confidence of the expected intervals.
        seed: of the draw; None: that of the first round.
        reference: as in `draw_sample`.
        reference_before: as in `draw_sample`.
        reference_legend: as in `draw_sample`.
        progress: show a progress line on a terminal.

    Raises:
        SampleError: another map or other files than those of the design, or more units than there are.
        MapmendError: as `draw_sample`.
    """
    check_folder(out)
    design = read_design(design_file)
    if add < 1:
        raise SampleError(f"{add} further samples", fix="ask for one or more")
    if design.kind not in ("stratified", "simple"):
        raise SampleError(
            f"a {design.kind} sample has no second round", where=design_file, fix="draw a new sample of its own"
        )
    recorded = design.map.get("probability", {}).get("path")
    if recorded is not None and source.probability is None and (source.path.parent / recorded).is_file():
        source = replace(source, probability=source.path.parent / recorded)
    _check_source(source, design, design_file)
    reader = MapReader(source)
    area = UnitArea(reader.grid, design.map.get("pixel_area_ha"))
    size = reader.bounds.height * reader.bounds.width
    with StagedProgress("sample", source.path.name, size, shown=progress) as bar:
        bar.stage("counting")
        tally = count(reader, area, on_pixels=bar.pixels)
        population = population_of(tally, source, reader.known)
        frame = Frame(reader, area, StrataRule.from_dict(design.map.get("strata", {})), tally)
        _check_strata(frame, design, design_file)
        bar.stage("drawing")
        table = read_samples(files, needed=("id", "stratum", "x", "y", "reference"))
        found = first_round(table, design, frame, reader.grid, population, aims or design.map.get("aims", ()))
        added = _split(found, design, frame, add, minimum)
        seed = design.seed if seed is None else seed
        before = set(zip(found.units.rows.tolist(), found.units.cols.tolist(), strict=True))
        units = draw(frame, added, seed, before)
        both = tuple(one.samples + number for one, number in zip(design.strata, added, strict=True))
        made = _joined(design, both, added)
        points = points_of(
            units,
            frame.rule.names,
            probabilities(frame, units, both),
            reader.grid,
            seed=seed,
            round=len(made.rounds),
            first_id=found.last_id + 1,
            two_dates=source.two_dates,
        )
        if reference is not None:
            points = with_references(points, reader.grid, source.legend, reference, reference_before, reference_legend)
        write_sample(out, points, made, reader.grid)
    expected = Expected(frame.rule.names, np.array(made.sizes), frame.pixels, found.right, found.aims)
    widths = half_widths(expected, both, level) if min(both) > 0 else {}
    said = f"allocated by {found.answered} answered points"
    return SampleResult(out, made, added, widths, level, (said, _NOTE))


def _split(found: FirstRound, design: SampleDesign, frame: Frame, add: int, minimum: int) -> tuple[int, ...]:
    """Further units of each stratum."""
    sizes = design.sizes
    if found.aims:
        shares = np.column_stack(list(found.aims.values()))
        spread = area_spread(sizes, shares, range(shares.shape[1]))
    else:
        spread = accuracy_spread(sizes, found.right)
    drawn = [one.samples for one in design.strata]
    return allocate_further(sizes, drawn, add, spread, minimum=minimum, most=frame.pixels)


def _joined(design: SampleDesign, both: tuple[int, ...], added: tuple[int, ...]) -> SampleDesign:
    strata = tuple(replace(one, samples=number) for one, number in zip(design.strata, both, strict=True))
    return replace(
        design, strata=strata, rounds=(*design.rounds, sum(added)), map={**design.map, "inclusion_probability": _NOTE}
    )


def _check_source(source: SampledMap, design: SampleDesign, where: Path) -> None:
    """Refuse another map, or other files beside it, than those of the design."""
    given = {"map": source.path, "probability": source.probability, "aoi": source.aoi}
    for name, path in given.items():
        recorded: Any = design.map if name == "map" else design.map.get(name)
        if recorded is None and path is None:
            continue
        what = {"map": "map", "probability": "probability raster", "aoi": "area of interest"}[name]
        if path is None:
            raise SampleError(f"was drawn with the {what} '{recorded.get('path')}'", where=where, fix="give it too")
        if recorded is None:
            raise SampleError(f"was drawn without a {what}", where=where, fix="leave it out")
        if recorded.get("sha256") != file_hash(path):
            raise SampleError(
                f"is not the {what} of the first round, or has changed since", where=path, fix=f"give that of {where}"
            )


def _check_strata(frame: Frame, design: SampleDesign, where: Path) -> None:
    made = list(zip(frame.rule.names, frame.pixels.tolist(), strict=True))
    if made != [(one.name, one.pixels) for one in design.strata]:
        raise SampleError("has other strata than the map gives", where=where, fix="give the design as it was written")
