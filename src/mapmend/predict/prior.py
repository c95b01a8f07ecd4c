"""A place's own label as evidence beside the image: what is known of a pixel before the image is looked at.

A network's q(k|x) has learned from labels whose classes have the shares m_k, so that q_k/m_k is in proportion to the
chance of the image under class k. With what the label says of a pixel, s_k, the classes are as likely as

    r_k ∝ s_k·q_k/m_k

(Bayes; of labels as beliefs Rolf et al., UAI 2022). A label says its class but for some doubt, or what its product's
table of mixtures holds for its code; one with large pixels says where a place is only to within them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from mapmend.core.classes import NODATA, Legend
from mapmend.core.grid import Grid, Window
from mapmend.core.legend import load_crosswalk
from mapmend.core.mixtures import certain_shares, rows_as_they_are, spread_shares
from mapmend.core.stored import STEPS
from mapmend.losses.posterior import CERTAIN, NEVER, RAREST, blur_reach
from mapmend.raster.labels import LabelReader
from mapmend.raster.remote import stamp

_NOTHING = 1e-6  # of a sum of neighbours' weights


@dataclass(frozen=True)
class LabelPrior:
    """What a label says of the classes.

    Attributes:
        label: class raster of the legend's ids, on the grid of the map.
        rows: raster of places in `shares`, where the label's product has a table of mixtures.
        shares: what each of the product's codes holds of each class.
        learned: shares m of the classes in the labels that the model learned from, see `model_folder.prior_shares`.
        doubt: share of the belief that a label without mixtures does not give to its class but to all as they are
            frequent.
        blur: standard deviation, in pixels, of how far off a pixel's label may lie.
    """

    label: str
    rows: str | None
    shares: tuple[tuple[float, ...], ...]
    learned: tuple[float, ...]
    doubt: float
    blur: float

    @property
    def identity(self) -> dict[str, object]:
        """All that it says depends on."""
        files = {name: stamp(file) for name in ("label", "rows") if (file := getattr(self, name)) is not None}
        return {**asdict(self), **files}


class PriorReader:
    """Reads a label as weights of the classes, the beliefs of `losses.posterior.believed`; for use in one thread.

    Args:
        prior: what is read.
        grid: of the map.
        legend: K classes.
    """

    def __init__(self, prior: LabelPrior, grid: Grid, legend: Legend) -> None:
        self._prior, self._legend = prior, legend
        self._label = LabelReader(prior.label, grid, load_crosswalk(None, legend))
        self._rows = LabelReader(prior.rows, grid, rows_as_they_are(len(prior.shares))) if prior.rows else None
        self._reach = blur_reach(prior.blur)
        self._kernel = np.exp(-0.5 * (np.arange(-self._reach, self._reach + 1) / (prior.blur or 1.0)) ** 2)

    def weights(self, window: Window) -> torch.Tensor:
        """s/m of a window, K×H×W float32; 1 for all classes where no label is near.

        Class by class, so that it takes little more memory than what it gives; and each pixel's sums are added in one
        order, so that they are the same numbers in whatever window it lies.

        Raises:
            RasterError: the label cannot be read.
        """
        padded, prior = window.pad(self._reach), self._prior
        label = self._legend.lut[self._label.read(padded)]
        labelled = label != NODATA
        if self._rows is None:
            shares = certain_shares(label, len(self._legend))
        else:
            shares = spread_shares(self._rows.read(padded), prior.shares) * labelled
        near = self._around(labelled)
        doubt = prior.doubt * (self._own(shares.max(0)) > CERTAIN * STEPS)
        frequency = np.array(prior.learned) / sum(prior.learned)
        found = np.empty((len(self._legend), window.height, window.width), np.float32)
        for weights, share, often, learned in zip(found, shares, frequency, prior.learned, strict=True):
            said = self._around(share) / np.maximum(STEPS * near, _NOTHING) if share.any() else np.zeros(near.shape)
            believed = (1 - doubt) * said + doubt * often
            weights[:] = np.where(near > _NOTHING, np.maximum(believed, NEVER) / max(learned, RAREST), 1)
        return torch.from_numpy(found)

    def _own(self, layer: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The window itself of a layer with its halo."""
        rows, cols = layer.shape
        return layer[self._reach : rows - self._reach, self._reach : cols - self._reach]

    def _around(self, layer: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Weighted sum of what lies around each pixel of the window, where labels may lie off; else the layer."""
        values = layer.astype(np.float64)
        if self._reach:
            for axis in (0, 1):
                values = ndimage.correlate1d(values, self._kernel, axis, mode="constant")
        own: npt.NDArray[np.float64] = self._own(values)
        return own
