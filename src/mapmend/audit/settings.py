"""What an audit lists, and how it cross-fits."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from mapmend.core.settings import settings


@settings
class AuditSettings:
    """Settings of an audit.

    Attributes:
        folds: parts of the labelled ground; each is judged by a model that was trained on the others.
        min_pixels: smaller parts of the label are not judged.
        objects: at most so many suspicious objects are listed, the most suspicious ones.
        seed: of the planted errors and the intervals.
    """

    folds: Annotated[int, Field(ge=2)] = 4
    min_pixels: Annotated[int, Field(ge=1)] = 9
    objects: Annotated[int, Field(ge=1)] = 5000
    seed: Annotated[int, Field(ge=0)] = 0
