"""How many windows go to the device at once: settled when a job begins, for it belongs to the job's identity."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mapmend.core.errors import ModelError
from mapmend.predict.blocks import batch_size
from mapmend.predict.ledger import JOB, read_plain
from mapmend.predict.plan import Job
from mapmend.predict.scene import SceneReader

HALVED = "batch_asked"  # in a job's identity, beside the batch that fits


def settle_batch(job: Job, folder: Path) -> dict[str, object]:
    """Halve a predictor's batch until it fits into the device's memory, or as the job has it that has begun.

    Bytes depend on the number of windows in a batch, so it does not change any more once a block is done. On a
    processor nothing is tried: there memory that is out ends the process, and no error says so.

    Args:
        job: whose predictor's batch is set.
        folder: of the job.

    Returns:
        What goes into the job's identity besides.

    Raises:
        ModelError: not even one window fits.
    """
    predictor, scene = job.predictor, job.scene
    asked = batch_size(scene.grid, predictor.lattice, predictor.batch)
    if (folder / JOB).is_file():
        found = read_plain(folder / JOB)
        if found.get(HALVED) == asked:
            predictor.batch = int(found["batch"])
            return {HALVED: asked}
        return {}
    if predictor.identity.get("device") != "cuda":
        return {}
    reader, side = SceneReader(scene), predictor.lattice.size
    batch = asked
    while True:
        shape = (batch, sum(reader.counts), side, side)
        valid = np.ones(shape if len(reader.counts) > 1 else (batch, 1, side, side), bool)
        try:
            predictor.probabilities(np.zeros(shape, reader.dtype), valid)
            break
        except torch.OutOfMemoryError:
            if batch == 1:
                raise ModelError(
                    f"memory is out with a single window of {side} pixels", fix="choose a smaller --window"
                ) from None
            batch //= 2
    predictor.batch = batch
    return {HALVED: asked} if batch < asked else {}
