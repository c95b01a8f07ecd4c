"""Samples for training and validation: windows of prepared sites as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from mapmend.core.errors import LabelError
from mapmend.core.grid import Grid, Window, ground_pixel_size, windows
from mapmend.core.legend import NODATA, Legend, load_crosswalk
from mapmend.core.manifest import TRUSTS
from mapmend.core.mixtures import certain_shares, rows_as_they_are, spread_shares
from mapmend.core.sensor import Band, Sensor
from mapmend.core.stored import STEPS
from mapmend.core.thinning import evenly
from mapmend.data.label_pixels import LabelPixels
from mapmend.data.sites import PreparedSite
from mapmend.data.splits import SitePart
from mapmend.raster.reading import ImageSource, LabelReader, Reader

CELL = 64  # side of the cells by which labelled places are remembered
STRIP = 2048  # side of the windows in which labels are surveyed
_RAREST = 1e-4  # share of a class that labels do not know
_TRIES = 10  # draws of a window in which no class has too large a share
_SQUARE = 0.05  # pixels whose sides differ by less may be turned by a quarter

Sample = dict[str, Tensor]
Key = tuple[int, int, int]


@dataclass(frozen=True)
class LabelSurvey:
    """What a part's trainable labels hold.

    Attributes:
        cells: labelled pixels per cell, rows × columns.
        counts: labelled pixels per class.
        shares: the same as the mixtures of the label's product tell it, where it has them; else `counts`.
    """

    cells: np.ndarray
    counts: np.ndarray
    shares: np.ndarray


class SiteReader:
    """Images and label of one site, window by window; opens files lazily, so it may be sent to a worker."""

    def __init__(self, site: PreparedSite, legend: Legend) -> None:
        self.site, self.legend = site, legend
        self._readers = [Reader(source, site.grid) for source in site.sources]
        self._label = None
        if site.label is not None:
            self._label = LabelReader(site.label, site.grid, load_crosswalk(None, legend))
        self._rows = None
        if site.label_rows is not None:
            self._rows = LabelReader(site.label_rows, site.grid, rows_as_they_are(len(site.label_shares)))
        self._sure = None
        if site.label_confidence is not None:
            card = Sensor("confidence", (Band("confidence"),), nodata=NODATA)
            source = ImageSource((site.label_confidence,), card.band_names, card)
            self._sure = Reader(source, site.grid, resampling="nearest")
        self._pixels = LabelPixels(site.grid, site.label_grid, site.label_gsd)

    def image(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Pixels C×H×W of all modalities in one type, and validity M×H×W."""
        parts = [reader.read(window) for reader in self._readers]
        return np.concatenate([pixels for pixels, _ in parts]), np.stack([valid for _, valid in parts])

    def label(self, window: Window) -> np.ndarray:
        """Legend indices H×W uint8, 255 where there is no label."""
        if self._label is None:
            return np.full((window.height, window.width), NODATA, np.uint8)
        return self.legend.lut[self._label.read(window)]

    def confidence(self, window: Window) -> np.ndarray:
        """How sure the label is, H×W uint8, 200 for certain; that too where nobody says it."""
        if self._sure is None:
            return np.full((window.height, window.width), STEPS, np.uint8)
        pixels, valid = self._sure.read(window)
        return np.where(valid, np.minimum(pixels[0], STEPS), STEPS).astype(np.uint8)

    def cells(self, window: Window) -> np.ndarray:
        """Number of the label's own pixel at each pixel, H×W int32, -1 where nobody knows."""
        return self._pixels.read(window)

    def shares(self, window: Window) -> np.ndarray:
        """What the label's product says of each class, K×H×W uint8, 200 for one; the label where it is silent."""
        if self._rows is None:
            return certain_shares(self.label(window), len(self.legend))
        return spread_shares(self._rows.read(window), self.site.label_shares)


def shares_of(totals: Sequence[float] | np.ndarray) -> tuple[float, ...]:
    """Each class's share of totals K, to six digits; none where there is nothing."""
    whole = float(np.sum(totals)) or 1.0
    return tuple(round(float(total) / whole, 6) for total in totals)


def survey(part: SitePart, legend: Legend) -> LabelSurvey:
    """Count a site's trainable labels, streaming over it."""
    reader = SiteReader(part.site, legend)
    height, width = (int(n) for n in part.site.grid.shape)
    cells = np.zeros((-(-height // CELL), -(-width // CELL)), np.int64)
    counts, shares = np.zeros(len(legend), np.int64), np.zeros(len(legend))
    for window in windows(part.site.grid, STRIP):
        label = reader.label(window)
        label[part.excluded(window)] = NODATA
        counts += np.bincount(label.ravel(), minlength=256)[: len(legend)]
        if part.site.label_shares:
            shares += reader.shares(window)[:, label != NODATA].sum(1) / STEPS
        count_cells(cells, window, label != NODATA)
    return LabelSurvey(cells, counts, shares if part.site.label_shares else counts)


def count_cells(cells: np.ndarray, window: Window, labelled: np.ndarray) -> None:
    """Add a window's labelled pixels H×W bool to their cells; the window begins at a cell's corner."""
    by_row = np.add.reduceat(labelled.astype(np.int64), np.arange(0, window.height, CELL), axis=0)
    by_cell = np.add.reduceat(by_row, np.arange(0, window.width, CELL), axis=1)
    top, left = window.row // CELL, window.col // CELL
    cells[top : top + by_cell.shape[0], left : left + by_cell.shape[1]] += by_cell


class TrainingSet(Dataset[Sample]):
    """Random crops around labelled places; a sample is a pure function of (seed, step, rank, i).

    Args:
        parts: of `split_sites`.
        legend: the project's.
        crop: side of a window.
        seed: of all draws.
        label_pixels: whether samples tell of the label's own pixels: `cell` T×H×W int32 numbers them, and where a
            product has a table of mixtures `shares` T×K×H×W uint8 says what it holds of each class, 200 for all.
        scale: least and largest factor by which windows are enlarged.
        most_of_class: largest share of a window's labels that one class may have; after ten draws all are taken.
        confidence: whether samples tell how sure each label is: `confidence` T×H×W uint8, 200 for certain.

    Attributes:
        counts: trainable labelled pixels per class.

    Raises:
        LabelError: nothing is labelled, or all of it is of one class.
    """

    def __init__(
        self,
        parts: Sequence[SitePart],
        legend: Legend,
        crop: int,
        seed: int,
        *,
        label_pixels: bool = False,
        confidence: bool = False,
        scale: tuple[float, float] = (1.0, 1.0),
        most_of_class: float = 1.0,
    ) -> None:
        training = [part for part in parts if part.trains]
        surveys = [survey(part, legend) for part in training]
        self.counts = np.sum([s.counts for s in surveys], axis=0) if surveys else np.zeros(len(legend), np.int64)
        self._beliefs = np.sum([s.shares for s in surveys], axis=0) if surveys else np.zeros(len(legend))
        present = [name for name, count in zip(legend.names, self.counts, strict=True) if count]
        if not present:
            raise LabelError("no pixel is labelled for training", fix="check labels, splits and crosswalk")
        if len(present) == 1:
            hint = "a map needs at least two; for masks of 0 and 255 set `label_legend: mask255`"
            raise LabelError(f"the label has one class only ('{present[0]}')", fix=hint)
        self._parts, self._crop, self._seed = training, crop, seed
        self._cells, self._confidence = label_pixels, confidence
        self._scale, self._most = scale, most_of_class
        self._shares = label_pixels and any(part.site.label_shares for part in training)
        self._readers = [SiteReader(part.site, legend) for part in training]
        self._shapes = [s.cells.shape for s in surveys]
        ends = np.cumsum([s.cells.size for s in surveys])
        self._offsets = np.concatenate([[0], ends[:-1]])
        self._cumulative = np.cumsum(np.concatenate([s.cells.ravel() for s in surveys]))

    def shares(self) -> tuple[float, ...]:
        """Share of each class in what samples teach: their labels, or `shares` where they hold it."""
        taught = self._beliefs if self._shares else self.counts
        return shares_of(taught)

    def believed(self) -> tuple[float, ...]:
        """Share of each class in the mixtures that the labels' product stands for; empty without such a table."""
        if not any(part.site.label_shares for part in self._parts):
            return ()
        return shares_of(self._beliefs)

    def frequencies(self) -> tuple[float, ...]:
        """Share of each class in the labels, or in the mixtures that their product stands for; none below 1e-4."""
        return shares_of(np.maximum(self._beliefs / self._beliefs.sum(), _RAREST))

    def __getitem__(self, key: Key) -> Sample:
        """The sample of (step, rank, position in the batch): image T×C×H×W, mask T×H×W, valid T×M×H×W, trust."""
        rng = np.random.default_rng([self._seed, *key])
        for _ in range(_TRIES):
            part, reader, window, label = self._place(rng)
            if self._most >= 1 or _largest_share(label, len(self.counts)) <= self._most:
                break
        image, valid = reader.image(window)
        more = {"cell": reader.cells} if self._cells else {}
        more |= {"shares": reader.shares} if self._shares else {}
        more |= {"confidence": reader.confidence} if self._confidence else {}
        maps = {name: read(window) for name, read in more.items()}
        if self._scale != (1.0, 1.0):
            image, valid, label = resized(image, valid, label, self._crop)
            maps = {name: nearest(array, self._crop) for name, array in maps.items()}
        turns, flip = draw_turn(part.site, rng)
        image, valid, label = (turned(array, turns, flip) for array in (image, valid, label))
        sample = make_sample(image, valid, label, part.site.trust)
        arrays = {name: turned(array, turns, flip) for name, array in maps.items()}
        return sample | {name: torch.from_numpy(np.ascontiguousarray(array))[None] for name, array in arrays.items()}

    def _place(self, rng: np.random.Generator) -> tuple[SitePart, SiteReader, Window, np.ndarray]:
        """A window around a labelled pixel, and its labels that may be learned from."""
        flat = int(np.searchsorted(self._cumulative, rng.integers(self._cumulative[-1]), side="right"))
        index = int(np.searchsorted(self._offsets, flat, side="right")) - 1
        part, reader = self._parts[index], self._readers[index]
        cell = np.unravel_index(flat - self._offsets[index], self._shapes[index])
        side = self._crop
        if self._scale != (1.0, 1.0):
            side = max(1, round(self._crop / rng.uniform(*self._scale)))
        window = crop_in(part.site.grid, cell, side, rng)
        label = reader.label(window)
        label[part.excluded(window)] = NODATA
        return part, reader, window, label


class ValidationSet(Dataset[Sample]):
    """The fixed windows that validate: blocks, or whole sites cut into crops.

    Args:
        parts: of `split_sites`.
        legend: the project's.
        crop: side of a window.
        most: more windows than this are thinned evenly.
    """

    def __init__(self, parts: Sequence[SitePart], legend: Legend, crop: int, most: int = 64) -> None:
        every: list[tuple[int, Window]] = []
        held = [part for part in parts if part.blocks]
        for index, part in enumerate(held):
            for block in part.blocks:
                for row in range(block.row, block.row_end, crop):
                    for col in range(block.col, block.col_end, crop):
                        every.append((index, Window(row, col, crop, crop)))
        self._windows = evenly(every, most)
        self._parts = held
        self._readers = [SiteReader(part.site, legend) for part in held]

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, index: int) -> Sample:
        """As in `TrainingSet`; labels outside the validating blocks are ignored."""
        at, window = self._windows[index]
        part, reader = self._parts[at], self._readers[at]
        image, valid = reader.image(window)
        label = reader.label(window)
        inside = SitePart(part.site, part.trains, part.blocks, buffer=0).excluded(window)
        label[~inside] = NODATA
        return make_sample(image, valid, label, part.site.trust)


def resized(
    image: np.ndarray, valid: np.ndarray, label: np.ndarray, side: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A window at another size: pixels C×H×W by the bilinear mean of valid ones, validity and label by nearest."""
    inside = torch.from_numpy(np.logical_and.reduce(valid, axis=0)[None, None]).float()
    antialias = side < image.shape[-1]
    size = (side, side)
    weight = F.interpolate(inside, size, mode="bilinear", antialias=antialias)
    pixels = torch.from_numpy(np.ascontiguousarray(image))[None].float() * inside
    values = F.interpolate(pixels, size, mode="bilinear", antialias=antialias) / weight.clamp(min=1e-6)
    known: np.ndarray = nearest(valid, side) & (weight[0].numpy() > 0)
    return (
        np.where(np.logical_and.reduce(known, axis=0), values[0].numpy(), 0).astype(np.float32),
        known,
        nearest(label, side),
    )


def nearest(array: np.ndarray, side: int) -> np.ndarray:
    """An array …×H×W at another size, each pixel the one that its centre lies in."""
    rows, cols = (((np.arange(side) + 0.5) * old / side).astype(np.int64) for old in array.shape[-2:])
    return array[..., rows[:, None], cols[None, :]]


def _largest_share(label: np.ndarray, classes: int) -> float:
    """Of a window's labelled pixels that are of one class; 0 where none is labelled."""
    counts = np.bincount(label[label != NODATA], minlength=classes)
    return float(counts.max() / counts.sum()) if counts.sum() else 0.0


def make_sample(image: np.ndarray, valid: np.ndarray, label: np.ndarray, trust: str) -> Sample:
    """Tensors of one date: labels where any modality is invalid are ignored."""
    label = np.where(valid.all(0), label, NODATA)
    return {
        "image": torch.from_numpy(np.ascontiguousarray(image))[None],
        "valid": torch.from_numpy(np.ascontiguousarray(valid))[None],
        "mask": torch.from_numpy(label.astype(np.int64))[None],
        "trust": torch.tensor(TRUSTS.index(trust)),
    }


def crop_in(grid: Grid, cell: Sequence[np.intp], side: int, rng: np.random.Generator) -> Window:
    """A square window that holds a random pixel of a cell, which is given by its row and column of cells."""
    row, col = (_place_crop(int(at) * CELL, int(size), side, rng) for at, size in zip(cell, grid.shape, strict=True))
    return Window(row, col, side, side)


def _place_crop(cell: int, size: int, crop: int, rng: np.random.Generator) -> int:
    """Start of a crop that holds a random pixel of a cell and stays on the grid; small grids are centred."""
    if size <= crop:
        return -((crop - size) // 2)
    pixel = min(cell + int(rng.integers(CELL)), size - 1)
    return int(np.clip(pixel - int(rng.integers(crop)), 0, size - crop))


def draw_turn(site: PreparedSite, rng: np.random.Generator) -> tuple[int, bool]:
    """Quarter turns, an even number where pixels are no squares, and whether the result is flipped."""
    width, height = ground_pixel_size(site.grid)
    turns = int(rng.integers(4)) if abs(width / height - 1) < _SQUARE else 2 * int(rng.integers(2))
    return turns, bool(rng.integers(2))


def turned(array: np.ndarray, turns: int, flip: bool) -> np.ndarray:
    """An array …×H×W after so many quarter turns, flipped or not."""
    result = np.rot90(array, turns, axes=(-2, -1))
    return result[..., ::-1] if flip else result
