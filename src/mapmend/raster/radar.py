"""Radar images as decibels: what stored numbers mean, where nothing came back, and speckle.

Backscatter spans orders of magnitude, and networks read it as a logarithm: of power P in decibels 10·log10 P, of
amplitude A 20·log10 A. Filters work on power, where speckle is multiplicative with a known spread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from mapmend.core.sensor import Sensor

Floats = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]

CLIP = {"dB": (-50.0, 50.0), "power": (-50.0, 50.0), "amplitude": (-50.0, 100.0)}
"""Decibels to which values are clipped where a card says nothing else; wider than any terrain."""
_SIDE = 7  # of the window of both filters
_REACH = _SIDE // 2


@dataclass(frozen=True)
class Backscatter:
    """How a sensor's stored numbers become decibels.

    Attributes:
        unit: of the numbers after scale and offset: dB, power or amplitude.
        scale: value = stored number · scale + offset.
        offset: see scale.
        clip: least and largest decibels.
        speckle: the filter.
        looks: equivalent number of looks, by which the filter knows how strong speckle is.
    """

    unit: str
    scale: float
    offset: float
    clip: tuple[float, float]
    speckle: Literal["none", "lee", "refined_lee"]
    looks: float

    @classmethod
    def of(cls, sensor: Sensor) -> Self | None:
        """Of a radar's card; None of another's."""
        if sensor.kind != "radar":
            return None
        clip = sensor.clip or CLIP[sensor.unit]
        return cls(sensor.unit, sensor.scale, sensor.offset, clip, sensor.speckle, sensor.looks)

    @property
    def reach(self) -> int:
        """Pixels around a window that its values depend on."""
        return 0 if self.speckle == "none" else _REACH

    def decibels(self, stored: npt.NDArray[np.generic], valid: Bool) -> tuple[Floats, Bool]:
        """Decibels and validity.

        Args:
            stored: C×H×W, with `reach` pixels around what is wanted.
            valid: H×W.

        Returns:
            C×H×W float32, 0 where invalid, and H×W: where something came back in every band. Amplitude and power of 0
            are no echo, in the shadow of a hill or beside the swath, and no class.
        """
        values = stored.astype(np.float32) * np.float32(self.scale) + np.float32(self.offset)
        if self.unit != "dB":
            valid = valid & (values > 0).all(axis=0)
        if self.speckle != "none":
            smooth = lee if self.speckle == "lee" else refined_lee
            power = np.where(valid, self._power(values), 0)
            values = np.stack([10 * np.log10(np.maximum(smooth(band, valid, self.looks), 1e-30)) for band in power])
        elif self.unit != "dB":
            factor = np.float32(10 if self.unit == "power" else 20)
            values = factor * np.log10(np.where(valid, values, 1))
        return np.where(valid, np.clip(values, *self.clip), 0).astype(np.float32), valid

    def _power(self, values: Floats) -> Floats:
        if self.unit == "dB":
            return np.power(np.float32(10), values / 10)
        return values if self.unit == "power" else values**2


def lee(power: Floats, valid: Bool, looks: float) -> Floats:
    """The local mean, and of what differs from it as much as is no speckle (Lee, IEEE TPAMI 2(2), 1980).

    With z̄ and v the mean and variance over a window of 7 and σ² = 1/looks the squared spread of speckle,
    x̂ = z̄ + k·(z − z̄), k = max(0, v − z̄²σ²) / (v·(1 + σ²)).

    Args:
        power: H×W, 0 where invalid.
        valid: H×W; the rest has no part in mean and variance.
        looks: equivalent number of looks.
    """
    box = np.ones((_SIDE, _SIDE))
    return _weighed(power, *_moments(power, valid, box), looks)


def refined_lee(power: Floats, valid: Bool, looks: float) -> Floats:
    """Lee's filter over the half of the window that lies on the pixel's side of an edge (Lee 1981).

    The means of 3×3 pixels in the window give four gradients; across the strongest, the side whose mean is nearer to
    the middle's is taken. Arguments as of `lee`.
    """
    means, _ = _moments(power, valid, np.ones((3, 3)))
    shift = 2
    middle = means
    best: Floats | None = None
    strongest: Floats | None = None
    for half, (down, right) in _HALVES.items():
        ahead = _moved(means, down * shift, right * shift)
        behind = _moved(means, -down * shift, -right * shift)
        slope = np.abs(ahead - behind)
        mean, variance = _moments(power, valid, half_window(half))
        other_mean, other_variance = _moments(power, valid, half_window(_OPPOSITE[half]))
        nearer = np.abs(ahead - middle) <= np.abs(behind - middle)
        filtered = _weighed(
            power, np.where(nearer, mean, other_mean), np.where(nearer, variance, other_variance), looks
        )
        if best is None or strongest is None:
            best, strongest = filtered, slope
        else:
            best, strongest = np.where(slope > strongest, filtered, best), np.maximum(slope, strongest)
    assert best is not None
    return best


_HALVES = {"right": (0, 1), "down": (1, 0), "down_right": (1, 1), "down_left": (1, -1)}
_OPPOSITE = {"right": "left", "down": "up", "down_right": "up_left", "down_left": "up_right"}


def half_window(side: str) -> npt.NDArray[np.float64]:
    """The half of a window of 7 on one side of its middle, the line through the middle included, as 0 and 1."""
    rows, cols = np.mgrid[-_REACH : _REACH + 1, -_REACH : _REACH + 1]
    toward = {
        "right": cols,
        "left": -cols,
        "down": rows,
        "up": -rows,
        "down_right": rows + cols,
        "up_left": -rows - cols,
        "down_left": rows - cols,
        "up_right": cols - rows,
    }[side]
    half: npt.NDArray[np.float64] = (toward >= 0).astype(np.float64)
    return half


def _moments(power: Floats, valid: Bool, window: npt.NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Mean and variance of the valid pixels of a window around each pixel."""

    def total(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        sums = np.zeros_like(values)
        ndimage.correlate(values, window, output=sums, mode="constant")
        return sums

    inside = valid.astype(np.float64)
    count = np.maximum(total(inside), 1)
    values = power.astype(np.float64) * inside
    mean = total(values) / count
    variance = np.maximum(total(values**2) / count - mean**2, 0)
    return mean.astype(np.float32), variance.astype(np.float32)


def _weighed(power: Floats, mean: Floats, variance: Floats, looks: float) -> Floats:
    spread = np.float32(1 / looks)
    signal = np.maximum(variance - mean**2 * spread, 0)
    k = np.divide(signal, variance * (1 + spread), out=np.zeros_like(signal), where=variance > 0)
    result: Floats = mean + k * (power - mean)
    return result


def _moved(values: Floats, down: int, right: int) -> Floats:
    """Values of the pixels so far down and to the right, those at the border repeated."""
    padded = np.pad(values, 2, mode="edge")
    height, width = values.shape
    return padded[2 + down : 2 + down + height, 2 + right : 2 + right + width]
