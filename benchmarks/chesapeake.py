"""NLCD mended to 1 m on the 256² patches of `chesapeake16`, by every way to learn from it.

    python benchmarks/chesapeake.py --data DIR [--network lite0] [--ablations]

At most 3 minutes a run on two cores; each run is done once and kept in `--work`. Nothing but images and NLCD is
trained on, and no place is held out: the last step's running average is what is mapped. Label and map are scored on the
1 m reference of the same patches.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from mapmend.bench.presets import PRESETS
from trials import MAPPED_AT_LAST, Trials, machine, over_seeds, run_project, spread, table

EXAMPLE = Path(__file__).parents[1] / "examples" / "chesapeake.yaml"
CLASSES = ("tree", "low vegetation", "water", "built")
LABELS = {"nlcd": "NLCD, the literature's table", "nlcd_mixture": "NLCD, arg-max of the mixture table"}
COMMON: Mapping[str, Any] = {"crop": 128, "batch": 4, **MAPPED_AT_LAST}
NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "errb64": {"encoder": "errb64", "decoder": "concat", "weights": "none", "steps": 70, "lr": 2e-3},
    "lite0": {"weights": "lite0", "decoder_widths": [128, 64, 32, 16, 16], "steps": 200},
}
PRIOR = "prior"  # of a way: a setting of `predict`, the others are of `train`
WAYS: Mapping[str, Mapping[str, Any]] = {
    "cross-entropy, no running average": {"ema_decay": 0},
    "cross-entropy": {},
    "cross-entropy of mixtures": {"robust": "mixture"},
    "class proportions": {"ce": 0, "proportions": 1},
    "forward correction, from the mixtures": {"robust": "forward", "transition": "crosswalk"},
    "PLAT": PRESETS["plat"],
    "c2fnet as published": PRESETS["c2fnet_published"],
    "beliefs": PRESETS["beliefs"],
    "c2fnet": PRESETS["c2fnet"],
    "cross-entropy, and the label": {PRIOR: "label"},
    "beliefs, and the label": {**PRESETS["beliefs"], PRIOR: "label"},
    "c2fnet, and the label": {**PRESETS["c2fnet"], PRIOR: "label"},
}
ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "beliefs not blurred": {"blur": 0},
    "no edge branch": {"encoder": "rp64"},
    "linear head": {"head": "linear"},
    "selection: all": {"selection": "all"},
    "selection: p[label]": {"selection": "p_label"},
    "selection: hard diagonal": {"selection": "hard_diagonal"},
    "assignment: raw": {"assignment": "raw"},
    "assignment: p": {"assignment": "p"},
    "neighbours, not shuffled": {"shuffle": "neighbours"},
    "no agreement of views": {"self_supervised": 0},
    "with class proportions": {"proportions": 0.5},
}


def trial(train: Mapping[str, Any], label: str, data: Path, seed: int, out: Path) -> dict[str, Any]:
    """One project run: the label's scores and the map's."""
    plain = yaml.safe_load(EXAMPLE.read_text())
    plain["seed"] = seed
    plain["scenes"][0]["label_legend"] = label
    predict = {"window": 256, "overlap": 64, PRIOR: train.get(PRIOR, "none")}
    plain["steps"] = [{"train": {key: train[key] for key in train if key != PRIOR}}, {"predict": predict}, "report"]
    accuracy = run_project(plain, out, data)
    return {kind: _scores(accuracy[kind]) for kind in ("label", "map")}


def _scores(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    by_class = {one["name"]: one["iou"] for one in metrics["classes"]}
    return {"oa": metrics["oa"], **{name: by_class.get(name) for name in CLASSES}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds chesapeake16/")
    parser.add_argument("--work", type=Path, default=Path("out/chesapeake"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--network", choices=NETWORKS, default="errb64")
    parser.add_argument("--ablations", action="store_true", help="c2fnet's parts, one changed at a time")
    parser.add_argument("--only", nargs="+", metavar="WAY", help="rows of the table, by name")
    parser.add_argument("--steps", type=int, help="of training, where they are not the network's")
    options = parser.parse_args()
    ways = {name: {**PRESETS["c2fnet"], **change} for name, change in ABLATIONS.items()} if options.ablations else WAYS
    fits = (name for name, change in ways.items() if change.get("encoder") is None or options.network == "errb64")
    ways = {name: ways[name] for name in fits if not options.only or name in options.only}
    trials, rows, labels = Trials(options.work / "results.jsonl"), [], {}
    for name, change in ways.items():
        train = {**COMMON, **NETWORKS[options.network], **change}
        train["steps"] = options.steps or train["steps"]
        key = {"network": options.network, "way": name, "steps": train["steps"]}
        one_run = partial(trial, train, "nlcd_mixture", options.data)
        done = over_seeds(trials, options.work, options.seeds, key, one_run)
        labels = {"nlcd_mixture": done[0]["label"]}
        rows.append([name, *(spread(one["map"][score] for one in done) for score in ("oa", *CLASSES))])
    if not options.ablations:
        labels["nlcd"] = trials.run(
            {"way": "label", "table": "nlcd"},
            lambda: trial({**COMMON, "steps": 1}, "nlcd", options.data, 0, options.work / "label"),
        )["label"]
    for label, title in LABELS.items():
        if label in labels:
            rows.insert(0, [title, *(spread([labels[label][score]]) for score in ("oa", *CLASSES))])
    print(table(["", "overall accuracy", *(f"IoU {name}" for name in CLASSES)], rows))
    print(f"\n{options.network}; {len(options.seeds)} seeds; {machine()}")


if __name__ == "__main__":
    main()
