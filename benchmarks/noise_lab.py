"""The noise lab: which method stands which noise, on generated landscapes and on OMBRIA's flood masks.

    python benchmarks/noise_lab.py [--data DIR]

About a minute a run on one core for the landscapes (105 runs), 3 minutes on two for OMBRIA (28 runs, with `--data`);
each run is done once and kept in `--work`. A method sees noisy labels alone, and is scored on the same places against
the right ones; `+label` is mapped with `prior: label`. OMBRIA has masks of one date, so that none can be outdated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from mapmend.bench.noise import bench_noise
from mapmend.bench.noises import NOISES
from mapmend.bench.page import show
from mapmend.project import load_project
from trials import machine

OMBRIA = Path(__file__).parents[1] / "examples" / "ombria.yaml"
METHODS = ("ce", "ce_ema", "beliefs", "c2fnet", "ce_ema+label", "beliefs+label", "c2fnet+label")
CHIPS, STEPS = 60, 250  # of OMBRIA


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds ombria/; without it landscapes alone")
    parser.add_argument("--work", type=Path, default=Path("out/noise_lab"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the landscapes; OMBRIA has one")
    parser.add_argument("--methods", default=",".join(METHODS))
    options = parser.parse_args()
    methods, paper = options.methods.split(","), Console(width=120)
    show(bench_noise(options.work / "landscape", methods=methods, seeds=options.seeds).lines, paper)
    if options.data is not None:
        project = load_project(OMBRIA, options.data)
        noises = [noise for noise in NOISES if noise != "outdated"]
        found = bench_noise(
            options.work / "ombria", project, noises=noises, methods=methods, seeds=[0], steps=STEPS, sites=CHIPS
        )
        show(found.lines, paper)
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
