"""Which change probability: hard difference, independence, or total variation, against the truth of landscapes.

    mapmend demo --seed 11 --out demo11; mapmend demo --seed 12 --out demo12
    python benchmarks/change_rule.py demo11 demo12

The demo's models map their landscapes at both dates; posteriors are blended as in mapping. Each rule asks for different
classes and for a probability from a threshold on; the best of nine thresholds is a bound that nobody can know
beforehand. The demo itself (seed 0) took no part in the choice of the rule.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio
import torch

from mapmend.core.grid import full_window
from mapmend.data.sites import PreparedSite, load_prepared
from mapmend.predict.predictor import Predictor, load_predictor
from mapmend.predict.scene import Scene, SceneReader
from trials import machine, table

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)


def posteriors(predictor: Predictor, site: PreparedSite) -> tuple[np.ndarray, np.ndarray]:
    """Blended class probabilities K×H×W of a small site, and where they are valid."""
    scene = Scene(site.name, site.sources, site.grid)
    reader, lattice = SceneReader(scene), predictor.lattice
    window = full_window(site.grid)
    pixels, valid = reader.read(window)
    channels = np.repeat(valid, reader.counts, axis=0)
    size = [(lattice.count(n) - 1) * lattice.stride + lattice.size for n in (window.height, window.width)]
    around = [(0, 0), (0, size[0] - window.height), (0, size[1] - window.width)]
    pixels, channels = np.pad(pixels, around), np.pad(channels, around)
    sums = torch.zeros(len(predictor.legend), *size)
    taper = torch.from_numpy(np.outer(lattice.taper(), lattice.taper()))
    weights = torch.zeros(size)
    for row in range(0, size[0] - lattice.size + 1, lattice.stride):
        for col in range(0, size[1] - lattice.size + 1, lattice.stride):
            here = np.s_[:, row : row + lattice.size, col : col + lattice.size]
            [one] = predictor.probabilities(pixels[here][None].copy(), channels[here][None].copy())
            sums[here] += one * taper
            weights[here[1:]] += taper
    means = (sums / weights)[:, : window.height, : window.width]
    return means.numpy(), np.logical_and.reduce(valid)


def rules(p: np.ndarray, q: np.ndarray) -> Iterator[tuple[str, np.ndarray, tuple[float, ...]]]:
    """Name, probability and thresholds of each rule."""
    yield "difference of the two maps", np.ones(p.shape[1:]), (0.5,)
    yield "independence", 1 - (p * q).sum(0), THRESHOLDS
    yield "total variation", 0.5 * np.abs(p - q).sum(0), THRESHOLDS


def measure(demo: Path) -> Iterator[list[str]]:
    """A row for each rule on one landscape."""
    prepared = load_prepared(demo / "prepared/prepared.json")
    before, after = sorted(prepared.sites, key=lambda site: site.date)
    predictor = load_predictor(demo / "model", window=256, overlap=64)
    (p, valid), (q, also) = posteriors(predictor, before), posteriors(predictor, after)
    truth = []
    for site in (before, after):
        with rasterio.open(str(site.reference)) as raster:
            truth.append(raster.read(1))
    known = valid & also & (truth[0] != 255) & (truth[1] != 255)
    changed = (truth[0] != truth[1])[known]
    differ = (p.argmax(0) != q.argmax(0))[known]
    for name, probability, thresholds in rules(p, q):
        found = {t: differ & (probability[known] >= t) for t in thresholds}
        iou = {t: (one & changed).sum() / (one | changed).sum() for t, one in found.items()}
        best = max(iou, key=lambda t: iou[t])
        at_half = found[0.5]
        precision = (at_half & changed).sum() / max(at_half.sum(), 1)
        values = (iou[0.5], precision, (at_half & changed).sum() / changed.sum(), iou[best])
        yield [before.name, name, *(f"{100 * value:.1f}" for value in values), f"{best:g}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demos", type=Path, nargs="+")
    given = parser.parse_args()
    rows = [row for demo in given.demos for row in measure(demo)]
    print(table(["landscape", "rule", "IoU at 0.5", "precision", "recall", "best IoU", "at"], rows))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
