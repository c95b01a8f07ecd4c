"""Semantic change on generated landscapes: ClearSCD with each part off, its peers, and a tenth of the labels.

    python benchmarks/semantic_change.py [--seeds 0 1 2]

Twenty landscapes of 256 m at two dates are learned from, with their true classes; twenty others, which no model has
seen, are scored by what the step `change` leaves: maps of both dates that are consistent with the change.
Post-classification is a model of single dates whose two maps are compared. With a tenth of the pairs labelled, the
others are seen without labels by `clearscd_semi` alone. The last step's running average is mapped. About 3 minutes a
run on two cores; each run is done once and kept in `--work`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from mapmend.core.legend import load_legend
from mapmend.core.manifest import Row, format_manifest
from mapmend.data.landscape import write_landscape
from mapmend.data.scenes import read_scenes
from mapmend.scoring.images import ScoreInputs
from mapmend.scoring.job import score
from trials import PAIRS, Trials, machine, over_seeds, run_project, spread, table

SIDE, LEARNED, SCORED = 256, 20, 20
TRAIN: Mapping[str, Any] = {**PAIRS, "decoder": "fpn", "decoder_widths": [64, 128], "crop": 128, "lr": 0.002}
CLEARSCD = {"method": "clearscd", "fill": 0.1}
WAYS: Mapping[str, Mapping[str, Any]] = {
    "post-classification": {"method": "supervised"},
    "siamese FPN, two heads": {"method": "supervised_pair"},
    "clearscd": CLEARSCD,
    "clearscd, no local contrast": {**CLEARSCD, "local": 0},
    "clearscd, no memory": {**CLEARSCD, "memory": 0},
    "clearscd, no BSCC": {**CLEARSCD, "bscc": 0},
    "clearscd, CVAPS of logits": {**CLEARSCD, "cvaps_space": "logit"},
    "10 %: siamese FPN, two heads": {"method": "supervised_pair", "labelled_share": 0.1},
    "10 %: clearscd": {**CLEARSCD, "labelled_share": 0.1},
    "10 %: clearscd_semi": {**CLEARSCD, "method": "clearscd_semi", "labelled_share": 0.1},
}
FIGURES = ("sek_pooled", "sek_fromto", "fscd_pooled", "fscd_fromto", "miou_sc", "iou_c_fromto")


def landscapes(folder: Path) -> Path:
    """The manifest of all places, true classes at both dates of those that are learned from."""
    rows: list[Row] = []
    for number in range(LEARNED + SCORED):
        place = folder / f"place-{number}"
        if not (place / "refs.csv").is_file():
            write_landscape(place, SIDE, 1000 + number)
        truths = {row.date: row.label for row in read_scenes(str(place / "refs.csv"), place, name="references")}
        learned = number < LEARNED
        for row in read_scenes(str(place / "scenes.csv"), place):
            if row.sensor == "optical":
                label = truths[row.date] if learned else None
                given = {
                    "label": label,
                    "label_gsd": None,
                    "trust": "reference",
                    "split": "train" if learned else "test",
                }
                rows.append(replace(row, **given))
    (folder / "scenes.csv").write_text(format_manifest(rows))
    return folder / "scenes.csv"


def trial(way: Mapping[str, Any], steps: int, work: Path, seed: int, out: Path) -> dict[str, Any]:
    """One run: figures of semantic change over the places that were not learned from."""
    ground = work / "ground"
    plain = {
        "name": "semantic-change",
        "seed": seed,
        "legend": "landscape",
        "sensors": {"optical": "naip"},
        "scenes": str(landscapes(ground).absolute()),
        "steps": [
            {"train": {**TRAIN, "steps": steps, **way}},
            {"predict": {"window": 256, "overlap": 0, "split": "test", "dates": "pair"}},
            {"change": {"threshold": 0 if way["method"] == "supervised" else 0.5}},
        ],
    }
    run_project(plain, out, ground, scored=False, prepared=work / "prepared")
    folders = {name: out / "scored" / name for name in ("before", "after", "truth_before", "truth_after")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(LEARNED, LEARNED + SCORED):
        place, site = ground / f"place-{number}", f"landscape-{1000 + number}"
        truths = sorted(place.glob("truth_*.tif"))
        maps = [out / "run" / "change" / site / f"{name}.tif" for name in ("before", "after")]
        for name, file in zip(folders, (*maps, *truths), strict=True):
            link = folders[name] / f"{site}.tif"
            link.unlink(missing_ok=True)
            link.symlink_to(file.absolute())
    inputs = ScoreInputs(folders["after"], folders["truth_after"], folders["before"], folders["truth_before"])
    found = score(inputs, load_legend("landscape"), ring=0)
    assert found.semantic is not None
    return {name: getattr(found.semantic, name) for name in FIGURES}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("out/semantic_change"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    trials, rows = Trials(options.work / "results.jsonl"), []
    for name in options.only:
        one_run = partial(trial, WAYS[name], options.steps, options.work)
        done = over_seeds(trials, options.work, options.seeds, {"way": name, "steps": options.steps}, one_run)
        rows.append([name, *(spread(one[figure] for one in done) for figure in FIGURES)])
    head = ("SeK, pooled", "SeK, from-to", "Fscd, pooled", "Fscd, from-to", "mIoU_sc", "IoU of change")
    print(table(["", *head], rows))
    print(f"\n{len(options.seeds)} seeds; {machine()}")


if __name__ == "__main__":
    main()
