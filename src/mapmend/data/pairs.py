"""Samples of two dates: windows of a place's first and last date, read and turned together, with what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.utils.data import Dataset

from mapmend.core.errors import LabelError
from mapmend.core.grid import Grid, Window, windows
from mapmend.core.legend import NODATA, Legend
from mapmend.core.thinning import evenly
from mapmend.data.samples import (
    CELL,
    STRIP,
    Key,
    Sample,
    SiteReader,
    count_cells,
    crop_in,
    draw_turn,
    make_sample,
    turned,
)
from mapmend.data.sites import CHANGE, Prepared, PreparedSite
from mapmend.data.splits import SitePart
from mapmend.data.unlabelled import EvenWindows


@dataclass(frozen=True)
class PairPart:
    """The parts of a place at its first and its last date, which hold out the same blocks."""

    before: SitePart
    after: SitePart

    @property
    def grid(self) -> Grid:
        """Of both dates."""
        return self.after.site.grid

    @property
    def trust(self) -> str:
        """Of the later label, or of the earlier one where it is alone."""
        return (self.after if self.after.site.label is not None else self.before).site.trust


def pair_sites(prepared: Prepared, *, labelled: bool) -> tuple[PreparedSite, ...]:
    """First and last date of every place that has two or more and is not marked `test`.

    Args:
        prepared: all sites.
        labelled: those of which anything is known, a class at either date or the change; else those of which nothing
            is and that are not to validate.
    """
    dates: dict[str, list[PreparedSite]] = {}
    for site in sorted(prepared.sites, key=lambda site: site.date):
        dates.setdefault(site.name, []).append(site)
    found: list[PreparedSite] = []
    for of_name in dates.values():
        pair = (of_name[0], of_name[-1])
        known = any(site.label is not None or site.change is not None for site in pair)
        judges = {"test"} if labelled else {"test", "val"}
        if len(of_name) > 1 and known == labelled and not judges & {site.split for site in pair}:
            found += pair
    return tuple(found)


def pair_parts(parts: Sequence[SitePart]) -> tuple[PairPart, ...]:
    """Parts of `split_sites`, two and two; of sites as `pair_sites` gives them."""
    by_name: dict[str, list[SitePart]] = {}
    for part in sorted(parts, key=lambda part: part.site.date):
        by_name.setdefault(part.site.name, []).append(part)
    return tuple(PairPart(before, after) for before, after in by_name.values())


class PairReader:
    """Images and labels of a pair, window by window; opens files lazily, so it may be sent to a worker."""

    def __init__(self, pair: PairPart, legend: Legend) -> None:
        sites = pair.before.site, pair.after.site
        self._readers = [SiteReader(site, legend) for site in sites]
        known = next((site for site in sites if site.change is not None), None)
        self._change = None
        if known is not None:
            alone = replace(known, label=known.change, label_rows=None, label_shares=())
            self._change = SiteReader(alone, CHANGE)

    def image(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Pixels 2×C×H×W in one type, and validity 2×M×H×W, the earlier date first."""
        pixels, valid = zip(*(reader.image(window) for reader in self._readers), strict=True)
        return np.stack(pixels), np.stack(valid)

    def labels(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Legend indices 2×H×W and change H×W, uint8, 255 where nobody knows.

        Where no label of the change says anything, the labels of both dates do, where there are both.
        """
        label = np.stack([reader.label(window) for reader in self._readers])
        change = np.where((label != NODATA).all(0), label[0] != label[1], NODATA).astype(np.uint8)
        if self._change is not None:
            told = self._change.label(window)
            change = np.where(told != NODATA, told, change)
        return label, change


class PairTrainingSet(Dataset[Sample]):
    """Random crops around labelled places of pairs; a sample is a pure function of (seed, step, rank, i).

    Args:
        pairs: of `pair_parts`.
        legend: the project's.
        crop: side of a window.
        seed: of all draws.

    Attributes:
        counts: trainable labelled pixels per class, of both dates.
        change_counts: trainable pixels known as unchanged, and as changed.

    Raises:
        LabelError: nothing is labelled, or nothing is known to have changed and no class either.
    """

    def __init__(self, pairs: Sequence[PairPart], legend: Legend, crop: int, seed: int) -> None:
        self._pairs = [pair for pair in pairs if pair.after.trains]
        self._readers = [PairReader(pair, legend) for pair in self._pairs]
        self._crop, self._seed = crop, seed
        self.counts, self.change_counts = np.zeros(len(legend), np.int64), np.zeros(len(CHANGE), np.int64)
        every = [self._survey(pair, reader) for pair, reader in zip(self._pairs, self._readers, strict=True)]
        if not self.counts.any() and not self.change_counts.any():
            raise LabelError("no pair is labelled for training", fix="check dates, labels, splits and crosswalk")
        if not self.counts.any() and not self.change_counts.all():
            alone = CHANGE.names[int(self.change_counts.argmax())]
            raise LabelError(f"the change's label has one class only ('{alone}')", fix="check `change_legend`")
        self._shapes = [cells.shape for cells in every]
        ends = np.cumsum([cells.size for cells in every])
        self._offsets = np.concatenate([[0], ends[:-1]])
        self._cumulative = np.cumsum(np.concatenate([cells.ravel() for cells in every]))

    def __getitem__(self, key: Key) -> Sample:
        """The sample of (step, rank, position): image 2×C×H×W, mask 2×H×W, change H×W, valid 2×M×H×W, trust."""
        rng = np.random.default_rng([self._seed, *key])
        flat = int(np.searchsorted(self._cumulative, rng.integers(self._cumulative[-1]), side="right"))
        index = int(np.searchsorted(self._offsets, flat, side="right")) - 1
        pair, reader = self._pairs[index], self._readers[index]
        cell = np.unravel_index(flat - self._offsets[index], self._shapes[index])
        window = crop_in(pair.grid, cell, self._crop, rng)
        label, change = reader.labels(window)
        hidden = pair.after.excluded(window)
        label[:, hidden], change[hidden] = NODATA, NODATA
        turn = draw_turn(pair.after.site, rng)
        arrays = (turned(array, *turn) for array in (*reader.image(window), label, change))
        return make_pair(*arrays, trust=pair.trust)

    def _survey(self, pair: PairPart, reader: PairReader) -> np.ndarray:
        """Labelled pixels per cell; those of each class are counted."""
        height, width = (int(n) for n in pair.grid.shape)
        cells = np.zeros((-(-height // CELL), -(-width // CELL)), np.int64)
        for window in windows(pair.grid, STRIP):
            label, change = reader.labels(window)
            hidden = pair.after.excluded(window)
            label[:, hidden], change[hidden] = NODATA, NODATA
            self.counts += np.bincount(label.ravel(), minlength=256)[: len(self.counts)]
            self.change_counts += np.bincount(change.ravel(), minlength=256)[: len(CHANGE)]
            count_cells(cells, window, (label != NODATA).any(0) | (change != NODATA))
        return cells


class UnlabelledPairs(Dataset[Sample]):
    """Random crops of pairs of which nothing is known, every pixel as likely as any other.

    Args:
        sites: of `pair_sites`.
        legend: the project's.
        crop: side of a window.
        seed: of all draws.

    Raises:
        LabelError: there is none.
    """

    def __init__(self, sites: Sequence[PreparedSite], legend: Legend, crop: int, seed: int) -> None:
        if not sites:
            raise LabelError(
                "no pair without a label, and the method learns from those too",
                fix="list more pairs of images, give `train` a `labelled_share`, or use a method that needs none",
            )
        self._pairs = pair_parts([SitePart(site, trains=True) for site in sites])
        self._readers = [PairReader(pair, legend) for pair in self._pairs]
        self._windows = EvenWindows([pair.grid for pair in self._pairs], crop)
        self._crop, self._seed = crop, seed

    def __getitem__(self, key: Key) -> Sample:
        """As in `PairTrainingSet`, all labels 255."""
        rng = np.random.default_rng([self._seed, 0x0171, *key])
        index, window = self._windows.draw(rng)
        pair = self._pairs[index]
        turn = draw_turn(pair.after.site, rng)
        image, valid = (turned(array, *turn) for array in self._readers[index].image(window))
        unknown = np.full((2, self._crop, self._crop), NODATA, np.uint8)
        return make_pair(image, valid, unknown, unknown[0], trust=pair.trust)


class PairValidationSet(Dataset[Sample]):
    """The fixed windows of pairs that validate: blocks, or whole sites cut into crops.

    Args:
        pairs: of `pair_parts`.
        legend: the project's.
        crop: side of a window.
        most: more windows than this are thinned evenly.
    """

    def __init__(self, pairs: Sequence[PairPart], legend: Legend, crop: int, most: int = 64) -> None:
        self._pairs = [pair for pair in pairs if pair.after.blocks]
        self._readers = [PairReader(pair, legend) for pair in self._pairs]
        every = [
            (index, Window(row, col, crop, crop))
            for index, pair in enumerate(self._pairs)
            for block in pair.after.blocks
            for row in range(block.row, block.row_end, crop)
            for col in range(block.col, block.col_end, crop)
        ]
        self._windows = evenly(every, most)

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Sample:
        """As in `PairTrainingSet`; labels outside the validating blocks are ignored."""
        at, window = self._windows[index]
        pair, reader = self._pairs[at], self._readers[at]
        label, change = reader.labels(window)
        outside = ~replace(pair.after, buffer=0, shared=()).excluded(window)
        label[:, outside], change[outside] = NODATA, NODATA
        return make_pair(*reader.image(window), label, change, trust=pair.trust)


def make_pair(image: np.ndarray, valid: np.ndarray, label: np.ndarray, change: np.ndarray, *, trust: str) -> Sample:
    """Tensors of two dates: a class where its date is invalid, and a change where either is, are ignored."""
    dates = [make_sample(*of_date, trust) for of_date in zip(image, valid, label, strict=True)]
    sample = {name: torch.cat([date[name] for date in dates]) for name in ("image", "valid", "mask")}
    known = np.where(valid.all((0, 1)), change, NODATA)
    return {**sample, "change": torch.from_numpy(known.astype(np.int64)), "trust": dates[0]["trust"]}
