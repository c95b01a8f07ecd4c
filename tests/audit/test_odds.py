"""Shares of errors from scores alone, on mixtures whose share is known."""

import numpy as np
import pytest
from tests.audit.scenery import THREE, fields, seen

from mapmend.audit.measuring import View
from mapmend.audit.odds import SURE, best_logits, chance, fit_kind
from mapmend.audit.planting import kinds_for, plant
from mapmend.core.legend import NODATA

SHAPE = np.array([1.5, -1.0, 0.5])  # how errors differ from what is right, in standard deviations of each feature


def mixture(share, count=4000, seed=0):
    """Features of planted errors, of a label's suspicious parts, and which of the latter are errors."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(count) < share
    return SHAPE + rng.standard_normal((900, 3)), wrong[:, None] * SHAPE + rng.standard_normal((count, 3)), wrong


def fitted(share, **more):
    planted, observed, wrong = mixture(share, **more)
    every = np.ones(len(planted), bool), np.ones(len(observed), bool)
    return fit_kind("swap", planted, every[0], observed, every[1]), observed, wrong


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_the_share_of_errors_is_found_and_chances_add_up_to_it(share):
    kind, observed, wrong = fitted(share)
    assert kind.present and kind.share == pytest.approx(share, abs=0.05) and kind.share > 2 * kind.error
    chances = chance(best_logits([kind], [kind.ratio(observed)]))
    assert chances.sum() == pytest.approx(wrong.sum(), rel=0.25)
    first = np.argsort(-chances)[:200]
    assert chances[first].sum() == pytest.approx(min(wrong[first].sum(), SURE * 200), abs=25)


def test_a_label_without_errors_of_the_kind_has_none():
    kind, observed, _ = fitted(0.0)
    assert not kind.present and kind.share < 0.01
    assert chance(best_logits([kind], [kind.ratio(observed)])).sum() < 0.02 * len(observed)


def test_the_log_odds_are_those_of_the_two_densities():
    kind, observed, _ = fitted(0.3, count=20_000)
    true = observed @ SHAPE - SHAPE @ SHAPE / 2 + np.log(0.3 / 0.7)
    slope, height = np.polyfit(true, best_logits([kind], [kind.ratio(observed)]), 1)
    assert slope == pytest.approx(1, abs=0.15) and height == pytest.approx(0, abs=0.4)


def test_parts_that_nobody_doubts_dilute_no_odds():
    planted, observed, wrong = mixture(0.3)
    calm = np.random.default_rng(1).standard_normal((30_000, 3)) - 2
    differs = np.arange(34_000) < 4000
    kind = fit_kind("swap", planted, np.ones(900, bool), np.concatenate([observed, calm]), differs)
    chances = chance(best_logits([kind], [kind.ratio(observed)]))
    assert chances.sum() == pytest.approx(wrong.sum(), rel=0.35)


@pytest.mark.parametrize("nobody", ["planted", "observed"])
def test_nothing_is_wrong_where_nothing_is_suspicious(nobody):
    planted, observed, _ = mixture(0.3)
    doubted, differs = np.full(900, nobody != "planted"), np.full(4000, nobody != "observed")
    kind = fit_kind("swap", planted, doubted, observed, differs)
    assert not kind.present and kind.share < 0.001 and np.isfinite(best_logits([kind], [kind.ratio(observed)])).all()


def test_what_a_known_shift_has_made_wrong_needs_no_planting():
    truth = fields()
    label = np.full_like(truth, NODATA)
    label[3:, :-2] = truth[:-3, 2:]
    label[:3], label[:, -2:] = truth[:3], truth[:, -2:]
    tile = [View(label, seen(truth))]
    kinds = kinds_for(["shifted"], None)
    assert [kind.name for kind in kinds] == ["swap", "missing", "shifted"]
    (parts, wrong), *more = plant(tile, THREE, kinds, 4, (3, -2), 0)["shifted"]
    assert not more and 0 < wrong.sum() < len(parts)
    inside = (parts.box[0] >= 4) & (parts.box[1] < 250) & (parts.box[2] >= 4) & (parts.box[3] < 250)
    for part in np.flatnonzero(inside):
        top, bottom, left, right = parts.box[:, part]
        window = np.s_[top : bottom + 1, left : right + 1]
        assert wrong[part] <= (truth[window] != label[window]).any()
    single = inside & (parts.pixels == (parts.box[1] - parts.box[0] + 1) * (parts.box[3] - parts.box[2] + 1))
    for part in np.flatnonzero(single):
        top, bottom, left, right = parts.box[:, part]
        window = np.s_[top : bottom + 1, left : right + 1]
        assert wrong[part] == ((truth[window] != label[window]).mean() > 0.5)
