"""What the benchmark scripts share: trials that are run once, and a table of their mean and spread."""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from mapmend.bench.trials import Trials
from mapmend.project import load_project
from mapmend.run import run
from mapmend.steps import prepare_step

__all__ = [
    "MAPPED_AT_LAST",
    "PAIRS",
    "Trials",
    "machine",
    "of_class",
    "over_seeds",
    "ratios",
    "run_project",
    "spread",
    "table",
]

MAPPED_AT_LAST: Mapping[str, Any] = {"ema_decay": 0.95, "validation_share": 0, "calibration": "none"}
"""Settings of `train` by which no label chooses a state: the running average of the last step is mapped."""

PAIRS: Mapping[str, Any] = {"weights": "lite0", "batch": 4, **MAPPED_AT_LAST}
"""Settings of `train` that the scripts on pairs share."""


def run_project(
    plain: Mapping[str, Any], out: Path, data: Path, *, scored: bool = True, prepared: Path | None = None
) -> dict[str, Any]:
    """Write a project below `out`, run it, and give the scores of label and map, where it has any.

    Projects of equal scenes may share what is `prepared` of them, which is made there once.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "project.yaml").write_text(yaml.safe_dump(dict(plain)))
    project, folder = load_project(out / "project.yaml", data), out / "run"
    if prepared is not None:
        prepare_step(project, prepared)
        shutil.copytree(prepared, folder, dirs_exist_ok=True)
    result = run(project, folder).to_dict()
    return result["accuracy"] if scored else {}


def over_seeds(
    trials: Trials,
    work: Path,
    seeds: Iterable[int],
    key: Mapping[str, Any],
    trial: Callable[[int, Path], Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """A trial for each seed: `trial` takes the seed, and a folder below `work` for it alone."""
    done = []
    for seed in seeds:
        whole = {**key, "seed": seed}
        out = work / re.sub(r"[^\w.]+", "_", "-".join(map(str, whole.values())))
        done.append(trials.run(whole, partial(trial, seed, out)))
    return done


def of_class(metrics: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A class's part of the scores of a map."""
    return next(one for one in metrics["classes"] if one["name"] == name)


def ratios(turns: Sequence[Mapping[str, float]], kind: str, plain: str) -> tuple[str, str]:
    """Median seconds of a kind of step, and its median ratio to the plain kind of the same turn, with the extremes."""
    found = sorted(turn[kind] / turn[plain] for turn in turns)
    seconds = statistics.median(turn[kind] for turn in turns)
    return f"{seconds:.2f}", f"{statistics.median(found):.2f} ({found[0]:.2f} – {found[-1]:.2f})"


def spread(values: Iterable[float | None], scale: float = 100) -> str:
    """Mean ± sample standard deviation, or the value alone; a dash where it is undefined."""
    known = [scale * value for value in values if value is not None]
    if not known:
        return "–"
    if len(known) == 1:
        return f"{known[0]:.1f}"
    return f"{statistics.mean(known):.1f} ± {statistics.stdev(known):.1f}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine() -> str:
    """Processor, cores and main versions, for beneath a table."""
    import torch

    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    return (
        f"{name}, {len(os.sched_getaffinity(0))} cores, torch {torch.__version__}, Python {platform.python_version()}"
    )
