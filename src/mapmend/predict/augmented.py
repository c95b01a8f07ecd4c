"""Test-time augmentation: a window seen flipped, turned and at other sizes, and the mean of what is said of each view.

Liu et al. ("Learning from Noisy Pseudo-labels for All-Weather Land Cover Mapping", IGARSS 2025) look 24 times: at six
sizes from half to one and three quarters, each in four flips.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from mapmend.predict.combined import Combined
from mapmend.predict.predictor import Predictor

Views = Literal[1, 4, 8, 24]

_FLIPS = ((0, False), (0, True), (2, True), (2, False))  # quarter turns, mirrored: as it is, both flips, half a turn
_TURNS = tuple((turns, mirrored) for turns in range(4) for mirrored in (False, True))
_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)
_KNOWN = 0.5  # of a resampled pixel's weight that must come from valid ones


@dataclass(frozen=True)
class View:
    """A way to look at a window: so many quarter turns, then maybe mirrored."""

    turns: int
    mirrored: bool

    def of(self, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """An array …×W×W as this view shows it."""
        turned = np.rot90(array, self.turns, axes=(-2, -1))
        return np.ascontiguousarray(turned[..., ::-1] if self.mirrored else turned)

    def undo(self, maps: torch.Tensor) -> torch.Tensor:
        """Maps …×W×W of this view as they lie on the window."""
        turned = maps.flip(-1) if self.mirrored else maps
        return turned.rot90(-self.turns, (-2, -1))


def views_of(number: Views) -> tuple[tuple[float, tuple[View, ...]], ...]:
    """Scales, and the views at each: the window itself (1), its flips (4), with quarter turns (8), flips at six sizes.

    The flips are left-right, up-down and both; a scale is the view's side in windows' sides.
    """
    ways = {1: _FLIPS[:1], 4: _FLIPS, 8: _TURNS, 24: _FLIPS}[number]
    looks = tuple(View(*way) for way in ways)
    return tuple((scale, looks) for scale in (_SCALES if number == 24 else (1.0,)))


class Augmented(Combined):
    """The mean of a predictor's probabilities over views of a window.

    Memory: what the predictor takes for a batch of windows, and the probabilities of two; larger views come in smaller
    batches of about as many pixels.

    Args:
        member: what looks at each view.
        views: how many, see `views_of`.
    """

    kind = "views"

    def __init__(self, member: Predictor, views: Views) -> None:
        super().__init__([member], {"views": views})
        self._number, self._views = views, views_of(views)

    def over(self, members: Sequence[Predictor]) -> Augmented:
        """As in `Combined`."""
        return Augmented(members[0], self._number)

    @torch.inference_mode()
    def probabilities(self, pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> torch.Tensor:
        """The mean; shapes as in `Predictor`."""
        size = pixels.shape[-1]
        total: torch.Tensor | None = None
        for scale, looks in self._views:
            side = round(size * scale)
            image, known = (pixels, valid) if side == size else resampled(pixels, valid, side)
            at_scale: torch.Tensor | None = None
            for look in looks:
                seen = look.undo(self._in_parts(look.of(image), look.of(known), scale))
                at_scale = seen if at_scale is None else at_scale.add_(seen)
            assert at_scale is not None
            if side != size:
                at_scale = F.interpolate(at_scale, (size, size), mode="bilinear", antialias=side > size)
            total = at_scale if total is None else total.add_(at_scale)
        assert total is not None
        return total.div_(self._number).contiguous()

    def _in_parts(self, pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.generic], scale: float) -> torch.Tensor:
        number = max(1, int(len(pixels) / max(1.0, scale**2)))
        parts = [slice(start, start + number) for start in range(0, len(pixels), number)]
        return torch.cat([self.members[0].probabilities(pixels[part], valid[part].astype(bool)) for part in parts])


def resampled(
    pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_], side: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """A window at another size, by the bilinear mean of its valid pixels (over all that a smaller pixel covers).

    Args:
        pixels: N×C×W×W.
        valid: N×C×W×W or N×1×W×W.
        side: of the result.

    Returns:
        Pixels N×C×side×side, 0 where invalid, and validity: where half of the weight comes from valid pixels.
    """
    antialias = side < pixels.shape[-1]

    def resize(maps: torch.Tensor) -> torch.Tensor:
        return F.interpolate(maps, (side, side), mode="bilinear", antialias=antialias)

    known = torch.from_numpy(np.ascontiguousarray(valid)).float()
    weight = resize(known)
    values = resize(torch.from_numpy(np.ascontiguousarray(pixels)).float() * known) / weight.clamp(min=1e-6)
    enough = weight > _KNOWN
    return values.where(enough, 0).numpy(), enough.numpy()
