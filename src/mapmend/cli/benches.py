"""Verbs that measure: `bench noise`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mapmend.cli.options import Data, Device, Json, emit, paper

bench = typer.Typer(help="Measure methods where the truth is known.", no_args_is_help=True)


@bench.command()
def noise(
    ground: Annotated[
        str, typer.Argument(metavar="[PROJECT.yaml]", help="A project with labels that are right; else a landscape.")
    ] = "landscape",
    out: Annotated[Path, typer.Option("--out", help="Folder of labels and results.")] = Path("bench-noise"),
    data: Data = None,
    noises: Annotated[
        str, typer.Option("--noise", help="What is planted, as name or name:key=value, separated by commas.")
    ] = "swap,missing,coarse,shift,outdated",
    methods: Annotated[str, typer.Option("--methods", help="Presets, separated by commas.")] = "ce,ce_ema,c2fnet,elr",
    presets: Annotated[
        Path | None, typer.Option("--presets", help="YAML file of more presets: name, and train settings.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds.")] = 3,
    first_seed: Annotated[int, typer.Option("--first-seed", min=0, help="The first of them.")] = 0,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Of training. Default: the project's.")] = None,
    size: Annotated[int | None, typer.Option("--size", min=64, help="Side of the landscape. Default: 384.")] = None,
    sites: Annotated[int | None, typer.Option("--sites", min=1, help="At most this many of a project's.")] = None,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Plant noise into labels that are right, train methods on them, and score their maps against the truth."""
    from mapmend.project import load_project

    project = None if ground == "landscape" else load_project(Path(ground), data)
    from mapmend.bench.noise import bench_noise
    from mapmend.bench.page import show

    result = bench_noise(
        out,
        project,
        noises=_listed(noises),
        methods=_listed(methods),
        presets=presets,
        seeds=range(first_seed, first_seed + seeds),
        steps=steps,
        size=size,
        sites=sites,
        device=device,
    )
    show(result.lines, paper(json_file))
    emit(result.to_dict(), json_file)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
