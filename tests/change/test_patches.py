import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from mapmend.change.crossing import Crossings
from mapmend.change.patches import find_patches
from mapmend.change.settings import ChangeSettings

rasters = st.tuples(st.integers(1, 14), st.integers(1, 9)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 1, 2]))
)


def listed(code, pixels, area):
    return list(zip(code.tolist(), pixels.tolist(), area.astype(int).tolist(), strict=True))


def naive(codes):
    """(code, pixels, sum of places) of each 4-connected patch of equal codes above 0, by scipy's labels per code."""
    found = []
    for code in np.unique(codes[codes > 0]):
        labels, count = ndimage.label(codes == code)
        places = np.arange(codes.size).reshape(codes.shape)
        found += [(int(code), int((labels == n).sum()), int(places[labels == n].sum())) for n in range(1, count + 1)]
    return sorted(found)


@given(rasters)
@settings(deadline=None, max_examples=150)
def test_patches_of_a_strip(codes):
    areas = np.arange(codes.size, dtype=float).reshape(codes.shape)
    patches = find_patches(codes, codes > 0, areas[codes > 0], np.full(codes.shape, 50, np.uint8))
    assert sorted(listed(patches.code, patches.pixels, patches.area)) == naive(codes)
    np.testing.assert_allclose(patches.certainty, patches.pixels / 4)


@given(rasters, st.integers(1, 5), st.integers(1, 6))
@settings(deadline=None, max_examples=150)
def test_patches_across_strips(codes, rows, smallest):
    """Wherever the strips are cut, the same patches are kept."""
    areas, width = np.arange(codes.size, dtype=float).reshape(codes.shape), codes.shape[1]
    crossings, strips = Crossings(), []
    for row in range(0, len(codes), rows):
        part = codes[row : row + rows]
        strips.append(find_patches(part, part > 0, areas[row : row + rows][part > 0], None))
        crossings.add(strips[-1])
    limit = ChangeSettings(mmu_pixels=smallest)
    whole = crossings.resolve(limit)
    found, kept_pixels = [], np.zeros(codes.shape, bool)
    for number, strip in enumerate(strips):
        inside = np.ones(len(strip.code), bool)
        inside[strip.border] = False
        found += listed(strip.code[inside], strip.pixels[inside], strip.area[inside])
        kept = limit.keeps(strip.pixels, strip.area)
        kept[strip.border] = whole.kept[whole.of(number)]
        kept_pixels.ravel()[strip.at[kept[strip.label]] + number * rows * width] = True
    code_of = np.zeros(len(whole.pixels), int)
    for number, strip in enumerate(strips):
        code_of[whole.of(number)] = strip.code[strip.border]
        assert (whole.last[whole.of(number)] >= number).all()
    found += listed(code_of, whole.pixels, whole.area)
    assert sorted(found) == naive(codes)
    expected = np.zeros(codes.shape, bool)
    for code in (1, 2):
        labels, count = ndimage.label(codes == code)
        large = [n for n in range(1, count + 1) if (labels == n).sum() >= smallest]
        expected |= np.isin(labels, large)
    np.testing.assert_array_equal(kept_pixels, expected)
