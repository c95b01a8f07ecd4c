import numpy as np
import pytest

from mapmend.data.label_shift import conclude, estimate_shift, tile_sums
from mapmend.data.landscape.generation import generate


def naive(image, valid, labels, radius):
    """Sums of squares between classes and in total for every shift, pixel by pixel, for labels `radius` inside."""
    height, width = labels.shape
    inner = labels[radius : height - radius, radius : width - radius]
    scaled = np.stack([(band - band[valid].mean()) / band[valid].std() for band in image.astype(float)])
    side = 2 * radius + 1
    between, total = np.zeros((side, side)), np.zeros((side, side))
    kept = [k for k in np.unique(inner) if k != 255 and (inner == k).sum() >= 32]
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            rows = slice(radius - dy, height - radius - dy)
            cols = slice(radius - dx, width - radius - dx)
            good = valid[rows, cols] & np.isin(inner, kept)
            for band in scaled[:, rows, cols]:
                mean = band[good].mean()
                total[dy + radius, dx + radius] += ((band[good] - mean) ** 2).sum()
                for k in kept:
                    members = band[good & (inner == k)]
                    if members.size:
                        between[dy + radius, dx + radius] += members.size * (members.mean() - mean) ** 2
    return between, total


def test_the_sums_of_every_shift_are_those_of_a_loop_over_shifts():
    rng = np.random.default_rng(0)
    image = rng.normal(100, 20, (2, 44, 46))
    valid = rng.random((44, 46)) > 0.2
    labels = rng.choice([0, 3, 7, 255], (44, 46), p=[0.4, 0.3, 0.2, 0.1])
    labels[20, 20] = 9  # a class of one pixel
    [tile] = tile_sums(image, valid, labels, radius=4)
    between, total = naive(image, valid, labels, 4)
    np.testing.assert_allclose(tile.between, between, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(tile.total, total, rtol=1e-9)


@pytest.mark.parametrize(("seed", "moved"), [(0, (3, -5)), (1, (-7, 2)), (2, (0, 9)), (3, (11, 11))])
def test_a_moved_truth_is_found_where_it_was_moved_to(seed, moved):
    place = generate(256, seed)
    shift = estimate_shift(place.image_1, place.valid_1, np.roll(place.truth_1, moved, (0, 1)), 16)
    assert shift.certain and not shift.at_edge
    assert (shift.dy, shift.dx) == pytest.approx(moved, abs=0.6)
    assert shift.explained_at_best > shift.explained_at_zero + 0.1


@pytest.mark.parametrize("seed", range(6))
def test_what_lies_in_place_raises_no_alarm(seed):
    place = generate(256, seed)
    in_place = np.roll(place.label, (5, 5), (0, 1))  # the generator puts its coarse label half a cell up and left
    for labels in (place.truth_1, in_place):
        assert not estimate_shift(place.image_1, place.valid_1, labels, 16).certain


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_another_place_or_of_chance_raise_no_alarm(seed):
    place, other = generate(256, seed), generate(256, seed + 40)
    cells = np.random.default_rng(seed).integers(0, 4, (26, 26)).repeat(10, 0).repeat(10, 1)[:256, :256]
    for labels in (other.truth_1, other.label, cells):
        assert not estimate_shift(place.image_1, place.valid_1, labels, 16).certain


def test_half_a_cell_of_a_coarse_label_shows_over_several_windows():
    tiles = []
    for seed in range(2, 6):
        place = generate(320, seed)
        tiles += tile_sums(place.image_1, place.valid_1, place.label, 16)
    shift = conclude(tiles)
    assert shift.certain and (shift.dy, shift.dx) == pytest.approx((-5, -5), abs=2.5)  # a quarter of its cells


def test_where_nothing_can_be_said_nothing_is():
    rng = np.random.default_rng(0)
    image, valid = rng.normal(0, 1, (3, 200, 200)), np.ones((200, 200), bool)
    one = np.zeros((200, 200), int)
    assert not estimate_shift(image, valid, one, 8).certain
    assert not estimate_shift(image, valid, one + 255, 8).certain
    assert not estimate_shift(image, ~valid, np.eye(200, dtype=int), 8).certain
    assert not estimate_shift(np.full((3, 200, 200), 7), valid, rng.integers(0, 2, (200, 200)), 8).certain
    assert not estimate_shift(image[:, :20, :20], valid[:20, :20], one[:20, :20], 8).certain
