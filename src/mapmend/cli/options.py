"""What verbs share: options of one meaning, and how a result is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mapmend.core.durable import replace_file

if TYPE_CHECKING:
    from rich.console import Console

ProjectFile = Annotated[Path, typer.Argument(metavar="PROJECT.yaml", help="The project file.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the results. Default: ./<the project's name>")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder that the scenes' relative paths start from.")]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; - is standard output.")
]
Precision = Literal["float32", "bfloat16"]
Rule = Literal["first", "newest", "clearest"]  # which image of a mosaic counts where several are valid
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]


def folder_of(out: Path | None, name: str) -> Path:
    """Where a project's results go."""
    return out if out is not None else Path(name)


def paper(json_file: str | None) -> Console:
    """Where people read tables: standard output, unless the JSON goes there; wide where nobody sees the width."""
    from rich.console import Console

    stream = sys.stderr if json_file == "-" else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 160)


def emit(result: Mapping[str, Any], json_file: str | None) -> None:
    """Write a result as JSON where that is asked for."""
    if json_file is None:
        return
    text = json.dumps(result, indent=1, default=str)
    if json_file == "-":
        typer.echo(text)
    else:
        replace_file(Path(json_file), text + "\n")


def emit_estimate(estimate: Any, json_file: str | None) -> None:
    """Say what a mapping would take."""
    plain = asdict(estimate)
    typer.echo(
        f"{plain['blocks']} blocks, {plain['windows']} windows, {plain['pixels'] / 1e6:.1f} Mpx: about "
        f"{plain['seconds'] / 60:.1f} min, {plain['disk'] / 1e9:.2f} GB of disk, "
        f"{plain['memory'] / 1e9:.1f} GB of memory",
        err=True,
    )
    emit(plain, json_file)
