import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapmend.accuracy.semantic_change import SemanticChange, semantic_change_metrics
from mapmend.core.errors import LegendError

PUBLISHED = """00 00 800, 00 12 20, 00 34 10, 12 12 60, 12 13 10, 12 00 15, 12 32 5, 34 34 40, 34 00 10, 34 43 5,
21 21 20, 21 12 5"""  # reference, prediction, pixels


def pixels(text):
    """Reference before and after, prediction before and after, pixel by pixel."""
    rows = [row.split() for row in text.split(",")]
    found = [[int(digit) for digit in true + made] for true, made, count in rows for _ in range(int(count))]
    return np.array(found, np.uint8).T


def counted(layers, classes, *, masked, change=None, image=""):
    found = SemanticChange(classes, masked=masked)
    found.update((layers[0], layers[1]), (layers[2], layers[3]), change=change, image=image)
    return found


def scored(*arguments, **options):
    return semantic_change_metrics(counted(*arguments, **options))


def naive(pairs, no_change):
    """IoU of change, 2-class mIoU, kappa and Fscd from (prediction, reference) pairs, one by one."""
    hits = sum(p != no_change and r != no_change for p, r in pairs)
    union = sum(p != no_change or r != no_change for p, r in pairs)
    still = sum(p == r == no_change for p, r in pairs)
    either = sum(no_change in (p, r) for p, r in pairs)
    kept = [pair for pair in pairs if pair != (no_change, no_change)]
    agreed = sum(p == r for p, r in kept) / len(kept)
    chance = sum(p == r for p, _ in kept for _, r in kept) / len(kept) ** 2
    kappa = (agreed - chance) / (1 - chance)
    right = sum(p == r != no_change for p, r in pairs)
    precision, recall = (right / sum(pair[side] != no_change for pair in pairs) for side in (0, 1))
    iou = hits / union
    return iou, (iou + still / either) / 2, kappa, 2 * precision * recall / (precision + recall)


def test_the_published_check_of_the_pooled_convention():
    found = scored(pixels(PUBLISHED), 4, masked=True)
    assert found.pixels == 1000 and found.half_labelled == 0
    assert found.half_right == 15  # 12 as 13 and 12 as 32; of 34 as 43 and 21 as 12 neither date is right
    assert found.iou_c_pooled == 0.725
    assert found.miou_2class_pooled == pytest.approx(0.8303362573, abs=5e-11)
    assert found.kappa_separated_pooled == pytest.approx(0.5331991952, abs=5e-11)
    assert found.sek_pooled == pytest.approx(0.4050032448, abs=5e-11)
    assert found.score_pooled == pytest.approx(0.5326031485, abs=5e-11)
    assert found.fscd_pooled == pytest.approx(0.7391304348, abs=5e-11)


def at_random(seed):
    """Pixels of SECOND's kind, in which a change may lead to the same class."""
    rng = np.random.default_rng(seed)
    layers = rng.integers(1, 5, (4, 80)).astype(np.uint8)
    layers[:2, rng.random(80) < 0.4] = 0
    layers[2:] = np.where(rng.random(80) < 0.5, layers[:2], layers[2:])
    layers[2:, rng.random(80) < 0.2] = 0
    return layers


@pytest.mark.parametrize("convention", ["pooled", "fromto"])
@pytest.mark.parametrize("layers", [pixels(PUBLISHED), *map(at_random, range(5))])
def test_both_conventions_by_a_naive_loop(layers, convention):
    found = vars(scored(layers, 4, masked=True))
    r1, r2, p1, p2 = layers.tolist()
    if convention == "pooled":
        pairs, no_change = [*zip(p1, r1, strict=True), *zip(p2, r2, strict=True)], 0
    else:
        pairs = [((a, b), (c, d)) for a, b, c, d in zip(p1, p2, r1, r2, strict=True)]
        no_change = (0, 0)
    iou, miou, kappa, fscd = naive(pairs, no_change)
    sek = kappa * math.exp(iou - 1)
    expected = {"iou_c": iou, "miou_2class": miou, "kappa_separated": kappa, "fscd": fscd, "sek": sek}
    expected["score"] = 0.3 * miou + 0.7 * sek
    for name, value in expected.items():
        assert found[f"{name}_{convention}"] == pytest.approx(value, abs=1e-12), name
    if convention == "fromto":
        assert found["score_clearscd"] == pytest.approx(0.3 * iou + 0.7 * sek, abs=1e-12)


def test_the_consistency_metrics_by_hand():
    # unchanged 1→1: 4 right, 1 called 1→2; unchanged 2→2: 2 right, 1 called 1→1; 1→2: 3 right, 1 called 2→1
    found = scored(pixels("11 11 4, 11 12 1, 22 22 2, 22 11 1, 12 12 3, 12 21 1"), 2, masked=False)
    assert found.miou_sc == pytest.approx((7 / 8 + 3 / 5) / 2)  # unchanged, 1→2; 2→1 is not in the reference
    iou_c = 4 / 5
    assert found.iou_c_pooled == found.iou_c_fromto == iou_c
    assert found.miou_nc == pytest.approx((4 / 6 + 2 / 3 + iou_c) / 3)
    assert found.miou_bc is None
    assert found.oa_image == pytest.approx(((12 - 2) / 12 + (12 - 3) / 12) / 2)


def test_a_change_map_of_its_own_decides_and_is_held_against_the_classes():
    layers = pixels("11 12 2, 12 12 2, 12 11 1, 22 22 3")
    change = np.array([0, 0, 1, 1, 1, 0, 0, 1], np.uint8)
    found = scored(layers, 2, masked=False, change=change)
    assert found.iou_c_fromto == pytest.approx(3 / 4)
    # changed by classes: pixels 0 to 3; by the map: 2, 3, 4 and 7
    assert found.miou_bc == pytest.approx((2 / 6 + 2 / 6) / 2)
    # 1→1 called changed is right in no class; unchanged: pixels 0, 1, 5, 6 and the last one missed
    assert found.miou_sc == pytest.approx((4 / 5 + 2 / 3) / 2)


def test_oa_image_is_a_mean_over_images_of_both_dates_however_large():
    small = counted(pixels("12 12 1, 00 12 1"), 2, masked=True, image="small")
    large = counted(pixels("00 00 90, 12 10 10"), 2, masked=True, image="large")
    found = semantic_change_metrics(small + large)
    assert found.oa_image == pytest.approx(((1 / 2 + 1 / 2) / 2 + (1 + 0.9) / 2) / 2)
    assert found.half_labelled == 10 and found.iou_c_pooled > found.iou_c_fromto


def test_a_pixel_without_a_prediction_is_an_error_and_one_without_a_reference_does_not_count():
    layers = pixels("12 12 3, 00 00 5, 12 12 1, 00 00 1, 12 12 2")
    layers[2:, 8:10] = 255
    layers[1, 10:] = 255
    found = scored(layers, 2, masked=True)
    assert found.pixels == 10
    assert found.iou_c_pooled == found.iou_c_fromto == pytest.approx(3 / 5)
    assert found.miou_2class_fromto == pytest.approx((3 / 5 + 5 / 6) / 2)
    assert found.oa_image == pytest.approx(8 / 10)


def test_full_maps_are_scored_as_if_the_unchanged_had_been_masked():
    rng = np.random.default_rng(3)
    full = rng.integers(1, 4, (4, 500)).astype(np.uint8)
    masked = full.copy()
    masked[:2, full[0] == full[1]] = 0
    masked[2:, full[2] == full[3]] = 0
    one, other = vars(scored(full, 3, masked=False)), vars(scored(masked, 3, masked=True))
    for name in one:
        if name not in ("miou_nc", "oa_image"):
            assert one[name] == other[name], name


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 20), st.booleans())
def test_parts_added_in_any_order_are_the_whole(seed, classes, masked):
    rng = np.random.default_rng(seed)
    layers = rng.integers(0 if masked else 1, classes + 1, (4, 60)).astype(np.uint8)
    layers[rng.random(layers.shape) < 0.1] = 255
    whole = counted(layers, classes, masked=masked)
    parts = [counted(layers[:, part], classes, masked=masked) for part in (slice(0, 10), slice(10, None))]
    assert semantic_change_metrics(parts[1] + parts[0]) == semantic_change_metrics(whole)


def test_nothing_to_score_is_undefined_not_zero():
    found = scored(pixels("00 00 5"), 2, masked=True)
    assert found.iou_c_pooled is None and found.sek_fromto is None and found.score_pooled is None
    assert scored(np.full((4, 3), 255, np.uint8), 2, masked=True).oa_image is None


def test_codes_outside_are_refused():
    with pytest.raises(LegendError, match="outside the legend"):
        counted(pixels("13 11 1"), 2, masked=True)
    with pytest.raises(LegendError, match="outside the legend"):
        counted(pixels("00 11 1"), 2, masked=False)
