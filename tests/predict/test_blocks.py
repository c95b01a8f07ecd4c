import numpy as np
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from mapmend.core.grid import Window, make_grid
from mapmend.predict.blocks import block_side, count_windows, plan_blocks
from mapmend.predict.lattice import Lattice


def _grid(height, width):
    return make_grid((height, width), Affine(1, 0, 0, 0, -1, 0), "EPSG:32633")


@given(st.integers(1, 300), st.integers(1, 300), st.integers(20, 320))
def test_blocks_cover_every_pixel_once_and_have_ids_of_their_own(height, width, side):
    blocks = plan_blocks(_grid(height, width), side)
    hits = np.zeros((height, width), int)
    for block in blocks:
        hits[block.window.slices] += 1
    assert (hits == 1).all()
    assert len({block.id for block in blocks}) == len(blocks)


def test_only_blocks_that_touch_the_area_of_interest_are_planned():
    blocks = plan_blocks(_grid(100, 100), 40, Window(45, 10, 20, 20))
    assert [block.window for block in blocks] == [Window(40, 0, 40, 40)]


def test_a_block_is_about_eight_thousand_pixels_of_whole_strides_and_tiles():
    side = block_side(Lattice(512, 128), 8)
    assert 4096 <= side <= 8192
    assert side % 384 == 0 and side % 512 == 0


def test_many_classes_make_narrower_blocks_so_that_the_sums_stay_within_half_a_gibibyte():
    lattice = Lattice(512, 128)
    side = block_side(lattice, 200)
    assert 4 * 200 * 512 * side <= 2**29
    assert side % lattice.stride == 0 and side > 0


def test_a_wanted_side_is_rounded_down_to_strides_and_never_to_nothing():
    assert block_side(Lattice(64, 16), 3, 200) == 192
    assert block_side(Lattice(64, 16), 3, 10) == 48


@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 6))
def test_blocks_of_many_strides_need_few_windows_twice(height, width, strides):
    lattice, grid = Lattice(32, 8), _grid(height, width)
    blocks = plan_blocks(grid, strides * lattice.stride)
    in_all = sum(count_windows(block, grid, lattice) for block in blocks)
    assert in_all <= lattice.count(height) * lattice.count(width) * (1 + 1 / strides) ** 2
    assert (in_all == lattice.count(height) * lattice.count(width)) or len(blocks) > 1
