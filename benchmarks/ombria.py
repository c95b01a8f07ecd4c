"""Floods on OMBRIA from optical or radar images before and after, from ImageNet weights or random ones.

    python benchmarks/ombria.py --data DIR

About 3 minutes a run on two cores; each run is done once and kept in `--work`. The model is chosen on a fifth of the
training chips; the 70 test chips are scored once.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from trials import Trials, machine, of_class, run_project, spread, table

EXAMPLE = Path(__file__).parents[1] / "examples" / "ombria.yaml"
INPUTS = {"optical": ("s2", ["red", "green", "blue"]), "radar": ("s1", ["backscatter"])}
WEIGHTS = {"lite0": "ImageNet", "none": "random"}


def trial(kind: str, weights: str, seed: int, data: Path, work: Path) -> dict[str, object]:
    """One project run: the test chips' scores."""
    folder, bands = INPUTS[kind]
    text = EXAMPLE.read_text().replace("s2_", f"{folder}_")
    plain = yaml.safe_load(text)
    plain["seed"] = seed
    plain["sensors"] = {name: {"card": "png", "bands": bands} for name in plain["sensors"]}
    plain["steps"][0]["train"]["weights"] = weights
    metrics = run_project(plain, work / f"{kind}-{weights}-{seed}", data)["map"]
    water = of_class(metrics, "water")
    return {"oa": metrics["oa"], "iou": water["iou"], "f1": water["f1"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds ombria/")
    parser.add_argument("--work", type=Path, default=Path("out/ombria"))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    trials = Trials(options.work / "results.jsonl")
    rows = []
    for kind in INPUTS:
        for weights, name in WEIGHTS.items():
            done = [
                trials.run(
                    {"input": kind, "weights": weights, "seed": seed},
                    lambda k=kind, w=weights, s=seed: trial(k, w, s, options.data, options.work),
                )
                for seed in range(options.seeds)
            ]
            rows.append([kind, name, *(spread(one[score] for one in done) for score in ("iou", "f1", "oa"))])
    print(table(["images", "weights", "flood IoU", "flood F1", "overall accuracy"], rows))
    print(f"\n{options.seeds} seeds; {machine()}")


if __name__ == "__main__":
    main()
