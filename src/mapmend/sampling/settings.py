"""What a sample is to be like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from mapmend.core.errors import SampleError
from mapmend.core.settings import settings

ACCURACY = "accuracy"
"""Stands for the overall accuracy where a class could be named."""

_WIDTH = re.compile(r"(\d+\.?\d*|\.\d+) *(%|ha)", re.ASCII)


@settings
class SampleSettings:
    """How units are drawn and how many.

    Attributes:
        kind: stratified, simple random, or systematic.
        strata: by class, by transition (a stratum for each class that stayed, for each large transition, one for all
            other change), or by change (changed, unchanged); empty: by transition for a map of two dates, else by
            class.
        risk: class ("change" for a map of two dates) for whose omissions strata are made from its probabilities.
        total: units in all; None: as many as the target half-width takes, or 500.
        half_width: target of the honest interval of each class in `aims`: "10 %" of its area, or "1500 ha"; of the
            overall accuracy, percentage points.
        aims: classes whose areas matter, or "accuracy"; of a map of two dates also "change" and "forest -> water".
        allocation: proportional, equal, neyman (for the overall accuracy), optimal (for the areas of `aims`); empty:
            optimal where there are aims or a risk, else proportional.
        minimum: units in each stratum; None: 30, or as many as let the minima take no more than half of the total.
        users: user's accuracies that are expected, by class or transition; others get 0.8, on maps of two dates 0.9
            where nothing changed and 0.7 where it did.
        transition_share: of the changed area, from which on a transition has its own stratum.
        level: of confidence.
        pixel_area_ha: of a map without a CRS.
        seed: of the draw.
    """

    kind: Literal["stratified", "simple", "systematic"] = "stratified"
    strata: Literal["", "class", "transition", "change"] = ""
    risk: str = ""
    total: int | None = None
    half_width: str = ""
    aims: tuple[str, ...] = ()
    allocation: Literal["", "proportional", "equal", "neyman", "optimal"] = ""
    minimum: int | None = None
    users: Mapping[str, float] = field(default_factory=dict)
    transition_share: float = 0.05
    level: float = 0.95
    pixel_area_ha: float | None = None
    seed: int = 0


def checked(chosen: SampleSettings, *, probability: bool) -> SampleSettings:
    """The settings, if they go together.

    Args:
        chosen: by the user.
        probability: whether a probability raster is given.

    Raises:
        SampleError: they do not.
    """
    if chosen.total is not None and chosen.half_width:
        raise SampleError("both a total and a target half-width are given", fix="give one of them")
    if chosen.total is not None and chosen.total < 1:
        raise SampleError(f"{chosen.total} samples", fix="ask for one or more")
    if chosen.half_width and not chosen.aims:
        raise SampleError("a target half-width needs a class", fix=f"name it with --for, or '{ACCURACY}'")
    if chosen.minimum is not None and chosen.minimum < 0:
        raise SampleError(f"a minimum of {chosen.minimum} samples", fix="give zero or more")
    if chosen.allocation == "optimal" and not (chosen.aims or chosen.risk):
        raise SampleError("optimal allocation needs classes", fix="name them with --for")
    if chosen.risk and not probability:
        raise SampleError(f"the risk of '{chosen.risk}' needs its probabilities", fix="give --probability")
    if probability and not chosen.risk:
        raise SampleError("probabilities are given, but not of what", fix="name the class with --risk")
    if not 0 < chosen.level < 1:
        raise SampleError(f"a level of {chosen.level:g}", fix="give 0.95 for 95 %")
    if chosen.kind != "stratified":
        for name, given in (("strata", chosen.strata), ("risk", chosen.risk), ("allocation", chosen.allocation)):
            if given:
                raise SampleError(f"a {chosen.kind} sample has no {name}", fix=f"leave --{name} out")
    return chosen


def width_of(text: str) -> tuple[float, bool]:
    """A target half-width: the number, and whether it is relative (a share) rather than in hectares.

    Raises:
        SampleError: it is neither.
    """
    found = _WIDTH.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise SampleError(f"'{text}' is no half-width", fix="give one such as '10 %' or '1500 ha'")
    return (float(found[1]) / 100, True) if found[2] == "%" else (float(found[1]), False)
