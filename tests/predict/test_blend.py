import numpy as np
import torch
from affine import Affine

from mapmend.core.grid import Window, make_grid
from mapmend.predict.blend import RowBlend
from mapmend.predict.lattice import Lattice


def _naive(lattice, shape, windows):
    """Weighted mean of the windows' probabilities, pixel by pixel."""
    taper = lattice.taper().astype(float)
    classes = next(iter(windows.values())).shape[0]
    sums, weights = np.zeros((classes, *shape)), np.zeros(shape)
    for (row, col), values in windows.items():
        for y in range(lattice.size):
            for x in range(lattice.size):
                place = row * lattice.stride + y, col * lattice.stride + x
                if place[0] < shape[0] and place[1] < shape[1]:
                    sums[:, place[0], place[1]] += taper[y] * taper[x] * values[:, y, x]
                    weights[place] += taper[y] * taper[x]
    return sums / weights


def test_a_block_is_the_weighted_mean_of_all_windows_that_see_it():
    lattice, shape = Lattice(12, 4), (29, 35)
    grid = make_grid(shape, Affine(1, 0, 0, 0, -1, 0), None)
    rng = np.random.default_rng(4)
    windows = {
        (row, col): rng.dirichlet(np.ones(3), (12, 12)).transpose(2, 0, 1).astype(np.float32)
        for row in range(lattice.count(shape[0]))
        for col in range(lattice.count(shape[1]))
    }
    expected = _naive(lattice, shape, windows)
    block = Window(8, 16, 16, 16)
    blend = RowBlend(block, grid, lattice, 3)
    wanted = rng.random((16, 16)) < 0.8
    for row in lattice.touching(8, 24, 29):
        for col in lattice.touching(16, 32, 35):
            blend.add((row, col), torch.from_numpy(windows[row, col].copy()))
        if row > 0:
            part = Window(row * 8, 16, 8, 16)
            mask = wanted[part.row - 8 : part.row_end - 8]
            index, confidence = blend.finish(row, part, mask[None])
            here = expected[:, part.row : part.row_end, 16:32]
            np.testing.assert_array_equal(index, np.where(mask, here.argmax(0), 255))
            assert np.abs(confidence[mask] - 200 * here.max(0)[mask]).max() <= 0.501
            assert (confidence[~mask] == 255).all()
