"""Which pixels validate: whole sites where there are enough, else spatial blocks with a buffer around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from rasterio.windows import Window as RasterioWindow

from mapmend.core.grid import Grid, Window, full_window
from mapmend.core.legend import NODATA
from mapmend.data.overlaps import Place, groups
from mapmend.data.sites import PreparedSite
from mapmend.raster.opening import handle, raster_faults
from mapmend.raster.placement import to_pixels

_ENOUGH_SITES = 5  # from this number on, whole sites are held out
_DRAWS = 16  # of blocks, from which the one that shows most classes is taken


@dataclass(frozen=True)
class SitePart:
    """A site and the blocks of it that validate; training sees neither them nor `buffer` pixels around them.

    Attributes:
        trains: whether pixels outside the blocks are trained on.
        blocks: windows that validate.
        buffer: pixels of this site around each block that belong to neither part.
        shared: windows where blocks of other sites lie on this one's ground; they are not trained on either.
    """

    site: PreparedSite
    trains: bool
    blocks: tuple[Window, ...] = ()
    buffer: int = 0
    shared: tuple[Window, ...] = ()

    def excluded(self, window: Window) -> np.ndarray:
        """H×W bool, true where training must not look at the label."""
        out = np.zeros((window.height, window.width), bool)
        for block in (*self.blocks, *self.shared):
            inside = block.pad(self.buffer).intersect(window)
            if inside is not None:
                out[inside.shift(-window.row, -window.col).slices] = True
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
    about `share` of the labels is held out. Sites that share ground or pixels fall on the same side, and so do the
    dates of a site. Where at least five sites share nothing, whole ones are held out. Else square blocks of each site
    are, drawn at random among those that hold labels, so that training and validation see as many classes as can be.
    Around a block a buffer of an eighth of its side, in pixels of the site's grid, is neither trained on nor validated.

    Args:
        sites: labelled sites; those marked `test` are left out.
        block: side of a validation block in pixels.
        share: share to hold out; 0 for none.
        seed: of the draw.
    """
    sites = [site for site in sites if site.split != "test"]
    if any(site.split == "val" for site in sites):
        return tuple(_whole(site, validates=site.split == "val") for site in sites)
    if share <= 0 or not sites:
        return tuple(SitePart(site, trains=True) for site in sites)
    rng = np.random.default_rng([seed, 0x5711])
    dates: dict[str, list[PreparedSite]] = {}
    for site in sites:
        dates.setdefault(site.name, []).append(site)
    tied, by_pixels = groups([place_of(of_name) for of_name in dates.values()])
    if len(tied) >= _ENOUGH_SITES:
        held = _draw_groups(tied, share * len(dates), rng)
        return tuple(_whole(site, validates=site.name in held) for site in sites)
    # of images that share pixels nobody knows where they do: their blocks could not be kept apart
    blocks = {
        name: () if name in by_pixels else _draw_blocks(of_name, block, share, rng) for name, of_name in dates.items()
    }
    shared = {name: shared_blocks(name, group, dates, blocks) for group in tied for name in group}
    return tuple(SitePart(site, True, blocks[site.name], block // 8, shared[site.name]) for site in sites)


def with_fewer_labels(sites: Sequence[PreparedSite], share: float, seed: int) -> tuple[PreparedSite, ...]:
    """The sites, of which a share of the labelled places keep their labels, all dates of a place or none.

    Places marked `val` or `test` keep theirs and do not count. Drawn so that a smaller share is part of a larger one.

    Args:
        sites: all of them.
        share: of the labelled places, above 0; at least one place keeps its labels.
        seed: of the draw.
    """
    if share >= 1:
        return tuple(sites)
    judging = {site.name for site in sites if site.split in ("val", "test")}
    known = {site.name for site in sites if site.label is not None or site.change is not None} - judging
    drawn = np.random.default_rng([seed, 0xFE3]).permutation(sorted(known))
    without = set(drawn[max(1, round(share * len(known))) :].tolist())
    return tuple(_without_label(site) if site.name in without else site for site in sites)


def _without_label(site: PreparedSite) -> PreparedSite:
    return PreparedSite(
        site.name, site.date, site.grid, site.images, trust=site.trust, split=site.split, reference=site.reference
    )


def place_of(dates: Sequence[PreparedSite]) -> Place:
    """The ground of a site's dates, and all of their images."""
    files = chain.from_iterable(source.files for site in dates for source in site.sources)
    return Place(dates[0].name, "train", dates[0].grid, tuple(dict.fromkeys(files)))


def _whole(site: PreparedSite, *, validates: bool) -> SitePart:
    return SitePart(site, not validates, (full_window(site.grid),) if validates else ())


def _draw_groups(tied: Sequence[tuple[str, ...]], wanted: float, rng: np.random.Generator) -> set[str]:
    """Names of whole groups, about `wanted` of them together; at least one group, never all."""
    held: set[str] = set()
    for index in rng.permutation(len(tied))[:-1]:
        group = tied[index]
        if not held or len(held) + len(group) / 2 <= wanted:
            held.update(group)
    return held


def _draw_blocks(
    dates: Sequence[PreparedSite], side: int, share: float, rng: np.random.Generator
) -> tuple[Window, ...]:
    """Blocks of a site's own lattice; a site with fewer than four, or labels in fewer than two, validates nothing."""
    height, width = (int(n) for n in dates[0].grid.shape)
    lattice = [
        Window(row, col, min(side, height - row), min(side, width - col))
        for row in range(0, height, side)
        for col in range(0, width, side)
        if min(height - row, width - col) >= side // 2
    ]
    if len(lattice) < 4:
        return ()
    held = np.array([classes_in(dates, window) for window in lattice])
    labelled = np.flatnonzero(held.any(1))
    if len(labelled) < 2:
        return ()
    number = min(max(1, round(share * len(labelled))), len(labelled) - 1)
    draws = [rng.permutation(labelled)[:number] for _ in range(_DRAWS)]

    def shown(draw: int) -> tuple[int, int]:
        """Classes left to train on, and classes that validate."""
        chosen = draws[draw]
        return int(np.delete(held, chosen, 0).any(0).sum()), int(held[chosen].any(0).sum())

    return tuple(lattice[index] for index in sorted(draws[max(range(_DRAWS), key=shown)]))


def classes_in(dates: Sequence[PreparedSite], window: Window) -> np.ndarray:
    """Which of the 255 ids the labels of a site's dates, and of its change, hold in a window."""
    held = np.zeros(NODATA, bool)
    for label in (label for site in dates for label in (site.label, site.change) if label is not None):
        with raster_faults(label):
            ids = handle(label).read(1, window=RasterioWindow(window.col, window.row, window.width, window.height))
        held |= np.bincount(ids.ravel(), minlength=256)[:NODATA] > 0
    return held


def shared_blocks(
    name: str,
    group: Sequence[str],
    dates: Mapping[str, Sequence[PreparedSite]],
    blocks: Mapping[str, Sequence[Window]],
) -> tuple[Window, ...]:
    """Blocks of the other sites of a group, as windows of this site's grid."""
    grid = dates[name][0].grid
    if grid.crs is None:
        return ()
    moved = [_onto(block, dates[other][0].grid, grid) for other in group if other != name for block in blocks[other]]
    return tuple(window for window in moved if window is not None)


def _onto(block: Window, grid: Grid, target: Grid) -> Window | None:
    """The part of a grid that a window of another grid lies on, rounded outwards."""
    along = np.linspace(0, 1, 9)
    cols, rows = (
        axis.ravel() for axis in np.meshgrid(block.col + along * block.width, block.row + along * block.height)
    )
    cols, rows = to_pixels(grid, target, cols, rows)
    finite = np.isfinite(cols) & np.isfinite(rows)
    if not finite.any():
        return None
    top, left = (int(np.floor(axis[finite].min())) for axis in (rows, cols))
    bottom, right = (int(np.ceil(axis[finite].max())) for axis in (rows, cols))
    return Window(top, left, bottom - top, right - left).intersect(full_window(target))
