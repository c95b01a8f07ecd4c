"""Verbs that work on a project: demo, run, prepare, train, report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mapmend.cli.options import Data, Device, Json, Out, ProjectFile, emit, folder_of


def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder of landscape, project and results.")] = Path("demo"),
    size: Annotated[int, typer.Option("--size", min=256, help="Side of the scene in pixels.")] = 1024,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Training steps.")] = 300,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of landscape and training.")] = 0,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Generate a landscape with a coarse, old, partly wrong label, mend it, and score both against the truth."""
    from mapmend.demo import demo as make

    emit(make(out, size=size, steps=steps, seed=seed, device=device).to_dict(), json_file)


def run(
    project: ProjectFile, out: Out = None, data: Data = None, device: Device = "auto", json_file: Json = None
) -> None:
    """Do every step of a project; after an interruption the same command goes on where it stopped."""
    from mapmend.project import load_project

    opened = load_project(project, data)
    folder = folder_of(out, opened.name)
    from mapmend.run import run as go  # torch and timm, which a file with faults does not wait for

    result = go(opened, folder, device=device)
    typer.echo(f"report: {result.report}" if result.report else f"results: {folder}", err=True)
    emit(result.to_dict(), json_file)


def prepare(project: ProjectFile, out: Out = None, data: Data = None, json_file: Json = None) -> None:
    """Put each site's layers onto the site's own grid, once."""
    from mapmend.project import load_project

    opened = load_project(project, data)
    folder = folder_of(out, opened.name)
    from mapmend.run import claimed
    from mapmend.steps import prepare_step

    with claimed(opened, folder, "prepare"):
        prepared = prepare_step(opened, folder)
    emit({"sites": len({site.name for site in prepared.sites}), "folder": str(folder / "prepared")}, json_file)


def train(
    project: ProjectFile,
    out: Out = None,
    data: Data = None,
    start_from: Annotated[
        Path | None, typer.Option("--from", metavar="MODEL", help="A model folder to go on from.")
    ] = None,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Train the project's method on its prepared sites; goes on where an interrupted training stopped."""
    from mapmend.project import load_project

    opened = load_project(project, data)
    folder = folder_of(out, opened.name)
    from mapmend.run import claimed
    from mapmend.steps import earlier_step, prepare_step, train_step

    if "WORLD_SIZE" not in os.environ:  # several processes would prepare at once: they find it done
        with claimed(opened, folder, "prepare"):
            prepare_step(opened, folder)
    for step in opened.row.earlier:
        with claimed(opened, folder, f"{step.verb} {step.name}"):
            earlier_step(opened, step, folder, device=device)
    with claimed(opened, folder, "train"):
        model = train_step(opened, folder, start_from=start_from, device=device)
    emit({"model": str(model)}, json_file)


def report(project: ProjectFile, out: Out = None, data: Data = None, json_file: Json = None) -> None:
    """Score a project's maps where a reference exists, and write the report."""
    from mapmend.project import load_project

    opened = load_project(project, data)
    from mapmend.run import report_step

    result = report_step(opened, folder_of(out, opened.name))
    typer.echo(f"report: {result.report}", err=True)
    emit(result.to_dict(), json_file)
