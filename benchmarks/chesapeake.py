"""NLCD mended to 1 m with plain cross-entropy, on the eight 256² patches of `chesapeake16`.

    python benchmarks/chesapeake.py --data DIR

About 3 minutes a run on two cores; each run is done once and kept in `--work`. The score is on the patches that were
trained on, whose 1 m reference is never trained on: label and map are judged by the same pixels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from trials import Trials, machine, run_project, spread, table

EXAMPLE = Path(__file__).parents[1] / "examples" / "chesapeake.yaml"
TABLES = {"nlcd": "literature's table", "nlcd_mixture": "arg-max of the mixture table"}
CLASSES = ("tree", "low vegetation", "water", "built")


def trial(label_legend: str, seed: int, data: Path, work: Path) -> dict[str, object]:
    """One project run: the label's scores and the map's."""
    plain = yaml.safe_load(EXAMPLE.read_text())
    plain["seed"] = seed
    plain["scenes"][0]["label_legend"] = label_legend
    accuracy = run_project(plain, work / f"{label_legend}-{seed}", data)
    return {kind: _scores(accuracy[kind]) for kind in ("label", "map")}


def _scores(metrics: dict) -> dict[str, float | None]:
    by_class = {one["name"]: one["iou"] for one in metrics["classes"]}
    return {"oa": metrics["oa"], **{name: by_class.get(name) for name in CLASSES}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds chesapeake16/")
    parser.add_argument("--work", type=Path, default=Path("out/chesapeake"))
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    trials = Trials(options.work / "results.jsonl")
    rows = []
    for label_legend, name in TABLES.items():
        done = [
            trials.run(
                {"label_legend": label_legend, "seed": seed},
                lambda legend=label_legend, seed=seed: trial(legend, seed, options.data, options.work),
            )
            for seed in range(options.seeds)
        ]
        for kind, title in (("label", f"NLCD, {name}"), ("map", f"map learned from it, {options.seeds} seeds")):
            runs = done[:1] if kind == "label" else done
            rows.append([title, *(spread(one[kind][score] for one in runs) for score in ("oa", *CLASSES))])
    print(table(["", "overall accuracy", *(f"IoU {name}" for name in CLASSES)], rows))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
