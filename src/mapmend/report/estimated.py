"""Areas estimated from a reference sample, as `assess --json` left them in a project's output folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, FiniteFloat, ValidationError

from mapmend.core.errors import JobError

ASSESSMENT = "assessment.json"

_MOST_BYTES = 64 * 2**20


class Estimated(BaseModel):
    """An estimate and its interval; None where undefined."""

    estimate: FiniteFloat | None
    interval: tuple[FiniteFloat, FiniteFloat] | None = None


class EstimatedClass(BaseModel):
    """A class: what the map shows of it, and what the sample says; accuracies are shares, areas hectares."""

    name: str
    area_ha: Estimated
    users_accuracy: Estimated
    producers_accuracy: Estimated
    pixel_count_area_ha: FiniteFloat | None = None


class EstimatedAreas(BaseModel):
    """What the report shows of an assessment.

    Attributes:
        level: of confidence of the intervals.
        overall_accuracy: of the map.
        classes: in the assessment's order.
        notes: what a reader has to know about the figures.
    """

    level: Annotated[float, Field(gt=0, lt=1)]
    overall_accuracy: Estimated
    classes: Annotated[tuple[EstimatedClass, ...], Field(min_length=1)]
    notes: tuple[str, ...] = ()

    @property
    def largest_ha(self) -> float:
        """The largest estimated area."""
        return max(one.area_ha.estimate or 0.0 for one in self.classes)


def read_assessment(folder: Path) -> EstimatedAreas | None:
    """The assessment in an output folder; None where nobody made one.

    Raises:
        JobError: the file cannot be read, or is something else.
    """
    path = folder / ASSESSMENT
    again = "run `mapmend assess --json` into it again, or delete it"
    if not path.exists():
        return None
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise JobError("is too large for an assessment", where=path, fix=again)
        return EstimatedAreas.model_validate_json(path.read_bytes())
    except OSError as fault:
        raise JobError(f"cannot be read ({fault.strerror})", where=path, fix=again) from None
    except ValidationError as fault:
        first = fault.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        told = f"'{key}': {first['msg']}" if key else first["msg"]
        raise JobError(f"is not what `assess --json` writes ({told})", where=path, fix=again) from None
