"""`bench noise`: methods on labels that were right and were made noisy, judged against the truth."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from filelock import FileLock, Timeout

from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.accuracy.metrics import map_metrics
from mapmend.audit.job import AUDIT, audit_project
from mapmend.audit.objects import raster_folder
from mapmend.bench.compare import Line, compare
from mapmend.bench.ground import SIZE, Ground, landscape_ground, project_ground
from mapmend.bench.noises import NOISES, Noise, parse_noises
from mapmend.bench.planting import Planted, plant
from mapmend.bench.presets import BASELINE, MENDED, WITH_LABEL, Preset, choose
from mapmend.bench.trials import Trials
from mapmend.core.durable import typed_faults
from mapmend.core.errors import JobError, ProjectError
from mapmend.core.provenance import value_hash
from mapmend.maps import map_jobs
from mapmend.project import Project
from mapmend.reporting import Shown, score
from mapmend.run import run
from mapmend.train.config import FREE

_EVALUATIONS = 5  # of a training, on held-out places of the noisy label


@dataclass(frozen=True)
class NoiseBench:
    """What was run, and what it says.

    Attributes:
        rows: a trial each, with IoU of every class.
        lines: of the table.
    """

    rows: tuple[Mapping[str, Any], ...]
    lines: tuple[Line, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"baseline": BASELINE, "table": [line.to_dict() for line in self.lines], "trials": list(self.rows)}


def bench_noise(
    out: Path,
    project: Project | None = None,
    *,
    noises: Sequence[str] = NOISES,
    methods: Sequence[str] = ("ce", BASELINE, "c2fnet", "elr"),
    presets: Path | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    steps: int | None = None,
    size: int | None = None,
    sites: int | None = None,
    device: str = "auto",
) -> NoiseBench:
    """Plant noise into labels that are right, train methods on them, and score their maps against the truth.

    Every place is trained on with its noisy label and scored with the right one, which neither teaches nor chooses a
    model. What is done already is not done again; a trial that was interrupted goes on.

    Args:
        out: folder of labels and results.
        project: whose labels of trust `reference` are right; None generates a landscape for each seed.
        noises: as of `parse_noises`.
        methods: names of presets, with `+label` after them or not.
        presets: YAML file of more of them.
        seeds: of noise and training, and of the landscape.
        steps: of training; the project's own, or those of the landscape, where None.
        size: of the landscape.
        sites: at most this many of a project's places, evenly from all.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        MapmendError: an unknown noise, method or setting; no label that is right, none of an earlier date for
            `outdated`; or another bench works in `out`.
        Preempted: a signal came; the same call goes on.
    """
    planned, chosen = parse_noises(noises), choose(methods, presets)
    if project is not None and size is not None:
        raise ProjectError("a size is that of the generated landscape", where="--size", fix="leave it out")
    with typed_faults(out):
        out.mkdir(parents=True, exist_ok=True)
    with _alone(out):
        trials = Trials(out / "results.jsonl")
        rows = []
        for seed in seeds:
            if project is None:
                side = SIZE if size is None else size
                ground = landscape_ground(out / "ground" / f"{side}-{seed}", side, seed)
            else:
                ground = project_ground(project, out / "ground", sites)
            asked = list(_asked(ground, planned, chosen, seed, steps, out))  # all of them, before the first is run
            rows += [trials.run(key, partial(_trial, posed, rate, out, key, device)) for key, posed, rate in asked]
    order = {(noise.title, name): at for at, (noise, name) in enumerate((n, m) for n in planned for m in chosen)}
    rows.sort(key=lambda row: order[row["noise"], row["method"]])
    return NoiseBench(tuple(rows), tuple(compare(rows, BASELINE)))


def _asked(
    ground: Ground, noises: Sequence[Noise], methods: Mapping[str, Preset], seed: int, steps: int | None, out: Path
) -> Iterator[tuple[dict[str, Any], Project, float]]:
    """Key, project and share of wrong pixels of each trial of a seed; plants the noise and checks the settings."""
    for noise in noises:
        planted = plant(ground, noise, seed, out / "labels" / _slug(f"{noise.title}-{len(ground.places)}-{seed}"))
        for name, preset in methods.items():
            posed = _posed(ground, planted, preset, steps, name)
            key = {"noise": noise.title, "method": name, "seed": seed, "id": _identity(posed, ground, noise)}
            yield key, posed, planted.rate


def scores_of(matrix: ConfusionMatrix) -> dict[str, Any]:
    """Mean IoU, overall accuracy, and IoU by class; over the classes of the truth, whatever else a map shows."""
    metrics = map_metrics(matrix)
    iou = {one.name: one.iou for one in metrics.classes if one.reference}
    return {"miou": sum(value or 0.0 for value in iou.values()) / len(iou), "oa": metrics.oa, "iou": iou}


def _posed(ground: Ground, planted: Planted, preset: Preset, steps: int | None, name: str) -> Project:
    """The project of a trial, its settings checked."""
    train = {"validation_share": 0, **ground.train, **preset, "calibration": "none"}
    if steps is not None:
        train["steps"] = steps
    prior = {"prior": "label"} if name.endswith(WITH_LABEL) else {}
    project = replace(planted.project, steps={"train": train, "predict": {**ground.predict, **prior}})
    try:
        count = project.train_settings().loop.steps
    except ProjectError as fault:
        raise ProjectError(fault.what, where=f"method '{name}'", fix=fault.fix) from None
    every = max(1, count // _EVALUATIONS)
    return replace(
        project, steps={**project.steps, "train": {"validate_every": every, "checkpoint_every": every, **train}}
    )


def _identity(project: Project, ground: Ground, noise: Noise) -> str:
    """Hash of what a trial's result follows from."""
    train = project.train_settings()
    learned = {key: value for key, value in asdict(train.loop).items() if key not in FREE}
    asked = [asdict(one) for one in (train.network, train.data)]
    parts = [train.method.name, *asked, learned, asdict(train.own), asdict(project.predict_settings())]
    made = [noise.injector.name, asdict(cast(Any, noise.injector))]
    return value_hash([ground.identity, made, parts])[:12]


def _trial(project: Project, wrong: float, out: Path, key: Mapping[str, Any], device: str) -> dict[str, Any]:
    """Train, map and score; the folder of the work is removed at the end."""
    folder = out / "work" / _slug("-".join(map(str, key.values())))
    started = time.monotonic()
    if key["method"] == MENDED:
        audit_project(project, folder, device=device)
    else:
        run(project, folder, device=device)
    jobs = map_jobs(project, folder)
    if key["method"] == MENDED:
        files = [raster_folder(folder / AUDIT, job.site, alone=len(jobs) == 1) / "mended.tif" for job in jobs]
    else:
        files = [job.folder / "class.tif" for job in jobs]
    shown = [Shown(job.site, file) for job, file in zip(jobs, files, strict=True)]
    found = score(shown, project.legend, project.aoi)
    assert found is not None and found.label is not None
    result = {
        "wrong": wrong,
        "label": scores_of(found.label),
        "map": scores_of(found.map),
        "seconds": round(time.monotonic() - started, 1),
    }
    shutil.rmtree(folder)
    return result


def _slug(text: str) -> str:
    return re.sub(r"[^\w.=-]+", "_", text)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise JobError("another bench is working in this folder", where=out, fix="wait for it") from None
    try:
        yield
    finally:
        lock.release()
