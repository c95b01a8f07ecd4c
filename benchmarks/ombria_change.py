"""Floods as change, from a few labelled pairs: OMBRIA's Sentinel-1 and Sentinel-2 before and after.

    python benchmarks/ombria_change.py --data DIR [--seeds 0 1 2] [--shares 0.05 0.1 0.4] [--more]

Of 240 training pairs a share keeps its masks; the others are unlabelled. The seed draws which, and a smaller share is
part of a larger one. The 70 test pairs are scored once, by the last step's running average. c2f2's Φ is a water model
of single dates, trained on the labelled pairs' Sentinel-2 alone: it sees no mask that its student does not see. With
`--more`, at 10 % and one seed: Φ as ImageNet's features, and single sensors. About 3 minutes a run on two cores; each
run is done once and kept in `--work`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from trials import PAIRS, Trials, machine, of_class, over_seeds, run_project, spread, table

SENSORS = {"s1": {"card": "png", "bands": ["vv"]}, "s2": {"card": "png", "bands": ["red", "green", "blue"]}}
TRAIN: Mapping[str, Any] = {**PAIRS, "decoder_widths": [128, 64, 32, 16, 16], "head_lr": 3, "crop": 128}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "supervised": {"method": "supervised_pair", "change": "only"},
    "fpa": {"method": "fpa"},
    "unimatch": {"method": "unimatch"},
    "c2f2": {"method": "c2f2"},
}
IMAGENET, ONLY = "c2f2, Φ of ImageNet", "c2f2, {} alone"


def pairs(split: str, sensors: Sequence[str], *, labelled: bool) -> list[dict[str, Any]]:
    """Scenes of a split at both dates."""
    rows: list[dict[str, Any]] = []
    for date, when in (("t1", "before"), ("t2", "after")):
        images = {sensor: f"ombria/{split}/{sensor}_{when}/{{name}}.png" for sensor in sensors}
        rows.append({"site": f"{split}-{{name}}", "date": date, "image": images, "split": split})
    if labelled:
        rows[1] |= {"change": f"ombria/{split}/mask/{{name}}.png"}
    return rows


def project(train: Mapping[str, Any], seed: int, sensors: Sequence[str]) -> dict[str, Any]:
    """Of the pairs, scored on the test split."""
    reference = {"site": "test-{name}", "label": "ombria/test/mask/{name}.png", "label_legend": "mask255"}
    return {
        "name": "ombria-change",
        "seed": seed,
        "legend": "change",
        "sensors": {name: SENSORS[name] for name in sensors},
        "scenes": pairs("train", sensors, labelled=True) + pairs("test", sensors, labelled=False),
        "reference": [reference],
        "steps": [{"train": dict(train)}, {"predict": {"window": 256, "overlap": 0, "split": "test"}}, "report"],
    }


def water_model(share: float, seed: int, steps: int, data: Path, out: Path) -> Path:
    """Φ: water in a Sentinel-2 image of one date, from the masks of the labelled pairs."""
    model = out / "run" / "model"
    if not model.is_dir():
        image = {"s2": "ombria/train/s2_after/{name}.png"}
        scene = {"site": "train-{name}", "image": image, "label": "ombria/train/mask/{name}.png", "split": "train"}
        plain = {
            "name": "water",
            "seed": seed,
            "legend": "water",
            "sensors": {"s2": SENSORS["s2"]},
            "scenes": [{**scene, "label_legend": "mask255"}],
            "steps": [{"train": {**TRAIN, "labelled_share": share, "steps": steps}}],
        }
        run_project(plain, out, data, scored=False)
    return model


def trial(
    way: Mapping[str, Any], share: float, sensors: Sequence[str], options: argparse.Namespace, seed: int, out: Path
) -> dict[str, Any]:
    """One run: scores of the change on the test pairs."""
    train = {**TRAIN, **way, "labelled_share": share, "steps": options.steps}
    if train["method"] == "c2f2" and "phi" not in train and "s2" in sensors:
        phi = options.work / f"water-{share}-{seed}-{options.steps}"
        train["phi"] = str(water_model(share, seed, options.steps, options.data, phi).absolute())
    shared = options.work / f"prepared-{'-'.join(sensors)}"
    metrics = run_project(project(train, seed, sensors), out, options.data, prepared=shared)["map"]
    changed = of_class(metrics, "changed")
    return {"iou": changed["iou"], "f1": changed["f1"], "oa": metrics["oa"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds ombria/")
    parser.add_argument("--work", type=Path, default=Path("out/ombria_change"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.1, 0.4])
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, default=250)
    parser.add_argument("--more", action="store_true", help="other Φ and single sensors, at 10 %% and the first seed")
    options = parser.parse_args()
    trials = Trials(options.work / "results.jsonl")

    def iou(name: str, way: Mapping[str, Any], share: float, sensors: Sequence[str], seeds: Sequence[int]) -> str:
        key = {"way": name, "share": share, "steps": options.steps}
        done = over_seeds(trials, options.work, seeds, key, partial(trial, way, share, sensors, options))
        return spread(one["iou"] for one in done)

    rows = [
        [name, *(iou(name, WAYS[name], share, tuple(SENSORS), options.seeds) for share in options.shares)]
        for name in options.only
    ]
    print(table(["flood IoU", *(f"{100 * share:g} % labelled" for share in options.shares)], rows))
    if options.more:
        ways = [(IMAGENET, {"method": "c2f2", "phi": ""}, tuple(SENSORS))]
        ways += [(ONLY.format(sensor), WAYS["c2f2"], (sensor,)) for sensor in SENSORS]
        more = [[name, iou(name, way, 0.1, sensors, options.seeds[:1])] for name, way, sensors in ways]
        print("\n" + table(["10 %, one seed", "flood IoU"], more))
    print(f"\n{len(options.seeds)} seeds; {machine()}")


if __name__ == "__main__":
    main()
