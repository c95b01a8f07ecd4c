"""What an examination finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from mapmend.core.errors import MapmendError

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """Something worth knowing before a long job.

    Attributes:
        level: `error`: the job would stop, or its figures would be wrong; `warning`: it may well; `note`: good to know.
        check: short name of what was looked for; findings of one check belong together.
        what: what is wrong, without a full stop.
        where: the file, site or band it is about.
        fix: a command or an action; empty where nothing needs to be done.
    """

    level: Level
    check: str
    what: str
    where: str
    fix: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All findings, and what was looked at to get them.

    Attributes:
        target: the project file, folder or raster.
        findings: errors first.
        files: number of files looked at.
    """

    target: str
    findings: tuple[Finding, ...]
    files: int

    def of(self, level: Level) -> tuple[Finding, ...]:
        """The findings of one level."""
        return tuple(finding for finding in self.findings if finding.level == level)

    @property
    def healthy(self) -> bool:
        """Whether there is no error."""
        return not self.of("error")

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        counts = {f"{level}s": len(self.of(level)) for level in LEVELS}
        return {
            "target": self.target,
            "files": self.files,
            **counts,
            "findings": [asdict(one) for one in self.findings],
        }


def ordered(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Each finding once, errors first, those of one check together in the order they were found."""
    once = dict.fromkeys(findings)
    checks = {check: place for place, check in enumerate(dict.fromkeys(one.check for one in once))}
    return tuple(sorted(once, key=lambda one: (LEVELS.index(one.level), checks[one.check])))


def from_fault(fault: MapmendError, check: str, where: str = "") -> Finding:
    """An error of this package as a finding."""
    return Finding("error", check, " ".join(fault.what.split()), str(fault.where or where), fault.fix or "")
