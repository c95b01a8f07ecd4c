"""The probabilities a map is made of: blended over all windows that see a pixel, not calibrated yet."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from mapmend.core.grid import Window
from mapmend.predict.blend import RowBlend
from mapmend.predict.blocks import batch_size
from mapmend.predict.pair import channels
from mapmend.predict.predictor import Predictor
from mapmend.predict.scene import Scene, SceneReader
from mapmend.predict.strips import RowOfWindows, read_batches


def blended_probabilities(
    predictor: Predictor, scene: Scene, window: Window
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Blended, uncalibrated class probabilities of a window of a scene: the same numbers as in a map of the whole.

    Args:
        predictor: gives the probabilities of single windows.
        scene: what is mapped.
        window: of the scene's grid, inside it; all of it is held in memory.

    Returns:
        C×H×W, over the classes of a date they sum to one, where C is K, or 2K for a pair, the earlier date first; and
        where each date has data, D×H×W. Elsewhere the probabilities mean nothing.

    Raises:
        MapmendError: pixels cannot be read, or the predictor fails.
    """
    lattice = predictor.lattice
    blend = RowBlend(window, scene.grid, lattice, len(predictor.legend), channels=channels(predictor))
    size = batch_size(scene.grid, lattice, predictor.batch)
    shares = np.zeros((channels(predictor), window.height, window.width), np.float32)
    wanted = np.zeros((scene.dates, window.height, window.width), bool)
    waiting: list[RowOfWindows] = []

    def finish_before(row: float) -> None:
        while waiting and waiting[0].number < row:
            done = waiting.pop(0)
            sums, total = blend.sums(done.number, done.window)
            here = done.window.shift(-window.row, -window.col).slices
            shares[:, *here] = (sums / total).cpu().numpy()
            wanted[:, *here] = done.wanted

    with torch.inference_mode():
        for item in read_batches(SceneReader(scene), window, scene.grid, lattice, size):
            if isinstance(item, RowOfWindows):
                waiting.append(item)
                continue
            probabilities = predictor.probabilities(item.pixels, item.valid)
            for place, one in zip(item.places, probabilities, strict=False):
                finish_before(place[0])
                blend.add(place, one)
        finish_before(np.inf)
    return shares, wanted
