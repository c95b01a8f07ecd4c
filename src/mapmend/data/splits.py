"""Which pixels validate: whole sites where there are enough, else spatial blocks with a buffer around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mapmend.core.grid import Window
from mapmend.data.sites import PreparedSite

_ENOUGH_SITES = 5  # from this number on, whole sites are held out


@dataclass(frozen=True)
class SitePart:
    """A site and the blocks of it that validate; training sees neither them nor `buffer` pixels around them.

    Attributes:
        trains: whether pixels outside the blocks are trained on.
        blocks: windows that validate.
        buffer: pixels around each block that belong to neither part.
    """

    site: PreparedSite
    trains: bool
    blocks: tuple[Window, ...] = ()
    buffer: int = 0

    def excluded(self, window: Window) -> np.ndarray:
        """H×W bool, true where training must not look at the label."""
        out = np.zeros((window.height, window.width), bool)
        for block in self.blocks:
            shared = block.pad(self.buffer).intersect(window)
            if shared is not None:
                out[shared.shift(-window.row, -window.col).slices] = True
        return out

    def describe(self) -> dict[str, object]:
        """Plain values for a log: what of the site validates."""
        blocks = [[block.row, block.col, block.height, block.width] for block in self.blocks]
        return {"site": self.site.name, "date": self.site.date, "trains": self.trains, "validates": blocks}


def split_sites(
    sites: Sequence[PreparedSite], *, block: int, share: float = 0.2, seed: int = 0
) -> tuple[SitePart, ...]:
    """Parts for training and validation.

    A `split` in the manifest is obeyed: sites marked `val` validate and the others train. Without such a mark
    about `share` of the area is held out: whole sites when there are at least five, else square blocks of each
    site, drawn at random among those that hold labels, with a buffer of an eighth of their side around them.

    Args:
        sites: labelled sites; those marked `test` are left out.
        block: side of a validation block in pixels.
        share: share of the area to hold out; 0 for none.
        seed: of the draw.
    """
    sites = [site for site in sites if site.split != "test"]
    if any(site.split == "val" for site in sites):
        return tuple(_whole(site, validates=site.split == "val") for site in sites)
    if share <= 0:
        return tuple(SitePart(site, trains=True) for site in sites)
    rng = np.random.default_rng([seed, 0x5711])
    places = list(dict.fromkeys(site.name for site in sites))
    if len(places) >= _ENOUGH_SITES:
        held = set(rng.permutation(places)[: max(1, round(share * len(places)))])
        return tuple(_whole(site, validates=site.name in held) for site in sites)
    blocks = {name: _draw_blocks(next(s for s in sites if s.name == name), block, share, rng) for name in places}
    return tuple(SitePart(site, True, blocks[site.name], buffer=block // 8) for site in sites)


def _whole(site: PreparedSite, *, validates: bool) -> SitePart:
    height, width = (int(n) for n in site.grid.shape)
    return SitePart(site, not validates, (Window(0, 0, height, width),) if validates else ())


def _draw_blocks(site: PreparedSite, side: int, share: float, rng: np.random.Generator) -> tuple[Window, ...]:
    """Blocks of a site's own lattice; a site with fewer than four blocks validates nothing."""
    height, width = (int(n) for n in site.grid.shape)
    lattice = [
        Window(row, col, min(side, height - row), min(side, width - col))
        for row in range(0, height, side)
        for col in range(0, width, side)
        if min(height - row, width - col) >= side // 2
    ]
    if len(lattice) < 4:
        return ()
    chosen = rng.permutation(len(lattice))[: max(1, round(share * len(lattice)))]
    return tuple(lattice[i] for i in sorted(chosen))
