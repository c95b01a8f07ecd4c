"""Samples from which nothing valid follows, refused in one line each with the reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import poisson

from mapmend.accuracy.design import SampleDesign, read_design
from mapmend.assessing.mapped import Floats, Ints
from mapmend.assessing.points import Points, listed
from mapmend.core.errors import SampleError
from mapmend.sampling.files import SampleTable

_CHOSEN = (
    "convenience",
    "purposive",
    "opportunistic",
    "opportunity",
    "judgement",
    "judgment",
    "haphazard",
    "volunteer",
)
_TRAINING = ("train", "training", "fit")
_DESIGN_NAME = "design.json"
_TOLERANCE = 0.02  # of an inclusion probability, which files round
_LEAST_PAIRS, _CHANCE = 5, 1e-9


def design_of(design: SampleDesign | Path | None, files: Sequence[Path]) -> SampleDesign:
    """The design of a sample: as given, or `design.json` beside its files; of several, that of the latest round.

    Raises:
        SampleError: there is none, the units were not drawn by chance, or the file is no design.
    """
    if isinstance(design, SampleDesign):
        return design
    beside = [Path(folder) / _DESIGN_NAME for folder in dict.fromkeys(Path(file).parent for file in files)]
    paths = [path for path in beside if path.is_file()] if design is None else [design]
    if not paths:
        raise SampleError(
            "no design file: without knowing how the points were drawn no estimate has an error that can be stated",
            where=files[0] if files else None,
            fix="give the design.json that `mapmend sample` wrote, or one written by hand",
        )
    for path in paths:
        _refuse_chosen(path)
    return max((read_design(path) for path in paths), key=lambda one: len(one.rounds))


def _refuse_chosen(path: Path) -> None:
    try:
        plain = json.loads(path.read_bytes().decode("utf-8-sig"))
        kind = str(plain.get("kind", "")).strip().casefold()
    except (OSError, ValueError, AttributeError):
        return  # `read_design` says what is wrong
    word = kind.split()[0] if kind else ""
    if word in _CHOSEN:
        raise SampleError(
            f"is of a {word} sample: points that people chose stand for no population, and no interval holds",
            where=path,
            fix="draw a probability sample with `mapmend sample`",
        )


def check_columns(table: SampleTable) -> None:
    """Refuse points without inclusion probabilities, and points that a split calls training.

    Raises:
        SampleError: they are.
    """
    if table.probabilities is None:
        raise SampleError(
            "has no inclusion probabilities: without them the points stand for nothing but themselves",
            where=table.places[0].rpartition(", row")[0],
            fix="add the column inclusion_probability: points drawn in the stratum / its pixels",
        )
    for at, value in enumerate(table.others.get("split", ())):
        if value.casefold() in _TRAINING:
            raise SampleError(
                f"is training data (split '{value}'): a model is right where it was taught, and not elsewhere",
                where=table.places[at],
                fix="assess with points that no model has seen",
            )


def check_numbers(points: Points, design: SampleDesign) -> None:
    """Refuse more points, or patches, in a stratum than were drawn.

    Raises:
        SampleError: there are more.
    """
    stratum = points.stratum
    if design.kind == "cluster":
        if points.patches is None or (points.patches < 0).any():
            raise SampleError(
                "a cluster sample without the patch of each point", fix="give the column 'patch', or 'cluster'"
            )
        stratum = stratum[np.unique(points.patches, return_index=True)[1]]
    for one, number in zip(design.strata, np.bincount(stratum, minlength=len(design.strata)).tolist(), strict=True):
        if number > one.samples:
            raise SampleError(
                f"stratum '{one.name}' has {number} units in the files, and {one.samples} were drawn: strata were "
                "merged, or points added, after the fact",
                fix="give the sample as it was drawn; further points need a second round",
            )


def check_patches(points: Points, design: SampleDesign) -> None:
    """Refuse several points of a patch in a sample whose units are single pixels.

    Raises:
        SampleError: there are such.
    """
    if design.kind == "cluster" or points.patches is None:
        return
    given = points.patches >= 0
    numbers, counts = np.unique(points.patches[given], return_counts=True)
    if (counts > 1).any():
        several = points.ids[given][np.isin(points.patches[given], numbers[counts > 1])]
        raise SampleError(
            f"points of one patch (such as {listed(several)}) in a {design.kind} sample: they are not independent, and "
            "intervals would be far too short",
            fix="give a design of kind 'cluster', whose units are the patches",
        )


def check_pixels(points: Points, rows: Ints, cols: Ints, design: SampleDesign) -> None:
    """Refuse a pixel that is there twice, and more points that touch than chance makes.

    Of points drawn independently, at most n_h 8 n_g / N_g neighbours of those in stratum h are expected in stratum g.

    Raises:
        SampleError: there are such.
    """
    order = np.lexsort((cols, rows))
    same = (np.diff(rows[order]) == 0) & (np.diff(cols[order]) == 0)
    if same.any():
        at = int(np.flatnonzero(same)[0])
        raise SampleError(
            f"points {listed(np.sort(points.ids[order[at : at + 2]]))} are the same pixel",
            fix="keep one of them, as it was drawn",
        )
    if design.kind == "cluster":
        return
    at_pixel = {pixel: number for number, pixel in enumerate(zip(rows.tolist(), cols.tolist(), strict=True))}
    pairs = [
        (number, other)
        for (row, col), number in at_pixel.items()
        for step in ((0, 1), (1, -1), (1, 0), (1, 1))
        if (other := at_pixel.get((row + step[0], col + step[1]))) is not None
    ]
    drawn = np.array([one.samples for one in design.strata], float)
    rate = drawn / np.array([one.pixels for one in design.strata], float)
    across = np.minimum(8 * np.outer(drawn, rate), 8 * np.outer(rate, drawn))
    expected = float(np.triu(across, 1).sum() + np.diag(across).sum() / 2)
    if len(pairs) >= _LEAST_PAIRS and poisson.sf(len(pairs) - 1, expected) < _CHANCE:
        touching = np.unique(np.array(pairs))
        raise SampleError(
            f"{len(pairs)} pairs of points touch (such as {listed(points.ids[touching])}), and chance makes about "
            f"{expected:.2g}: these are pixels of patches, which are not independent",
            fix="give a design of kind 'cluster' with the patches as its units",
        )


def check_probabilities(points: Points, table: SampleTable, design: SampleDesign, unit_areas: Floats | None) -> None:
    """Refuse inclusion probabilities that do not follow from the design.

    In the files of several rounds a point may have the probability of its own round, or that of all rounds so far.

    Args:
        points: of the sample.
        table: their rows.
        design: gives n_h and A_h.
        unit_areas: of each point's unit in mean units of the design; None where they are unknown.

    Raises:
        SampleError: they do not follow.
    """
    assert table.probabilities is not None
    given = table.probabilities[points.first]
    slack = np.full(given.size, _TOLERANCE)
    if unit_areas is None:
        unit_areas = np.ones(given.size)
        if table.latitude is not None:  # pixels of a grid in degrees shrink towards the poles
            widths = np.cos(np.deg2rad(np.clip(table.latitude[points.first], -85, 85)))
            slack = slack + widths.max() / widths.min() - 1
    sizes = np.array(design.sizes)
    fits = np.zeros(given.size, bool)
    for drawn in _numbers_drawn(points, design):
        expected = np.minimum(drawn * unit_areas / sizes[points.stratum], 1.0)
        fits |= (given <= expected * (1 + slack)) & (given >= expected / (1 + slack))
    if not fits.all():
        at = int(np.flatnonzero(~fits)[0])
        stratum = design.strata[points.stratum[at]]
        raise SampleError(
            f"inclusion_probability is {given[at]:.6g}, and the design says {stratum.samples} of {stratum.pixels} "
            f"units of stratum '{stratum.name}', {stratum.samples / stratum.pixels:.6g} ({int((~fits).sum())} points)",
            where=table.places[points.first[at]],
            fix="give points and design of one draw, with strata as they were drawn",
        )


def _numbers_drawn(points: Points, design: SampleDesign) -> list[Floats]:
    """For each point, how many units of its stratum were drawn: in all, in its round, up to its round."""
    every = np.array([one.samples for one in design.strata], float)[points.stratum]
    found = [every]
    if len(design.rounds) > 1:
        _, own = np.unique(points.rounds, return_inverse=True)
        counts = np.zeros((len(design.strata), int(own.max()) + 1))
        np.add.at(counts, (points.stratum, own), 1)
        found += [counts[points.stratum, own], counts.cumsum(axis=1)[points.stratum, own]]
    return found
