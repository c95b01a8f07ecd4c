import numpy as np
import pytest

from mapmend.change.codes import FromToLegend
from mapmend.core.legend import Legend, LegendClass


def legend_of(count):
    return Legend("many", tuple(LegendClass(code, f"class {code}", f"#{code:02x}0000") for code in range(count)))


@pytest.mark.parametrize(("count", "dtype", "nodata"), [(2, "uint8", 255), (15, "uint8", 255), (16, "uint16", 65535)])
def test_codes_fit_their_type(count, dtype, nodata):
    codes = FromToLegend(legend_of(count))
    every = np.array([*range(count), 255], np.uint8)
    before, after = (grid.ravel() for grid in np.meshgrid(every, every, indexing="ij"))
    after = np.where(before == 255, 255, after).astype(np.uint8)
    known = (before != 255) & (after != 255)
    found = codes.encode(before, after)
    assert found.dtype == dtype and codes.nodata == nodata
    np.testing.assert_array_equal(found[known], before[known].astype(int) * count + after[known])
    assert (found[before == 255] == nodata).all() and found[known].max() == count**2 - 1 < nodata


def test_names_and_colours(legend):
    classes = FromToLegend(legend).classes
    assert [entry.id for entry in classes] == list(range(9))
    assert classes[4].name == "forest (unchanged)" and classes[3].name == "forest → water"
    assert classes[3].rgb == (0, 0, 255), "what became water is blue"
    assert min(classes[0].rgb) > 170, "what stayed is pale"
    assert FromToLegend(legend).colormap()[5] == (255, 0, 0, 255)
