"""How far a model's confidence can be believed: what its card says of its calibration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, FiniteFloat

from mapmend.core.errors import ModelError
from mapmend.core.plain import parse
from mapmend.report.wording import count, percent

Bins = tuple[tuple[FiniteFloat, FiniteFloat, FiniteFloat], ...]


class Figures(BaseModel):
    """Expected calibration error (equal-width bins of the largest probability), mean −ln p, Brier score."""

    ece: FiniteFloat
    nll: FiniteFloat
    brier: FiniteFloat


class _BinsOf(BaseModel):
    before: Bins
    after: Bins | None = None


class Reliability(BaseModel):
    """What the model's card keeps of its calibration.

    Attributes:
        kind: that is deployed, or `none`.
        trust: labelled pixels it was fitted to, by the trust of their labels.
        blocks: that they lie in.
        folds: of whole blocks, on which every kind was judged by what the other folds taught; 0 with one block.
        pixels: labelled ones.
        figures: `none` and, with folds, each kind.
        bins: of the largest probability: pixels, sum of probabilities, pixels that agree with the label.
        note: what a reader must know.
    """

    kind: str
    trust: dict[str, int]
    blocks: int
    folds: int
    pixels: int
    figures: dict[str, Figures]
    bins: _BinsOf
    note: str = ""

    @property
    def summary(self) -> tuple[str, ...]:
        """Sentences for a reader who has never seen such a diagram."""
        before = self.figures["none"]
        said = [
            f"On {count(self.pixels)} labelled pixels of {self.blocks} "
            f"{'block' if self.blocks == 1 else 'blocks'} held out from training, what the model said of its certainty "
            f"and how often it agreed with the label were {100 * before.ece:.1f} percentage points apart on average."
        ]
        after = self.figures.get(self.kind)
        if after is not None and after is not before:
            said.append(
                f"Calibrated ({self.kind}) they are {100 * after.ece:.1f} apart, on blocks that the calibration was "
                "not fitted to."
            )
        named = ", ".join(sorted(self.trust))
        said.append(
            f"The labels are themselves imperfect (trust: {named}): a confidence of {percent(0.9, 0)} means that nine "
            "of ten such pixels agree with labels like these, not that nine of ten are right."
        )
        return (*said, self.note) if self.note else tuple(said)


def reliability_of(metrics: Mapping[str, object], where: Path) -> Reliability | str | None:
    """The calibration of a model's card; why there is none, in words; None if the card does not speak of it.

    Raises:
        ModelError: the card says something else there.
    """
    plain = metrics.get("calibration")
    if plain is None:
        return None
    if isinstance(plain, Mapping) and plain.get("kind") is None and isinstance(plain.get("note"), str):
        return str(plain["note"])
    return parse(Reliability, plain, Reliability.model_fields, where=f"{where}: metrics: calibration", error=ModelError)
