"""The verb that makes labels: pseudo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mapmend.cli.options import Device, Json, emit, paper


def pseudo(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST.csv", help="The places to be labelled.")],
    model: Annotated[list[Path], typer.Option("--model", help="A model folder; several are combined.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the labels and their manifest.")],
    combine: Annotated[
        str | None,
        typer.Option("--combine", help="single, mean, agreement, or label: with the place's own. Default: single"),
    ] = None,
    keep: Annotated[
        float | None, typer.Option("--keep", help="Share of each class's pixels that are kept, the surest. Default: 1")
    ] = None,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="A class that a model shows may have no label left.")
    ] = False,
    shares: Annotated[
        str | None,
        typer.Option("--shares", help="Class shares to rest on: learned (default), or estimated for these places."),
    ] = None,
    views: Annotated[int | None, typer.Option("--views", help="Looks at each window: 1, 4, 8 or 24.")] = None,
    suppress: Annotated[
        list[str] | None, typer.Option("--suppress", metavar="CLASS", help="A class that no label shows.")
    ] = None,
    window: Annotated[int | None, typer.Option("--window", min=32, help="Side of a window in pixels.")] = None,
    overlap: Annotated[int | None, typer.Option("--overlap", min=0, help="Pixels that windows share.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Windows at once.")] = None,
    split: Annotated[str | None, typer.Option("--split", help="Label the places of this split alone.")] = None,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Make labels of models' maps, with how sure they are, and a manifest that points to them."""
    from rich.table import Table

    from mapmend.core.settings import from_mapping
    from mapmend.pseudo.labelling import pseudo_manifest
    from mapmend.pseudo.settings import PseudoSettings

    given: dict[str, Any] = {
        "combine": combine or ("single" if len(model) == 1 else None),
        "keep": keep,
        "allow_empty": allow_empty,
        "shares": shares,
        "views": views,
        "suppress": suppress,
        "window": window,
        "overlap": overlap,
        "batch": batch,
        "split": split,
    }
    asked = {name: value for name, value in given.items() if value is not None}
    result = pseudo_manifest(manifest, model, out, from_mapping(PseudoSettings, asked, where="options"), device=device)
    head, *rows = result.table.lines()
    shown = Table(*head)
    for row in rows:
        shown.add_row(*row)
    paper(json_file).print(shown)
    for one in result.shares:
        moved = ", ".join(f"{name} {each['learned']:.0%} → {each['estimated']:.0%}" for name, each in one.items())
        typer.echo(f"class shares, learned → here: {moved}", err=True)
    typer.echo(f"labels: {result.manifest}", err=True)
    emit(result.to_dict(), json_file)
