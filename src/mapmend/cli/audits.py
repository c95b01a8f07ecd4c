"""The verb that judges labels: audit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mapmend.cli.options import Data, Device, Json, Out, emit, folder_of
from mapmend.core.errors import ProjectError


def audit(
    project: Annotated[
        Path | None, typer.Argument(metavar="[PROJECT.yaml]", help="A project whose labels are to be judged.")
    ] = None,
    out: Out = None,
    folds: Annotated[
        int | None, typer.Option("--folds", help="Parts of the labelled ground, each judged by the others. Default: 4.")
    ] = None,
    site: Annotated[list[str] | None, typer.Option("--site", help="Judge the labels of this site alone.")] = None,
    min_pixels: Annotated[
        int | None, typer.Option("--min-pixels", help="Smaller parts of the label are not judged. Default: 9.")
    ] = None,
    objects: Annotated[
        int | None, typer.Option("--objects", help="At most so many objects are listed. Default: 5000.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of planted errors and intervals. Default: 0.")] = None,
    reviewed: Annotated[
        Path | None, typer.Option("--reviewed", help="This audit's layer with verdicts, to recalibrate it by.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="Instead of a project: a model that has not seen the label.")
    ] = None,
    image: Annotated[
        list[Path] | None, typer.Option("--image", help="With --model: the image, one per sensor of the model.")
    ] = None,
    label: Annotated[
        Path | None, typer.Option("--label", help="With --model or --apply: the label that is judged or corrected.")
    ] = None,
    label_legend: Annotated[
        str | None, typer.Option("--label-legend", help="With --model: what the label's codes are.")
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option("--apply", help="A reviewed layer: write a corrected copy of the label; --out is a GeoTIFF."),
    ] = None,
    data: Data = None,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Judge labels by models that have not seen them: what looks wrong, why, and how many looks find it."""
    given: dict[str, Any] = {"folds": folds, "min_pixels": min_pixels, "objects": objects, "seed": seed}
    asked = {name: value for name, value in given.items() if value is not None}
    if sum(one is not None for one in (project, model, apply)) != 1:
        raise ProjectError(
            "audit wants a project, or --model with --image and --label, or --apply with --label",
            fix="give one of them",
        )
    if apply is not None:
        if label is None or out is None or asked or site or reviewed or image or label_legend:
            raise ProjectError("--apply wants --label and --out, and nothing else", where=apply, fix="give both")
        from mapmend.audit.correcting import apply_review

        corrected = apply_review(apply, label, out)
        for note in corrected.notes:
            typer.echo(f"note: {note}", err=True)
        typer.echo(f"{corrected.objects} objects, {corrected.pixels} pixels changed: {corrected.path}", err=True)
        emit(corrected.to_dict(), json_file)
        return
    from mapmend.core.settings import from_mapping

    if model is not None:
        if not image or label is None or out is None or site:
            raise ProjectError("--model wants --image, --label and --out", where=model, fix="give all of them")
        if folds is not None:
            raise ProjectError(
                "a given model has no folds", where="--folds", fix="audit a project, which trains a model per fold"
            )
        from mapmend.audit.job import audit_model
        from mapmend.audit.settings import AuditSettings

        settings = from_mapping(AuditSettings, asked, where="options")
        result = audit_model(
            model, image, label, out, settings, label_legend=label_legend, reviewed=reviewed, device=device
        )
    else:
        assert project is not None
        if image or label or label_legend:
            raise ProjectError("a project names images and labels itself", where=project, fix="leave the options out")
        from mapmend.audit.settings import AuditSettings
        from mapmend.project import load_project

        settings = from_mapping(AuditSettings, asked, where="options")
        opened = load_project(project, data)
        folder = folder_of(out, opened.name)
        from mapmend.audit.job import audit_project
        from mapmend.run import claimed

        with claimed(opened, folder, "audit"):
            result = audit_project(opened, folder, settings, sites=tuple(site or ()), reviewed=reviewed, device=device)
    from mapmend.audit.page import headline

    typer.echo(headline(result), err=True)
    typer.echo(f"audit: {result.folder / 'audit.html'}", err=True)
    emit(result.to_dict(), json_file)
