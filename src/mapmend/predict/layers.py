"""What a mapping writes: a raster each, of one date or of two, and the probabilities of the classes that are named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mapmend.core.classes import Legend
from mapmend.predict.blocks import Block

_ONE = ("class", "confidence")
_TWO = (*_ONE, "class_before", "confidence_before", "change")
EVERY, ENTROPY, DISAGREEMENT, USED = "all", "entropy", "disagreement", "used"


@dataclass(frozen=True)
class Layers:
    """The rasters of a map.

    Attributes:
        dates: that are mapped, 1 or 2.
        classes: indices of those whose probability is written too, ascending; of two dates, the later one's.
        names: of these classes.
        stems: of their files.
        entropy: whether how undecided the model is, at the later date, is written too.
        used: whether it is written which modalities each pixel was mapped from.
        disagreement: whether it is written how much the members of an ensemble disagree, at the later date.
    """

    dates: int = 1
    classes: tuple[int, ...] = ()
    names: tuple[str, ...] = ()
    stems: tuple[str, ...] = ()
    entropy: bool = False
    used: bool = False
    disagreement: bool = False

    @property
    def all(self) -> tuple[str, ...]:
        """Names of the rasters, in the order in which a block's rows come."""
        first = (_TWO if self.dates == 2 else _ONE) + ((USED,) if self.used else ())
        last = ((ENTROPY,) if self.entropy else ()) + ((DISAGREEMENT,) if self.disagreement else ())
        return first + self.stems + last

    def of_block(self, block: Block, folder: Path) -> tuple[Path, ...]:
        """The files of a block, in this order."""
        return tuple(folder / f"{block.id}.{layer}.tif" for layer in self.all)

    def of_map(self, folder: Path) -> tuple[Path, ...]:
        """The files of a finished map, in this order."""
        return tuple(folder / f"{layer}.tif" for layer in self.all)


def choose_layers(
    legend: Legend,
    dates: int,
    probabilities: str | Sequence[str] = (),
    *,
    entropy: bool = False,
    used: bool = False,
    disagreement: bool = False,
) -> Layers:
    """The layers of a map.

    Args:
        legend: of the map.
        dates: 1 or 2.
        probabilities: names or ids of the classes whose probability is wanted too, or `all`.
        entropy: whether it is wanted too.
        used: as in `Layers`.
        disagreement: as in `Layers`.

    Raises:
        LegendError: there is no such class.
    """
    asked = [probabilities] if isinstance(probabilities, str) else list(probabilities)
    if EVERY in asked and not legend.has_name(EVERY):
        classes = list(range(len(legend)))
    else:
        classes = sorted({legend.index_of(name) for name in asked})
    stems = [_stem(name) for name in legend.names]
    return Layers(
        dates,
        tuple(classes),
        tuple(legend.names[index] for index in classes),
        tuple(
            stems[index] if stems.count(stems[index]) == 1 else f"{stems[index]}_{legend.ids[index]}"
            for index in classes
        ),
        entropy,
        used,
        disagreement,
    )


def _stem(name: str) -> str:
    """A class's name as part of a file's: letters, digits, - and _."""
    return "probability_" + re.sub(r"[^\w-]+", "_", name.strip())
