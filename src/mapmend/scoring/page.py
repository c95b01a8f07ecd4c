"""Scores as tables for a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from mapmend.scoring.scores import Scores

_GROUP = ("images", "pixels", "oa", "kappa", "macc", "miou", "miou_all_classes", "mf1")


def show(scores: Scores, console: Console, *, explained: bool = False) -> None:
    """Print the figures as tables, the notes, and where asked why conventions differ."""
    dates = [scores.later, *([scores.before] if scores.before else [])]
    heads = ["later date", "earlier date"] if scores.before else ["value"]
    named = {f"{name}{scores.suffix}": [date.figures.get(name) for date in dates] for name in scores.later.figures}
    _print(console, "Map", heads, named)
    for head, date in zip(heads, dates, strict=True):
        columns = [key for key in date.classes[0] if key != "name"] if date.classes else []
        title = "Classes" if len(dates) == 1 else f"Classes, {head}"
        _print(console, title, columns, {row["name"]: [row[key] for key in columns] for row in date.classes})
        groups = {row["name"]: [row[key] for key in _GROUP] for row in date.groups}
        _print(console, title.replace("Classes", "Groups"), list(_GROUP), groups)
    for title, figures in (("Change", scores.change), ("Semantic change", scores.semantic)):
        if figures is not None:
            _print(console, title, ["value"], {name: [value] for name, value in vars(figures).items()})
    lines = [*(f"note: {note}" for note in scores.notes)]
    lines += [*scores.later.explained, *scores.explained] if explained else []
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _print(console: Console, title: str, heads: list[str], rows: dict[str, list[Any]]) -> None:
    table = Table("", *heads, title=title, title_justify="left")
    for name, values in rows.items():
        table.add_row(name, *("–" if v is None else f"{v:.6f}" if isinstance(v, float) else str(v) for v in values))
    if rows:
        console.print(table)
