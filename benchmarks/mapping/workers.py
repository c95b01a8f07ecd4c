"""Mapping: how much faster two workers of a Ray cluster on this machine are than one, each with one thread.

    python benchmarks/mapping/workers.py [--work DIR] [--rounds N]

A generated scene of 8192² pixels in sixteen blocks, U-Net on EfficientNet-B0 in bfloat16. Only steady blocks are
timed: those that end after each worker's first one and before the last round, so that neither the cluster's start nor
the wait for the slowest counts. Both numbers of workers take turns; give it a machine on which nothing else runs.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from mapmend.core.preemption import Watch
from mapmend.predict.blocks import Block
from mapmend.predict.executors.ray import Ray
from mapmend.predict.job import predict_scene
from mapmend.predict.ledger import Ledger
from mapmend.predict.plan import Job
from mapmend.predict.progress import MappingProgress

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from efficiency import RUNS, make_predictor, make_scene

from trials import machine, table

SIDE, BLOCK, RUN = 8192, 2048, RUNS["efficientnet-bf16"]
WORKERS = (1, 2)


class Clock(MappingProgress):
    """A progress line that nobody sees, and that notes when each block was done."""

    def __init__(self) -> None:
        super().__init__("", 0, shown=False)
        self.ends: list[float] = []

    def advance(self, pixels: int) -> None:
        """Another block."""
        super().advance(pixels)
        self.ends.append(time.perf_counter())


def blocks_a_minute(workers: int, folder: Path) -> float:
    """Steady blocks a minute of a job with so many workers."""
    clock, out = Clock(), folder / "map"

    def timed(job: Job, ledger: Ledger, blocks: Sequence[Block], watch: Watch, bar: MappingProgress) -> None:
        Ray(workers=workers)(job, ledger, blocks, watch, clock)

    shutil.rmtree(out, ignore_errors=True)
    predict_scene(make_predictor(RUN), make_scene(folder, SIDE), out, block=BLOCK, progress=False, executor=timed)
    shutil.rmtree(out)
    steady = clock.ends[workers - 1 : len(clock.ends) - workers]
    return 60 * (len(steady) - 1) / (steady[-1] - steady[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("out/mapping"))
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    rows = []
    for number in range(options.rounds):
        found = {workers: blocks_a_minute(workers, options.work) for workers in WORKERS}
        rows.append([str(number + 1), *(f"{found[one]:.2f}" for one in WORKERS), f"{found[2] / found[1]:.2f}"])
        print(rows[-1], file=sys.stderr, flush=True)
    print(table(["round", *(f"blocks a minute, {one}" for one in WORKERS), "times as fast"], rows))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
