"""Drawing a sample: a map is counted, strata are made, units are drawn and written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mapmend.accuracy.design import SampleDesign, Stratum
from mapmend.core.errors import SampleError
from mapmend.core.provenance import file_hash
from mapmend.raster.progress import StagedProgress
from mapmend.sampling.counting import Tally, UnitArea, count
from mapmend.sampling.drawing import draw, systematic
from mapmend.sampling.frame import Frame, Units
from mapmend.sampling.inputs import MapReader, SampledMap, open_map, probability_beside
from mapmend.sampling.planning import TOTAL, Expected, expect, half_widths, mix_of, plan_samples
from mapmend.sampling.points import points_of
from mapmend.sampling.population import Population, population_of
from mapmend.sampling.reference import with_references
from mapmend.sampling.settings import SampleSettings, checked
from mapmend.sampling.strata import StrataRule, by_change, by_class, by_transition, single, with_risk, without_empty
from mapmend.sampling.summary import SampleResult
from mapmend.sampling.writing import check_folder, write_sample

__all__ = ["SampleResult", "SampleSettings", "SampledMap", "draw_sample", "open_map"]

Floats = npt.NDArray[np.float64]

_LEAST_RISK = 10  # samples in each stratum for which the cuts of risk strata are chosen


def draw_sample(
    source: SampledMap,
    out: Path,
    settings: SampleSettings | None = None,
    *,
    reference: Path | None = None,
    reference_before: Path | None = None,
    reference_legend: str | None = None,
    progress: bool = True,
) -> SampleResult:
    """Draw a reference sample from a map; memory does not grow with it.

    The same map, settings and seed give the same points, however the map's files are stored.

    Args:
        source: the map, see `open_map`; probabilities of the class at risk may be left out where its folder has them.
        out: folder of the sample; made if it is not there.
        settings: how and how many.
        reference: class raster or polygons, which answer what they can.
        reference_before: the same of the earlier date.
        reference_legend: crosswalk from their codes to the map's legend; None: they have its ids.
        progress: show a progress line on a terminal.

    Raises:
        JobError: the folder holds a sample.
        SampleError: settings that do not go together or with the map; too few samples.
        LegendError: a class or code that is not in the legend.
        GridError: files on other grids, or areas that are not known.
        RasterError: a file cannot be read, or no pixel is valid.
    """
    chosen = settings or SampleSettings()
    if chosen.risk and source.probability is None:
        source = replace(source, probability=probability_beside(source.path, source.legend, chosen.risk))
    chosen = checked(chosen, probability=source.probability is not None)
    check_folder(out)
    reader = MapReader(source)
    area = UnitArea(reader.grid, chosen.pixel_area_ha)
    size = reader.bounds.height * reader.bounds.width
    with StagedProgress("sample", source.path.name, size, shown=progress) as bar:
        bar.stage("counting")
        tally = count(reader, area, on_pixels=bar.pixels)
        population = population_of(tally, source, reader.known)
        rule, notes = _strata(population, tally, chosen)
        bar.stage("drawing")
        frame = Frame(reader, area, rule, tally)
        expected = _expected(population, tally, frame, chosen)
        units, samples = _draw(frame, reader, expected, chosen, sum(population.areas))
        design = design_of(population, frame, samples, chosen, identity(source, rule, chosen))
        points = points_of(
            units,
            rule.names,
            probabilities(frame, units, samples),
            reader.grid,
            seed=chosen.seed,
            two_dates=source.two_dates,
        )
        if reference is not None:
            points = with_references(points, reader.grid, source.legend, reference, reference_before, reference_legend)
        write_sample(out, points, design, reader.grid)
    widths = half_widths(expected, samples, chosen.level) if min(samples) > 0 else {}
    return SampleResult(out, design, samples, widths, chosen.level, tuple(notes))


def probabilities(frame: Frame, units: Units, samples: tuple[int, ...]) -> Floats:
    """Inclusion probability n_h a_u / A_h of each unit; n_h / N_h where units are of one size."""
    number = np.array(samples, np.float64)
    if not frame.area.weighted:
        return np.asarray((number / frame.pixels)[units.strata])
    chances: Floats = (number / frame.areas_ha)[units.strata] * units.areas
    return np.minimum(chances, 1.0)


def design_of(
    population: Population, frame: Frame, samples: tuple[int, ...], chosen: SampleSettings, made_from: dict[str, Any]
) -> SampleDesign:
    """The design of a first round."""
    legend = population.source.legend
    strata = zip(frame.rule.names, frame.pixels.tolist(), frame.areas_ha.tolist(), samples, strict=True)
    return SampleDesign(
        kind=chosen.kind,
        strata=tuple(Stratum(*each) for each in strata),
        classes=legend.names,
        class_ids=legend.ids,
        class_pixels=tuple(int(number) for number in population.later(population.pixels)),
        class_areas_ha=population.later(population.areas),
        two_dates=population.source.two_dates,
        rounds=(sum(samples),),
        seed=chosen.seed,
        map=made_from,
    )


def identity(source: SampledMap, rule: StrataRule, chosen: SampleSettings) -> dict[str, Any]:
    """From what, and how, the strata were made, in plain values."""
    files = {"probability": source.probability, "aoi": source.aoi}
    return {
        "path": source.path.name,
        "sha256": file_hash(source.path),
        **{name: {"path": path.name, "sha256": file_hash(path)} for name, path in files.items() if path is not None},
        "strata": rule.to_dict(),
        "aims": list(chosen.aims) or [chosen.risk] * bool(chosen.risk),
        "pixel_area_ha": chosen.pixel_area_ha,
    }


def _strata(population: Population, tally: Tally, chosen: SampleSettings) -> tuple[StrataRule, list[str]]:
    if chosen.kind != "stratified":
        return single(population), []
    by = chosen.strata or ("transition" if population.source.two_dates else "class")
    notes: list[str] = []
    if by == "class":
        rule = by_class(population)
    elif by == "transition":
        rule = by_transition(population, chosen.transition_share)
    else:
        rule = by_change(population)
    if chosen.risk:
        minimum = chosen.minimum if chosen.minimum is not None else _LEAST_RISK
        rule, plan = with_risk(population, rule, chosen.risk, chosen.total or TOTAL, minimum)
        said = f"{100 * plan.gain:.0f} % less standard error of '{chosen.risk}' than by class alone"
        notes.append(f"strata by probability: {said}" if plan.cuts or plan.own_cuts else "no stratum of risk pays")
        keys, pixels, _ = tally.totals()
        rule = without_empty(rule, np.bincount(rule.of(keys), pixels, len(rule.names)).astype(np.int64))
    return rule, notes


def _expected(population: Population, tally: Tally, frame: Frame, chosen: SampleSettings) -> Expected:
    keys, _, areas = tally.totals()
    mix = mix_of(keys, areas, frame.rule, population.codes)
    sizes = frame.areas_ha / population.pixel_area_ha if frame.area.weighted else frame.pixels.astype(np.float64)
    return expect(population, frame.rule.names, sizes, frame.pixels, mix, chosen)


def _draw(
    frame: Frame, reader: MapReader, expected: Expected, chosen: SampleSettings, area_ha: float
) -> tuple[Units, tuple[int, ...]]:
    """Units and how many of each stratum."""
    samples = plan_samples(expected, chosen, area_ha=area_ha)
    if chosen.kind != "systematic":
        return draw(frame, samples, chosen.seed), samples
    units = systematic(frame, reader.grid, sum(samples), chosen.seed)
    if len(units) < 2:
        raise SampleError("a systematic sample of one point", fix="ask for more points")
    return units, (len(units),)
