"""Calibration of a trained model against the labels of the blocks that validated it, blended as it will map.

These labels are what the project has, and mostly imperfect themselves (see their trust): a calibrated probability says
how often a map agrees with such a label, not how often it is right. References are never looked at here.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mapmend.accuracy.calibrating import CrossFit, cross_fit
from mapmend.accuracy.calibration_error import CalibrationCounts, calibration_metrics
from mapmend.accuracy.conformal import three_states
from mapmend.core.calibration import Calibration, Kind
from mapmend.core.durable import replace_json
from mapmend.core.errors import ModelError
from mapmend.core.grid import Window
from mapmend.core.legend import NODATA, Legend
from mapmend.core.provenance import value_hash
from mapmend.core.sensor import Sensor
from mapmend.core.thinning import evenly
from mapmend.core.three_state import RISKS
from mapmend.data.samples import SiteReader
from mapmend.data.splits import SitePart
from mapmend.nn.allocator import keep_large_blocks
from mapmend.nn.model_folder import ModelCard
from mapmend.nn.network import Network
from mapmend.predict.lattice import Lattice
from mapmend.predict.predictor import Predictor, TorchPredictor
from mapmend.predict.probabilities import blended_probabilities
from mapmend.predict.scene import Scene

RECORD = "calibration.json"
NONE = "none"

_MOST_PIXELS = 2**22  # that are mapped for it
_MOST_SQUARES = {"cpu": 32, "cuda": 64}  # a processor maps so many in some ten seconds
_MOST_NUMBERS = 2**18  # pixels × classes that are kept of them; neighbours say the same
_LEAST_KEPT = 2**14  # pixels, where the classes are many
_BATCH = 4  # windows; a square needs a few, and a batch is always filled up


@dataclass(frozen=True)
class Calibrated:
    """A calibration and what it rests on.

    Attributes:
        calibration: None where there is nothing to fit one to.
        evidence: plain values for the model's card and the report: the kind, what it was fitted to, figures before and
            after each kind on blocks that it was not fitted to, bins of the reliability diagram, a note, and, by class
            and risk, the thresholds of three-state maps.
    """

    calibration: Calibration | None
    evidence: Mapping[str, Any]

    def describe(self) -> str:
        """One line for a person."""
        if self.calibration is None:
            return f"none: {self.evidence['note']}"
        before, after = (self.evidence["figures"].get(kind) for kind in (NONE, self.calibration.kind))
        change = f"; expected calibration error {before['ece']:.3f} → {after['ece']:.3f}" if after else ""
        return f"{self.calibration.kind}, fitted to {self.evidence['pixels']} held-out labelled pixels{change}"


@dataclass(frozen=True)
class _Square:
    """A square of a part that validates, and the number of the block it belongs to."""

    part: SitePart
    window: Window
    block: int


def calibrate(
    network: Network, card: ModelCard, parts: Sequence[SitePart], legend: Legend, kind: Kind, folder: Path, seed: int
) -> Calibrated:
    """Fit a calibration to the labels of validating blocks; what was fitted to the same weights before is used again.

    All kinds are fitted and judged, whichever is deployed, so that a user can choose. About four million pixels are
    mapped at most, in evenly chosen squares, and the outcome is kept: a training that is found done maps none again.

    Args:
        network: trained; its device is used.
        card: of the model that is to be saved.
        parts: of `split_sites`.
        legend: the project's.
        kind: of the calibration that is wanted.
        folder: of the training, which keeps `calibration.json`.
        seed: of the pixels that are kept.

    Raises:
        MapmendError: pixels or labels cannot be read, or the file cannot be written.
    """
    device = next(network.parameters()).device
    squares = _squares(parts, card.window, _MOST_SQUARES.get(device.type, 16))
    if not squares:
        return Calibrated(None, {"kind": None, "note": "no block is held out from training"})
    told = [part.describe() for part in parts]
    key = value_hash([_weights_hash(network), card.window, card.overlap, legend.to_dict(), told, seed, len(squares)])
    record = _read(folder / RECORD, key)
    if record is None:
        record = {"key": key, **_measured(network, card, squares, legend, seed)}
        replace_json(folder / RECORD, record)
    if not record["fitted"]:
        return Calibrated(None, {"kind": None, "note": record["note"]})
    calibration: Calibration | None = Calibration.from_dict(record["fitted"][kind], where=folder / RECORD)
    used, note = _choice(record["figures"], kind)
    if used == NONE:
        calibration = None
    bins = {"before": record["bins"][NONE], "after": record["bins"].get(used) if used != NONE else None}
    kept = ("against", "trust", "blocks", "folds", "pixels", "figures")
    evidence = {
        "kind": used,
        **{name: record[name] for name in kept},
        "bins": bins,
        "note": note,
        "three_state": record["three_state"].get(used, {}),
    }
    return Calibrated(calibration, evidence)


def _squares(parts: Sequence[SitePart], side: int, most: int) -> list[_Square]:
    """The validating blocks in squares, evenly chosen where they are many.

    A block is a fold's unit: a block of the split, or a whole site. Where there is but one, its squares are.
    """
    ids: dict[tuple[str, Window], int] = {}
    squares = []
    for part in parts:
        for block in part.blocks:
            number = ids.setdefault((part.site.name, block), len(ids))
            for row in range(block.row, block.row_end, side):
                for col in range(block.col, block.col_end, side):
                    window = Window(row, col, side, side).intersect(block)
                    assert window is not None
                    squares.append(_Square(part, window, number))
    if len(ids) == 1:
        squares = [_Square(one.part, one.window, number) for number, one in enumerate(squares)]
    return evenly(squares, min(most, max(1, _MOST_PIXELS // side**2)))


def _measured(
    network: Network, card: ModelCard, squares: Sequence[_Square], legend: Legend, seed: int
) -> dict[str, Any]:
    """All that is known of the probabilities on the squares, as plain values."""
    keep_large_blocks()
    predictor = TorchPredictor(
        network,
        legend,
        [Sensor.from_dict(sensor) for sensor in card.sensors.values()],
        Lattice(card.window, card.overlap),
        device=str(next(network.parameters()).device),
        batch=_BATCH,
    )
    most = max(_LEAST_KEPT, _MOST_NUMBERS // len(legend)) // len(squares) + 1
    probabilities, labels, blocks, trust = [], [], [], Counter[str]()
    for number, square in enumerate(squares):
        found = _labelled(predictor, square, legend, most, np.random.default_rng([seed, number]))
        if found is not None:
            probabilities.append(found[0])
            labels.append(found[1])
            blocks.append(np.full(len(found[1]), square.block))
            trust[square.part.site.trust] += len(found[1])
    if len(set(np.concatenate(labels).tolist() if labels else [])) < 2:
        return {"fitted": {}, "note": "the labels held out from training show fewer than two classes"}
    of_block, truth = np.concatenate(blocks), np.concatenate(labels)
    raw = np.concatenate(probabilities)
    fits = cross_fit(raw, truth, of_block)
    unseen: dict[str, np.ndarray] = {NONE: raw} | {str(kind): found for kind, found in fits.held_out.items()}
    return {
        "fitted": {kind: one.to_dict() for kind, one in fits.fitted.items()},
        "against": "held-out labels",
        "trust": dict(trust),
        "blocks": fits.blocks,
        "folds": fits.folds if fits.after else 0,
        "pixels": sum(map(len, labels)),
        "figures": {name: _figures(counts) for name, counts in _judged(fits).items()},
        "bins": {name: counts.top.tolist() for name, counts in _judged(fits).items()},
        "three_state": {
            kind: {
                name: {f"{risk:g}": one.to_dict() for risk, one in zip(RISKS, found, strict=True)}
                for name, found in zip(legend.names, three_states(held_out, truth, of_block, RISKS), strict=True)
            }
            for kind, held_out in unseen.items()
        },
    }


def _judged(fits: CrossFit) -> dict[str, CalibrationCounts]:
    return {NONE: fits.before} | {str(kind): counts for kind, counts in fits.after.items()}


def _figures(counts: CalibrationCounts) -> dict[str, float | None]:
    found = calibration_metrics(counts)
    return {"ece": found.ece_l1, "nll": found.nll, "brier": found.brier}


def _choice(figures: Mapping[str, Mapping[str, float]], kind: Kind) -> tuple[str, str]:
    """The kind that is used, which is none where the one that is wanted makes it no better; and what is to be said."""
    if kind not in figures:
        return kind, "There was one block only: nobody knows what the calibration is worth elsewhere."
    if figures[kind]["nll"] >= figures[NONE]["nll"]:
        return NONE, f"On blocks that it was not fitted to, {kind} was no better than none: it is not used."
    if figures[kind]["ece"] >= figures[NONE]["ece"]:
        said = "With it all classes' probabilities together come closer to the labels, the confidence alone does not."
        return kind, said
    return kind, ""


def _labelled(
    predictor: Predictor, square: _Square, legend: Legend, most: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray] | None:
    """Probabilities N×K and labels N of a square's labelled pixels, at most `most`; None if it has none."""
    site, window = square.part.site, square.window
    label = SiteReader(site, legend).label(window)
    if not (label != NODATA).any():
        return None
    scene = Scene(site.name, site.sources, site.grid, site.date)
    shares, valid = blended_probabilities(predictor, scene, window)
    known = np.flatnonzero((label != NODATA) & valid[0])
    if not known.size:
        return None
    if known.size > most:
        known = np.sort(rng.choice(known, most, replace=False))
    return shares.reshape(len(shares), -1)[:, known].T, label.ravel()[known]


def _weights_hash(network: Network) -> str:
    digest = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _read(path: Path, key: str) -> dict[str, Any] | None:
    """What an earlier session measured of the same weights on the same blocks; None if there is no such record."""
    try:
        record = json.loads(path.read_text())
        fitted = {name: Calibration.from_dict(plain) for name, plain in record["fitted"].items()}
        whole = record["key"] == key and ({"figures", "bins", "pixels", "three_state"} <= set(record) or not fitted)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ModelError):
        return None
    return record if whole else None
