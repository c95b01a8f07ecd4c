"""What predictors that are made of others have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
import torch

from mapmend.core.calibration import Calibration
from mapmend.core.legend import Legend
from mapmend.core.provenance import value_hash
from mapmend.core.sensor import Sensor
from mapmend.predict.lattice import Lattice
from mapmend.predict.predictor import Predictor


class Combined(ABC):
    """A predictor whose probabilities are made of those of its members.

    It is not calibrated: a member's calibration is of what that member says alone.

    Args:
        members: of one legend, one list of sensors and one lattice; see `Ensemble` for what refuses others.
        settings: what is made of them, as plain values.

    Attributes:
        members: as given.
        disagrees: whether the last channel of `probabilities` is how much the members of an ensemble disagree.
    """

    kind: ClassVar[str]

    def __init__(self, members: Sequence[Predictor], settings: Mapping[str, object]) -> None:
        first = members[0]
        self.members = tuple(members)
        self.disagrees: bool = any(isinstance(member, Combined) and member.disagrees for member in members)
        self.legend: Legend = first.legend
        self.sensors: Sequence[Sensor] = first.sensors
        self.lattice: Lattice = first.lattice
        self.batch = first.batch
        self.calibration: Calibration | None = None
        identities = [dict(member.identity) for member in members]
        self.identity: Mapping[str, object] = {
            "combined": self.kind,
            **settings,
            "members": identities,
            **{name: identities[0][name] for name in ("device",) if name in identities[0]},
            "weights": value_hash([identity.get("weights", "") for identity in identities]),
        }

    @abstractmethod
    def over(self, members: Sequence[Predictor]) -> Self:
        """The same, made of other members."""

    @abstractmethod
    def probabilities(self, pixels: npt.NDArray[np.generic], valid: npt.NDArray[np.bool_]) -> torch.Tensor:
        """Shapes as in `Predictor`."""
