"""How often intervals hold the truth where patches were drawn, strata came after the draw, or a first phase gave them.

    OMP_NUM_THREADS=1 python benchmarks/accuracy/coverage_designs.py [--designs 150] [--draws 2000] [--seed 2014] \
        [--processes 2] [--json FILE]

Random designs, number i from the seeds (seed, i), with `random_designs.random_design`'s map classes as strata:

- clusters: 5 to 60 patches of each stratum, of 3² to 16² pixels; the shares of [map, reference] in a patch are
  Dirichlet with the stratum's means and an intra-patch correlation of .05 to .7. A stratum's patches are mostly, not
  only, of its own class in the map: one pixel of five is of the landscape's mean;
- post-stratified: the design's samples as a simple random sample, weighted by the map's classes; draws in which a
  class has no sample are undefined;
- two phases: a first phase of 300 to 3000 units, and of each stratum as many as the design has samples, or all.

`effective` is Jeffreys' interval at one effective number of units, p (1 − p) / V with Student's t (Korn and Graubard
1998), for clusters; `classical` is the estimate ± z standard errors, of clusters with the variance between patches, of
the others with that of two phases or Cochran's 5A.42.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from random_designs import Design, Floats, Tally, random_design, statistics
from scipy.special import stdtrit

from mapmend.accuracy.design_intervals import cluster_limits, two_phase_limits
from mapmend.accuracy.intervals import AccuracyLimits, jeffreys, matrix_limits, z_of

sys.path.insert(0, str(Path(__file__).parents[1]))
from coverage import show, summary

from trials import machine

LEVEL = 0.95
KINDS = ("areas", "overall", "users", "producers")
Found = Iterator[tuple[str, str, Floats, Floats]]


def ratios(values: Floats) -> Iterator[tuple[str, Floats, Floats]]:
    """Kind, y and x of every estimate Σ y / Σ x, …×Q, from [map, reference] …×K×K of units or of patches."""
    hits, whole = np.diagonal(values, axis1=-2, axis2=-1), values.sum(axis=(-2, -1))[..., None]
    yield "areas", values.sum(axis=-2), np.broadcast_to(whole, hits.shape)
    yield "overall", hits.sum(axis=-1, keepdims=True), whole
    yield "users", hits, values.sum(axis=-1)
    yield "producers", hits, values.sum(axis=-2)


def ours(limits: AccuracyLimits) -> Found:
    for kind in KINDS:
        low, high = getattr(limits, kind)
        yield "ours", kind, *((low[:, None], high[:, None]) if kind == "overall" else (low, high))


def around(kind: str, centre: Floats, error: Floats) -> tuple[str, str, Floats, Floats]:
    return "wald", kind, centre - z_of(LEVEL) * error, centre + z_of(LEVEL) * error


def clusters(design: Design, rng: np.random.Generator, draws: int) -> tuple[Floats, Found]:
    """The true shares of [map, reference], and intervals of draws of patches."""
    number = len(design.weights)
    patches, pixels = rng.integers(5, 61, number), int(rng.integers(3, 17)) ** 2
    together = 1 / rng.uniform(0.05, 0.7) - 1
    own = np.eye(number)[:, :, None] * design.shares
    means = 0.8 * own + 0.2 * design.weights[:, None] * design.shares
    flat = np.maximum(means.reshape(number, -1), 1e-12)
    totals = np.concatenate(
        [
            rng.multinomial(pixels, rng.dirichlet(together * flat[h] / flat[h].sum(), (draws, patches[h])))
            for h in range(number)
        ],
        axis=1,
    ).reshape(draws, -1, number, number)
    stratum = np.repeat(np.arange(number), patches)

    def found() -> Found:
        yield from ours(cluster_limits(totals, stratum, design.weights, LEVEL))
        member = np.equal.outer(stratum, np.arange(number)).astype(np.float64)
        freedom = patches.sum() - number
        narrower = (z_of(LEVEL) / stdtrit(freedom, (1 + LEVEL) / 2)) ** 2
        for kind, y, x in ratios(totals.astype(np.float64)):
            over = design.weights / patches
            above, below = (np.einsum("dpq,ph,h->dq", each, member, over) for each in (y, x))
            with np.errstate(invalid="ignore", divide="ignore"):
                centre = above / below
                rest = y - centre[:, None] * x
                means_of = np.einsum("dpq,ph->dhq", rest, member / patches)
                squares = np.einsum("dpq,ph->dhq", (rest - means_of[:, stratum]) ** 2, member)
                scale = design.weights**2 / (patches * (patches - 1))
                error = np.sqrt(np.einsum("dhq,h->dq", squares, scale)) / below
                yield around(kind, centre, error)
                spread = centre * (1 - centre)
                units = np.where((spread > 0) & (error > 0), spread / error**2, patches.sum()) * narrower
            units = np.minimum(units, len(stratum) * pixels)
            sure = np.nan_to_num(centre)
            low, high = jeffreys(sure * units, units, LEVEL)
            yield "effective", kind, np.where(np.isnan(centre), np.nan, low), high

    return np.einsum("h,hij->ij", design.weights, means), found()


def units(design: Design, rng: np.random.Generator, draws: int, first: int | None) -> tuple[Floats, Found]:
    """The same of a simple random sample, or of a first phase of `first` units."""
    total = int(design.samples.sum()) if first is None else first
    drawn = rng.multinomial(total, design.weights, size=draws)
    samples = drawn if first is None else np.minimum(drawn, design.samples)
    number = range(len(design.weights))
    counts = np.stack([rng.multinomial(samples[:, h], design.shares[h]) for h in number], axis=1).astype(np.float64)
    own = np.eye(len(design.weights))
    table = own[:, :, None] * counts[:, None]

    def found() -> Found:
        if first is None:
            yield from ours(matrix_limits(counts, design.weights, LEVEL))
        else:
            yield from ours(two_phase_limits(table, drawn, LEVEL))
        weights = design.weights if first is None else drawn / total
        n = np.maximum(samples, 1)
        for kind, y, x in ratios(table):  # sums over each stratum's units, which are 0 or 1
            with np.errstate(invalid="ignore", divide="ignore"):
                a, b = y / n[..., None], x / n[..., None]
                below = np.einsum("dh,dhq->dq", np.broadcast_to(weights, n.shape), b)
                centre = np.einsum("dh,dhq->dq", np.broadcast_to(weights, n.shape), a) / below
                ratio = centre[:, None]
                mean = a - ratio * b
                spread = (a - 2 * ratio * a + ratio**2 * b - mean**2) * (n / np.maximum(n - 1, 1))[..., None]
                w = np.broadcast_to(weights, n.shape)[..., None]
                if first is None:
                    variance = (w * spread).sum(1) / total + ((1 - w) * spread).sum(1) / total**2
                else:
                    variance = (w**2 * spread / n[..., None]).sum(1) + (w * mean**2).sum(1) / total
                unknown = (samples == 0).any(axis=1)[:, None]
                error = np.sqrt(np.maximum(variance, 0)) / below
                yield around(kind, np.where(unknown, np.nan, centre), error)

    return design.weights[:, None] * design.shares, found()


def examine(number: int, form: str, seed: int, draws: int) -> dict[str, Any]:
    """Coverage of the intervals of one design."""
    rng = np.random.default_rng([seed, number])
    design = random_design(rng, sparse=False)
    if form == "clusters":
        cells, found = clusters(design, rng, draws)
    else:
        first = round(300 * 10 ** rng.random()) if form == "two phases" else None
        cells, found = units(design, rng, draws, first)
    mapped = cells.sum(axis=1)
    true = {name: np.atleast_1d(value) for name, value in statistics(cells / mapped[:, None], mapped).items()}
    tally = Tally(true)
    for method, kind, lower, upper in found:
        tally.add(LEVEL, method, kind, np.where(np.isnan(upper), np.nan, lower), upper)
    return {"design": number, "classes": len(design.weights), "rows": list(tally.rows())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--designs", type=int, default=150)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=2014)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    start = time.perf_counter()
    lines: dict[str, list[dict[str, Any]]] = {}
    with ProcessPoolExecutor(given.processes) as pool:
        for form in ("clusters", "post-stratified", "two phases"):
            work = partial(examine, form=form, seed=given.seed, draws=given.draws)
            lines[form] = summary(list(pool.map(work, range(given.designs))), LEVEL)
            print(f"\n## {form}")
            show(lines[form], LEVEL)
    said = (
        f"{given.designs} designs of each, {given.draws} draws; seed {given.seed}; {time.perf_counter() - start:.0f} s"
    )
    print(f"\n{said}\n\n{machine()}")
    if given.json:
        given.json.write_text(json.dumps({"note": said, "machine": machine(), "rows": lines}, indent=1) + "\n")


if __name__ == "__main__":
    main()
