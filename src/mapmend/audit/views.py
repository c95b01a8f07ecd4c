"""Labels and held-out probabilities of judged sites, read strip by strip, block by block, or in a sample of tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mapmend.audit.held_out import Judged, read_earlier, read_probabilities
from mapmend.audit.measuring import View
from mapmend.core.grid import Window, full_window, windows
from mapmend.core.legend import Legend
from mapmend.core.thinning import evenly
from mapmend.data.samples import SiteReader

_STRIP_BYTES = 2**26  # of a strip's probabilities; its other arrays take some tens of bytes a pixel
_STRIP_PIXELS = 2**22
_TILE = 512
_TILE_PIXELS = 2**21  # of all tiles
_BLOCK = 1024


class SiteViews:
    """Reads one judged site.

    Attributes:
        judged: what is read.
        reader: of its images and its label.
    """

    def __init__(self, judged: Judged, legend: Legend) -> None:
        self.judged, self.reader, self._classes = judged, SiteReader(judged.site, legend), len(legend)

    def view(self, window: Window, halo: int = 0) -> View:
        """Label and probabilities of a window with `halo` pixels around it; outside of the grid there are none.

        Raises:
            MapmendError: a file cannot be read.
        """
        padded = window.pad(halo)
        earlier = read_earlier(self.judged, padded) if self.judged.earlier is not None else None
        probabilities = read_probabilities(self.judged, padded, self._classes)
        return View(self.reader.label(padded), probabilities, earlier, halo)

    def strips(self) -> Iterator[Window]:
        """Windows of whole rows that cover the site from the top."""
        whole = full_window(self.judged.site.grid)
        most = min(_STRIP_PIXELS, _STRIP_BYTES // self._classes)
        rows = max(1, most // whole.width)
        for row in range(0, whole.height, rows):
            yield Window(row, 0, min(rows, whole.height - row), whole.width)

    def blocks(self) -> Iterator[Window]:
        """The judged blocks, large ones in pieces."""
        for block in self.judged.blocks:
            for row in range(block.row, block.row_end, _BLOCK):
                for col in range(block.col, block.col_end, _BLOCK):
                    piece = Window(row, col, _BLOCK, _BLOCK).intersect(block)
                    assert piece is not None
                    yield piece


def sample_tiles(sites: Sequence[SiteViews]) -> list[tuple[SiteViews, Window]]:
    """Tiles spread evenly over the labelled ground, about two million pixels together."""
    every = [
        (site, window)
        for site in sites
        for window in windows(site.judged.site.grid, _TILE)
        if any(block.intersect(window) is not None for block in site.judged.blocks)
    ]
    size = float(np.mean([window.height * window.width for _, window in every]))
    return evenly(every, max(1, int(_TILE_PIXELS / size)))
