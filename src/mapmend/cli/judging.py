"""Verbs that judge what is given or made: doctor, score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mapmend.cli.options import Data, Json, emit, paper
from mapmend.core.errors import ModelError, ProjectError

if TYPE_CHECKING:
    from mapmend.core.places import TrainedPlace


def doctor(
    target: Annotated[Path, typer.Argument(metavar="PROJECT.yaml|FOLDER|FILE", help="What is to be examined.")],
    sensor: Annotated[str | None, typer.Option("--sensor", help="Sensor card that images should fit.")] = None,
    legend: Annotated[str | None, typer.Option("--legend", help="Legend that labels should be in.")] = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where a project's results would go.")] = None,
    json_file: Json = None,
) -> None:
    """Say what is wrong before a long job, and how to mend it; exit code 1 where something is."""
    from mapmend.doctor.examine import doctor as examine
    from mapmend.doctor.page import show

    diagnosis = examine(target, sensor=sensor, legend=legend, data=data, out=out)
    show(diagnosis, paper(json_file))
    emit(diagnosis.to_dict(), json_file)
    if diagnosis.of("error"):
        raise typer.Exit(1)


def score(
    prediction: Annotated[Path, typer.Argument(metavar="PRED", help="Class raster, or folder of class rasters.")],
    reference: Annotated[
        Path, typer.Argument(metavar="REF", help="The truth: a raster, or a folder with equal names.")
    ],
    legend: Annotated[str | None, typer.Option("--legend", help="Whose ids the rasters hold.")] = None,
    classes: Annotated[int | None, typer.Option("--classes", min=1, max=254, help="Codes are 0 to one less.")] = None,
    ignore: Annotated[list[int] | None, typer.Option("--ignore", help="Code without a class, besides nodata.")] = None,
    before_pred: Annotated[Path | None, typer.Option("--before-pred", help="Prediction of the earlier date.")] = None,
    before_ref: Annotated[Path | None, typer.Option("--before-ref", help="Reference of the earlier date.")] = None,
    change_pred: Annotated[
        Path | None, typer.Option("--change-pred", help="The prediction's own map of change, 0 for unchanged.")
    ] = None,
    no_change: Annotated[
        int | None, typer.Option("--no-change", help="Code of what did not change, where only change has classes.")
    ] = None,
    ring: Annotated[
        int | None, typer.Option("--ring", help="Pixels along outlines for boundary metrics; 0 leaves them out.")
    ] = None,
    pred_legend: Annotated[
        str | None,
        typer.Option("--pred-legend", help="Legend or crosswalk of the predictions' codes, if another; with --legend."),
    ] = None,
    ref_legend: Annotated[
        str | None,
        typer.Option("--ref-legend", help="Legend or crosswalk of the references' codes, if another; with --legend."),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option("--group-by", help="Where names have their group, as '{state}_*': a matrix for each, and means."),
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="That made the predictions: was it trained on these places?")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say where and why conventions differ.")] = False,
    json_file: Json = None,
) -> None:
    """Score predictions against references in every published convention of the metrics."""
    from mapmend.core.grouping import Grouping
    from mapmend.core.legend import Legend, load_crosswalk, load_legend
    from mapmend.scoring.images import ScoreInputs
    from mapmend.scoring.job import score as judge
    from mapmend.scoring.page import show

    if legend is not None and classes is not None:
        raise ProjectError("--legend and --classes say the same thing twice", fix="give one of them")
    known = load_legend(legend, Path()) if legend is not None else classes
    inputs = ScoreInputs(prediction, reference, before_pred, before_ref, change_pred)
    if (pred_legend or ref_legend) and not isinstance(known, Legend):
        raise ProjectError("codes of another legend, and no --legend that they lead to", fix="give --legend")
    made, true = (
        load_crosswalk(name, known, Path()) if name is not None and isinstance(known, Legend) else None
        for name in (pred_legend, ref_legend)
    )
    scores = judge(
        inputs,
        known,
        ignore=tuple(ignore or ()),
        no_change=no_change,
        ring=ring,
        prediction_codes=made,
        reference_codes=true,
        grouping=Grouping.of(group_by, where="--group-by") if group_by is not None else None,
        trained=_trained_places(model) if model is not None else None,
    )
    show(scores, paper(json_file), explained=explain)
    emit(scores.to_dict(), json_file)


def _trained_places(model: Path) -> tuple[TrainedPlace, ...]:
    """What a model's card says that it was trained on."""
    from mapmend.core.places import trained_places
    from mapmend.nn.model_folder import read_card

    places = trained_places(read_card(model).provenance, model)
    if places is None:
        raise ModelError("does not say which places it was trained on", where=model, fix="train it again, or leave it")
    return places
