"""Verbs around a reference sample: sample draws one, assess reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mapmend.cli.options import Json, emit, paper
from mapmend.core.errors import SampleError

Level = Annotated[float, typer.Option("--level", help="Of confidence, between 0 and 1.")]


def sample(
    map: Annotated[Path, typer.Argument(metavar="MAP", help="A class raster, or the folder of a map or of a change.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the sample; one that holds a sample is not touched.")],
    total: Annotated[
        int | None, typer.Option("--total", help="Points in all. Default: 500, or what --half-width takes.")
    ] = None,
    aims: Annotated[
        list[str] | None,
        typer.Option(
            "--for", metavar="CLASS", help="Class whose area matters, or accuracy; of a change also 'forest -> water'."
        ),
    ] = None,
    half_width: Annotated[
        str | None,
        typer.Option(
            "--half-width",
            help="Target of the honest interval: '10 %' of a class's area, or '1500 ha'. Not with --total.",
        ),
    ] = None,
    risk: Annotated[
        str | None,
        typer.Option(
            "--risk", metavar="CLASS", help="Class, or change, whose likely omissions get strata of their own."
        ),
    ] = None,
    probability: Annotated[
        Path | None,
        typer.Option(
            "--probability", help="Raster of the risk's probability. Default: probability_CLASS.tif beside the map."
        ),
    ] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="stratified (default), simple or systematic.")] = None,
    strata: Annotated[
        str | None, typer.Option("--strata", help="By class, transition or change. Default: by what the map holds.")
    ] = None,
    allocation: Annotated[
        str | None,
        typer.Option(
            "--allocation",
            help="proportional, equal, neyman or optimal. Default: optimal with --for, else proportional.",
        ),
    ] = None,
    minimum: Annotated[int | None, typer.Option("--minimum", help="Points in each stratum. Default: 30.")] = None,
    users: Annotated[
        list[str] | None,
        typer.Option("--users", metavar="CLASS=0.9", help="User's accuracy that is expected of a class."),
    ] = None,
    transition_share: Annotated[
        float | None,
        typer.Option("--transition-share", help="Share of the change that gives a transition a stratum. Default: 0.05"),
    ] = None,
    level: Level = 0.95,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of the draw. Default: 0; of a further round, the first one's.")
    ] = None,
    aoi: Annotated[Path | None, typer.Option("--aoi", help="Vector file; points inside alone.")] = None,
    legend: Annotated[
        str | None, typer.Option("--legend", help="Of a raster without a record. Default: its codes.")
    ] = None,
    pixel_area_ha: Annotated[
        float | None, typer.Option("--pixel-area-ha", help="Hectares of a pixel, of a map without a CRS.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option("--reference", help="Class raster or polygons that answer what they can.")
    ] = None,
    reference_before: Annotated[
        Path | None, typer.Option("--reference-before", help="The same for the earlier date.")
    ] = None,
    reference_legend: Annotated[
        str | None,
        typer.Option("--reference-legend", help="What the reference's codes are: a crosswalk's name or file."),
    ] = None,
    add: Annotated[int | None, typer.Option("--add", help="Points of a further round, put where answers say.")] = None,
    design: Annotated[
        Path | None, typer.Option("--design", help="With --add: the design of the rounds so far.")
    ] = None,
    answers: Annotated[
        list[Path] | None, typer.Option("--answers", help="With --add: the filled samples of all rounds so far.")
    ] = None,
    json_file: Json = None,
) -> None:
    """Draw a reference sample from a map, or a further round of one: points to look at, with their design."""
    from mapmend.core.legend import load_legend
    from mapmend.core.settings import from_mapping
    from mapmend.sampling.job import SampleSettings, draw_sample, open_map
    from mapmend.sampling.page import show
    from mapmend.sampling.second import second_round

    given: dict[str, Any] = {
        "kind": kind,
        "strata": strata,
        "risk": risk,
        "total": total,
        "half_width": half_width,
        "allocation": allocation,
        "transition_share": transition_share,
        "pixel_area_ha": pixel_area_ha,
        "users": _expected(users or ()) or None,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    known = load_legend(legend, Path()) if legend is not None else None
    source = open_map(map, known, probability=probability, aoi=aoi)
    common: dict[str, Any] = {
        "reference": reference,
        "reference_before": reference_before,
        "reference_legend": reference_legend,
    }
    shared: dict[str, Any] = {
        name: value for name, value in {"minimum": minimum, "seed": seed}.items() if value is not None
    }
    if add is None:
        if design is not None or answers:
            raise SampleError("--design and --answers are of a further round", fix="say how many points with --add")
        asked |= shared | {"aims": aims or [], "level": level}
        result = draw_sample(source, out, from_mapping(SampleSettings, asked, where="options"), **common)
    else:
        if design is None or not answers:
            raise SampleError("a further round needs --design and --answers", fix="give those of the rounds so far")
        if asked:
            option = "--" + next(iter(asked)).replace("_", "-")
            raise SampleError(f"{option} is a matter of the first round", fix="leave it out")
        result = second_round(source, design, answers, out, add, aims=aims or (), level=level, **shared, **common)
    show(result, paper(json_file))
    emit(result.to_dict(), json_file)


def assess(
    samples: Annotated[
        list[Path] | None,
        typer.Argument(metavar="SAMPLE...", help="Filled samples, CSV or GeoPackage: all rounds, all interpreters."),
    ] = None,
    map: Annotated[
        Path | None,
        typer.Option("--map", help="Class raster, or the folder of a map or a change; maybe not the one sampled."),
    ] = None,
    design: Annotated[
        Path | None, typer.Option("--design", help="How the sample was drawn. Default: design.json beside it.")
    ] = None,
    training: Annotated[
        Path | None,
        typer.Option("--training", help="Polygons or raster a model was trained on: no point may be among them."),
    ] = None,
    probability: Annotated[
        str | None,
        typer.Option("--probability", metavar="CLASS=FILE", help="A class's probabilities: its area, model-assisted."),
    ] = None,
    matrix: Annotated[
        Path | None,
        typer.Option("--matrix", help="CSV of a sample's counts: rows are the map's classes, columns the truth's."),
    ] = None,
    stratum_pixels: Annotated[
        str | None,
        typer.Option("--stratum-pixels", help="Pixels of each class in the map, in the rows' order, with commas."),
    ] = None,
    pixel_area_ha: Annotated[
        float | None, typer.Option("--pixel-area-ha", help="With --matrix: hectares of a pixel; 0.09 for 30 m.")
    ] = None,
    level: Level = 0.95,
    json_file: Json = None,
) -> None:
    """Estimate accuracy and areas, with intervals, from a filled reference sample, or from a matrix of counts."""
    from mapmend.assessing.matrix import assess_matrix
    from mapmend.assessing.page import show
    from mapmend.assessing.sample import assess_sample

    if matrix is not None:
        if samples or map or design or training or probability:
            raise SampleError("--matrix stands for itself", fix="leave out samples, map and what belongs to them")
        if stratum_pixels is None or pixel_area_ha is None:
            raise SampleError("--matrix needs --stratum-pixels and --pixel-area-ha", fix="give both")
        found = assess_matrix(matrix, stratum_pixels, pixel_area_ha, level)
    else:
        if not samples or map is None:
            raise SampleError("assess wants filled samples and their --map", fix="or a matrix of counts with --matrix")
        if stratum_pixels is not None or pixel_area_ha is not None:
            raise SampleError("--stratum-pixels and --pixel-area-ha belong to --matrix", fix="leave them out")
        chance = _class_and_file(probability) if probability is not None else None
        found = assess_sample(samples, design, map, level=level, training=training, probability=chance)
    show(found, paper(json_file))
    emit(found.to_dict(), json_file)


def _expected(texts: Sequence[str]) -> dict[str, float]:
    """User's accuracies by class, of texts such as forest=0.9."""
    found = {}
    for text in texts:
        name, _, value = text.rpartition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise SampleError(f"'{text}' is no user's accuracy", where="--users", fix="write forest=0.9") from None
    return found


def _class_and_file(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not path:
        raise SampleError(f"'{text}' names no file", where="--probability", fix="write forest=probability_forest.tif")
    return name, Path(path)
