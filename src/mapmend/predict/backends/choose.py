"""Which backend a job runs on; once it is chosen, the job keeps it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import numpy as np

from mapmend.core.errors import ModelError
from mapmend.predict.backends.openvino import OpenVinoPredictor, has_openvino
from mapmend.predict.predictor import Predictor, TorchPredictor

Backend = Literal["auto", "torch", "openvino"]

_TRIES = 3  # batches; the fastest counts, for machines are shared


def on_backend(predictor: Predictor, backend: Backend, jobs: Iterable[Path] = ()) -> Predictor:
    """A predictor on the backend that is asked for.

    With `auto` the job's own counts where a job has begun; else each that fits predicts a few batches, and the fastest
    is taken. Which it is belongs to the job's identity, because other backends round otherwise.

    Args:
        predictor: in PyTorch.
        backend: auto, torch or openvino.
        jobs: folders of the jobs to come; one that has begun says what `auto` means.

    Raises:
        ModelError: the backend is not installed, or it cannot run the model.
    """
    if backend == "torch":
        return predictor
    if not isinstance(predictor, TorchPredictor):
        if backend == "auto":
            return predictor
        raise ModelError("OpenVINO runs single models", fix="use --backend torch")
    if backend == "openvino":
        return OpenVinoPredictor(predictor)
    begun = next((name for folder in jobs if (name := _of_job(folder)) is not None), None)
    if begun is not None:
        return OpenVinoPredictor(predictor) if begun == "openvino" else predictor
    if not has_openvino():
        return predictor
    try:
        candidates: tuple[Predictor, ...] = (predictor, OpenVinoPredictor(predictor))
        return min(candidates, key=_seconds)
    except ModelError:
        return predictor


def _of_job(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / "job.json").read_text())["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _seconds(predictor: Predictor) -> float:
    """That a batch takes, of pixels that are noise."""
    side, bands = predictor.lattice.size, sum(len(card.bands) for card in predictor.sensors)
    pixels = np.random.default_rng(0).integers(0, 255, (predictor.batch, bands, side, side)).astype(np.uint8)
    valid = np.ones((predictor.batch, 1 if len(predictor.sensors) == 1 else bands, side, side), bool)
    predictor.probabilities(pixels, valid)
    taken = []
    for _ in range(_TRIES):
        start = time.perf_counter()
        predictor.probabilities(pixels, valid)
        taken.append(time.perf_counter() - start)
    return min(taken)
