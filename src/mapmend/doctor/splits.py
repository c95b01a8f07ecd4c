"""What the splits of a project leave to learn from, to choose by and to judge by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import prod

from mapmend.core.grid import Grid
from mapmend.core.legend import Legend
from mapmend.core.manifest import Row
from mapmend.data.leaks import FIX, leaks_between, side_of
from mapmend.data.overlaps import Place
from mapmend.doctor.finding import Finding

_MOST_PIXELS = 2**31  # of images without a place on Earth that are compared with one another
_FEW_SITES, _FEW_BLOCKS = 5, 4  # as `split_sites` draws


def leaking(rows: Sequence[Row], references: Sequence[Row], grids: Mapping[str, Grid]) -> list[Finding]:
    """Leaks between the splits, each named."""
    judged = {row.site for row in references}
    learned = {row.site for row in rows if row.label is not None}
    places: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        side = side_of(row.split, labelled=row.site in learned, reference=row.site in judged)
        if side and row.site in grids:
            places.setdefault((row.site, side), []).extend(row.image)
    pixels = sum(prod(map(int, grid.shape)) for grid in grids.values() if grid.crs is None)
    few = pixels <= _MOST_PIXELS
    every = [Place(site, side, grids[site], tuple(files) if few else ()) for (site, side), files in places.items()]
    found = [Finding("error", "leak", leak.describe(), "split", FIX) for leak in leaks_between(every)]
    if not few:
        what = f"{pixels / 1e9:.1f} gigapixels without a georeference were not searched for equal pixels"
        found.append(Finding("note", "leak", what, "split", "keep crops of one image on one side"))
    return found


def balance(counts: Mapping[str, Mapping[int, int]], legend: Legend, where: str) -> list[Finding]:
    """Shares of the classes per split, and classes that are judged but never learned.

    Args:
        counts: labelled pixels per class index, of each split.
        legend: the project's.
        where: named in findings.
    """
    found = []
    learned = {index for index, count in counts.get("train", {}).items() if count}
    for split, held in counts.items():
        total = sum(held.values())
        if not total:
            continue
        shares = sorted(((count / total, legend.names[index]) for index, count in held.items() if count), reverse=True)
        told = ", ".join(f"{name} {share:.1%}" for share, name in shares[:8])
        found.append(Finding("note", "balance", f"{split}: {told}", where))
        unlearned = [legend.names[index] for index, count in held.items() if count and index not in learned]
        if split != "train" and unlearned and learned:
            what = f"{split} holds {', '.join(unlearned)}, which no training label holds"
            found.append(Finding("warning", "balance", what, where, "move sites between the splits"))
    return found


def validating(rows: Sequence[Row], grids: Mapping[str, Grid], *, block: int, share: float) -> list[Finding]:
    """Whether anything is left to choose the model by."""
    labelled = {row.site: row.split for row in rows if row.label is not None and row.split != "test"}
    if not labelled:
        return [
            Finding("error", "labels", "no site has a label to train on", "scenes", "give labels in column `label`")
        ]
    marks = Counter(labelled.values())
    if marks["val"] == len(labelled):
        return [
            Finding(
                "error", "validation", "every labelled site is marked val: nothing trains", "split", "mark some train"
            )
        ]
    if marks["val"]:
        return []
    if share == 0:
        what = "validation_share is 0: the last model is kept, good or bad"
        return [Finding("warning", "validation", what, "train", "leave it at 0.2, or mark sites val")]
    blocks = {
        site: prod(
            sum(size - start >= block // 2 for start in range(0, size, block)) for size in map(int, grids[site].shape)
        )
        for site in labelled
        if site in grids
    }
    if len(labelled) < _FEW_SITES and not any(number >= _FEW_BLOCKS for number in blocks.values()):
        what = f"nothing will validate: {len(labelled)} sites of fewer than {_FEW_BLOCKS} blocks of {block} pixels each"
        return [Finding("warning", "validation", what, "train", "mark a site val, or lower train's `crop`")]
    return []
