"""New buildings in pairs of photographs (LEVIR-CD), from thirteen crops of 256² and fewer.

    python benchmarks/levir.py --data DIR [--seeds 0 1 2]

Learned from crops, scored on three whole test images of 1024². Two crops that lie inside one of these are left out;
five others are of further test images of LEVIR, so that figures compare with nobody's. ImageNet weights, the last
step's running average. It is little data: what counts is the spread. At most 3 minutes a run on two cores; each run is
done once and kept in `--work`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from trials import PAIRS, Trials, machine, of_class, over_seeds, run_project, spread, table

TRAIN: Mapping[str, Any] = {**PAIRS, "decoder_widths": [128, 64, 32, 16, 16], "head_lr": 3, "crop": 256}
SUPERVISED = {"method": "supervised_pair", "change": "only", "dice": 1}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "supervised": SUPERVISED,
    "supervised, not enlarged": {**SUPERVISED, "scale": [1, 1]},
    "supervised without Dice": {**SUPERVISED, "dice": 0},
    "supervised, a third labelled": {**SUPERVISED, "labelled_share": 0.34},
    "unimatch, a third labelled": {"method": "unimatch", "dice": 1, "labelled_share": 0.34},
}


def scenes() -> list[dict[str, Any]]:
    """Crops that are learned from, and whole images that are scored, at both dates."""
    rows: list[dict[str, Any]] = []
    for kind in ("train", "val", "saras", *(f"test_{number}" for number in (7, 55, 77, 102, 121))):
        for date, folder in (("t1", "A"), ("t2", "B")):
            image = f"levir_crops/{folder}/{kind}_{{name}}.png"
            rows.append({"site": f"{kind}_{{name}}", "date": date, "image": image, "split": "train"})
        rows[-1]["change"] = f"levir_crops/label/{kind}_{{name}}.png"
    for date, folder in (("t1", "A"), ("t2", "B")):
        rows.append({"site": "{name}", "date": date, "image": f"levir_full/{folder}/{{name}}.png", "split": "test"})
    return rows


def trial(way: Mapping[str, Any], steps: int, data: Path, work: Path, seed: int, out: Path) -> dict[str, Any]:
    """One run: IoU and F1 of change on the test images."""
    plain = {
        "name": "levir",
        "seed": seed,
        "legend": "change",
        "sensors": {"rgb": "png"},
        "scenes": scenes(),
        "reference": [{"label": {"changed": "levir_full/label/{name}.png"}, "label_rest": "unchanged"}],
        "steps": [
            {"train": {**TRAIN, **way, "steps": steps}},
            {"predict": {"window": 512, "overlap": 128, "split": "test"}},
            "report",
        ],
    }
    metrics = run_project(plain, out, data, prepared=work / "prepared")["map"]
    changed = of_class(metrics, "changed")
    return {"iou": changed["iou"], "f1": changed["f1"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds levir_crops/ and levir_full/")
    parser.add_argument("--work", type=Path, default=Path("out/levir"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, default=150)
    options = parser.parse_args()
    trials, rows = Trials(options.work / "results.jsonl"), []
    for name in options.only:
        one_run = partial(trial, WAYS[name], options.steps, options.data, options.work)
        done = over_seeds(trials, options.work, options.seeds, {"way": name, "steps": options.steps}, one_run)
        rows.append([name, spread(one["iou"] for one in done), spread(one["f1"] for one in done)])
    print(table(["", "IoU of change", "F1"], rows))
    print(f"\n{len(options.seeds)} seeds; {machine()}")


if __name__ == "__main__":
    main()
