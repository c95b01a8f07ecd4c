"""Leaks between splits: ground or pixels that are trained on and also judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from mapmend.core.errors import ManifestError
from mapmend.data.overlaps import Place, shared_ground, shared_pixels
from mapmend.data.sites import PreparedSite

How = Literal["same site", "same ground", "same pixels"]


@dataclass(frozen=True)
class Leak:
    """Two sites on different sides of a split that share something.

    Attributes:
        how: `same site`: rows of one site have different splits; `same ground`: their footprints overlap;
            `same pixels`: their images, which have no place on Earth, hold equal pixels.
        share: of the smaller site, 0 to 1.
        hectares: of the shared ground; None where there is no place on Earth.
    """

    site_a: str
    split_a: str
    site_b: str
    split_b: str
    how: How
    share: float
    hectares: float | None = None

    def describe(self) -> str:
        """One line without a full stop."""
        if self.how == "same site":
            return f"site '{self.site_a}' has rows in {self.split_a} and rows in {self.split_b}"
        what = "pixels" if self.how == "same pixels" else "ground"
        size = "" if self.hectares is None else f" ({self.hectares:.3g} ha)"
        pair = f"'{self.site_a}' ({self.split_a}) and '{self.site_b}' ({self.split_b})"
        return f"sites {pair} share {what}: {self.share:.0%} of the smaller{size}"


def side_of(split: str, *, labelled: bool = True, reference: bool = False) -> str:
    """The side of a site: train, val or test; "" for one that is neither learned from nor judged by.

    A site without a mark trains. Without a label it only counts where it has a reference: then it judges.
    """
    if split:
        return split
    if labelled:
        return "train"
    return "test" if reference else ""


def side_of_site(site: PreparedSite) -> str:
    """`side_of` for a prepared site."""
    return side_of(site.split, labelled=site.label is not None, reference=site.reference is not None)


def places_of(sites: Sequence[PreparedSite]) -> tuple[Place, ...]:
    """The sites, one place per name, side and grid; those on no side are left out."""
    files: dict[tuple[str, str], list[str]] = {}
    grids = {}
    for site in sites:
        side = side_of_site(site)
        if side:
            grids[site.name, side] = site.grid
            files.setdefault((site.name, side), []).extend(file for source in site.sources for file in source.files)
    return tuple(Place(name, side, grid, tuple(files[name, side])) for (name, side), grid in grids.items())


def find_leaks(sites: Sequence[PreparedSite]) -> tuple[Leak, ...]:
    """Leaks between the splits that the manifest gives; a site without a mark counts as train.

    A site with a reference and no label counts as test, even without a mark: it is what maps are judged by.

    Raises:
        RasterError: an image cannot be read.
    """
    return leaks_between(places_of(sites))


def leaks_between(places: Sequence[Place]) -> tuple[Leak, ...]:
    """Leaks between places of different sides: of one name first, then by ground, then by pixels."""
    found = []
    by_name: dict[str, list[str]] = {}
    for place in places:
        by_name.setdefault(place.name, []).append(place.side)
    for name, sides in by_name.items():
        found += [Leak(name, a, name, b, "same site", 1.0) for a, b in combinations(dict.fromkeys(sides), 2)]
    if len({place.side for place in places}) > 1:
        for a, b, share in shared_ground(places, _apart):
            hectares = share * min(places[a].area, places[b].area) / 1e4
            found.append(_leak(places[a], places[b], "same ground", share, hectares))
        for (a, b), share in shared_pixels(places, _apart).items():
            found.append(_leak(places[a], places[b], "same pixels", share, None))
    return tuple(found)


def check_leaks(sites: Sequence[PreparedSite]) -> None:
    """Refuse splits that leak, before anything is trained.

    Raises:
        ManifestError: names the first leak and says how many more there are.
        RasterError: an image cannot be read.
    """
    leaks = find_leaks(sites)
    if leaks:
        more = f" (and {len(leaks) - 1} more leaks)" if len(leaks) > 1 else ""
        raise ManifestError(f"{leaks[0].describe()}{more}", where="split", fix=FIX)


FIX = "give them the same `split` in the manifest, or leave one out"


def _apart(a: Place, b: Place) -> bool:
    return a.side != b.side and a.name != b.name


def _leak(a: Place, b: Place, how: How, share: float, hectares: float | None) -> Leak:
    return Leak(a.name, a.side, b.name, b.side, how, share, hectares)
