"""How well `audit` finds errors that were planted into labels that are right, and how honest its counts are.

    python benchmarks/audit.py [--data DIR] [--seeds 0 1 2] [--side 768] [--steps 300]

Labels are the truth of generated landscapes, and with `--data` (a folder that holds ombria/) the flood masks of 60 of
OMBRIA's training chips, with noise of the lab: swapped objects (20 %), missing ones (30 % of the smaller classes),
all shifted by 2 or 3 pixels, or coarse (blocks of 10 pixels, half a block off). A part is wrong where most of its
pixels were changed. AUROC is over all parts of at least nine pixels, precision is that of the first 100 objects of the
list; the budget's expected errors stand beside those found. Label and mended label are scored by mIoU. Each run is
done once and kept in `--work`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml
from scipy.stats import rankdata

from mapmend.audit.examining import Examined, examine
from mapmend.audit.folds import cross_fit
from mapmend.audit.measuring import parts_of
from mapmend.audit.mending import choices_of, mended
from mapmend.audit.settings import AuditSettings
from mapmend.core.grid import Grid, full_window, make_grid
from mapmend.core.legend import NODATA, Legend, load_legend
from mapmend.data.landscape.generation import OPTICAL_BANDS, generate
from mapmend.data.noise import inject, make_injector
from mapmend.data.sites import load_prepared
from mapmend.maps import PREPARED
from mapmend.project import load_project
from mapmend.raster.writing import TiledWriter
from mapmend.steps import prepare_step
from trials import Trials, machine, spread, table

NOISES: dict[str, tuple[str, dict[str, Any]] | None] = {
    "swap": ("swap", {"rate": 0.2}),
    "missing": ("missing", {"rate": 0.3}),
    "shift": ("shift", {"least": 2, "most": 3}),
    "coarse": ("coarse", {"block": 10}),
    "none": None,
}
BUDGETS = (50, 100, 200)
CHIPS = 60
TRAIN = {
    "encoder": "tf_efficientnet_lite0",
    "decoder": "unet",
    "decoder_widths": [128, 64, 32, 16, 16],
    "weights": "lite0",
    "crop": 128,
    "batch": 4,
    "lr": 0.002,
    "ema_decay": 0.95,
    "checkpoint_every": 100,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder that holds ombria/; without it, landscapes alone")
    parser.add_argument("--work", type=Path, default=Path("out/audit"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--side", type=int, default=768, help="of a landscape, in pixels")
    parser.add_argument("--steps", type=int, default=300, help="of each fold's training")
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--noises", nargs="+", choices=list(NOISES), default=list(NOISES))
    options = parser.parse_args()
    trials = Trials(options.work / "results.jsonl")
    rows = []
    for place in ("landscape", *(["ombria"] if options.data else [])):
        for noise in options.noises:
            done = [
                trials.run(
                    {"place": place, "noise": noise, "seed": seed, "side": options.side, "steps": options.steps},
                    lambda p=place, n=noise, s=seed: trial(p, n, s, options),
                )
                for seed in options.seeds
            ]
            budget = "; ".join(
                f"{looks}: {np.mean([one['expected'][str(looks)] for one in done]):.0f} / "
                f"{np.mean([one['found'][str(looks)] for one in done]):.0f}"
                for looks in BUDGETS
                if all(str(looks) in one["expected"] for one in done)
            )
            told = ", ".join(dict.fromkeys(one["kind"] for one in done))
            scores = (spread(one[name] for one in done) for name in ("auroc", "precision", "matrix", "label", "mended"))
            rows.append([place, noise, *scores, budget or "–", told])
    head = [
        "labels",
        "planted",
        "AUROC",
        "precision of 100",
        "matrix: largest error",
        "label",
        "mended",
        "expected / found",
        "diagnosis",
    ]
    print(table(head, rows))
    print(f"\n{len(options.seeds)} seeds; per cent; {machine()}")


def trial(place: str, noise: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One audit of a label with planted errors, and how it compares with them."""
    folder = options.work / f"{place}-{noise}-{seed}-{options.side}-{options.steps}"
    make = landscape if place == "landscape" else ombria
    plain, truths, noisy, legend = make(folder, noise, seed, options)
    plain["steps"] = [{"train": {**TRAIN, "steps": options.steps, "validate_every": options.steps}}, "predict"]
    (folder / "project.yaml").write_text(yaml.safe_dump({**plain, "name": "audit", "seed": seed}))
    project = load_project(folder / "project.yaml", options.data)
    prepare_step(project, folder / "run")
    sites = load_prepared(folder / "run" / PREPARED).labelled
    judged = cross_fit(project, folder / "run", folder / "run" / "work", sites, options.folds, "auto")
    found = examine(judged, legend, AuditSettings(seed=seed))
    return compared(found, truths, noisy, legend)


def compared(
    found: Examined, truths: dict[str, np.ndarray], noisy: dict[str, np.ndarray], legend: Legend
) -> dict[str, Any]:
    """Scores of an audit against the truth of its sites."""
    wrong = np.zeros(len(found.parts))
    counts, after = np.zeros((2, len(legend), len(legend)))
    choices, halo = choices_of(found), max(map(abs, found.shift))
    for site, of_strips in zip(found.sites, found.rows, strict=True):
        truth, label = truths[site.judged.site.name], noisy[site.judged.site.name]
        known = (truth != NODATA) & (label != NODATA)
        np.add.at(counts, (truth[known], label[known]), 1)
        for window, rows in zip(site.strips(), of_strips, strict=True):
            view = site.view(window, halo)
            patches = parts_of(view, legend)
            changed = (truth != label)[window.slices].ravel()[patches.at]
            row = rows[patches.label]
            np.add.at(wrong, row[row >= 0], changed[row >= 0])
            better = mended(view, patches, rows, choices, found.shift)
            of_strip = truth[window.slices]
            seen = (of_strip != NODATA) & (better != NODATA)
            np.add.at(after, (of_strip[seen], better[seen]), 1)
    is_wrong = wrong > 0.5 * found.parts.pixels
    ranked = is_wrong[found.order]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    errors = [np.abs(np.array(row) - shares[i]).max() for i, row in enumerate(found.matrix.shares) if row is not None]
    return {
        "auroc": auroc(found.scores, is_wrong),
        "precision": float(ranked[:100].mean()),
        "matrix": float(max(errors, default=np.nan)),
        "label": miou(counts),
        "mended": miou(after),
        "expected": {str(n): float(found.chances[found.order][:n].sum()) for n in BUDGETS if n <= len(ranked)},
        "found": {str(n): int(ranked[:n].sum()) for n in BUDGETS if n <= len(ranked)},
        "kind": found.diagnosis.kind,
        "kinds": found.diagnosis.kinds,
        "parts": len(found.parts),
        "suspicious": len(ranked),
        "wrong": int(is_wrong.sum()),
    }


def auroc(scores: np.ndarray, wrong: np.ndarray) -> float | None:
    """Of wrong parts against the others; None where there are none of one of them."""
    positives, negatives = int(wrong.sum()), int((~wrong).sum())
    if not positives or not negatives:
        return None
    return float((rankdata(scores)[wrong].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def miou(counts: np.ndarray) -> float:
    """Of a confusion matrix K×K, over the classes of the truth, its rows."""
    hits, truths = np.diag(counts), counts.sum(1)
    return float((hits / (truths + counts.sum(0) - hits))[truths > 0].mean())


def landscape(
    folder: Path, noise: str, seed: int, options: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray], Legend]:
    """A generated landscape whose truth, made noisy, is the label."""
    legend, place = load_legend("landscape"), generate(options.side, 300 + seed)
    truth = legend.lut[place.truth_1]
    label = planted(truth, noise, len(legend), seed)
    write(folder / "image.tif", place.image_1, place.grid, 0, OPTICAL_BANDS)
    write(folder / "label.tif", legend.id_lut[label], place.grid, NODATA)
    files = {name: str(folder.absolute() / f"{name}.tif") for name in ("image", "label")}
    scenes = [{"site": "here", **files}]
    plain = {"legend": "landscape", "sensors": {"optical": "naip"}, "scenes": scenes}
    return plain, {"here": truth}, {"here": label}, legend


def ombria(
    folder: Path, noise: str, seed: int, options: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, np.ndarray], Legend]:
    """Flood masks, made noisy chip by chip; optical images before and after."""
    legend, source = load_legend("water"), options.data.absolute() / "ombria" / "train"
    truths, noisy, scenes = {}, {}, []
    masks = sorted((source / "mask").glob("*.png"))
    for number, mask in enumerate(np.random.default_rng(seed).permutation(len(masks))[:CHIPS]):
        path = masks[int(mask)]
        with rasterio.open(path) as file:
            water = file.read(1) > 127
        truth = legend.lut[np.where(water, *water_ids(legend))]
        name = f"chip-{path.stem}"
        truths[name], noisy[name] = truth, planted(truth, noise, len(legend), 1000 * seed + number)
        grid = make_grid(truth.shape, rasterio.Affine.identity(), None)
        write(folder / "labels" / f"{path.stem}.tif", legend.id_lut[noisy[name]], grid, NODATA)
        images = {date: str(source / f"s2_{date}" / path.name) for date in ("before", "after")}
        scenes.append({"site": name, "image": images, "label": str(folder.absolute() / "labels" / f"{path.stem}.tif")})
    card = {"card": "png", "bands": ["red", "green", "blue"]}
    plain = {"legend": "water", "sensors": {"before": card, "after": card}, "scenes": scenes}
    return plain, truths, noisy, legend


def water_ids(legend: Legend) -> tuple[int, int]:
    """Ids of water and of the other class."""
    water = legend.index_of("water")
    return legend.ids[water], legend.ids[1 - water]


def planted(truth: np.ndarray, noise: str, classes: int, seed: int) -> np.ndarray:
    """The truth with errors of a kind."""
    made = NOISES[noise]
    return truth if made is None else inject(truth, make_injector(*made), classes=classes, seed=seed).label


def write(path: Path, pixels: np.ndarray, grid: Grid, nodata: int, names: Sequence[str] = ()) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(pixels) if pixels.ndim == 3 else 1
    with TiledWriter(path, grid, count, pixels.dtype, nodata, band_names=names) as file:
        file.write(full_window(grid), pixels)


if __name__ == "__main__":
    main()
