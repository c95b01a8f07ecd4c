"""What every injector promises, and what each of them does, measured by other means than its own."""

import numpy as np
import pytest
from scipy import ndimage

from mapmend.core.errors import LabelError, ProjectError
from mapmend.data.noise import INJECTORS, inject, make_injector

NODATA = 255
CLASSES = 5
EXPECTED = {
    *("shift", "erosion", "dilation", "rotation", "missing", "false", "swap", "coarse", "outdated", "mmu", "holes"),
    *("merge", "split"),
}
every_injector = pytest.mark.parametrize("name", sorted(EXPECTED))


def scene(seed=0, side=256):
    """Fields of four classes with lines and blobs of a fifth, and a corner without a label."""
    rng = np.random.default_rng(seed)
    score = np.stack([ndimage.gaussian_filter(rng.standard_normal((side, side)), 9) for _ in range(4)])
    label = score.argmax(0).astype(np.uint8)
    for _ in range(40):
        row, col = rng.integers(side - 14, size=2)
        label[row : row + rng.integers(4, 14), col : col + rng.integers(4, 14)] = 4
    label[: side // 8, : side // 8] = NODATA
    return label


def noised(name, label, seed=0, **settings):
    before = np.where(label == NODATA, label, np.roll(label, 20, 0)) if name == "outdated" else None
    return inject(label, make_injector(name, settings), classes=CLASSES, seed=seed, before=before)


def test_all_of_them_are_registered():
    assert set(INJECTORS) == EXPECTED


@every_injector
def test_nothing_changes_outside_the_mask_and_no_pixel_gets_a_label(name):
    label = scene()
    kept = label.copy()
    found = noised(name, label, seed=3)
    assert (label == kept).all()
    assert found.changed.any()
    assert found.label.dtype == np.uint8
    assert (found.label[~found.changed] == label[~found.changed]).all()
    assert (found.label[found.changed] != label[found.changed]).all()
    assert (found.label[label == NODATA] == NODATA).all()
    assert name == "holes" or (found.label[label != NODATA] < CLASSES).all()


@every_injector
def test_equal_seeds_give_equal_bytes(name):
    one, other = (noised(name, scene(), seed=5) for _ in range(2))
    assert one.label.tobytes() == other.label.tobytes()
    assert one.changed.tobytes() == other.changed.tobytes()
    fixed = {"coarse", "merge", "mmu", "outdated"}  # nothing in them is drawn
    others = {noised(name, scene(), seed=seed).label.tobytes() for seed in (6, 7, 8)}
    assert (others == {one.label.tobytes()}) == (name in fixed)


@every_injector
def test_shares_are_those_of_a_naive_count(name):
    label = scene(1)
    found = noised(name, label, seed=1)
    for index in range(CLASSES):
        own = [(a, b) for a, b in zip(label.ravel().tolist(), found.label.ravel().tolist(), strict=True)]
        total = sum(a == index for a, _ in own)
        assert found.lost[index] == pytest.approx(sum(a == index != b for a, b in own) / total)
        assert found.gained[index] == pytest.approx(sum(b == index != a for a, b in own) / total)
    labelled = label != NODATA
    assert found.rate == pytest.approx((found.label != label)[labelled].mean())


@every_injector
def test_labels_of_one_class_or_of_none_are_survived(name):
    for label in (np.zeros((40, 40), np.uint8), np.full((40, 40), NODATA, np.uint8)):
        found = noised(name, label)
        assert found.label.shape == label.shape
        if (label == NODATA).all():
            assert not found.changed.any()
            assert found.rate is None and found.boundary_share is None and set(found.lost) == {None}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rate", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("name", ["missing", "false", "swap"])
def test_a_rate_is_reached_within_a_point_in_every_class(name, rate, seed):
    classes = (1, 2, 4) if name != "swap" else tuple(range(CLASSES))
    settings = {"rate": rate} if name == "swap" else {"rate": rate, "classes": classes}
    label = scene(seed)
    found = noised(name, label, seed, **settings)
    assert found.asked == rate
    assert [found.achieved[index] for index in classes] == pytest.approx([rate] * len(classes), abs=0.01)
    if name == "missing":
        assert found.lost[0] == found.lost[3] == 0


def test_a_rate_is_reached_where_one_object_is_all_there_is():
    label = np.zeros((64, 64), np.uint8)
    label[20:50, 10:40] = 1
    assert noised("missing", label, rate=0.3).lost[1] == pytest.approx(0.3, abs=0.01)
    assert noised("swap", label, rate=0.3).lost[0] == pytest.approx(0.3, abs=0.01)


def test_missing_without_a_rate_draws_one_for_each_label():
    label = scene(2, side=64)
    drawn = sorted({noised("missing", label, seed).asked for seed in range(60)})
    assert drawn == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_objects_go_missing_whole_but_for_one_a_class():
    label = scene(3)
    found = noised("missing", label, 1, rate=0.3, classes=(4,))
    ids, count = ndimage.label(label == 4)
    gone = [found.changed[ids == one].mean() for one in range(1, count + 1)]
    assert sum(0 < share < 1 for share in gone) <= 1
    assert 0.1 < np.mean([share == 1 for share in gone]) < 0.6
    assert (found.label[found.changed] != 4).all()


def test_a_missing_object_is_covered_by_what_surrounds_it():
    label = np.zeros((40, 40), np.uint8)
    label[:, 20:] = 2
    label[5:9, 5:9] = 1
    label[20:24, 28:33] = 1
    found = noised("missing", label, rate=1.0, classes=(1,))
    assert (found.label == np.where(np.arange(40) < 20, 0, 2)).all()


def test_false_objects_look_like_true_ones():
    label = np.zeros((128, 128), np.uint8)
    for at in (10, 50, 90):
        label[at : at + 6, at : at + 9] = 1
    found = noised("false", label, rate=1.0)
    ids, count = ndimage.label(found.changed)
    assert count == 3
    sizes = {tuple(sorted((part.stop - part.start) for part in place)) for place in ndimage.find_objects(ids)}
    assert sizes == {(6, 9)}
    assert found.gained[1] == 1 and found.lost[1] == 0


def test_swap_follows_a_matrix():
    matrix = [[0.7, 0.1, 0.1, 0.1, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.2, 0.8, 0.0, 0.0]]
    matrix += [[0.05, 0.05, 0.0, 0.9, 0.0], [0.0, 0.0, 0.0, 0.4, 0.6]]
    label = scene(4)
    found = noised("swap", label, matrix=matrix)
    measured = [[(found.label[label == i] == j).mean() for j in range(CLASSES)] for i in range(CLASSES)]
    np.testing.assert_allclose(measured, matrix, atol=0.01)


def test_swap_by_rate_uses_all_other_classes():
    label = scene(5)
    found = noised("swap", label, rate=0.4)
    for index in range(CLASSES):
        assert set(np.unique(found.label[found.changed & (label == index)])) <= set(range(CLASSES)) - {index}
    assert len(np.unique(found.label[found.changed])) == CLASSES


def test_shift_of_all_is_a_shift():
    label = scene(6)
    label[label == NODATA] = 0
    found = noised("shift", label, least=2, most=3)
    moves = [(down, right) for down in range(-3, 4) for right in range(-3, 4)]
    inner = np.s_[3:-3, 3:-3]
    fits = [move for move in moves if (np.roll(label, move, (0, 1))[inner] == found.label[inner]).all()]
    assert len(fits) == 1
    assert 1 < np.hypot(*fits[0]) < 4


def test_shift_of_objects_moves_each_by_itself():
    label = np.zeros((120, 120), np.uint8)
    places = [(20, 20), (20, 80), (80, 20), (80, 80)]
    for row, col in places:
        label[row : row + 8, col : col + 8] = 1
    found = noised("shift", label, 2, of="objects", least=2, most=3)
    moves = []
    for row, col in places:
        rows, cols = np.nonzero(found.label[row - 8 : row + 16, col - 8 : col + 16])
        assert rows.size == 64
        moves.append((rows.min() - 8, cols.min() - 8))
    assert len(set(moves)) > 1
    assert all(1 < np.hypot(*move) < 4 for move in moves)


def test_erosion_and_dilation_move_the_boundary_by_the_pixels_drawn():
    rows, cols = np.indices((101, 101)) - 50
    disk = (np.hypot(rows, cols) <= 30).astype(np.uint8)
    for name, sign in (("erosion", -1), ("dilation", 1)):
        found = noised(name, disk, least=6, most=6)
        radius = np.sqrt((found.label == 1).sum() / np.pi)
        assert radius == pytest.approx(30 + 6 * sign, abs=1)
    assert noised("erosion", disk, least=5, most=14).lost[1] >= 1 - (25.8 / 30) ** 2 - 0.02


def test_all_errors_of_a_small_shift_are_at_boundaries_and_those_of_a_swap_are_not():
    label = scene(7)
    assert noised("shift", label, least=1, most=2).boundary_share > 0.95
    assert noised("swap", label, rate=0.2).boundary_share < 0.6


def test_rotation_keeps_an_objects_middle_and_size():
    label = np.zeros((100, 100), np.uint8)
    label[40:60, 30:70] = 1
    found = noised("rotation", label, 1)
    assert (found.label == 1).sum() == pytest.approx(800, rel=0.03)
    assert ndimage.center_of_mass(found.label == 1) == pytest.approx((49.5, 49.5), abs=0.5)
    assert 0 < found.lost[1] < 0.5
    assert ndimage.label(found.label == 1)[1] == 1


@pytest.mark.parametrize("block", [3, 10, 30])
@pytest.mark.parametrize("misplaced", [True, False])
def test_coarse_is_the_majority_of_each_block(block, misplaced):
    label = scene(8, side=120)
    label[label == NODATA] = 0
    found = noised("coarse", label, block=block, misplaced=misplaced)
    offset = block // 2 if misplaced else 0
    for row in range(0, 120 - offset - block, block):
        for col in range(0, 120 - offset - block, block):
            seen = label[row + offset : row + offset + block, col + offset : col + offset + block]
            told = found.label[row : row + block, col : col + block]
            assert (told == told[0, 0]).all()
            counts = np.bincount(seen.ravel(), minlength=CLASSES)
            assert counts[told[0, 0]] == counts.max()


def test_no_object_is_left_below_the_mapping_unit():
    label = scene(9)
    label[label == NODATA] = 0
    found = noised("mmu", label, pixels=150)
    sizes = [np.bincount(ndimage.label(found.label == index)[0].ravel())[1:] for index in range(CLASSES)]
    assert np.concatenate(sizes).min() >= 150
    small = np.zeros(label.shape, bool)
    for index in range(CLASSES):
        ids, _ = ndimage.label(label == index)
        small |= (np.bincount(ids.ravel()) < 150)[ids] & (label == index)
    assert found.changed.sum() >= small.sum() * 0.5


def test_holes_take_the_share_and_leave_the_rest():
    label = scene(10)
    found = noised("holes", label, rate=0.3)
    assert found.rate == pytest.approx(0.3, abs=0.001)
    assert (found.label[found.changed] == NODATA).all()
    assert ndimage.label(found.changed)[1] < 60


def test_outdated_is_the_earlier_label():
    now, before = scene(11), scene(12)
    before[100:120, 100:120] = NODATA
    found = inject(now, make_injector("outdated"), classes=CLASSES, before=before)
    both = (now != NODATA) & (before != NODATA)
    assert (found.label[both] == before[both]).all()
    assert (found.label[~both] == now[~both]).all()
    with pytest.raises(LabelError, match="earlier date"):
        inject(now, make_injector("outdated"), classes=CLASSES)


def test_merge_and_split():
    label = scene(13)
    merged = noised("merge", label, pairs=[(2, 1)])
    assert (merged.label == np.where(label == 2, 1, label)).all()
    split = noised("split", label, pairs=[(0, 3)], rate=0.25)
    assert split.lost[0] == pytest.approx(0.25, abs=0.01)
    assert (split.label[split.changed] == 3).all()


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("swapp", {}, "did you mean 'swap'"),
        ("swap", {"rates": 0.1}, "did you mean 'rate'"),
        ("swap", {"rate": 1.2}, "'rate' is 1.2"),
        ("swap", {"matrix": [[0.5, 0.4], [0, 1]]}, "row 1 of the matrix"),
        ("coarse", {"block": 1}, "'block' is 1"),
    ],
)
def test_settings_that_do_not_fit(name, settings, says):
    with pytest.raises(ProjectError, match=says):
        make_injector(name, settings)


def test_labels_that_do_not_fit():
    with pytest.raises(LabelError, match="beyond 4"):
        noised("swap", np.full((8, 8), 7, np.uint8))
    with pytest.raises(LabelError, match="not H×W indices in uint8"):
        noised("swap", np.zeros((8, 8), np.int64))
    with pytest.raises(ProjectError, match="matrix of 2 classes for a legend of 5"):
        noised("swap", scene(), matrix=[[1, 0], [0, 1]])
