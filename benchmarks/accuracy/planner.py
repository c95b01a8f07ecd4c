"""How many samples strata of omission risk save, and whether their intervals keep their promise.

    OMP_NUM_THREADS=1 python benchmarks/accuracy/planner.py --work DIR [--seeds 11 12 13] [--size 1024] [--steps 300]
    OMP_NUM_THREADS=1 python benchmarks/accuracy/planner.py --map DIR

Every seed is an embedded landscape of its own, on which the project's pipeline learns from a label that is coarse,
old and partly wrong, calibrates against held-out blocks of that label, and maps both dates. What is finished below
`--work` is not made again; `--map` takes one folder that holds all of it. Targets are each class with .5 to 25 % of
the map, and the change between the dates. Their truth serves to judge alone: strata and allocations come from the map
and its probabilities, through `mapmend sample`'s own code, but for those called oracles.

Strata are those of the classes (of change: transitions) or those of `--risk`. To them, samples are allocated by

- oracle: Neyman's allocation with the true S_h, than which none has a smaller standard error. Of change, strata of
  changed and unchanged are tried too, and the better ones taken;
- planned: Neyman's, with the S_h that the probabilities promise, and at least 10 in each stratum;
- drawn: what `mapmend sample` draws, `--for` and `--risk`, to make the honest interval short.

Standard errors follow from the strata's true shares without any draw, √Σ W² f (1 − f) / n. "Fewer" is the share of
samples saved against strata by class that are as precise, whose number is searched for; of those drawn, it is
one less the ratio of squared standard errors. Half-widths of the honest interval (MOVER-Jeffreys) are means over
simulated samples. Coverage is that of simulated samples of risk strata.
Some five minutes for each seed on an idle core, all but some twenty seconds of it for the map.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio

from mapmend.accuracy.allocation import allocate, area_spread, expected_se
from mapmend.accuracy.mover import mover_jeffreys_sums, z_of
from mapmend.accuracy.planning import expected_half_width
from mapmend.core.durable import replace_file
from mapmend.core.stored import STEPS
from mapmend.data.landscape import DATES, write_landscape
from mapmend.project import load_project
from mapmend.run import run
from mapmend.sampling.inputs import SampledMap, open_map
from mapmend.sampling.job import SampleSettings, draw_sample
from mapmend.sampling.population import CHANGE
from mapmend.sampling.strata import StrataRule

sys.path.insert(0, str(Path(__file__).parents[1]))
from trials import machine, spread, table

Floats = npt.NDArray[np.float64]
Allocation = Callable[[int], tuple[int, ...]]

TOTALS = (300, 500, 1000)
LEVEL, LEAST_SHARE, MOST_SHARE = 0.95, 0.005, 0.25
PROJECT = """\
name: planner
legend: landscape
sensors: {{optical: naip, radar: sentinel1}}
scenes: landscape/scenes.csv
seed: {seed}
steps:
  - train: {{decoder: unet, steps: {steps}, batch: 8, crop: 128, validate_every: {every}}}
  - predict: {{window: 256, overlap: 64, probabilities: all}}
  - change: {{mmu_ha: 0.01}}
"""
HEAD = (
    "target",
    "maps",
    "true area, %",
    "mapped rightly / found, %",
    "n",
    "fewer, planned",
    "fewer, against the class oracle",
    "fewer, oracles",
    "fewer, drawn",
    "half-width, drawn",
    "coverage, drawn",
    "coverage, planned",
    "Wald, drawn",
)


@dataclass(frozen=True)
class Target:
    """What is to be estimated from a map.

    Attributes:
        name: a class, or change.
        source: the map with its probabilities.
        keys: N, code · 256 + step of each pixel.
        inside: N, whether the map says that it is of the class.
        truth: N, whether it is.
    """

    name: str
    source: SampledMap
    keys: npt.NDArray[np.int64]
    inside: npt.NDArray[np.bool_]
    truth: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Strata:
    """Strata as they were drawn from: their sizes, true shares, shares by the probabilities, and samples."""

    sizes: Floats
    shares: Floats
    promised: Floats
    drawn: tuple[int, ...]

    def oracle(self, total: int) -> tuple[int, ...]:
        """The best allocation, by the truth."""
        return allocate(self.sizes, total, "optimal", spread=np.sqrt(self.shares * (1 - self.shares)))

    def planned(self, total: int) -> tuple[int, ...]:
        """The best one by the probabilities."""
        wanted = area_spread(self.sizes, self.promised[:, None], [0])
        return allocate(self.sizes, total, "optimal", spread=wanted, minimum=10)

    def se(self, samples: tuple[int, ...]) -> float:
        """Of the share of the population."""
        return expected_se(self.sizes, self.shares, samples)

    def half_width(self, samples: tuple[int, ...]) -> float:
        """Expected of the honest interval."""
        return expected_half_width(self.sizes, self.shares, samples, level=LEVEL)

    def needed(self, allocation: Allocation, error: float) -> int:
        """The fewest samples with this standard error or a smaller one."""
        below, enough = 10 * len(self.sizes), 10 * len(self.sizes) + 1
        while self.se(allocation(enough)) > error:
            below, enough = enough, 2 * enough
        while enough - below > 1:
            middle = (below + enough) // 2
            below, enough = (middle, enough) if self.se(allocation(middle)) > error else (below, middle)
        return enough

    def coverage(self, samples: tuple[int, ...], draws: int) -> tuple[float, float]:
        """How often the honest interval and the usual one hold the truth."""
        weights, number = self.sizes / self.sizes.sum(), np.array(samples)
        hits = np.random.default_rng(0).binomial(number, self.shares, (draws, len(number)))
        true, found = weights @ self.shares, hits / number
        low, high = mover_jeffreys_sums(weights, hits, number, LEVEL)
        error = z_of(LEVEL) * np.sqrt((found * (1 - found) / np.maximum(number - 1, 1)) @ weights**2)
        return float(np.mean((low <= true) & (true <= high))), float(np.mean(np.abs(found @ weights - true) <= error))


def made(folder: Path, seed: int, size: int, steps: int) -> Path:
    """Landscape, model, map and change below a folder; what is there is not made again."""
    file = folder / "project.yaml"
    if not file.exists():
        write_landscape(folder / "landscape", size, seed)
        replace_file(file, PROJECT.format(seed=seed, steps=steps, every=max(1, steps // 3)))
    run(load_project(file), folder, device="cpu")
    return folder


def targets(folder: Path) -> Iterator[Target]:
    """Rare classes of the later date, and the change, of a finished folder."""
    mapped, changed = (open_map(next(folder.glob(f"{part}/*/*.tif")).parent) for part in ("map", "change"))
    before, after = (band(folder / "landscape" / f"truth_{date}.tif") for date in DATES)
    codes, beside = band(mapped.path), mapped.path.parent
    for entry in mapped.legend.classes:
        if LEAST_SHARE <= np.mean(codes == entry.id) <= MOST_SHARE:
            probability = beside / f"probability_{entry.name.replace(' ', '_')}.tif"
            yield target(entry.name, mapped, probability, codes == entry.id, after == entry.id)
    old, new = np.divmod(band(changed.path), len(changed.legend))
    yield target(CHANGE, changed, beside / "change.tif", old != new, before != after)


def target(name: str, source: SampledMap, probability: Path, *masks: npt.NDArray[np.bool_]) -> Target:
    codes = band(source.path)
    with rasterio.open(source.path) as file:
        valid = codes != file.nodata
    keys = codes << 8 | band(probability)
    return Target(name, replace(source, probability=probability), keys[valid], *(mask[valid] for mask in masks))


def band(path: Path) -> npt.NDArray[np.int64]:
    with rasterio.open(path) as file:
        return np.asarray(file.read(1), np.int64)


def strata(one: Target, settings: SampleSettings) -> Strata:
    """Those of a sample that is drawn."""
    source = one.source if settings.risk else replace(one.source, probability=None)
    with tempfile.TemporaryDirectory() as out:
        design = draw_sample(source, Path(out) / "sample", settings, progress=False).design
    number = StrataRule.from_dict(design.map["strata"]).of(one.keys)
    sizes = np.bincount(number, minlength=len(design.strata)).astype(np.float64)
    assert sizes.tolist() == [stratum.pixels for stratum in design.strata]
    shares = np.bincount(number, one.truth) / sizes
    promised = np.bincount(number, np.minimum(one.keys & 255, STEPS)) / STEPS / sizes
    return Strata(sizes, shares, promised, tuple(stratum.samples for stratum in design.strata))


def compared(one: Target, total: int, draws: int) -> dict[str, Any]:
    """All figures of a target and a total."""
    by_class = strata(one, SampleSettings(total=total, aims=(one.name,)))
    risk = strata(one, SampleSettings(total=total, risk=one.name))
    choices = [by_class]
    if one.name == CHANGE:
        choices.append(strata(one, SampleSettings(total=total, aims=(one.name,), strata="change")))
    best = min(choices, key=lambda each: each.se(each.oracle(total)))
    plan, oracle = risk.planned(total), risk.oracle(total)
    covered, wald = risk.coverage(risk.drawn, draws)
    return {
        "area": float(one.truth.mean()),
        "users": float(one.truth[one.inside].mean()),
        "producers": float(one.inside[one.truth].mean()),
        "strata": len(risk.sizes),
        "planned": 1 - total / by_class.needed(by_class.planned, risk.se(plan)),
        "against_oracle": 1 - total / best.needed(best.oracle, risk.se(plan)),
        "oracles": 1 - total / best.needed(best.oracle, risk.se(oracle)),
        "drawn": 1 - (risk.se(risk.drawn) / by_class.se(by_class.drawn)) ** 2,
        "width": risk.half_width(risk.drawn) / by_class.half_width(by_class.drawn),
        "covered": covered,
        "covered_planned": risk.coverage(plan, draws)[0],
        "wald": wald,
    }


def row(name: str, total: int, found: list[dict[str, Any]]) -> list[str]:
    def of(key: str) -> list[float]:
        return [one[key] for one in found]

    return [
        name,
        str(len(found)),
        spread(of("area")),
        f"{100 * statistics.mean(of('users')):.0f} / {100 * statistics.mean(of('producers')):.0f}",
        str(total),
        *(f"{spread(of(key))} %" for key in ("planned", "against_oracle", "oracles", "drawn")),
        f"× {statistics.mean(of('width')):.2f}",
        *(f"{statistics.mean(of(key)):.3f}" for key in ("covered", "covered_planned", "wald")),
    ]


def main() -> None:
    """Make maps, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--work", type=Path, help="where maps are made and kept")
    where.add_argument("--map", type=Path, help="a folder of a finished project of the landscape")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--draws", type=int, default=5000)
    given = parser.parse_args()
    if given.map:
        folders = [given.map]
    else:
        name = f"landscape-{{}}-{given.size}-{given.steps}"
        folders = [made(given.work / name.format(seed), seed, given.size, given.steps) for seed in given.seeds]
    rows = [
        {"target": one.name, "total": total, **compared(one, total, given.draws)}
        for folder in folders
        for one in targets(folder)
        for total in TOTALS
    ]
    print(f"`python {' '.join(sys.argv)}`\n")
    lines = []
    for name in dict.fromkeys(one["target"] for one in rows):
        for total in TOTALS:
            lines.append(row(name, total, [one for one in rows if (one["target"], one["total"]) == (name, total)]))
    lines += [row("all", total, [one for one in rows if one["total"] == total]) for total in TOTALS]
    print(table(HEAD, lines))
    least = min(rows, key=lambda one: one["covered"])
    met = sum(one["planned"] >= 0.35 for one in rows)
    print(
        f"\nMean ± standard deviation over maps. Least coverage {least['covered']:.3f} ({least['target']}, "
        f"n = {least['total']}); {met} of {len(rows)} rows save 35 % or more as planned; "
        f"{min(one['strata'] for one in rows)} to {max(one['strata'] for one in rows)} strata. {given.draws} draws, "
        f"whose share of .95 has a standard error of {(0.95 * 0.05 / given.draws) ** 0.5:.4f}. {machine()}."
    )


if __name__ == "__main__":
    main()
