"""A diagnosis as lines for a terminal."""

from __future__ import annotations

from itertools import groupby

from rich.console import Console
from rich.markup import escape

from mapmend.doctor.finding import LEVELS, Diagnosis, Level

_STYLES: dict[Level, str] = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_ALIKE = 3  # findings of one check that are shown before the others are counted


def show(diagnosis: Diagnosis, console: Console, *, most_alike: int = _ALIKE) -> None:
    """Print every finding in one line with its fix, errors first, and at the end how many there are."""
    for (level, check), group in groupby(diagnosis.findings, key=lambda one: (one.level, one.check)):
        findings = list(group)
        for finding in findings[:most_alike]:
            fix = f"; {finding.fix}" if finding.fix else ""
            line = f"[{_STYLES[level]}]{level}[/] {escape(f'{finding.where}: {finding.what}{fix}')}"
            console.print(line, soft_wrap=True, highlight=False)
        if len(findings) > most_alike:
            text = f"… and {len(findings) - most_alike} more like this ({check})"
            console.print(f"[{_STYLES[level]}]{level}[/] {escape(text)}", soft_wrap=True, highlight=False)
    console.print(summary(diagnosis), soft_wrap=True, highlight=False)


def summary(diagnosis: Diagnosis) -> str:
    """The last line: numbers of errors, warnings and notes."""
    counts = [(len(diagnosis.of(level)), level) for level in LEVELS]
    told = ", ".join(f"{number} {level}{'' if number == 1 else 's'}" for number, level in counts)
    return f"{told}; {diagnosis.files} file{'' if diagnosis.files == 1 else 's'} looked at"
