"""Parts of a label: found, measured and joined as a naive loop does it."""

from collections import deque

import numpy as np
import pytest
from tests.audit.scenery import THREE, fields, judged, seen

from mapmend.audit import views
from mapmend.audit.examining import _measured
from mapmend.audit.measuring import HALO, SUMS, View, measure
from mapmend.audit.table import Collector
from mapmend.audit.views import SiteViews


def naive(label, p, shift=(0, 0)):
    """Each part by flood fill, with what is measured of it, keyed by its first pixel."""
    height, width = label.shape
    proposed = p.argmax(0)
    known = label != 255
    code = np.where(known, label.astype(int) * 3 + proposed, -1)
    done, found = np.zeros(label.shape, bool), {}
    for start in zip(*np.nonzero(known), strict=True):
        if done[start]:
            continue
        queue, pixels = deque([start]), []
        done[start] = True
        while queue:
            row, col = queue.popleft()
            pixels.append((row, col))
            for other in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
                inside = 0 <= other[0] < height and 0 <= other[1] < width
                if inside and not done[other] and code[other] == code[start]:
                    done[other] = True
                    queue.append(other)
        sums = dict.fromkeys(SUMS, 0.0)
        for row, col in pixels:
            given, others = p[label[row, col], row, col] / 200, np.delete(p[:, row, col], label[row, col]).max() / 200
            sums["evidence"] += np.log(others + 0.0025) - np.log(given + 0.0025)
            sums["p_label"] += given
            sums["p_proposed"] += p[:, row, col].max() / 200
            back = (row + shift[0], col + shift[1])
            if 0 <= back[0] < height and 0 <= back[1] < width and label[back] != 255:
                sums["moved_back"] += label[back] == proposed[row, col]
                sums["moved_other"] += label[back] != label[row, col]
            for other in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
                inside = 0 <= other[0] < height and 0 <= other[1] < width
                if inside and known[other] and code[other] != code[start]:
                    sums["outline"] += 1
                    sums["outline_label"] += label[other] != label[start]
                    sums["touching"] += label[other] == proposed[start]
        rows, cols = zip(*pixels, strict=True)
        found[start] = (label[start], proposed[start], len(pixels), sums, (min(rows), max(rows), min(cols), max(cols)))
    return list(found.values())


@pytest.fixture
def scene():
    truth = fields(64, 16)
    label = truth.copy()
    label[3:20, 30:44] = 2
    label[40:44, 10:14] = 255
    return label, seen(truth, noise=1.5)


@pytest.mark.parametrize("rows", [64, 20, 7, 1])
def test_parts_are_those_of_a_flood_fill_however_the_label_is_cut(scene, rows, tmp_path, monkeypatch):
    label, p = scene
    monkeypatch.setattr(views, "_STRIP_PIXELS", rows * 64)
    site = SiteViews(judged(tmp_path, label, p, side=48), THREE)
    assert len(list(site.strips())) == -(-64 // rows)
    table, _ = _measured([site], THREE, 1, (1, -2))
    expected = naive(label, p, (1, -2))
    assert len(table) == len(expected) > 30
    order = np.lexsort((table.box[2], table.box[0], table.pixels, table.proposed, table.label))
    mine = [
        (table.label[i], table.proposed[i], table.pixels[i], tuple(table.box[:, i]), *table.sums[:-3, i].round(6))
        for i in order
    ]
    theirs = sorted(
        (one[0], one[1], one[2], one[4], *(round(one[3][name], 6) for name in SUMS[:-3])) for one in expected
    )
    np.testing.assert_allclose(
        [[*m[:3], *m[3], *m[4:]] for m in sorted(mine)], [[*t[:3], *t[3], *t[4:]] for t in theirs]
    )
    assert table.area.sum() == pytest.approx((label != 255).sum() / 1e4, rel=2e-3)  # ha, of pixels of 1 m


def test_small_parts_are_dropped_and_the_rest_stays(scene):
    label, p = scene
    every, large = (Collector(0, 3, least) for least in (1, 12))
    strip = measure(View(label, p), THREE, np.ones(label.shape))
    for collector in (every, large):
        collector.add(strip, 0)
    kept = every.finish()[0]
    assert (large.finish()[0].pixels == kept.pixels[kept.pixels >= 12]).all() and (kept.pixels < 12).any()


def test_depth_is_how_far_inside_the_deepest_pixel_lies():
    label, p = np.zeros((40, 60), np.uint8), np.zeros((3, 40, 60), np.uint8)
    p[0] = 200
    p[:, 10:15, 10:50] = np.array([0, 200, 0], np.uint8)[:, None, None]  # five rows: the middle one is third
    strip = measure(View(label, p), THREE, np.ones(label.shape))
    by_size = dict(zip(strip.patches.pixels.tolist(), strip.depth.tolist(), strict=True))
    assert by_size == {200: 3.0, 2200: HALO}


def test_parts_of_one_label_object_know_each_other(scene):
    label, p = scene
    collector = Collector(0, 3, 1)
    for row in range(0, 64, 16):
        rows = slice(row, row + 16)
        collector.add(measure(View(label[rows], p[:, rows]), THREE, np.ones((16, 64))), row)
    table = collector.finish()[0]
    from scipy import ndimage

    objects, numbers = np.zeros(label.shape, int), 0
    for index in range(3):
        own, count = ndimage.label(label == index)
        objects[own > 0] = own[own > 0] + numbers
        numbers += count
    sizes = np.bincount(table.object, table.pixels)
    assert sorted(sizes) == sorted(np.bincount(objects.ravel())[1:])
