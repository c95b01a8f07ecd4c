"""Places that a model was trained on, as its card keeps them: what is scored elsewhere is told from what is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mapmend.core.errors import ModelError
from mapmend.core.grid import Grid, grid_from_dict, grid_to_dict

Role = Literal["train", "val"]
TRAINED_ON = "trained_on"  # the key of a model's provenance
TRANSDUCTIVE = "_transductive"  # ends the name of a figure that counts places which the model was trained on


@dataclass(frozen=True)
class TrainedPlace:
    """A place whose labels entered a training.

    Attributes:
        site: its name.
        role: `train` where labels entered a loss; `val` where they only chose or calibrated the model.
        grid: of the images.
    """

    site: str
    role: Role
    grid: Grid

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {"site": self.site, "role": self.role, "grid": grid_to_dict(self.grid)}


def trained_places(provenance: Mapping[str, Any], where: str | Path) -> tuple[TrainedPlace, ...] | None:
    """The places of a model's provenance; None where it does not list them.

    Raises:
        ModelError: the list is damaged.
    """
    listed = provenance.get(TRAINED_ON)
    if listed is None:
        return None
    try:
        return tuple(TrainedPlace(one["site"], one["role"], grid_from_dict(one["grid"])) for one in listed)
    except (KeyError, TypeError, ValueError) as fault:
        raise ModelError(f"does not say rightly what it was trained on ({fault!r})", where=where) from None


def merged(places: Iterable[TrainedPlace]) -> tuple[TrainedPlace, ...]:
    """Each place once, in their order; one that trained and validated has trained."""
    kept: dict[tuple[str, str], TrainedPlace] = {}
    for place in places:
        key = (place.site, str(grid_to_dict(place.grid)))
        if key not in kept or place.role == "train":
            kept[key] = place
    return tuple(kept.values())
