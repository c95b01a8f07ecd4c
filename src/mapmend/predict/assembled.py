"""A predictor as a user asks for it: of one model or several, with the tricks that go with testing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapmend.core.errors import ModelError
from mapmend.predict.augmented import Augmented, Views
from mapmend.predict.ensemble import Ensemble
from mapmend.predict.predictor import Predictor, load_predictor
from mapmend.predict.suppressed import Suppressed


@dataclass(frozen=True)
class Tricks:
    """What is done with a model's probabilities before a map is made of them.

    Attributes:
        views: how often a window is looked at: 1, 4, 8 or 24 times.
        suppress: names or ids of classes that the map never shows.
        disagreement: write how much several models disagree.
    """

    views: Views = 1
    suppress: tuple[str, ...] = ()
    disagreement: bool = False

    @property
    def any(self) -> bool:
        """Whether they make other probabilities."""
        return self.views > 1 or bool(self.suppress)


def assembled_predictor(models: Sequence[Path], tricks: Tricks = Tricks(), **settings: Any) -> Predictor:
    """One model, or the mean of several, seen in many views, without some of its classes.

    Args:
        models: model folders; the others are applied in the first one's windows.
        tricks: see there.
        settings: of `load_predictor`.

    Raises:
        ModelError: a folder holds no model, the models do not go together, or one alone is to disagree.
        LegendError: a suppressed class is not theirs.
    """
    if not models:
        raise ModelError("no model is given", fix="give at least one model folder")
    first: Predictor = load_predictor(models[0], **settings)
    predictor = first
    if len(models) > 1:
        alike = {**settings, "window": first.lattice.size, "overlap": first.lattice.overlap, "batch": first.batch}
        others = [load_predictor(model, **alike) for model in models[1:]]
        predictor = Ensemble([first, *others], disagreement=tricks.disagreement)
    elif tricks.disagreement:
        raise ModelError("one model cannot disagree with itself", fix="give several models, or leave disagreement out")
    if tricks.views > 1:
        predictor = Augmented(predictor, tricks.views)
    return Suppressed(predictor, tricks.suppress) if tricks.suppress else predictor
