"""Images without a label, for methods that learn from those too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from mapmend.core.errors import LabelError
from mapmend.core.grid import Grid, Window
from mapmend.core.legend import NODATA, Legend
from mapmend.data.leaks import side_of_site
from mapmend.data.samples import CELL, Key, Sample, SiteReader, crop_in, draw_turn, make_sample, turned
from mapmend.data.sites import PreparedSite


def unlabelled_sites(sites: Sequence[PreparedSite]) -> tuple[PreparedSite, ...]:
    """Those without a label that judge nothing: neither `val` nor `test`, nor unmarked with a reference."""
    return tuple(site for site in sites if site.label is None and side_of_site(site) not in ("val", "test"))


class EvenWindows:
    """Draws windows of several grids, every pixel of any of them as likely as any other.

    Args:
        grids: at least one.
        side: of a window.
    """

    def __init__(self, grids: Sequence[Grid], side: int) -> None:
        self._grids, self._side = tuple(grids), side
        self._shapes = [tuple(-(-int(n) // CELL) for n in grid.shape) for grid in grids]
        self._ends = np.cumsum([rows * cols for rows, cols in self._shapes])

    def draw(self, rng: np.random.Generator) -> tuple[int, Window]:
        """The place of a grid among them, and a window of it."""
        flat = int(rng.integers(self._ends[-1]))
        index = int(np.searchsorted(self._ends, flat, side="right"))
        begin = int(self._ends[index - 1]) if index else 0
        cell = np.unravel_index(flat - begin, self._shapes[index])
        return index, crop_in(self._grids[index], cell, self._side, rng)


class UnlabelledSet(Dataset[Sample]):
    """Random crops of images of which nothing is known, every pixel as likely as any other.

    Args:
        sites: of `unlabelled_sites`.
        legend: the project's.
        crop: side of a window.
        seed: of all draws.

    Raises:
        LabelError: there is none.
    """

    def __init__(self, sites: Sequence[PreparedSite], legend: Legend, crop: int, seed: int) -> None:
        if not sites:
            raise LabelError(
                "no site is without a label, and the method learns from such sites too",
                fix="list images of the target (`split: train` where it has a reference), or give `train` a "
                "`labelled_share`, or use a method that needs none",
            )
        self._sites = tuple(sites)
        self._readers = [SiteReader(site, legend) for site in sites]
        self._windows = EvenWindows([site.grid for site in sites], crop)
        self._seed = seed

    def __getitem__(self, key: Key) -> Sample:
        """As in `TrainingSet`, all labels 255."""
        rng = np.random.default_rng([self._seed, 0x0172, *key])
        index, window = self._windows.draw(rng)
        site = self._sites[index]
        turn = draw_turn(site, rng)
        image, valid = (turned(array, *turn) for array in self._readers[index].image(window))
        return make_sample(image, valid, np.full((window.height, window.width), NODATA, np.uint8), site.trust)
