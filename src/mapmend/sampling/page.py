"""A drawn sample as tables for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from mapmend.sampling.settings import ACCURACY
from mapmend.sampling.summary import SampleResult


def show(result: SampleResult, console: Console) -> None:
    """Print the strata and what intervals to expect."""
    design = result.design
    later = len(design.rounds) > 1
    title = f"Sample of {result.points} points" + (f", round {len(design.rounds)}" if later else "")
    table = Table("stratum", "pixels", "ha", "share", "samples", title=title, title_justify="left")
    if later:
        table.add_column("added now")
    for one, weight, added in zip(design.strata, design.weights, result.added, strict=True):
        cells = [one.name, f"{one.pixels:,}", f"{one.area_ha:,.1f}", f"{100 * weight:.2f} %", str(one.samples)]
        table.add_row(*cells, *([str(added)] if later else []))
    for column in table.columns[1:]:
        column.justify = "right"
    console.print(table)
    if result.half_widths:
        expected = Table("expected", f"± at {100 * result.level:g} %", title_justify="left")
        for name, width in result.half_widths.items():
            said = (
                f"{100 * width:.2f} points"
                if name == ACCURACY
                else f"{width * design.total_ha:,.1f} ha ({100 * width:.3f} % of the map)"
            )
            expected.add_row("overall accuracy" if name == ACCURACY else f"area of {name}", said)
        console.print(expected)
    for note in result.notes:
        console.print(f"note: {note}", soft_wrap=True, highlight=False, markup=False)
    console.print(f"written to {result.folder}", soft_wrap=True, highlight=False, markup=False)
