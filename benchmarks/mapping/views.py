"""Pseudo-labels: what many views of a window cost beside as many labellings with a single view.

    python benchmarks/mapping/views.py [--work DIR] [--turns N]

A generated scene of 1024² pixels, U-Net on EfficientNet-B0 in bfloat16, one thread, processor seconds of all of
`pseudo` but loading the model: mapping, blending, thresholds, labels. Six of the 24 views' sizes have between a quarter
and three times the pixels of a window, so that 24 views are compared with 24 labellings of one view each, *of the same
sizes*; the plain multiple of one view at the window's own size stands beside it. Some ten minutes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from mapmend.nn.allocator import keep_large_blocks
from mapmend.predict.augmented import Augmented, Views, views_of
from mapmend.predict.predictor import Predictor
from mapmend.pseudo.job import label_places
from mapmend.pseudo.places import Place
from mapmend.pseudo.settings import PseudoSettings

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from efficiency import RUNS, make_predictor, make_scene

from trials import machine, spread, table

SIDE, RUN = 1024, RUNS["efficientnet-bf16"]


class Scaled(Augmented):
    """A single view, of another size than the window."""

    def __init__(self, member: Predictor, scale: float) -> None:
        super().__init__(member, 1)
        self._scale, self._views = scale, ((scale, views_of(1)[0][1]),)
        self.identity = {**self.identity, "scale": scale}

    def over(self, members: Sequence[Predictor]) -> Scaled:
        """As in `Combined`."""
        return Scaled(members[0], self._scale)


def seconds(predictor: Predictor, folder: Path) -> float:
    """Processor seconds of labelling the scene."""
    place, out = Place("scene", make_scene(folder, SIDE), ()), folder / "labels"
    shutil.rmtree(out, ignore_errors=True)
    began = time.process_time()
    label_places([predictor], [place], out, PseudoSettings(allow_empty=True), progress=False)
    return time.process_time() - began


def turn(views: Views, plain: Predictor, folder: Path) -> tuple[float, float]:
    """How much longer these views take than one view at each of their sizes, and than one view at the window's."""
    whole = seconds(Augmented(plain, views), folder)
    scales = views_of(views)
    single = {scale: seconds(Scaled(plain, scale) if scale != 1 else plain, folder) for scale, _ in scales}
    return whole / sum(len(looks) * single[scale] for scale, looks in scales), whole / (views * single[1.0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("out/views"))
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    keep_large_blocks()
    plain = make_predictor(RUN)
    seconds(plain, options.work)  # not counted
    numbers: tuple[Views, ...] = (4, 8, 24)
    rows = []
    for views in numbers:
        found = [turn(views, plain, options.work) for _ in range(options.turns)]
        rows.append([str(views), *(spread(one[k] for one in found) for k in (0, 1))])
    head = ["views", "% of as many of one view, of the same sizes", "% of as many of the window's own size"]
    print(table(head, rows))
    print(f"\n{options.turns} turns; {machine()}")


if __name__ == "__main__":
    main()
