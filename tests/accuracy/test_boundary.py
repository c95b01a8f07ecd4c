import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion

from mapmend.accuracy.boundary import BoundaryCounts, bf_score, boundary_iou, reach, ring, ring_width

REFERENCE = np.zeros((64, 64), bool)
REFERENCE[16:48, 16:48] = True
SHIFTED = np.roll(REFERENCE, 2, axis=0)


@pytest.mark.parametrize("width, expected", [(1, 0.31914894), (2, 0.33333333), (None, 0.33333333), (3, 0.5)])
def test_the_published_check(width, expected):
    assert boundary_iou(REFERENCE, SHIFTED, width) == pytest.approx(expected, abs=5e-9)


def test_the_width_is_two_percent_of_the_diagonal():
    assert ring_width(64, 64) == 2 and ring_width(10, 10) == 1 and ring_width(3000, 4000) == 100


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_a_ring_is_the_mask_less_its_erosion(seed, width):
    rng = np.random.default_rng(seed)
    classes = np.kron(rng.integers(0, 3, (4, 5)), np.ones((5, 4))).astype(np.uint8)
    for index in range(3):
        mask = classes == index
        eroded = binary_erosion(mask, np.ones((3, 3)), iterations=width, border_value=0)
        np.testing.assert_array_equal(ring(classes, width) & mask, mask & ~eroded)


def naive_bf(reference, prediction, tolerance):
    outlines = [np.argwhere(mask & ~binary_erosion(mask, np.ones((3, 3)))) for mask in (reference, prediction)]
    shares = []
    for points, others in (outlines, outlines[::-1]):
        near = [min(math.dist(point, other) for other in others) <= tolerance for point in points]
        shares.append(sum(near) / len(near))
    return 2 * math.prod(shares) / sum(shares)


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 2])
def test_bf_by_a_naive_loop(tolerance):
    assert bf_score(REFERENCE, SHIFTED, tolerance) == pytest.approx(naive_bf(REFERENCE, SHIFTED, tolerance))
    assert bf_score(REFERENCE, np.roll(SHIFTED, 1, 1), tolerance) == pytest.approx(
        naive_bf(REFERENCE, np.roll(SHIFTED, 1, 1), tolerance)
    )


def test_empty_masks():
    empty = np.zeros((8, 8), bool)
    assert boundary_iou(empty, empty) is None and bf_score(empty, empty) is None
    assert boundary_iou(REFERENCE, np.zeros_like(REFERENCE)) == bf_score(REFERENCE, np.zeros_like(REFERENCE)) == 0


@pytest.mark.parametrize("width, tolerance", [(3, 2.5), (1, 0), (1, 3), (2, 1.0)])
def test_windows_give_what_the_whole_image_gives(width, tolerance):
    rng = np.random.default_rng(5)
    layers = [np.kron(rng.integers(0, 4, (9, 8)), np.ones((5, 6))).astype(np.uint8) for _ in range(2)]
    layers[0][3:9, 10:20] = 255
    layers[1] = np.where(rng.random(layers[1].shape) < 0.9, layers[0], layers[1])
    layers[1][layers[1] == 255] = 0
    whole, parts = BoundaryCounts(4), BoundaryCounts(4)
    whole.update(*layers, width=width, tolerance=tolerance)
    pad = reach(width, tolerance)
    padded = [np.pad(layer, pad, constant_values=255) for layer in layers]
    for row in range(0, 45, 16):
        for col in range(0, 48, 16):
            height, across = min(16, 45 - row), min(16, 48 - col)
            cut = [layer[row : row + height + 2 * pad, col : col + across + 2 * pad] for layer in padded]
            part = BoundaryCounts(4)
            core = slice(pad, pad + height), slice(pad, pad + across)
            part.update(*cut, width=width, tolerance=tolerance, core=core)
            parts = parts + part
    assert parts.boundary_ious() == whole.boundary_ious()
    assert parts.bf_scores() == whole.bf_scores()
