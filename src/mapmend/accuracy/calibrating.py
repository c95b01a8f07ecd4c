"""Calibrations fitted to labelled pixels, and what each is worth on blocks that it was not fitted to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression, minimize

from mapmend.accuracy.calibration_error import CalibrationCounts
from mapmend.core.calibration import KINDS, LEAST, Calibration, Kind
from mapmend.core.errors import MapmendError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]

_TEMPERATURES = (0.2, 10.0)  # beyond these it is a few pixels that speak
_WEIGHTS, _BIASES = (0.1, 10.0), (-10.0, 10.0)
_STEPS = 1000  # of probability, to which it is rounded for tables
_FLOOR = 1e-4  # of a table: that a class was never seen there does not make it impossible
_NEWTON_STEPS = 50


@dataclass(frozen=True, eq=False)
class CrossFit:
    """Calibrations, and sums of calibration before and after each.

    Attributes:
        fitted: to all pixels, by kind.
        before: of the probabilities given.
        after: by kind; each pixel is calibrated by what was fitted to the other folds. Empty with a single block.
        held_out: N×K by kind, these pixels' probabilities. Empty with a single block.
        folds: how many there are, each of whole blocks.
        blocks: their number.
    """

    fitted: Mapping[Kind, Calibration]
    before: CalibrationCounts
    after: Mapping[Kind, CalibrationCounts]
    held_out: Mapping[Kind, Floats]
    folds: int
    blocks: int


def fit(
    kind: Kind,
    probabilities: npt.NDArray[np.floating[Any]],
    labels: npt.NDArray[np.integer[Any]],
    *,
    near: Calibration | None = None,
) -> Calibration:
    """The calibration that fits labelled pixels best: by likelihood, or, for isotonic, by least squares.

    A class that no pixel has keeps its weight or its table as they were: of it nothing is known.

    Args:
        kind: temperature, vector or isotonic.
        probabilities: N×K, rows sum to one.
        labels: N class indices.
        near: a fit of the same kind to most of these pixels, from which vector scaling starts.

    Raises:
        ValueError: shapes differ.
        MapmendError: no pixels, or a class outside.
    """
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1]:
        raise ValueError(f"probabilities {probabilities.shape} do not fit labels {labels.shape}")
    if not labels.size or labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise MapmendError("no labelled pixels, or a class outside the legend", fix="give class indices from 0 on")
    true = labels.astype(np.intp)
    if kind == "isotonic":
        return Calibration("isotonic", tables=tuple(_table(p, true == k) for k, p in enumerate(probabilities.T)))
    logs = np.log(np.maximum(probabilities.astype(np.float64), LEAST))
    return Calibration("temperature", _temperature(logs, true)) if kind == "temperature" else _vector(logs, true, near)


def cross_fit(
    probabilities: npt.NDArray[np.floating[Any]],
    labels: npt.NDArray[np.integer[Any]],
    blocks: npt.NDArray[np.integer[Any]],
    *,
    folds: int = 5,
    bins: int = 15,
) -> CrossFit:
    """Fit every kind to all pixels, and judge each on folds of blocks that it has not seen.

    Neighbouring pixels err together: a calibration judged on pixels between those it was fitted to looks better than
    it is elsewhere. So the folds are made of whole blocks.

    Args:
        probabilities: N×K, rows sum to one.
        labels: N class indices.
        blocks: N, which block each pixel lies in.
        folds: at most; one per block where there are fewer.
        bins: of the sums.

    Raises:
        ValueError, MapmendError: as in `fit`.
    """
    fitted = {kind: fit(kind, probabilities, labels) for kind in KINDS}
    known, numbers = np.unique(blocks, return_inverse=True)
    folds = min(folds, known.size)
    fold = numbers % folds
    before = _counted(probabilities, labels, bins)
    if folds < 2:
        return CrossFit(fitted, before, {}, {}, folds, known.size)
    held_out: dict[Kind, Floats] = {}
    for kind in KINDS:
        held_out[kind] = np.empty(probabilities.shape)
        for number in range(folds):
            here = fold == number
            other = fit(kind, probabilities[~here], labels[~here], near=fitted[kind])
            held_out[kind][here] = other.apply(probabilities[here].T).T
    after = {kind: _counted(found, labels, bins) for kind, found in held_out.items()}
    return CrossFit(fitted, before, after, held_out, folds, known.size)


def _counted(
    probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.integer[Any]], bins: int
) -> CalibrationCounts:
    counts = CalibrationCounts(probabilities.shape[1], bins)
    counts.update(probabilities.T, labels.astype(np.uint8))
    return counts


def _temperature(logs: Floats, true: Ints) -> float:
    """T of least Σ −ln p_true; in 1/T that is convex, and Newton's steps find it.

    With L = ln p and q ∝ e^(L/T): the slope in 1/T is E_q[L] − L_true, the curvature Var_q[L].
    """
    low, high = (1 / limit for limit in reversed(_TEMPERATURES))
    sharpness, of_true = 1.0, float(logs[np.arange(true.size), true].mean())
    for _ in range(_NEWTON_STEPS):
        q = _softmax(sharpness * logs)
        means = (q * logs).sum(1)
        slope = float(means.mean()) - of_true
        curvature = float(((q * logs**2).sum(1) - means**2).mean())
        if curvature <= 0:
            break  # all classes alike everywhere: any temperature does
        target = float(np.clip(sharpness - slope / curvature, max(low, sharpness / 2), min(high, sharpness * 2)))
        moved, sharpness = abs(target - sharpness), target
        if moved < 1e-6 * sharpness:
            break
    return 1 / sharpness


def _vector(logs: Floats, true: Ints, near: Calibration | None) -> Calibration:
    """The weights and biases of least Σ −ln p_true, which is convex in both."""
    count, classes = logs.shape
    seen = np.bincount(true, minlength=classes) > 0
    number = np.arange(count)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        weights, biases = parameters[:classes], parameters[classes:]
        scores = logs * weights + biases
        q = _softmax(scores)
        value = -float(np.log(np.maximum(q[number, true], np.finfo(np.float64).tiny)).mean())
        q[number, true] -= 1
        slopes = np.concatenate([np.einsum("nk,nk->k", q, logs), q.sum(0)]) / count
        return value, slopes

    bounds = [_WEIGHTS if one else (1.0, 1.0) for one in seen] + [_BIASES if one else (0.0, 0.0) for one in seen]
    start = np.concatenate([np.ones(classes), np.zeros(classes)] if near is None else [near.weights, near.biases])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 200, "ftol": 1e-8})
    weights, biases = found.x[:classes].tolist(), found.x[classes:].tolist()
    return Calibration("vector", weights=tuple(weights), biases=tuple(biases))


def _softmax(scores: Floats) -> Floats:
    weighed: Floats = np.exp(scores - scores.max(1, keepdims=True))
    weighed /= weighed.sum(1, keepdims=True)
    return weighed


def _table(
    probabilities: npt.NDArray[np.floating[Any]], is_class: npt.NDArray[np.bool_]
) -> tuple[tuple[float, float], ...]:
    """The knots of a class: both ends of each stretch in which neighbouring violators were pooled."""
    if not is_class.any():
        return (0.0, _FLOOR), (1.0, 1.0)
    steps = np.rint(probabilities * _STEPS).astype(np.intp)
    counts, hits = np.bincount(steps), np.bincount(steps, is_class)
    held = np.flatnonzero(counts)
    pooled = isotonic_regression(hits[held] / counts[held], weights=counts[held])
    knots: dict[float, float] = {}
    for start, end in zip(pooled.blocks, pooled.blocks[1:], strict=False):
        value = float(np.clip(pooled.x[start], _FLOOR, 1))
        knots[float(held[start] / _STEPS)] = knots[float(held[end - 1] / _STEPS)] = value
    return tuple(knots.items())
