"""What an injector is, what it leaves behind, and all of them by name."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from scipy import ndimage

from mapmend.core.errors import LabelError, ProjectError
from mapmend.core.legend import NODATA
from mapmend.core.plain import suggestion
from mapmend.core.settings import from_mapping

BOUNDARY = 3.0  # pixels: an error that lies nearer to another class than this is one of the boundary

INJECTORS: dict[str, type[Injector]] = {}


@dataclass(frozen=True)
class Truth:
    """A label that is right.

    Attributes:
        label: H×W uint8, indices of the legend, 255 = no label.
        classes: how many the legend has.
        before: the label of an earlier date, where there is one.
    """

    label: np.ndarray
    classes: int
    before: np.ndarray | None = None


class Injector(Protocol):
    """Settings of one kind of noise, which are called to make it.

    Attributes:
        name: under which it is registered.
        measures: what a rate is a share of: `lost`, a class's own pixels that carry another one now, or `gained`,
            others that carry it now, against its own.
    """

    name: ClassVar[str]
    measures: ClassVar[Literal["lost", "gained"]]

    def __call__(self, truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, float | None]:
        """The noisy label, and the rate that it was made for, where it has one."""
        ...


@dataclass(frozen=True)
class Noised:
    """A label made wrong.

    Attributes:
        label: H×W uint8.
        changed: H×W bool, where it differs from the truth: all that is wrong, and nothing else.
        lost: for each class, the share of its pixels that were changed; None for a class that the truth has not.
        gained: for each class, the pixels that wrongly carry it now, as a share of those that rightly did.
        achieved: `lost` or `gained`, whichever the injector's rate is measured by.
        asked: the rate that the injector was to reach in each class that it works on; None where it has none.
        rate: changed pixels of all labelled ones; None where nothing is labelled.
        boundary_share: changed pixels within `BOUNDARY` of another true class, of all changed ones; None where none is.
    """

    label: np.ndarray
    changed: np.ndarray
    lost: tuple[float | None, ...]
    gained: tuple[float | None, ...]
    achieved: tuple[float | None, ...]
    asked: float | None
    rate: float | None
    boundary_share: float | None


def injector(name: str) -> Callable[[type[Any]], type[Any]]:
    """Enter an injector in `INJECTORS`."""

    def enter(cls: type[Any]) -> type[Any]:
        if name in INJECTORS:
            raise ValueError(f"injector '{name}' is registered twice")
        cls.name = name
        INJECTORS[name] = cls
        return cls

    return enter


def make_injector(name: str, settings: Mapping[str, object] | None = None) -> Injector:
    """An injector by name.

    Raises:
        ProjectError: no such injector, or settings that it does not have.
    """
    if name not in INJECTORS:
        raise ProjectError(f"unknown noise '{name}'", fix=suggestion(name, INJECTORS))
    made: Injector = from_mapping(INJECTORS[name], settings, f"noise '{name}'")
    return made


def inject(
    label: np.ndarray, noise: Injector, *, classes: int, seed: int = 0, before: np.ndarray | None = None
) -> Noised:
    """Make a right label wrong; equal arguments give equal bytes, and the label that is given stays what it is.

    Args:
        label: H×W uint8, indices of the legend, 255 = no label.
        noise: of what kind.
        classes: how many the legend has.
        seed: of every draw; give each tile its own.
        before: the label of an earlier date on the same pixels, for the noise that is `outdated`.

    Raises:
        LabelError: no such label.
    """
    for given in [label] if before is None else [label, before]:
        if given.ndim != 2 or given.dtype != np.uint8 or given.shape != label.shape:
            raise LabelError(f"is {given.dtype} {given.shape}, not H×W indices in uint8", where="a label to make noisy")
        if ((given >= classes) & (given != NODATA)).any():
            raise LabelError(f"holds an index beyond {classes - 1}", where="a label to make noisy")
    rng = np.random.default_rng([seed, zlib.crc32(noise.name.encode())])
    noisy, asked = noise(Truth(label.copy(), classes, before), rng)
    noisy = np.where(label == NODATA, label, noisy)
    changed = noisy != label
    counts, left, came = (
        np.bincount(one.ravel(), minlength=256)[:classes] for one in (label, label[changed], noisy[changed])
    )
    lost, gained = (_shares(part, counts) for part in (left, came))
    labelled = int(counts.sum())
    near = changed & (distance_to_boundary(label) < BOUNDARY)
    return Noised(
        noisy,
        changed,
        lost,
        gained,
        lost if noise.measures == "lost" else gained,
        asked,
        float(changed.sum() / labelled) if labelled else None,
        float(near.sum() / changed.sum()) if changed.any() else None,
    )


def distance_to_boundary(label: np.ndarray) -> np.ndarray:
    """Distance of each pixel to the nearest one that touches another class, H×W float; infinite where none does."""
    edge = np.zeros(label.shape, bool)
    for one, other in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (label[one] != label[other]) & (label[one] != NODATA) & (label[other] != NODATA)
        edge[one] |= differ
        edge[other] |= differ
    if not edge.any():
        return np.full(label.shape, np.inf)
    distance: np.ndarray = ndimage.distance_transform_edt(~edge)
    return distance


def _shares(part: np.ndarray, whole: np.ndarray) -> tuple[float | None, ...]:
    return tuple(float(a / b) if b else None for a, b in zip(part, whole, strict=True))
