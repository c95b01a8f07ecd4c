"""OMBRIA's flood masks made coarse, and mended: scored against the true masks of the same chips, and of other chips.

    python benchmarks/ombria_coarse.py --data DIR

A mask becomes the majority of squares of 16 or 32 pixels, which lie half a square beside where they say. At most 3
minutes a run on two cores; each run is done once and kept in `--work`. Nothing is
held out: the last step's state is mapped.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mapmend.bench.ground import project_ground
from mapmend.bench.noises import parse_noises
from mapmend.bench.planting import plant
from mapmend.bench.presets import PRESETS
from mapmend.core.manifest import format_manifest
from mapmend.data.scenes import read_scenes
from mapmend.maps import map_jobs
from mapmend.project import Project, load_project
from mapmend.reporting import Shown, score, scores_of
from mapmend.run import run
from mapmend.steps import PredictOptions, predict_step
from trials import Trials, machine, of_class, spread, table

EXAMPLE = Path(__file__).parents[1] / "examples" / "ombria.yaml"
METHODS = {
    "ce": "cross-entropy",
    "ce_ema": "cross-entropy, EMA",
    "proportions": "proportions, EMA",
    "ce_proportions": "cross-entropy + proportions, EMA",
    "beliefs": "beliefs, EMA",
    "c2fnet": "c2fnet, EMA",
}
STEPS = 200
BLOCKS = (16, 32)


def planted(project: Project, block: int, seed: int, folder: Path) -> Project:
    """The project whose training chips have coarse masks; its test chips have none, and are scored."""
    ground = project_ground(project, folder / "ground")
    [noise] = parse_noises([f"coarse:block={block}"])
    made = plant(ground, noise, seed, folder / f"coarse-{block}-{seed}").project
    scenes = [row for row in read_scenes(project.scenes, project.data) if row.split == "test"]
    references = read_scenes(project.reference, project.data, name="reference")
    for name, rows in (("scenes", scenes), ("references", references)):
        listed = read_scenes(f"{name}.csv", made.data)
        (made.data / f"all_{name}.csv").write_text(format_manifest([*listed, *rows]))
    train = {**ground.train, "steps": STEPS, "validation_share": 0, "ema_decay": 0.95}
    predict = {"window": 256, "overlap": 0}
    return replace(
        made, scenes="all_scenes.csv", reference="all_references.csv", steps={"train": train, "predict": predict}
    )


def trial(project: Project, method: str, folder: Path) -> Mapping[str, Any]:
    """One run: IoU of water, of the coarse mask and of the map on training chips, and of the map on test chips.

    The same model's map to which the coarse mask counts as well, `prior: label`, is scored on the training chips.
    """
    train = {**project.steps["train"], **PRESETS[method], "calibration": "none"}
    posed = replace(project, steps={**project.steps, "train": train})
    run(posed, folder)
    scores = scores_by_split(posed, folder)
    shutil.rmtree(folder / "map")
    with_label = replace(posed, steps={**posed.steps, "predict": {**posed.steps["predict"], "prior": "label"}})
    predict_step(with_label, folder, PredictOptions())
    scores["with_label"] = scores_by_split(with_label, folder)["map_train"]
    shutil.rmtree(folder)
    return scores


def scores_by_split(project: Project, folder: Path) -> dict[str, Any]:
    """IoU of water of label and map, on training and on test chips."""
    scores = {}
    for split in ("train", "test"):
        shown = [
            Shown(job.site, job.folder / "class.tif") for job in map_jobs(project, folder) if job.site.split == split
        ]
        found = scores_of(score(shown, project.legend))
        for kind in ("label", "map"):
            if found[kind] is not None:
                scores[f"{kind}_{split}"] = of_class(found[kind], "water")["iou"]
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds ombria/")
    parser.add_argument("--work", type=Path, default=Path("out/ombria_coarse"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--blocks", type=int, nargs="+", default=BLOCKS, help="sides of the squares, in pixels")
    options = parser.parse_args()
    trials, rows = Trials(options.work / "results.jsonl"), []
    project = load_project(EXAMPLE, options.data)
    for block in options.blocks:
        done: dict[str, list[dict[str, Any]]] = {method: [] for method in METHODS}
        for seed in options.seeds:
            posed = planted(project, block, seed, options.work)
            for method, runs in done.items():
                key = {"block": block, "method": method, "seed": seed}
                folder = options.work / f"{block}-{method}-{seed}"
                runs.append(trials.run(key, lambda m=method, f=folder, p=posed: trial(p, m, f)))
        rows.append(
            [f"{block}²", "the coarse mask itself", spread(one["label_train"] for one in done["ce"][:1]), "", ""]
        )
        for method, runs in done.items():
            scores = (spread(one[name] for one in runs) for name in ("map_train", "with_label", "map_test"))
            rows.append(["", METHODS[method], *scores])
    print(table(["squares", "", "flood IoU, training chips", "with the mask", "flood IoU, test chips"], rows))
    print(f"\n{len(options.seeds)} seeds; {machine()}")


if __name__ == "__main__":
    main()
