"""Three-state thresholds: what is promised, and whether it is kept."""

import json
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from mapmend.accuracy.block_tests import betting, bootstrap_t, student_t
from mapmend.accuracy.conformal import ThreeStateCounts
from mapmend.core.errors import MapmendError
from mapmend.core.stored import STEPS
from mapmend.core.three_state import ThreeState


def counts_of(blocks):
    """Blocks given as lists of (step, pixels that are not the class, pixels that are)."""
    counts = ThreeStateCounts()
    for number, rows in enumerate(blocks):
        steps = np.concatenate([np.full(wrong + right, step, np.uint8) for step, wrong, right in rows])
        truth = np.concatenate([np.repeat([0, 1], (wrong, right)) for _, wrong, right in rows])
        counts.update(str(number), steps, truth)
    return counts


def population(blocks, seed, spread=2.0):
    """Blocks whose errors come together: the higher the step, the fewer, by a factor of each block's own."""
    rng = np.random.default_rng(seed)
    luck = rng.gamma(1 / spread, spread, blocks)
    steps = np.arange(0, STEPS + 1, 10)
    table = np.zeros((blocks, STEPS + 1, 2), np.int64)
    for step in steps:
        wrong = rng.binomial(100, np.clip(0.4 * (1 - step / STEPS) ** 2 * luck, 0, 1))
        table[:, step] = np.stack([wrong, 100 - wrong], 1)
    return table


def thresholds_of(table, **settings):
    counts = ThreeStateCounts()
    counts.blocks = {str(number): block for number, block in enumerate(table)}
    return counts.thresholds(**settings)


def commission(table, upper):
    called = table[:, upper:].sum((0, 1))
    return called[0] / called.sum()


def test_the_t_test_is_the_textbooks():
    excess = np.random.default_rng(0).normal(-0.2, 1, (25, 3))
    assert student_t(excess) == pytest.approx(stats.ttest_1samp(excess, 0, alternative="less").pvalue)


def test_the_bootstrap_is_the_t_test_where_nothing_is_skewed_and_more_careful_where_errors_are_rare():
    rng = np.random.default_rng(1)
    normal = rng.normal(-0.25, 1, (60, 40))
    assert np.abs(bootstrap_t(normal) - student_t(normal)).max() < 0.04
    rare = np.where(rng.random((60, 40)) < 0.08, 1.0, -0.12)
    assert bootstrap_t(rare).mean() > student_t(rare).mean() + 0.02


def test_only_betting_keeps_its_level_whatever_the_distribution():
    rng = np.random.default_rng(2)
    alpha, blocks = 0.05, 40
    excess = np.where(rng.random((blocks, 2000)) < alpha, 1 - alpha, -alpha)  # mean 0: the hypothesis holds
    assert (student_t(excess) <= 0.05).mean() > 0.1
    assert (betting(excess, alpha, 1.0, 0.05) <= 0.05).mean() <= 0.05


@pytest.mark.parametrize("blocks, promised", [(58, False), (90, True)])
def test_betting_promises_nothing_below_59_flawless_blocks(blocks, promised):
    found = counts_of([[(200, 0, 50)]] * blocks).thresholds(method="betting")
    assert (found.upper is not None) == promised


@pytest.mark.parametrize("method, least", [("bootstrap", 0.95), ("t", 0.9)])
def test_the_promise_is_kept_on_the_other_blocks(method, least):
    world = population(1000, 3)
    kept, called = [], 0
    for trial in range(120):
        order = np.random.default_rng(trial).permutation(len(world))
        found = thresholds_of(world[order[:60]], method=method, others=940)
        called += found.upper is not None
        kept.append(found.upper is None or commission(world[order[60:]], found.upper) <= 0.05)
    assert np.mean(kept) >= least and called > 60


def test_pixels_taken_for_independent_would_break_it():
    world = population(1000, 3)
    kept = []
    for trial in range(120):
        order = np.random.default_rng(trial).permutation(len(world))
        upward = world[order[:60]].sum(0)[::-1].cumsum(0)[::-1]
        passed = stats.binom.cdf(upward[:, 0], upward.sum(1), 0.05) <= 0.05
        kept.append(commission(world[order[60:]], np.flatnonzero(~passed)[-1] + 1) <= 0.05)
    assert np.mean(kept) < 0.8


def test_few_other_blocks_scatter_and_are_allowed_for():
    table = population(60, 4)
    wide, narrow = (thresholds_of(table, method="t", others=others).upper for others in (5, None))
    assert narrow is not None and (wide is None or wide > narrow)


def test_thresholds_rise_with_what_is_promised():
    table = population(150, 5)
    loose, usual, strict = (thresholds_of(table, method="t", alpha=alpha).upper for alpha in (0.1, 0.05, 0.03))
    assert loose < usual < strict
    risky, safe = (thresholds_of(table, method="t", delta=delta).upper for delta in (0.2, 0.01))
    assert risky < safe


def test_class_and_not_class_are_mirror_images():
    table = population(80, 6)
    one, other = (thresholds_of(each, method="t") for each in (table, table[:, ::-1, ::-1]))
    assert one.upper is not None and other.lower == STEPS + 1 - one.upper
    assert other.false_omission == one.commission and other.abstains == one.abstains


def test_errors_at_the_safest_steps_end_the_sequence():
    good = [(150, 0, 100)]
    assert counts_of([good] * 80).thresholds().upper is not None
    assert counts_of([[*good, (200, 20, 20)]] * 80).thresholds().upper is None


def test_a_few_blocks_promise_nothing_and_nothing_is_called():
    found = counts_of([[(200, 0, 100), (0, 100, 0)]] * 9).thresholds()
    assert (found.upper, found.lower, found.promised, found.abstains) == (None, None, False, 1.0)
    assert found.commission is None and found.false_omission is None
    assert found.states(np.array([0, 100, 200, 255], np.uint8)).tolist() == [2, 2, 2, 255]


def test_what_is_told_of_the_calibration_is_what_a_loop_counts():
    table = population(80, 7)
    found = thresholds_of(table, method="t", alpha=0.03, omission=0.9)
    called = denied = neither = false = omitted = 0
    for block in table:
        for step, (wrong, right) in enumerate(block):
            if found.upper is not None and step >= found.upper:
                called, false = called + wrong + right, false + wrong
            elif found.lower is not None and step < found.lower:
                denied, omitted = denied + wrong + right, omitted + right
            else:
                neither += wrong + right
    assert found.promised and found.commission == false / called and found.false_omission == omitted / denied
    assert found.abstains == pytest.approx(neither / (called + denied + neither))
    assert (found.blocks, found.pixels) == (80, table.sum())


def test_where_both_promises_meet_no_pixel_is_left_and_none_is_both():
    found = counts_of([[(190, 0, 60 + n), (100, 1, 1), (10, 60 + n, 0)] for n in range(70)]).thresholds()
    assert found.upper == found.lower == 100 and found.abstains == 0
    assert found.states(np.array([[99, 100], [201, 255]], np.uint8)).tolist() == [[0, 1], [255, 255]]


def test_probabilities_that_the_calibration_never_saw_are_not_called():
    found = counts_of([[(190, 0, 60 + n), (10, 60 + n, 0)] for n in range(70)]).thresholds()
    assert found.states(np.array([10, 11, 100, 189, 190], np.uint8)).tolist() == [0, 2, 2, 2, 1]


def test_parts_and_order_do_not_matter_and_unknown_pixels_do_not_count():
    rng = np.random.default_rng(8)
    steps = rng.integers(0, 201, (20, 30, 30), dtype=np.uint8)
    truth = rng.integers(0, 2, steps.shape, dtype=np.uint8)
    steps[:, 0], truth[:, 1] = 255, 255
    whole, left, right = ThreeStateCounts(), ThreeStateCounts(), ThreeStateCounts()
    for number in range(20):
        whole.update(str(number), steps[number], truth[number])
        left.update(str(number), steps[number, :15], truth[number, :15])
        right.update(str(number), steps[number, 15:], truth[number, 15:])
    both = right + left
    assert all(np.array_equal(both.blocks[name], block) for name, block in whole.blocks.items())
    assert whole.blocks["3"].sum() == 28 * 30
    assert whole.blocks["3"][150].tolist() == [int(((steps[3] == 150) & (truth[3] == value)).sum()) for value in (0, 1)]


def test_memory_grows_with_blocks_and_not_with_pixels():
    counts, steps = ThreeStateCounts(), np.zeros((500, 500), np.uint8)
    counts.update("a", steps, steps)
    tracemalloc.start()
    for _ in range(5):
        counts.update("a", steps, steps)
    assert tracemalloc.get_traced_memory()[0] < 50_000
    tracemalloc.stop()


def test_thresholds_survive_json_and_broken_ones_are_refused():
    found = thresholds_of(population(80, 9), method="t", omission=0.3)
    plain = json.loads(json.dumps(found.to_dict()))
    assert ThreeState.from_dict(plain) == found
    for wrong in ({**plain, "upper": 300}, {**plain, "lower": 150, "upper": 20}, {**plain, "extra": 1}):
        with pytest.raises(MapmendError, match="card.json: .*three-state"):
            ThreeState.from_dict(wrong, where="card.json")


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"alpha": 0}, "risks of 0"),
        ({"delta": 1}, "between 0 and 1"),
        ({"method": "pixels"}, "use bootstrap, t, bet"),
        ({"others": 0}, "0 other blocks"),
    ],
)
def test_settings_that_make_no_sense(settings, said):
    with pytest.raises(MapmendError, match=said):
        thresholds_of(population(20, 0), **settings)


def test_pixels_that_make_no_sense():
    counts = ThreeStateCounts()
    ones = np.ones(4, np.uint8)
    with pytest.raises(MapmendError, match="no pixel has both"):
        counts.thresholds()
    for steps, truth in ((ones + 210, ones), (ones, ones * 7), (ones, ones[:3])):
        with pytest.raises(MapmendError, match="b7: "):
            counts.update("b7", steps, truth)
