"""How pseudo-labels are made, as a user says it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mapmend.core.settings import settings

Combination = Literal["single", "mean", "agreement", "label"]


@settings
class PseudoSettings:
    """How models' maps become labels.

    Attributes:
        combine: what is said of a pixel: single, what the one model says; mean, what the mean of the models'
            probabilities says; agreement, what all models say, and nothing where they differ; label, what all models
            and the place's own label say.
        keep: share of each class's pixels that become a label, those of the highest confidence; ties are kept.
        allow_empty: whether a class that some model shows may have no label left.
        shares: class shares that the labels rest on: learned, those of the labels that a model learned from; estimated,
            those of the places, found from its own probabilities, for places where classes are as likely to look the
            same but not as common.
        views: as of `predict`.
        suppress: as of `predict`; classes that no label shows.
        window: side of a window in pixels; the first model's own when empty.
        overlap: pixels shared by neighbouring windows; the first model's own when empty.
        batch: windows predicted at once.
        split: label only the places of this split; those marked test never are.
    """

    combine: Combination = "single"
    keep: Annotated[float, Field(gt=0, le=1)] = 1.0
    allow_empty: bool = False
    shares: Literal["learned", "estimated"] = "learned"
    views: Literal[1, 4, 8, 24] = 1
    suppress: tuple[str, ...] = ()
    window: Annotated[int, Field(ge=32)] | None = None
    overlap: Annotated[int, Field(ge=0)] | None = None
    batch: Annotated[int, Field(ge=1)] = 4
    split: Literal["", "train", "val"] = ""
