"""Windows' probabilities, tapered, summed and reduced to a class and how sure it is, and to how likely it changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from mapmend.core.calibration import Calibration
from mapmend.core.classes import NODATA
from mapmend.core.errors import ModelError
from mapmend.core.grid import Grid, Window
from mapmend.core.stored import STEPS
from mapmend.predict.calibrated import calibrated, weighed
from mapmend.predict.entropy import normalised_entropy
from mapmend.predict.lattice import Lattice

_AT_ONCE = 2**20  # probabilities calibrated together; a whole strip of a wide block would take gigabytes

Bytes = npt.NDArray[np.uint8]


class RowBlend:
    """Running sums of tapered probabilities over one row of windows of a block.

    Windows are added in the order of the lattice, one after the other, and product and sum are rounded each on its
    own (no fused multiply-add): hence the sums of a pixel are the same numbers in whatever block it lies.

    Memory: channels × window × block width × 4 bytes, on the device of the probabilities.

    Args:
        block: what is mapped.
        grid: of the map.
        lattice: the windows.
        classes: K.
        change_of: for two dates, the change probability H×W of means C×H×W, where the first K channels are the earlier
            date's classes, the next K the later one's, and those after them what else is said of the pair; None for one
            date.
        channels: C; K for one date.
        calibration: of each date's blended probabilities, before anything is made of them.
        probabilities: indices of the classes whose probability at the later date is wanted.
        entropy: whether the later date's is wanted.
        disagreement: whether the last channel is that of an ensemble's members, and wanted.
        prior: for one date, K×H×W weights of the classes in rows of the block, by which their calibrated probabilities
            are multiplied.
    """

    def __init__(
        self,
        block: Window,
        grid: Grid,
        lattice: Lattice,
        classes: int,
        change_of: Callable[[torch.Tensor], torch.Tensor] | None = None,
        channels: int | None = None,
        calibration: Calibration | None = None,
        probabilities: Sequence[int] = (),
        entropy: bool = False,
        disagreement: bool = False,
        prior: Callable[[Window], torch.Tensor] | None = None,
    ) -> None:
        self._block, self._grid, self._lattice, self._classes = block, grid, lattice, classes
        self._change_of, self._channels = change_of, channels or classes
        self._calibration, self._probabilities, self._entropy = calibration, tuple(probabilities), entropy
        self._disagreement, self._prior = disagreement, prior
        self._keeps_classes = prior is None and (calibration is None or calibration.keeps_classes)
        taper = torch.from_numpy(lattice.taper())
        self._taper = taper[:, None] * taper[None, :]
        self._row: int | None = None
        self._sums: torch.Tensor | None = None
        self._cols = torch.from_numpy(lattice.total(block.col, block.col_end, int(grid.shape[1])))

    def add(self, place: tuple[int, int], probabilities: torch.Tensor) -> None:
        """Add a window: (row, column) in the lattice and C×W×W float32, which is overwritten."""
        size, stride = self._lattice.size, self._lattice.stride
        self._move(place[0], probabilities.device)
        assert self._sums is not None
        seen = Window(place[0] * stride, place[1] * stride, size, size)
        shared = seen.intersect(self._block)
        assert shared is not None
        probabilities.mul_(self._taper)
        rows, cols = shared.shift(-seen.row, -seen.col).slices
        to_rows, to_cols = shared.shift(-seen.row, -self._block.col).slices
        self._sums[:, to_rows, to_cols] += probabilities[:, rows, cols]

    def finish(self, row: int, window: Window, wanted: npt.NDArray[np.bool_]) -> list[Bytes]:
        """Reduce rows of the block that no later window sees.

        Args:
            row: number of the row of windows that sees them last.
            window: these rows, as wide as the block.
            wanted: D×H×W, where each date is to have a class, the earlier date first.

        Returns:
            Class index and confidence, round(200·p), both H×W with 255 where not wanted; of the later date first, then
            of the earlier one, then the change probability, round(200·p) too, 255 where a date is not wanted, then the
            probabilities of the classes that were asked for, then the entropy, round(200·h), then the disagreement.

        Raises:
            ModelError: a wanted pixel's probability is not a number.
        """
        if self._sums is None or not wanted.any():
            count = 2 * len(wanted) + (self._change_of is not None) + len(self._probabilities)
            count += self._entropy + self._disagreement
            return [np.full(wanted.shape[1:], NODATA, np.uint8) for _ in range(count)]
        sums, total = self.sums(row, window)
        masks = torch.from_numpy(wanted).to(sums.device)
        if self._calibration is None and not self._entropy and self._prior is None:
            return self._reduced(sums, total, masks)
        weights = self._prior(window).to(sums.device) if self._prior is not None else None
        rows = max(1, _AT_ONCE // (self._channels * window.width))
        parts = [slice(start, start + rows) for start in range(0, window.height, rows)]
        weights_of = [weights[:, part] if weights is not None else None for part in parts]
        reduced = [
            self._reduced(sums[:, part], total[part], masks[:, part], of_part)
            for part, of_part in zip(parts, weights_of, strict=True)
        ]
        return [np.concatenate(of_layer) for of_layer in zip(*reduced, strict=True)]

    def sums(self, row: int, window: Window) -> tuple[torch.Tensor, torch.Tensor]:
        """Sums C×H×W of rows that no later window sees, and the sum of the weights H×W; arguments as in `finish`.

        Where no window was added, the sums are 0.
        """
        device = self._taper.device if self._sums is None else self._sums.device
        self._move(row, device)
        assert self._sums is not None
        first = window.row - row * self._lattice.stride
        rows = torch.from_numpy(self._lattice.total(window.row, window.row_end, int(self._grid.shape[0])))
        total = (rows[:, None] * self._cols[None, :]).to(device)
        return self._sums[:, first : first + window.height], total

    def _reduced(
        self, sums: torch.Tensor, total: torch.Tensor, masks: torch.Tensor, prior: torch.Tensor | None = None
    ) -> list[Bytes]:
        """The layers of `finish` from sums, weights and where each date is wanted, and the prior's weights."""
        dates = [slice(number * self._classes, (number + 1) * self._classes) for number in range(len(masks))]
        better = [self._better(sums[date] / total, prior) for date in dates] if self._calibration or self._prior else []
        layers = []
        for number in reversed(range(len(masks))):
            best, index = self._best(sums[dates[number]], total, better[number] if better else None)
            layers += [_masked(index, masks[number]), _masked(_steps(best), masks[number])]
        if self._change_of is not None:
            learned = self._classes * len(masks)  # channels after these are of a change that was learned
            said = sums[:-1] if self._disagreement else sums
            means = torch.cat([*better, said[learned:] / total]) if better else said / total
            layers.append(_masked(_steps(self._change_of(means)), masks.all(dim=0)))
        for number in self._probabilities:
            probability = better[-1][number].clone() if better else sums[dates[-1]][number] / total
            layers.append(_masked(_steps(probability), masks[-1]))
        if self._entropy:
            shares = better[-1] if better else sums[dates[-1]] / total
            layers.append(_masked(_steps(normalised_entropy(shares, 0)), masks[-1]))
        if self._disagreement:
            layers.append(_masked(_steps(sums[-1] / total), masks[-1]))
        return layers

    def _better(self, means: torch.Tensor, prior: torch.Tensor | None) -> torch.Tensor:
        """Probabilities K×H×W, calibrated, and weighed by what is known beforehand."""
        p = calibrated(means, self._calibration) if self._calibration is not None else means
        return p if prior is None else weighed(p, prior)

    def _best(
        self, sums: torch.Tensor, total: torch.Tensor, better: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The largest probability H×W, which may be overwritten, and its class; `better` is calibrated."""
        if better is not None and not self._keeps_classes:
            return _largest(better)
        best, index = _largest(sums)
        return (best.div_(total) if better is None else better.amax(dim=0)), index

    def _move(self, row: int, device: torch.device) -> None:
        """Make the sums those of a later row of windows: keep what it shares with the one before."""
        shape = (self._channels, self._lattice.size, self._block.width)
        if self._sums is None:
            self._sums = torch.zeros(shape, device=device)
            self._taper = self._taper.to(device)
        elif self._row is not None and row > self._row:
            down = (row - self._row) * self._lattice.stride
            kept = self._lattice.size - down
            if kept > 0:
                self._sums[:, :kept] = self._sums[:, down:].clone()
            self._sums[:, max(kept, 0) :] = 0
        self._row = row


def _steps(probability: torch.Tensor) -> torch.Tensor:
    """Stored values of probabilities H×W, which are overwritten.

    Raises:
        ModelError: one is not a number.
    """
    if not bool(torch.isfinite(probability.sum())):
        raise ModelError("gives probabilities that are not numbers", fix="train it again, or use float32 precision")
    return probability.mul_(STEPS).round_().clamp_(0, STEPS).to(torch.uint8)


def _masked(layer: torch.Tensor, mask: torch.Tensor) -> Bytes:
    values: Bytes = layer.masked_fill_(~mask, NODATA).cpu().numpy()
    return values


def _largest(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The largest of K values H×W, and the index of the first that has it, uint8; a third of `torch.max`'s time."""
    best = values.amax(dim=0)
    index = torch.zeros(best.shape, dtype=torch.uint8, device=best.device)
    below = torch.ones_like(index)
    for value in values[:-1]:
        below &= (value != best).view(torch.uint8)
        index += below
    return best, index
