"""The table of a bench, for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.console import Console
from rich.table import Table

from mapmend.bench.compare import EVERY, Line, Spread
from mapmend.bench.presets import BASELINE


def show(lines: Sequence[Line], console: Console) -> None:
    """Print label and maps of each noise, in points of mIoU."""
    table = Table(title="mIoU against the truth, %: mean ± sd over seeds; differences paired by seed, ± SE")
    for column in ("noise", "map of", "mIoU", "− label", f"− {BASELINE}", ""):
        table.add_column(column, justify="left" if column in ("noise", "map of", "") else "right")
    for noise, group in groupby(lines, key=lambda line: line.noise):
        of_noise = list(group)
        table.add_section()
        table.add_row("all noises" if noise == EVERY else noise, "the label itself", text_of(of_noise[0].label))
        for line in of_noise:
            table.add_row(
                "", line.method, text_of(line.map), f"{100 * (line.map.mean - line.label.mean):+.1f}", *_against(line)
            )
    console.print(table)


def text_of(spread: Spread) -> str:
    """Mean ± standard deviation in percent."""
    return f"{100 * spread.mean:.1f}" + ("" if spread.sd is None else f" ± {100 * spread.sd:.1f}")


def _against(line: Line) -> tuple[str, str]:
    if line.difference is None:
        return "", ""
    se = line.difference.se
    return f"{100 * line.difference.mean:+.1f}" + ("" if se is None else f" ± {100 * se:.1f}"), line.difference.verdict
