"""How often intervals hold the truth: MOVER-Jeffreys, the classical one and the bootstrap, over random designs.

    OMP_NUM_THREADS=1 python benchmarks/accuracy/coverage.py [--pairs 1500] [--draws 30000] [--bootstrap 3000] \
        [--sparse] [--seed 2014] [--processes 2] [--work DIR] [--json FILE]

A pair is a class of a random design; cells are counted as pairs of their own, and each design has one overall accuracy.
Design number i comes from the seeds (seed, i):

- 2 to 8 classes, whose shares of the map are 10^u, u uniform in −2 to 0, scaled to sum to 1;
- user's accuracies uniform in .5 to .99; the errors of a map class go to the other classes by gamma (shape 0.7)
  variates, which in half of the designs are multiplied by those classes' shares of the map;
- 50 to 1000 samples: first a minimum of 5 to 50 (less where the samples do not suffice) for each map class, which are
  the strata, and the rest in equal parts, in proportion to the shares or, as Neyman, to W √(UA (1 − UA)).

With `--sparse` samples are few and classes rarer: u from −2.5, and the logarithms of both numbers uniform.

The same draws serve all intervals. Draws in which an estimate is undefined are left out of its coverage; their share is
in the table. The bootstrap resamples each stratum (percentiles of 500 resamples) and takes the first draws of each
design. `width` is the mean width as a multiple of the classical interval's, the median over pairs. `⅓` stands for
Beta limits with hits + ⅓ below and misses + ⅓ above in the place of Jeffreys' ½ (see `mover.jeffreys`).

Finished designs are kept in `--work` and not done again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from random_designs import Floats, Tally, classical, random_design, statistics

from mapmend.accuracy.intervals import jeffreys, matrix_limits, z_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from trials import machine, table

LEVELS = (0.95, 0.9)
KINDS = {"areas": "area", "overall": "overall", "users": "user's", "producers": "producer's", "cells": "from-to cell"}
METHODS = {
    "ours": "MOVER-Jeffreys",
    "third": "Beta limits, ⅓",
    "wald": "classical",
    "bootstrap": "bootstrap",
    "effective": "effective",
}
RESAMPLES, CHUNK = 500, 5000


def intervals(counts: Floats, weights: Floats, level: float) -> Iterator[tuple[str, str, Floats, Floats]]:
    """Method, kind, lower and upper limits of every interval but the bootstrap's."""
    ours = matrix_limits(counts, weights, level)
    for kind in KINDS:
        yield "ours", kind, *getattr(ours, kind)
    samples = counts.sum(axis=-1, keepdims=True)
    low, high = jeffreys(counts, samples, level, 1 / 3)
    yield "third", "cells", weights[:, None] * low, weights[:, None] * high
    yield "third", "users", *(np.diagonal(limit, axis1=-2, axis2=-1) for limit in (low, high))
    centres, errors = statistics(counts / samples, weights), classical(counts, weights)
    for kind in KINDS:
        half = z_of(level) * errors[kind]
        yield "wald", kind, centres[kind] - half, centres[kind] + half


def bootstrap(
    counts: Floats, weights: Floats, rng: np.random.Generator
) -> dict[float, dict[str, tuple[Floats, Floats]]]:
    """Percentile limits by level and kind; a resample that leaves a producer's accuracy undefined has the estimate."""
    samples = counts.sum(axis=-1)
    shares = counts / samples[..., None]
    drawn = rng.multinomial(samples.astype(np.int64), shares, size=(RESAMPLES, *samples.shape))
    found = statistics(drawn / samples[..., None], weights)
    centres = statistics(shares, weights)
    tails = [side for level in LEVELS for side in ((1 - level) / 2, (1 + level) / 2)]
    limits: dict[float, dict[str, tuple[Floats, Floats]]] = {level: {} for level in LEVELS}
    for kind, values in found.items():
        values = np.where(np.isnan(values), centres[kind], values)
        quantiles = np.quantile(values, tails, axis=0, overwrite_input=True)
        for index, level in enumerate(LEVELS):
            limits[level][kind] = quantiles[2 * index], quantiles[2 * index + 1]
    return limits


def examine(number: int, seed: int, draws: int, resampled: int, sparse: bool) -> dict[str, Any]:
    """Coverage of all intervals of one design."""
    rng = np.random.default_rng([seed, number])
    design = random_design(rng, sparse)
    tally = Tally(design.truth)
    left, first = draws, True
    while left:
        size = min(left, CHUNK)
        rows = [rng.multinomial(n, p, size=size) for n, p in zip(design.samples, design.shares, strict=True)]
        counts = np.stack(rows, axis=1).astype(np.float64)
        for level in LEVELS:
            for method, kind, lower, upper in intervals(counts, design.weights, level):
                tally.add(level, method, kind, lower, upper)
        if first:
            for start in range(0, min(resampled, size), 100):
                part = counts[start : min(start + 100, resampled)]
                for level, kinds in bootstrap(part, design.weights, rng).items():
                    for kind, (lower, upper) in kinds.items():
                        missing = np.isnan(statistics(part / part.sum(-1, keepdims=True), design.weights)[kind])
                        tally.add(level, "bootstrap", kind, np.where(missing, np.nan, lower), upper)
        left, first = left - size, False
    return {"design": number, "classes": len(design.weights), "rows": list(tally.rows())}


def summary(results: list[dict[str, Any]], level: float) -> list[dict[str, Any]]:
    """A row for each method and kind: coverage over all pairs, and widths against the classical interval."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        for row in result["rows"]:
            if row["level"] == level:
                found[row["kind"], row["method"]].append(row)
    lines = []
    for kind in KINDS:
        for method in METHODS:
            rows = found.get((kind, method))
            if not rows:
                continue
            coverage, width, undefined = (
                np.concatenate([row[name] for row in rows]) for name in ("coverage", "width", "undefined")
            )
            usual = np.concatenate([row["width"] for row in found[kind, "wald"]])
            seen = undefined < 1
            wide = (usual > 0) & seen
            lines.append(
                {
                    "level": level,
                    "kind": kind,
                    "method": method,
                    "pairs": int(seen.sum()),
                    "mean": float(coverage[seen].mean()),
                    "enough": float((coverage[seen] >= level - 0.02).mean()),
                    "worst": float(coverage[seen].min()),
                    "width": float(np.median(width[wide] / usual[wide])),
                    "undefined": float(undefined.mean()),
                }
            )
    return lines


def show(lines: list[dict[str, Any]], level: float) -> None:
    head = ["", "interval", "pairs", "mean", f"≥ {level - 0.02:.2f}".replace("0.", "."), "worst", "width", "undefined"]
    rows = [
        [
            KINDS[line["kind"]],
            METHODS[line["method"]],
            str(line["pairs"]),
            f"{100 * line['mean']:.1f} %",
            f"{100 * line['enough']:.1f} %",
            f"{100 * line['worst']:.1f} %",
            f"{line['width']:.2f}",
            f"{100 * line['undefined']:.2f} %",
        ]
        for line in lines
    ]
    print(f"\nLevel {100 * level:g} %\n\n{table(head, rows)}")


def designs_for(pairs: int, seed: int, sparse: bool) -> int:
    """How many designs have as many classes together."""
    number = 0
    while pairs > 0:
        pairs -= len(random_design(np.random.default_rng([seed, number]), sparse).weights)
        number += 1
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=1500)
    parser.add_argument("--draws", type=int, default=30_000)
    parser.add_argument("--bootstrap", type=int, default=3000, help="draws of each design that are resampled; 0: none")
    parser.add_argument("--sparse", action="store_true", help="few samples and rarer classes")
    parser.add_argument("--seed", type=int, default=2014)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--work", type=Path, help="folder that keeps finished designs")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.bootstrap > min(given.draws, CHUNK):
        parser.error(f"--bootstrap is at most {min(given.draws, CHUNK)}")
    start = time.perf_counter()
    wanted = range(designs_for(given.pairs, given.seed, given.sparse))
    kept = (
        given.work
        and given.work / f"coverage{'-sparse' * given.sparse}-{given.seed}-{given.draws}-{given.bootstrap}.jsonl"
    )
    results = [json.loads(line) for line in kept.read_text().splitlines()] if kept and kept.is_file() else []
    results = [result for result in results if result["design"] in wanted]
    todo = sorted(set(wanted) - {result["design"] for result in results})
    work = partial(examine, seed=given.seed, draws=given.draws, resampled=given.bootstrap, sparse=given.sparse)
    with ProcessPoolExecutor(given.processes) as pool:
        for result in pool.map(work, todo):
            results.append(result)
            if kept:
                kept.parent.mkdir(parents=True, exist_ok=True)
                with kept.open("a") as file:
                    file.write(json.dumps(result) + "\n")
            if sys.stderr.isatty():
                print(f"\r{len(results)} of {len(wanted)} designs", end="", file=sys.stderr, flush=True)
    lines = [line for level in LEVELS for line in summary(results, level)]
    for level in LEVELS:
        show([line for line in lines if line["level"] == level], level)
    kind = "sparse designs" if given.sparse else "designs"
    said = (
        f"{len(wanted)} {kind}, {sum(result['classes'] for result in results)} pairs of class and design, "
        f"{given.draws} draws each, {given.bootstrap} of them resampled {RESAMPLES} times; seed {given.seed}; "
        f"{time.perf_counter() - start:.0f} s for {len(todo)} designs"
    )
    print(f"\n{said}\n\n{machine()}")
    if given.json:
        given.json.write_text(json.dumps({"note": said, "machine": machine(), "rows": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
