"""What the benchmark scripts share: trials that are run once, and a table of their mean and spread."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from mapmend.bench.trials import Trials
from mapmend.project import load_project
from mapmend.run import run
from mapmend.steps import prepare_step

__all__ = ["Trials", "machine", "run_project", "spread", "table"]


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
