"""A batch of label, probabilities and features by square cells: means over the labelled pixels of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

_PURE = 1 - 1e-6


@dataclass(frozen=True)
class Cells:
    """The N cells of a batch that have a labelled pixel, image by image, row by row.

    Attributes:
        mixture: u, N×K: shares of the classes in the label.
        label: N int64: the most frequent class.
        prediction: π, N×K: mean probabilities.
        features: z, S×N×D: mean features of length 1 at each of the scales.
        kept: B×h×w bool: which cells of the batch these are.
        side: in pixels; cells at the right and lower edge may be cut.
    """

    mixture: Tensor
    label: Tensor
    prediction: Tensor
    features: Tensor
    kept: Tensor
    side: int

    def __len__(self) -> int:
        return len(self.label)

    @property
    def pure(self) -> Tensor:
        """N bool: whether the label has one class there."""
        return self.mixture.amax(1) >= _PURE

    def on_grid(self, values: Tensor) -> Tensor:
        """Values N×C → B×C×h×w, 0 where a cell was left out."""
        grid = values.new_zeros(*self.kept.shape, values.shape[1])
        grid[self.kept] = values
        return grid.movedim(-1, 1)

    def at_pixels(self, values: Tensor, height: int, width: int) -> Tensor:
        """Values N → B×H×W, each cell's in all of its pixels."""
        pixels = self.on_grid(values[:, None])[:, 0]
        return pixels.repeat_interleave(self.side, 1).repeat_interleave(self.side, 2)[:, :height, :width]

    def between_centres(self, values: Tensor, height: int, width: int) -> Tensor:
        """Values N×C → B×C×H×W, linear between the cells' centres; cells that were left out have no say."""
        weighted = torch.cat([self.on_grid(values), self.kept[:, None].to(values.dtype)], 1)
        wide = F.interpolate(weighted, scale_factor=float(self.side), mode="bilinear", align_corners=False)
        return (wide[:, :-1] / wide[:, -1:].clamp(min=1e-6))[..., :height, :width]


@torch.no_grad()
def gather_cells(
    mask: Tensor,
    probability: Tensor,
    feature: Tensor,
    side: int,
    scales: Sequence[int] = (1, 3, 5),
    *,
    ignore_index: int = 255,
) -> Cells:
    """Cut a batch into cells.

    Args:
        mask: B×H×W int64.
        probability: B×K×H×W.
        feature: B×D×H×W, of any length.
        side: of a cell in pixels.
        scales: m, odd: features are means over the labelled pixels of the m×m cells around.
        ignore_index: a pixel without a label, which has no say in anything.
    """
    labelled = (mask != ignore_index).float()[:, None]
    pixels = cell_sums(labelled, side)
    kept = pixels[:, 0] > 0
    mixture = _counts(mask, probability.shape[1], side, ignore_index)[kept].float()
    sums = cell_sums(feature * _unit(feature, labelled), side)
    features = [(_around(sums, m) / _around(pixels, m).clamp(min=1)).movedim(1, -1)[kept] for m in scales]
    prediction = cell_sums(probability * labelled, side) / pixels.clamp(min=1)
    mixture = mixture / mixture.sum(1, keepdim=True)
    return Cells(mixture, mixture.argmax(1), prediction.movedim(1, -1)[kept], torch.stack(features), kept, side)


def cell_features(feature: Tensor, mask: Tensor, side: int, *, ignore_index: int = 255) -> Tensor:
    """Mean features of length 1 over the labelled pixels of every cell with one, N×D, in the order of `Cells`."""
    labelled = (mask != ignore_index).float()[:, None]
    pixels = cell_sums(labelled, side)
    means = cell_sums(feature * _unit(feature, labelled), side) / pixels.clamp(min=1)
    return means.movedim(1, -1)[pixels[:, 0] > 0]


def cell_sums(values: Tensor, side: int) -> Tensor:
    """B×C×H×W → B×C×h×w; the last cells are what is left of the image."""
    sums: Tensor = F.avg_pool2d(values, side, ceil_mode=True, divisor_override=1)
    return sums


def _unit(feature: Tensor, labelled: Tensor) -> Tensor:
    """What makes a feature's length 1, or 0 without a label; B×1×H×W."""
    unit: Tensor = labelled / feature.norm(dim=1, keepdim=True).clamp(min=1e-6)
    return unit


def _around(sums: Tensor, scale: int) -> Tensor:
    around: Tensor = F.avg_pool2d(sums, scale, 1, scale // 2, divisor_override=1)
    return around


def _counts(mask: Tensor, classes: int, side: int, ignore_index: int) -> Tensor:
    """Labelled pixels B×h×w×K of each class."""
    batch, height, width = mask.shape
    rows, cols = -(-height // side), -(-width // side)
    down = torch.arange(height, device=mask.device) // side
    along = torch.arange(width, device=mask.device) // side
    image = torch.arange(batch, device=mask.device)
    cell = (image[:, None, None] * rows + down[:, None]) * cols + along
    bins = cell * (classes + 1) + mask.where(mask != ignore_index, classes)
    counts = torch.bincount(bins.flatten(), minlength=batch * rows * cols * (classes + 1))
    return counts.view(batch, rows, cols, classes + 1)[..., :classes]
