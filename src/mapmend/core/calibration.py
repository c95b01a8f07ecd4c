"""Calibration: what turns a model's probabilities into ones that say how often it is right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict

from mapmend.core.errors import ModelError
from mapmend.core.plain import parse

Kind = Literal["temperature", "vector", "isotonic"]
KINDS: tuple[Kind, ...] = ("temperature", "vector", "isotonic")
LEAST = 1e-12  # a probability below it counts as this where its logarithm is taken

_OF_KIND = {"temperature": ("temperature",), "vector": ("weights", "biases"), "isotonic": ("tables",)}
_AGAIN = "train the model again, or copy it again"

F = TypeVar("F", np.float32, np.float64)


@dataclass(frozen=True)
class Calibration:
    """A map from probabilities to probabilities of the same K classes, pixel by pixel.

    - `temperature`: p^(1/T), over the sum of the classes (Guo et al. 2017). The most probable class stays what it is.
    - `vector`: softmax of w_k·ln p_k + b_k, the diagonal form of the same paper.
    - `isotonic`: each class's p_k by a table that never falls, straight between its knots and level beyond them, over
      the sum of the classes (Zadrozny & Elkan 2002).

    Attributes:
        kind: which of them.
        temperature: T, above 0; above 1 it makes a model less sure.
        weights: w of each class, above 0.
        biases: b of each class.
        tables: for each class its knots (probability given, probability returned), ascending.

    Raises:
        ModelError: parameters that its kind does not have, or that make no probabilities.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: Kind
    temperature: float = 1.0
    weights: tuple[float, ...] = ()
    biases: tuple[float, ...] = ()
    tables: tuple[tuple[tuple[float, float], ...], ...] = ()

    def __post_init__(self) -> None:
        fault = self._fault()
        if fault:
            raise ModelError(f"its calibration ({self.kind}) {fault}", fix=_AGAIN)

    @property
    def classes(self) -> int | None:
        """K; None where it does for any number of classes."""
        return {"temperature": None, "vector": len(self.weights), "isotonic": len(self.tables)}[self.kind]

    @property
    def keeps_classes(self) -> bool:
        """Whether the most probable class of every pixel stays what it is."""
        return self.kind == "temperature"

    def apply(self, probabilities: npt.NDArray[F]) -> npt.NDArray[F]:
        """Calibrated probabilities, in the type of those given.

        Args:
            probabilities: K×…, over the classes they sum to one.
        """
        p: npt.NDArray[np.float64] = probabilities.astype(np.float64)
        if self.kind == "temperature":
            weighed = p ** (1 / self.temperature)
        elif self.kind == "vector":
            shape = (-1, *[1] * (p.ndim - 1))
            weights, biases = (np.reshape(each, shape) for each in (self.weights, self.biases))
            scores = weights * np.log(np.maximum(p, LEAST)) + biases
            weighed = np.exp(scores - scores.max(0))
        else:
            weighed = np.stack(
                [np.interp(one, *np.transpose(table)) for one, table in zip(p, self.tables, strict=True)]
            )
        shares: npt.NDArray[F] = (weighed / weighed.sum(0)).astype(probabilities.dtype)
        return shares

    def to_dict(self) -> dict[str, Any]:
        """Plain values: the kind and its own parameters."""
        plain = asdict(self)
        return {"kind": self.kind, **{name: _listed(plain[name]) for name in _OF_KIND[self.kind]}}

    @classmethod
    def from_dict(cls, plain: Mapping[str, object], *, where: str | Path | None = None) -> Self:
        """The inverse of `to_dict`.

        Raises:
            ModelError: a key or a value that does not fit.
        """
        try:
            return parse(cls, plain, cls.__dataclass_fields__, where=where, error=ModelError)
        except ModelError as fault:
            raise (
                fault if fault.where or where is None else ModelError(fault.what, where=where, fix=fault.fix)
            ) from None

    def _fault(self) -> str:
        """What is wrong with the parameters, in words; '' if nothing is."""
        own = _OF_KIND[self.kind]
        for name, default in (("temperature", 1.0), ("weights", ()), ("biases", ()), ("tables", ())):
            if name not in own and getattr(self, name) != default:
                return f"has {name}, which it does not use"
        numbers = (self.temperature, *self.weights, *self.biases)
        if not all(map(math.isfinite, numbers)) or self.temperature <= 0 or any(each <= 0 for each in self.weights):
            return "has a temperature or weight that is not above 0, or a number that is not finite"
        if self.kind == "vector" and not (0 < len(self.weights) == len(self.biases)):
            return f"has {len(self.weights)} weights and {len(self.biases)} biases"
        if self.kind == "isotonic" and not (self.tables and all(map(_is_table, self.tables))):
            return "has a table that is empty, falls, or leaves the range above 0 and up to 1"
        return ""


def with_class_weights(calibration: Calibration | None, weights: Sequence[float]) -> Calibration:
    """Calibrated probabilities, each class's times a weight above 0, over the sum of the classes.

    Raises:
        ModelError: the calibration is isotonic, whose tables know nothing of such weights.
    """
    kind = calibration.kind if calibration is not None else "temperature"
    if kind == "isotonic":
        raise ModelError(
            "class shares cannot be combined with its calibration (isotonic)",
            fix="train it with `calibration: temperature`",
        )
    slopes, biases = (1.0,) * len(weights), (0.0,) * len(weights)
    if calibration is not None:
        vector = kind == "vector"
        slopes = calibration.weights if vector else (1 / calibration.temperature,) * len(weights)
        biases = calibration.biases if vector else biases
    moved = tuple(bias + math.log(weight) for bias, weight in zip(biases, weights, strict=True))
    return Calibration("vector", weights=slopes, biases=moved)


def _is_table(table: tuple[tuple[float, float], ...]) -> bool:
    given, returned = [x for x, _ in table], [y for _, y in table]
    ascends = all(one < other for one, other in zip(given, given[1:], strict=False))
    never_falls = all(one <= other for one, other in zip(returned, returned[1:], strict=False))
    return (
        bool(table)
        and ascends
        and never_falls
        and all(0 <= x <= 1 for x in given)
        and all(0 < y <= 1 for y in returned)
    )


def _listed(value: object) -> object:
    return [_listed(one) for one in value] if isinstance(value, tuple) else value
