"""Images without a label, for methods that learn from those too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch.utils.data import Dataset

from mapmend.core.errors import LabelError
from mapmend.core.grid import Window
from mapmend.core.legend import NODATA, Legend
from mapmend.data.samples import CELL, Key, Sample, SiteReader, draw_turn, make_sample, place_crop, turned
from mapmend.data.sites import PreparedSite


def unlabelled_sites(sites: Sequence[PreparedSite]) -> tuple[PreparedSite, ...]:
    """Those without a label that are marked neither `val` nor `test`."""
    return tuple(site for site in sites if site.label is None and site.split not in ("val", "test"))


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
                fix="list images of the target, give `train` a `labelled_share`, or use a method that needs none",
            )
        self._sites = tuple(sites)
        self._readers = [SiteReader(site, legend) for site in sites]
        self._shapes = [tuple(-(-int(n) // CELL) for n in site.grid.shape) for site in sites]
        self._ends = np.cumsum([rows * cols for rows, cols in self._shapes])
        self._crop, self._seed = crop, seed

    def __getitem__(self, key: Key) -> Sample:
        """As in `TrainingSet`, all labels 255."""
        rng = np.random.default_rng([self._seed, 0x0172, *key])
        flat = int(rng.integers(self._ends[-1]))
        index = int(np.searchsorted(self._ends, flat, side="right"))
        site = self._sites[index]
        cell = np.unravel_index(flat - (int(self._ends[index - 1]) if index else 0), self._shapes[index])
        row, col = (
            place_crop(int(at) * CELL, int(size), self._crop, rng)
            for at, size in zip(cell, site.grid.shape, strict=True)
        )
        turn = draw_turn(site, rng)
        pixels = self._readers[index].image(Window(row, col, self._crop, self._crop))
        image, valid = (turned(array, *turn) for array in pixels)
        return make_sample(image, valid, np.full((self._crop, self._crop), NODATA, np.uint8), site.trust)
