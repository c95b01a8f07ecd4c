"""From held-out probabilities to a ranked list: measured, ranked, explained, and how likely each object is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mapmend.audit.diagnosis import COARSE, SHIFTED, Diagnosis, diagnose
from mapmend.audit.displacement import displacement
from mapmend.audit.held_out import Judged
from mapmend.audit.lattice import Blockiness, EdgePlaces
from mapmend.audit.matrix import NoiseMatrix, confident_pixels, noise_matrix
from mapmend.audit.measuring import HALO, SUMS, measure
from mapmend.audit.odds import SURE, Budget, KindOdds, best_logits, budget_of, chance, fit_kind
from mapmend.audit.planting import kinds_for, plant
from mapmend.audit.ranking import features_of
from mapmend.audit.reasons import reasons_of
from mapmend.audit.settings import AuditSettings
from mapmend.audit.table import Collector, Parts, joined
from mapmend.audit.views import SiteViews, sample_tiles
from mapmend.change.patches import Floats, Ints
from mapmend.core.errors import LabelError
from mapmend.core.grid import PixelArea, ground_pixel_size
from mapmend.core.legend import NODATA, Legend

_DRAWS = 20
_FAR = 20.0  # of a logit
_WORTH = 2.0  # pixels

LOOKS = (10, 50, 100, 200, 500, 1000, 2000, 5000)


@dataclass(frozen=True)
class Examined:
    """What was found in the labels of some sites.

    Attributes:
        sites: that were judged.
        parts: all parts of their labels.
        rows: for each site and strip the row of `parts` of each part of the strip.
        scores: of each part: log odds that its label is wrong, at most those of `odds.SURE`.
        chances: P(wrong) of each part; 0 where no other class is proposed.
        reasons: of each part; empty where no other class is proposed.
        order: rows of the parts with another class proposed, the most suspicious first.
        matrix: of the noise.
        diagnosis: of the noise.
        kinds: of errors, and how they are told.
        draws: chances of all parts again, each time with other shares of the kinds.
        labelled: pixels that were judged.
        shift: whole pixels (down, right) by which the labels are to be moved back; (0, 0) where they do not certainly
            lie off, or by less than `_WORTH`, which may be no more than the estimate's error.
    """

    sites: tuple[SiteViews, ...]
    parts: Parts
    rows: tuple[list[Ints], ...]
    scores: Floats
    chances: Floats
    reasons: npt.NDArray[np.object_]
    order: Ints
    matrix: NoiseMatrix
    diagnosis: Diagnosis
    kinds: tuple[KindOdds, ...]
    draws: tuple[Floats, ...]
    labelled: int
    shift: tuple[int, int]

    def budget(self, rng: np.random.Generator) -> tuple[Budget, ...]:
        """What looking at the first so many objects finds."""
        return budget_of(self.chances[self.order], [drawn[self.order] for drawn in self.draws], LOOKS, rng)


def examine(judged: Sequence[Judged], legend: Legend, settings: AuditSettings) -> Examined:
    """Examine the labels of judged sites, whose held-out probabilities are there.

    Raises:
        LabelError: nothing is both labelled and seen by the image, or all of it is of one class.
        MapmendError: a file cannot be read.
    """
    sites = tuple(SiteViews(one, legend) for one in judged)
    rng = np.random.default_rng([settings.seed, 0xA0D17])
    tiles = sample_tiles(sites)
    blockiness, counts = _survey(sites, legend)
    shift = displacement(tiles)
    off = (round(shift.dy), round(shift.dx)) if shift.certain else (0, 0)
    parts, rows = _measured(sites, legend, settings.min_pixels, off)
    found = [*([COARSE] if blockiness.coarse else []), *([SHIFTED] if any(off) else [])]
    kinds = kinds_for(found, blockiness.cell)
    views = [site.view(window) for site, window in tiles]
    plantings = plant(views, legend, kinds, settings.min_pixels, off, settings.seed)
    observed, differs = features_of(parts), parts.differs
    fitted = tuple(
        _fit(name, of_kind, observed, differs)
        for name, of_kind in plantings.items()
        if len(parts) and any(wrong.any() for _, wrong in of_kind)
    )
    if not fitted:
        raise LabelError(
            f"has too few parts of {settings.min_pixels} pixels or more to plant errors into",
            where=", ".join(dict.fromkeys(one.key for one in judged[:3])),
            fix="judge more ground, or lower --min-pixels",
        )
    ratios = [kind.ratio(observed) for kind in fitted]
    logits = best_logits(fitted, ratios)
    scores = np.minimum(logits, np.log(SURE / (1 - SURE)))
    chances = np.where(differs, chance(logits), 0.0)
    order = _order(scores, parts)
    reasons = np.where(differs, reasons_of(parts, shift.certain), "")
    pixels = [one.site.grid for one in judged]
    labelled = int(counts.sum_labelled)
    diagnosis = diagnose(
        parts.chosen(differs),
        fitted,
        chances[differs],
        reasons[differs],
        labelled,
        blockiness,
        shift,
        ground_pixel_size(pixels[0]) if pixels[0].crs is not None else None,
    )
    wrong = np.where(differs, 1 / (1 + np.exp(-np.clip(logits, -_FAR, _FAR))), 0.0)  # as it is, not cut at SURE
    matrix = noise_matrix(parts, wrong, counts.confident, rng)
    draws = tuple(np.where(differs, chance(best_logits(fitted, ratios, rng)), 0.0) for _ in range(_DRAWS))
    moved = off if np.hypot(*off) >= _WORTH else (0, 0)
    return Examined(
        sites, parts, rows, scores, chances, reasons, order, matrix, diagnosis, fitted, draws, labelled, moved
    )


def _order(scores: Floats, parts: Parts) -> Ints:
    """Suspicious parts, the highest score first; of equal ones that with the most evidence in all its pixels."""
    suspicious = np.flatnonzero(parts.differs)
    evidence = parts.sums[SUMS.index("evidence")]
    result: Ints = suspicious[np.lexsort((-evidence[suspicious], -scores[suspicious]))]
    return result


def _fit(
    name: str,
    plantings: Sequence[tuple[Parts, npt.NDArray[np.bool_]]],
    observed: Floats,
    differs: npt.NDArray[np.bool_],
) -> KindOdds:
    planted = np.concatenate([features_of(table)[wrong] for table, wrong in plantings])
    doubted = np.concatenate([table.differs[wrong] for table, wrong in plantings])
    return fit_kind(name, planted, doubted, observed, differs)


@dataclass(frozen=True)
class _Counts:
    """Of each block the confident pixels of each class; of all blocks the labelled pixels."""

    confident: list[Ints]
    sum_labelled: int


def _survey(sites: Sequence[SiteViews], legend: Legend) -> tuple[Blockiness, _Counts]:
    """Where the label's boundaries are, and what it says where the held-out model is confident."""
    confident, labelled, held = [], 0, np.zeros(len(legend), bool)
    cells = []
    for site in sites:
        edges = EdgePlaces()
        for block in site.blocks():
            view = site.view(block)
            known = (view.label != NODATA) & (view.probabilities[0] != NODATA)
            labelled += int(known.sum())
            held |= np.bincount(view.label[known], minlength=256)[: len(legend)] > 0
            edges.add(view.label, block)
            confident.append(confident_pixels(view.label, view.probabilities))
        cells.append(edges.blockiness())
    if held.sum() < 2:
        only = (
            f"one class only ('{legend.names[int(held.argmax())]}')" if held.any() else "nothing that the image shows"
        )
        raise LabelError(f"the label has {only}", fix="check codes, nodata and the image's extent")
    coarse = [one for one in cells if one.coarse]
    if 2 * len(coarse) < len(cells):
        return Blockiness(0.0, max((one.phase for one in cells), default=0.0)), _Counts(confident, labelled)
    middle = sorted(coarse, key=lambda one: one.cell)[len(coarse) // 2]
    return middle, _Counts(confident, labelled)


def _measured(
    sites: Sequence[SiteViews], legend: Legend, least: int, shift: tuple[int, int]
) -> tuple[Parts, tuple[list[Ints], ...]]:
    """The table of all sites' parts, and where each strip's parts are in it."""
    tables, rows, start = [], [], 0
    halo = max(HALO, *map(abs, shift))
    for number, site in enumerate(sites):
        area, collector = PixelArea(site.judged.site.grid), Collector(number, len(legend), least)
        for window in site.strips():
            collector.add(measure(site.view(window, halo), legend, area.of(window), shift), window.row)
        table, of_strips = collector.finish()
        rows.append([np.where(one >= 0, one + start, -1) for one in of_strips])
        tables.append(table)
        start += len(table)
    return joined(tables), tuple(rows)
