import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapmend.core.errors import ProjectError
from mapmend.predict.lattice import Lattice

lattices = st.integers(2, 40).flatmap(lambda size: st.builds(Lattice, st.just(size), st.integers(0, size // 2)))


def _seen(lattice, length):
    """Pixel → numbers of the windows that see it, by definition."""
    starts = range(0, lattice.count(length) * lattice.stride, lattice.stride)
    return [[k for k, start in enumerate(starts) if start <= x < start + lattice.size] for x in range(length)]


@given(lattices, st.integers(1, 200))
def test_every_pixel_is_seen_by_one_or_two_windows_and_no_window_is_idle(lattice, length):
    seen = _seen(lattice, length)
    assert all(1 <= len(numbers) <= 2 for numbers in seen)
    assert {number for numbers in seen for number in numbers} == set(range(lattice.count(length)))


@given(lattices, st.integers(1, 200), st.data())
def test_a_part_of_the_axis_needs_exactly_the_windows_that_see_its_pixels(lattice, length, data):
    start = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(start + 1, length))
    seen = _seen(lattice, length)[start:end]
    assert set(lattice.touching(start, end, length)) == {number for numbers in seen for number in numbers}


@given(lattices, st.integers(1, 200), st.data())
def test_total_weight_is_the_sum_over_windows(lattice, length, data):
    start = data.draw(st.integers(0, length - 1))
    end = data.draw(st.integers(start + 1, length))
    taper = lattice.taper()
    sums = [sum(taper[x - k * lattice.stride] for k in ks) for x, ks in enumerate(_seen(lattice, length))]
    np.testing.assert_allclose(lattice.total(start, end, length), sums[start:end], rtol=1e-6)


@given(lattices)
def test_taper_is_positive_symmetric_flat_in_the_middle_and_sums_to_one(lattice):
    taper = lattice.taper()
    assert (taper > 0).all() and (taper <= 1).all()
    np.testing.assert_array_equal(taper, taper[::-1])
    np.testing.assert_array_equal(taper[lattice.overlap : lattice.size - lattice.overlap], 1)
    shared = taper[: lattice.overlap] + taper[lattice.size - lattice.overlap :]
    np.testing.assert_allclose(shared, 1, atol=1e-5)


def test_taper_rises_smoothly_over_the_middle_half_of_the_overlap():
    rise = Lattice(512, 128).taper()[:128]
    assert rise[:32].max() < 1e-3 and rise[96:].min() > 1 - 1e-3
    assert (np.diff(rise) >= 0).all()
    assert np.diff(rise).max() < 1.1 * np.pi / 2 / 64  # a raised cosine's steepest step


@pytest.mark.parametrize(("size", "overlap"), [(64, 33), (64, -1), (0, 0)])
def test_windows_that_overlap_by_more_than_half_are_refused(size, overlap):
    with pytest.raises(ProjectError, match="overlap"):
        Lattice(size, overlap)
