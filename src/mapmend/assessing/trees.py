"""ART-TREES: how uncertain an area is in the words of that standard, and what share it deducts.

The REDD+ Environmental Excellence Standard (TREES) 2.0, section 8, equation 11: the uncertainty adjustment factor is
UA = 0.524417 × HW90% / 1.645006, with HW90% the half-width of the 90 % confidence interval as a share of the
estimate; equation 10 deducts that share from emission reductions and removals. Both constants are quantiles of
Student's t with 10 000 degrees of freedom, at 70 % (one-sided) and at 90 % (two-sided).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mapmend.assessing.figure import Figure

STANDARD = "ART TREES 2.0, section 8, equations 10 and 11"
TREES_LEVEL = 0.9
NOTE = (
    f"{STANDARD}: uncertainty of areas (activity data) alone. The standard deducts by the interval of emissions, to "
    "which emission factors add theirs (Monte Carlo); classical: z·SE, the half-width that is usually reported; "
    "honest: half of the MOVER-Jeffreys interval"
)

_SCALE, _QUANTILE = 0.524417, 1.645006


@dataclass(frozen=True)
class Uncertainty:
    """Of one area.

    Attributes:
        half_width: HW90%, as a share of the estimate.
        adjustment: UA, the share that is deducted.
        deducted_ha: UA times the area.
    """

    half_width: float
    adjustment: float
    deducted_ha: float


@dataclass(frozen=True)
class TreesRow:
    """An area in the standard's terms; None where the area is zero or undefined.

    Attributes:
        name: of the class or transition.
        area_ha: the estimate.
        classical: by z·SE.
        honest: by half of the interval.
    """

    name: str
    area_ha: float | None
    classical: Uncertainty | None
    honest: Uncertainty | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "name": self.name,
            "area_ha": self.area_ha,
            "classical": None if self.classical is None else vars(self.classical),
            "honest": None if self.honest is None else vars(self.honest),
        }


@dataclass(frozen=True)
class Trees:
    """All areas of an assessment in the standard's terms."""

    rows: tuple[TreesRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {"standard": STANDARD, "level": TREES_LEVEL, "areas": [row.to_dict() for row in self.rows]}


def adjustment(half_width: float) -> float:
    """UA from HW90%, both as shares."""
    return _SCALE * half_width / _QUANTILE


def trees_row(name: str, figure: Figure, total_ha: float) -> TreesRow:
    """An area's uncertainty.

    Args:
        name: of the class or transition.
        figure: its share of the population at a level of 90 %.
        total_ha: area of the population.
    """
    estimate = figure.estimate
    if not estimate:
        return TreesRow(name, None if estimate is None else 0.0, None, None)

    def of(width: float) -> Uncertainty:
        half = width / 2 / estimate
        return Uncertainty(half, adjustment(half), adjustment(half) * estimate * total_ha)

    both = (None if one is None else of(one.upper - one.lower) for one in (figure.wald, figure.interval))
    return TreesRow(name, estimate * total_ha, *both)
