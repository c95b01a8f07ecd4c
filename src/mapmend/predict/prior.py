"""A place's own label as evidence beside the image: what is known of a pixel before the image is looked at.

A network's q(k|x) has learned from labels whose classes have the shares m_k, so that q_k/m_k is in proportion to the
chance of the image under class k. With what the label says of a pixel, s_k, the classes are as likely as

    r_k ∝ s_k·q_k/m_k

(Bayes; of labels as beliefs Rolf et al., UAI 2022). A label says its class but for some doubt, or what its product's
table of mixtures holds for its code; one with large pixels says where a place is only to within them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch

from mapmend.core.classes import NODATA, Legend
from mapmend.core.grid import Grid, Window
from mapmend.core.legend import load_crosswalk
from mapmend.core.mixtures import certain_shares, rows_as_they_are, spread_shares
from mapmend.core.stored import STEPS
from mapmend.losses.posterior import NEVER, RAREST, believed, blur_reach
from mapmend.raster.labels import LabelReader
from mapmend.raster.remote import stamp


@dataclass(frozen=True)
class LabelPrior:
    """What a label says of the classes.

    Attributes:
        label: class raster of the legend's ids, on the grid of the map.
        rows: raster of places in `shares`, where the label's product has a table of mixtures.
        shares: what each of the product's codes holds of each class.
        learned: shares m of the classes in the labels that the model learned from.
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
    """Reads a label as weights of the classes; for use in one thread.

    Args:
        prior: what is read.
        grid: of the map.
        legend: K classes.
    """

    def __init__(self, prior: LabelPrior, grid: Grid, legend: Legend) -> None:
        self._prior, self._legend = prior, legend
        self._label = LabelReader(prior.label, grid, load_crosswalk(None, legend))
        self._rows = LabelReader(prior.rows, grid, rows_as_they_are(len(prior.shares))) if prior.rows else None
        self._learned = torch.tensor(prior.learned, dtype=torch.float64).clamp(min=RAREST)[:, None, None]

    def weights(self, window: Window) -> torch.Tensor:
        """s/m of a window, K×H×W float32; 1 for all classes where no label is near.

        Raises:
            RasterError: the label cannot be read.
        """
        prior, reach = self._prior, blur_reach(self._prior.blur)
        padded = window.pad(reach)
        label = self._legend.lut[self._label.read(padded)]
        own = (slice(None), slice(reach, reach + window.height), slice(reach, reach + window.width))
        if self._rows is None:
            shares = certain_shares(label, len(self._legend))
        else:
            shares = spread_shares(self._rows.read(padded), prior.shares)
        labelled = torch.from_numpy(label != NODATA)
        frequency = self._learned[:, 0, 0] / self._learned.sum()
        given = torch.from_numpy(shares).double().div_(STEPS)
        said = believed(given[None], labelled[None], frequency, prior.doubt, prior.blur)[0][own]
        known = said.sum(0) > 0.5
        ratio: torch.Tensor = said.clamp_(min=NEVER) / self._learned
        return ratio.where(known, 1.0).float()
