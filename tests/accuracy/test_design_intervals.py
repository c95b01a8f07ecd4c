"""Intervals of clusters and two-phase samples: cases with a closed form, and draws from known populations."""

import numpy as np
import pytest

from mapmend.accuracy.design_intervals import cluster_limits, of_clusters, of_two_phase, two_phase_limits
from mapmend.accuracy.estimators import AccuracyEstimates
from mapmend.accuracy.intervals import AccuracyIntervals, counted, of_matrix, of_table, wald, z_of
from mapmend.accuracy.stratified import accuracies, clusters
from mapmend.accuracy.two_phase import two_phase_ratio
from mapmend.core.errors import SampleError

KINDS = ("overall", "users", "producers", "areas", "cells")


def numbers(found):
    """Limits of every interval by kind; NaN where undefined."""
    flat = {}
    for kind in KINDS:
        value = getattr(found, kind)
        rows = [value] if kind == "overall" else value if kind != "cells" else [cell for row in value for cell in row]
        flat[kind] = [[np.nan] * 2 if one is None else [one.lower, one.upper] for one in rows]
    return flat


def alike(one, other, *, but=()):
    first, second = numbers(one), numbers(other)
    for kind in KINDS:
        if kind not in but:
            np.testing.assert_allclose(first[kind], second[kind], rtol=0, atol=1e-12)


def patches_of(pixels, patches, seed=0):
    """Random patches of `pixels` pixels: stratum, and totals P×2×2."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet([0.6, 0.2, 0.1, 0.3], sum(patches))
    return np.repeat(range(len(patches)), patches), rng.multinomial(pixels, shares).reshape(-1, 2, 2)


@pytest.mark.parametrize("pixels", [1, 25])
def test_patches_of_one_pixel_or_of_one_kind_are_units(pixels):
    stratum, totals = patches_of(1, (9, 14))
    sizes = [40, 300]
    unit = of_table(np.stack([totals[stratum == h].sum(axis=0) for h in range(2)]), sizes)
    alike(of_clusters(pixels * totals, stratum, sizes), unit, but=["producers"])  # whose limits have another prior


def test_pixels_that_only_repeat_their_patch_tell_nothing_new():
    stratum, totals = patches_of(30, (8, 12))
    alike(of_clusters(totals, stratum, [50, 70]), of_clusters(4 * totals, stratum, [50, 70]))


def test_intervals_are_around_the_estimates_and_nest_with_the_level():
    rng = np.random.default_rng(2)
    stratum, totals = patches_of(16, (5, 7), seed=5)
    patch, mapped, reference = (np.repeat(each, totals.ravel()) for each in np.indices(totals.shape).reshape(3, -1))
    estimates = clusters(patch, stratum[patch], mapped, reference, [50, 80], 2)
    first = np.array([900, 300, 200])
    table = np.stack([rng.multinomial(n, [0.5, 0.1, 0.1, 0.3]).reshape(2, 2) for n in (20, 15, 10)])
    strata, maps, truths = (np.repeat(each, table.ravel()) for each in np.indices(table.shape).reshape(3, -1))
    phases = accuracies(maps, truths, 2, lambda y, x: two_phase_ratio(strata, y, x, first))
    assert np.array_equal(counted(patch, mapped, reference, 12, 2), totals)
    for found, make in (
        (estimates, lambda level: of_clusters(totals, stratum, [50, 80], level)),
        (phases, lambda level: of_two_phase(table, first, level)),
    ):
        outer = None
        for level in (0.99, 0.95, 0.9, 0.5):
            limits = numbers(make(level))
            for kind, values in centres(found).items():
                for value, (lower, upper) in zip(values, limits[kind], strict=True):
                    assert 0 <= lower <= value + 1e-12 and value - 1e-12 <= upper <= 1
                if outer:
                    assert (np.array(limits[kind])[:, 0] >= np.array(outer[kind])[:, 0] - 1e-12).all()
                    assert (np.array(limits[kind])[:, 1] <= np.array(outer[kind])[:, 1] + 1e-12).all()
            outer = limits


def centres(found: AccuracyEstimates):
    cells = [cell.value for row in found.cells for cell in row]
    rest = {kind: [one.value for one in getattr(found, kind)] for kind in ("users", "producers", "areas")}
    return {"overall": [found.overall.value], **rest, "cells": cells}


def test_the_order_of_the_classes_does_not_matter():
    stratum, totals = patches_of(16, (5, 7), seed=5)
    table = np.array([[[9, 2], [1, 8]], [[0, 1], [3, 30]]])
    for one, other in (
        (of_clusters(totals, stratum, [50, 80]), of_clusters(totals[:, ::-1, ::-1], stratum, [50, 80])),
        (of_two_phase(table, [500, 900]), of_two_phase(table[:, ::-1, ::-1], [500, 900])),
    ):
        turned = AccuracyIntervals(
            other.overall,
            other.users[::-1],
            other.producers[::-1],
            other.areas[::-1],
            tuple(row[::-1] for row in other.cells[::-1]),
        )
        alike(one, turned)


def test_a_first_phase_without_end_gives_known_strata():
    table = np.array([[[9, 2], [1, 8]], [[0, 1], [3, 30]]])
    alike(of_two_phase(table, [3e14, 9e14]), of_table(table, [3, 9]))


def test_estimated_strata_widen_the_classical_interval_and_this_one_alike():
    """Many samples in each stratum, where both intervals are those of the normal distribution."""
    table = np.array([[[4000, 1000], [1000, 4000]], [[500, 500], [500, 8500]]])
    first = np.array([10_000, 20_000])
    strata, maps, truths = (np.repeat(each, table.ravel()) for each in np.indices(table.shape).reshape(3, -1))
    usual = accuracies(maps, truths, 2, lambda y, x: two_phase_ratio(strata, y, x, first))
    found = of_two_phase(table, first)
    for kind in ("users", "producers", "areas"):
        for k in range(2):
            classical = wald(getattr(usual, kind)[k])
            one = getattr(found, kind)[k]
            assert one.upper - one.lower == pytest.approx(classical.upper - classical.lower, rel=0.01)
    known = of_table(table, first)
    assert found.areas[0].upper - found.areas[0].lower > 1.05 * (known.areas[0].upper - known.areas[0].lower)


def test_many_patches_give_the_classical_interval():
    stratum, totals = patches_of(40, (900, 700), seed=3)
    patch, mapped, reference = (np.repeat(each, totals.ravel()) for each in np.indices(totals.shape).reshape(3, -1))
    sizes = [10**6, 3 * 10**6]
    usual = clusters(patch, stratum[patch], mapped, reference, sizes, 2)
    found = of_clusters(totals, stratum, sizes)
    for kind in ("users", "producers", "areas"):
        for k in range(2):
            one, estimate = getattr(found, kind)[k], getattr(usual, kind)[k]
            assert one.upper - one.lower == pytest.approx(2 * z_of(0.95) * estimate.se, rel=0.03)


def covered(limits, kind, true):
    lower, upper = getattr(limits, kind)
    defined = ~np.isnan(lower)
    return ((lower <= true) & (true <= upper) & defined).sum(axis=0) / defined.sum(axis=0)


def test_clusters_keep_the_level_where_few_patches_hold_a_class():
    """Patches whose shares of [map, reference] are Dirichlet: correlated pixels, and a class that few patches hold."""
    rng = np.random.default_rng(6)
    truth, numbers_of, sizes, pixels, draws = (
        [[0.8, 0.15, 0.01, 0.04], [0.02, 0.02, 0.04, 0.92]],
        (12, 18),
        [100, 900],
        40,
        1500,
    )
    strata = np.repeat(range(2), numbers_of)
    shares = np.concatenate(
        [rng.dirichlet(2 * np.array(p), (draws, n)) for p, n in zip(truth, numbers_of, strict=True)], 1
    )
    totals = rng.multinomial(pixels, shares).reshape(draws, -1, 2, 2)
    cells = (np.array(sizes) / sum(sizes) @ np.array(truth)).reshape(2, 2)
    limits = cluster_limits(totals, strata, sizes)
    assert covered(limits, "areas", cells.sum(axis=0)).min() > 0.925
    assert covered(limits, "users", np.diag(cells) / cells.sum(axis=1)).min() > 0.925
    assert covered(limits, "producers", np.diag(cells) / cells.sum(axis=0)).min() > 0.925
    classical = 0
    for one in totals[:200]:
        patch, mapped, reference = (np.repeat(each, one.ravel()) for each in np.indices(one.shape).reshape(3, -1))
        interval = wald(clusters(patch, strata[patch], mapped, reference, sizes, 2).areas[0])
        classical += interval.lower <= cells[:, 0].sum() <= interval.upper
    assert classical < 0.9 * 200


def test_two_phases_keep_the_level():
    rng = np.random.default_rng(7)
    weights, truth = np.array([0.06, 0.94]), np.array([[0.8, 0.15, 0.01, 0.04], [0.005, 0.015, 0.01, 0.97]])
    first = rng.multinomial(400, weights, size=1500)
    table = np.stack([rng.multinomial(np.minimum(first[:, h], 40), truth[h]) for h in range(2)], 1).reshape(-1, 2, 2, 2)
    cells = (weights @ truth).reshape(2, 2)
    limits = two_phase_limits(table, first)
    assert covered(limits, "areas", cells.sum(axis=0)).min() > 0.925
    assert covered(limits, "users", np.diag(cells) / cells.sum(axis=1)).min() > 0.925
    assert covered(limits, "producers", np.diag(cells) / cells.sum(axis=0)).min() > 0.925


def test_one_patch_in_a_stratum_and_none():
    stratum, totals = np.array([0, 0, 0, 1]), np.array([[[9, 1], [2, 4]]] * 2 + [[[8, 0], [0, 8]], [[0, 0], [1, 15]]])
    found = of_clusters(totals, stratum, [10, 40])
    assert found.overall.lower < 0.6 and found.overall.upper <= 1  # one patch is one unit
    assert np.isnan(sum(numbers(of_clusters(totals, stratum, [10, 40, 5])).values(), [])).all()


def test_a_two_phase_stratum_without_a_second_phase_leaves_nothing():
    table = np.array([[[9, 2], [1, 8]], [[0, 0], [0, 0]]])
    assert np.isnan(sum(numbers(of_two_phase(table, [500, 900])).values(), [])).all()
    alike(of_two_phase(table[:1], [500]), of_table(table[:1], [1]))


def test_classes_that_were_not_found():
    totals = np.array([[[5, 0], [0, 0]], [[5, 0], [0, 0]], [[5, 0], [0, 0]]])
    found = of_clusters(totals, [0, 0, 0], [30])
    assert found.users[1] is None and found.producers[1] is None
    assert found.areas[1].lower == 0 and found.areas[1].upper > 0.4  # three patches, not fifteen pixels
    assert of_matrix(totals.sum(axis=0), [15, 0]).areas[1].upper < 0.2


@pytest.mark.parametrize("stratum", [[0, 0], [0, 0, 2], [-1, 0, 0]])
def test_patches_that_do_not_fit(stratum):
    with pytest.raises(SampleError, match="strata"):
        of_clusters(np.ones((3, 2, 2)), stratum, [5, 5])
