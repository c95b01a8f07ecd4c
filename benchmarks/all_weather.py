"""Floods on OMBRIA from radar, learned without a radar label; and what each part of the method brings.

    python benchmarks/all_weather.py --data DIR
    python benchmarks/all_weather.py --data DIR --only weighting alignment agreement loss views

120 training chips, those numbered below the median, are the labelled optical source; the other 120 are the target,
whose masks nobody sees but the part `upper`, the bound. The 70 test chips are scored once, by the last
step's running average. Students of one seed learn from one teacher's labels. A run takes some minutes on two cores, and
is done once and kept in `--work`.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import rasterio
import torch
import torch.nn.functional as F
from rasterio.enums import Resampling

from mapmend.raster.atomic import staged
from trials import MAPPED_AT_LAST, Trials, machine, of_class, over_seeds, run_project, spread, table

OPTICAL, RADAR = "optical", "radar"
FOLDERS = {OPTICAL: ("s2_before", "s2_after"), RADAR: ("s1_before", "s1_after")}  # both dates are one image
CARDS = {
    OPTICAL: {"card": "png", "bands": [f"{band}_{date}" for date in ("before", "after") for band in "rgb"]},
    RADAR: {"card": "png", "bands": ["vv_before", "vv_after"]},
}
COMMON: Mapping[str, Any] = {"decoder_widths": [128, 64, 32, 16, 16], "head_lr": 3, "crop": 128, **MAPPED_AT_LAST}
TEACHER: Mapping[str, Any] = {
    **COMMON,
    "name": "teacher",
    "method": "all_weather",
    "sensors": [OPTICAL],
    "batch": 8,
    "start": 0.6,
    "teacher_decay": 0.99,
    "weighting": "none",
}
ALONE: Mapping[str, Any] = {"start": 0.999}  # the target never teaches
PUBLISHED: Mapping[str, Any] = {"weighting": "image"}
LABELS: Mapping[str, Any] = {
    "name": "guesses",
    "from": "teacher",
    "shares": "estimated",
    "views": 4,
    "window": 256,
    "overlap": 0,
    "allow_empty": True,
}
STUDENT: Mapping[str, Any] = {**COMMON, "sensors": [RADAR], "batch": 8}
SCE: Mapping[str, Any] = {"robust": "sce", "sce_alpha": 1.0, "sce_beta": 0.5}
BEST: Mapping[str, Any] = {**SCE, "lovasz": 1.0}
LOSSES: Mapping[str, Mapping[str, Any]] = {
    "cross-entropy": {},
    "true symmetric, β .5": SCE,
    "generalised": {"robust": "gce"},
    "published (3·CE)": {"robust": "sce", "sce_alpha": 1.0, "sce_beta": 2.0, "published_variant": True},
}
WEIGHTINGS: Mapping[str, Mapping[str, Any]] = {
    "image-wise": PUBLISHED,
    "pixels above .9": {"weighting": "pixel", "threshold": 0.9},
    "none": {},
}
PREDICT = {"window": 256, "overlap": 0, "split": "test"}


def images(split: str, sensors: Sequence[str], root: str = "ombria") -> dict[str, str]:
    """Patterns of a split's chips by sensor."""
    return {name: ";".join(f"{root}/{split}/{date}/{{name}}.png" for date in FOLDERS[name]) for name in sensors}


def project(
    steps: Sequence[Any], seed: int, *, labelled_target: bool = False, source: str = "ombria"
) -> dict[str, Any]:
    """The chips, of which the source has no radar, and the target no label unless it is asked for."""
    mask = {"label": "ombria/train/mask/{name}.png", "label_legend": "mask255"}
    site = {"site": "train-{name}", "split": "train"}
    target = {**site, "first": "0361", "image": images("train", [OPTICAL, RADAR])}
    return {
        "name": "all-weather",
        "seed": seed,
        "legend": "water",
        "sensors": CARDS,
        "scenes": [
            {**site, **mask, "last": "0355", "image": images("train", [OPTICAL], source)},
            {**target, **(mask if labelled_target else {})},
            {"site": "test-{name}", "split": "test", "image": images("test", [OPTICAL, RADAR])},
        ],
        "reference": [{"site": "test-{name}", "label": "ombria/test/mask/{name}.png", "label_legend": "mask255"}],
        "steps": list(steps),
    }


def score(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Flood IoU and overall accuracy of a run's map."""
    return {"iou": of_class(metrics["map"], "water")["iou"], "oa": metrics["map"]["oa"]}


def noise(folder: Path, data: Path) -> dict[str, float]:
    """How the pseudo-labels of a run stand to the masks: flood IoU, and the share of labels that are right."""
    hits = union = right = labelled = 0
    for label in sorted(folder.glob("*/label.tif")):
        with rasterio.open(label) as file:
            ids = file.read(1)
        with rasterio.open(data / "ombria/train/mask" / f"{label.parent.name.removeprefix('train-')}.png") as file:
            truth = file.read(1) > 0
        known = ids != 255
        water = ids == 1
        hits += int((water & truth & known).sum())
        union += int(((water | truth) & known).sum())
        right += int(((water == truth) & known).sum())
        labelled += int(known.sum())
    return {"labels_iou": hits / max(union, 1), "labels_right": right / max(labelled, 1)}


def teacher(
    way: Mapping[str, Any], options: argparse.Namespace, seed: int, out: Path, shares: str = "estimated"
) -> dict[str, float]:
    """The teacher alone: its map of the test chips from optical images, and its labels."""
    copied(labelled(options, seed, way), ("model", "training", "pseudo"), out)
    return taught(project(row({**TEACHER, **way}, options, shares), seed), options, out, "prepared")


def coarse_source(way: Mapping[str, Any], options: argparse.Namespace, seed: int, out: Path) -> dict[str, float]:
    """The teacher of a source whose images are coarser than the target's: a quarter of their resolution."""
    root = options.work / "coarse"
    for date in FOLDERS[OPTICAL]:
        folder = root / "train" / date
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted((options.data / "ombria/train" / date).glob("*.png")):
            if not (folder / path.name).is_file():
                coarsened(path, folder / path.name)
    plain = project(row({**TEACHER, **way}, options), seed, source=str(root.absolute()))
    return taught(plain, options, out, "prepared-coarse")


def coarsened(path: Path, out: Path) -> None:
    """Write an image as a quarter of its resolution shows it, in its own size."""
    with rasterio.open(path) as file:
        shape, profile = file.shape, file.profile
        small = file.read(out_shape=(file.count, file.height // 4, file.width // 4), resampling=Resampling.average)
    maps = torch.from_numpy(small)[None].float()
    large = F.interpolate(maps, shape, mode="bilinear")[0].round().to(torch.uint8).numpy()
    with staged(out) as unfinished, rasterio.open(unfinished, "w", **profile) as file:
        file.write(large)


def row(train: Mapping[str, Any], options: argparse.Namespace, shares: str = "estimated") -> list[Any]:
    """Steps of a teacher alone."""
    steps = {"train": {**train, "steps": options.steps}}
    return [steps, {"pseudo": {**LABELS, "shares": shares}}, {"predict": PREDICT}, "report"]


def taught(plain: Mapping[str, Any], options: argparse.Namespace, out: Path, prepared: str) -> dict[str, float]:
    """Scores of a run's map, and of the labels that it made."""
    found = score(run_project(plain, out, options.data, prepared=options.work / prepared))
    return {**found, **noise(out / "run/pseudo/guesses", options.data)}


def copied(made: Path, parts: Sequence[str], out: Path) -> None:
    """What another run has made, as if this one had."""
    for part in parts:
        shutil.copytree(made / part, out / "run" / part, dirs_exist_ok=True)


def labelled(options: argparse.Namespace, seed: int, way: Mapping[str, Any] = MappingProxyType({})) -> Path:
    """A run that holds a teacher of a seed and its labels, made once."""
    named = "-".join(f"{name}-{value}" for name, value in {"labels": seed, **way, "steps": options.steps}.items())
    out = options.work / named
    if not (out / "run/pseudo/guesses/mapmend.json").is_file():
        steps = row({**TEACHER, **way}, options)[:2]
        run_project(project(steps, seed), out, options.data, scored=False, prepared=options.work / "prepared")
        for part in ("model", "training"):
            shutil.copytree(out / "run" / part, out / "run/steps/teacher" / part)
    return out / "run"


def student(
    way: Mapping[str, Any],
    options: argparse.Namespace,
    seed: int,
    out: Path,
    taught_by: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, float]:
    """A radar model that learns from a teacher's labels."""
    copied(labelled(options, seed, taught_by), ("steps", "pseudo"), out)
    steps = [
        *row({**TEACHER, **taught_by}, options)[:2],
        {"train": {**STUDENT, **way, "labels": "guesses", "steps": options.steps}},
        {"predict": PREDICT},
        "report",
    ]
    return score(run_project(project(steps, seed), out, options.data, prepared=options.work / "prepared"))


def agreed(options: argparse.Namespace, seed: int, out: Path) -> dict[str, float]:
    """A radar model that learns what two teachers, of different draws, agree on."""
    copied(labelled(options, seed), ("steps",), out)
    teachers = [TEACHER, {**TEACHER, "name": "second", "seed": 1000 + seed}]
    labels = {**LABELS, "from": ["teacher", "second"], "combine": "agreement"}
    steps = [
        *({"train": {**one, "steps": options.steps}} for one in teachers),
        {"pseudo": labels},
        {"train": {**STUDENT, **BEST, "labels": "guesses", "steps": options.steps}},
        {"predict": PREDICT},
        "report",
    ]
    return taught(project(steps, seed), options, out, "prepared")


def upper(options: argparse.Namespace, seed: int, out: Path) -> dict[str, float]:
    """A radar model that learns from the target's true masks."""
    steps = [{"train": {**STUDENT, "lovasz": 1.0, "steps": options.steps}}, {"predict": PREDICT}, "report"]
    plain = project(steps, seed, labelled_target=True)
    return score(run_project(plain, out, options.data, prepared=options.work / "prepared-labelled"))


def looks(views: int, options: argparse.Namespace, seed: int, out: Path) -> dict[str, float]:
    """The teacher with so many views."""
    copied(labelled(options, seed), ("model", "training"), out)
    steps = [{"train": {**TEACHER, "steps": options.steps}}, {"predict": {**PREDICT, "views": views}}, "report"]
    return score(run_project(project(steps, seed), out, options.data, prepared=options.work / "prepared"))


def either(optical_too: bool, options: argparse.Namespace, seed: int, out: Path) -> dict[str, float]:
    """A student of both sensors, mapped with the optical images or without them."""
    made = both(options, seed)
    copied(made, ("model",), out)
    plain = project([{"predict": PREDICT}, "report"], seed)
    if not optical_too:
        plain["scenes"][-1]["image"] = images("test", [RADAR])
    prepared = options.work / ("prepared" if optical_too else "prepared-radar")
    return score(run_project(plain, out, options.data, prepared=prepared))


def both(options: argparse.Namespace, seed: int) -> Path:
    """A run that holds the student of both sensors, made once."""
    out = options.work / f"both-{seed}-{options.steps}"
    if not (out / "run/model").is_dir():
        copied(labelled(options, seed), ("steps", "pseudo"), out)
        train = {**STUDENT, **BEST, "sensors": list(FOLDERS), "labels": "guesses", "modality_dropout": 0.5}
        steps = [*row(TEACHER, options)[:2], {"train": {**train, "steps": options.steps}}]
        run_project(project(steps, seed), out, options.data, scored=False, prepared=options.work / "prepared")
    return out / "run"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds ombria/")
    parser.add_argument("--work", type=Path, default=Path("out/all_weather"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=400)
    parts = ["upper", "teacher", "student", "either", "weighting", "alignment", "agreement", "loss", "views"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    trials = Trials(options.work / "results.jsonl")

    def rows(part: str, ways: Mapping[str, Any]) -> None:
        if part not in options.only:
            return
        found = []
        for name, trial in ways.items():
            key = {"part": part, "way": name, "steps": options.steps}
            done = over_seeds(trials, options.work, options.seeds, key, trial)
            more = [spread([one[k] for one in done]) for k in ("labels_iou", "labels_right") if k in done[0]]
            found.append([name, *(spread(one[k] for one in done) for k in ("iou", "oa")), *more])
        head = [part, "flood IoU", "overall accuracy"]
        head += ["labels' IoU", "labels right"] if "labels_iou" in done[0] else []
        print(table(head, found) + "\n", flush=True)

    rows("upper", {"(a) radar, true labels": partial(upper, options)})
    students = {
        "(b) radar, the teacher's labels": partial(student, BEST, options),
        "radar, labels of the labelled source alone": partial(student, BEST, options, taught_by=ALONE),
        "radar, labels by image-wise weights": partial(student, BEST, options, taught_by=PUBLISHED),
    }
    rows("student", students)
    teachers = {
        "(c) optical teacher": partial(teacher, {}, options),
        "labels by the source's class shares": partial(teacher, {}, options, shares="learned"),
        "the labelled source alone": partial(teacher, ALONE, options),
    }
    rows("teacher", teachers)
    tested = {"(d) optical and radar": True, "(d) the same, radar alone at test": False}
    rows("either", {name: partial(either, optical_too, options) for name, optical_too in tested.items()})
    rows("weighting", {name: partial(teacher, way, options) for name, way in WEIGHTINGS.items()})
    coarse = {"coarse source": {}, "coarse source, resolution aligned": {"alignment": 0.2}}
    rows("alignment", {name: partial(coarse_source, way, options) for name, way in coarse.items()})
    rows("agreement", {"labels that two teachers agree on": partial(agreed, options)})
    rows("loss", {name: partial(student, way, options) for name, way in LOSSES.items()})
    rows("views", {f"{number} views": partial(looks, number, options) for number in (1, 4, 24)})
    print(f"{len(options.seeds)} seeds, {options.steps} steps; {machine()}")


if __name__ == "__main__":
    main()
