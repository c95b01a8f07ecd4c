"""The verbs of a project: prepare, train, predict, change. Each reads what the one before left in the folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mapmend.beforehand import check_beforehand
from mapmend.certain import CertainMap, WantedCertain, of_model, of_reference, write_certain
from mapmend.change.job import change_maps
from mapmend.change.record import ChangeResult
from mapmend.core.errors import JobError, ManifestError, ModelError, ProjectError
from mapmend.core.legend import Legend
from mapmend.core.manifest import two_dates
from mapmend.core.sensor import Sensor
from mapmend.data.leaks import check_leaks
from mapmend.data.prepare import prepare
from mapmend.data.scenes import check_files, read_scenes, with_sensor
from mapmend.data.sites import Prepared, load_prepared
from mapmend.maps import CHANGES, MAPS, PREPARED, MapJob, describe_in_stac, map_jobs
from mapmend.nn.model_folder import ModelCard, prior_shares, read_card
from mapmend.predict.assembled import Tricks, assembled_predictor
from mapmend.predict.augmented import Views
from mapmend.predict.backends.choose import Backend, on_backend
from mapmend.predict.estimate import Estimate, total
from mapmend.predict.executors.local import work_through
from mapmend.predict.executors.ray import Ray
from mapmend.predict.executors.shard import Shard
from mapmend.predict.job import MapResult, estimate_scene, predict_scene, predict_shard
from mapmend.predict.predictor import Precision, Predictor
from mapmend.predict.prior import LabelPrior
from mapmend.predict.scene import Scene
from mapmend.project import Project
from mapmend.pseudo.job import PseudoResult
from mapmend.pseudo.labelling import pseudo_sites
from mapmend.row import Step
from mapmend.stages import MODEL, TRAINING, labels_folder, models_of, predicting_models, training_folders
from mapmend.training import console, train_project


def prepare_step(project: Project, out: Path) -> Prepared:
    """Check every file that the project names, then put all layers onto their sites' grids below `out/prepared`.

    Raises:
        ManifestError: among others, training and judging places share ground or pixels.
    """
    store = out / "scenes"
    rows = with_sensor(read_scenes(project.scenes, project.data, store), list(project.sensors))
    given = project.reference
    references = read_scenes(given, project.data, store, name="reference") if given is not None else ()
    check_files((*rows, *references), project.path)
    if not (out / PREPARED).is_file():
        check_beforehand(project, rows, references)
    if "change" in project.steps and project.listed and not two_dates(rows, project.predict_settings().split):
        raise _no_pair(project)  # before hours of training
    columns = (TextColumn("preparing"), BarColumn(), MofNCompleteColumn(), TextColumn("sites"), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("prepare", total=len({row.site for row in rows}))
        prepared = prepare(
            rows,
            project.sensors,
            project.legend,
            (out / PREPARED).parent,
            references=references,
            reference_legend=project.score_legend,
            base=project.folder,
            progress=lambda done: bar.update(task, completed=done),
        )
    check_leaks(prepared.sites)
    return prepared


def train_step(project: Project, out: Path, *, start_from: Path | None = None, device: str = "auto") -> Path:
    """Train the project's method on its prepared sites; the model folder.

    Args:
        project: whose `train` settings are used.
        out: holds what `prepare_step` left; `training` and `model` go there.
        start_from: a model whose weights to go on from, as far as they fit.
        device: auto, cpu, cuda or mps.
    """
    step = project.row.last.get("train")
    if start_from is None and step is not None and step.source:
        [start_from] = models_of(project.row, step, out)
    return train_project(project, out, out / TRAINING, out / MODEL, start_from=start_from, device=device)


def earlier_step(project: Project, step: Step, out: Path, *, device: str = "auto") -> None:
    """Do a training or a labelling that comes before the last training of a row."""
    if step.verb == "pseudo":
        pseudo_step(project, step, out, device=device)
        return
    start_from = models_of(project.row, step, out)[0] if step.source else None
    folders = training_folders(project.row, step, out)
    train_project(project.at(step), out, *folders, start_from=start_from, device=device)


def pseudo_step(project: Project, step: Step, out: Path, *, device: str = "auto") -> PseudoResult:
    """Label the project's places that have no label, by the models that the step goes on from."""
    models, settings = models_of(project.row, step, out), project.at(step).pseudo_settings()
    sites = load_prepared(out / PREPARED).sites
    result = pseudo_sites(sites, models, labels_folder(step, out), settings, device=device)
    for row in result.table.classes:
        share = "" if row.kept_share is None else f", {100 * row.kept_share:.1f} % of what is shown"
        console.print(f"labels: {row.name}: {row.kept} pixels{share}", soft_wrap=True, highlight=False)
    return result


@dataclass(frozen=True)
class PredictOptions:
    """What the command line may ask of a prediction; None leaves it to the project or the model."""

    models: tuple[Path, ...] = ()
    aoi: Path | None = None
    window: int | None = None
    overlap: int | None = None
    batch: int | None = None
    precision: Precision | None = None
    device: str = "auto"
    probabilities: tuple[str, ...] = ()
    certain: tuple[str, ...] = ()
    risk: float | None = None
    certain_reference: Path | None = None
    block: int | None = None
    shard: Shard | None = None
    backend: Backend | None = None
    cluster: Ray | None = None
    entropy: bool = False
    disagreement: bool = False
    views: Views | None = None
    suppress: tuple[str, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """Classes whose probability is asked for, be it for a three-state map."""
        return (*self.probabilities, *self.certain)


@dataclass(frozen=True)
class _Mapping:
    """What `predict_step` maps, and what `estimate_step` looks at.

    Attributes:
        models: whose mean is mapped.
        jobs: a folder for each map.
        scene_of: the scene of a job.
        predictor: gives the probabilities.
        layers: settings of `predict_scene` that say what is written, and in which blocks.
    """

    models: Sequence[Path]
    jobs: Sequence[MapJob]
    scene_of: Callable[[MapJob], Scene]
    predictor: Predictor
    layers: Mapping[str, Any]


def _mapping(project: Project, out: Path, options: PredictOptions) -> _Mapping:
    settings = project.predict_settings()
    models = options.models or predicting_models(project, out)
    modalities, aoi = _modalities(read_card(models[0])), options.aoi or project.aoi
    jobs = _seen_by(modalities, map_jobs(project, out))
    backend = options.backend or settings.backend
    predictor = on_backend(project_predictor(project, out, options), backend, [job.folder for job in jobs])
    layers = {
        "block": options.block,
        "probabilities": _probabilities(project, options),
        "entropy": options.entropy or settings.entropy,
    }
    prior_of_job = _prior_of_job(project, jobs, options, predictor, models)

    def scene_of(job: MapJob) -> Scene:
        return replace(job.scene(aoi, modalities), prior=prior_of_job(job))

    return _Mapping(models, jobs, scene_of, predictor, layers)


def _seen_by(modalities: Mapping[str, int], jobs: Sequence[MapJob]) -> list[MapJob]:
    """The places that a model's sensors have seen; the others, from which another model learned, are told and left out.

    Where none of them has, the names are others than the model's, and images count by their order.
    """

    def seen(job: MapJob) -> bool:
        return job.before is not None or any(image.modality in modalities for image in job.site.images)

    unseen = [job for job in jobs if not seen(job)]
    if not unseen or len(unseen) == len(jobs):
        return list(jobs)
    names = ", ".join(job.key for job in unseen)
    console.print(f"not mapped: {names}: no image of {' or '.join(modalities)}", soft_wrap=True, highlight=False)
    return [job for job in jobs if job not in unseen]


def _prior_of_job(
    project: Project, jobs: Sequence[MapJob], options: PredictOptions, predictor: Predictor, models: Sequence[Path]
) -> Callable[[MapJob], LabelPrior | None]:
    """What the label of each job's site says, where it is to count.

    Raises:
        ProjectError: three-state maps, classes that are not the project's, or no site with a label.
        ModelError: a model does not say how common each class was in its labels.
    """
    settings = project.predict_settings()
    if settings.prior == "none":
        return lambda job: None

    def refused(what: str, fix: str) -> ProjectError:
        return ProjectError(f"`prior: label` {what}", where=project.path, fix=fix)

    if predictor.legend != project.legend:
        raise refused("wants a model of the project's legend", "name another model, or leave it out")
    if options.certain:
        raise refused("has no three-state maps", "leave out --certain, whose thresholds are the model's alone")
    if all(job.site.label is None for job in jobs):
        raise refused("finds no site with a label", "give the manifest a `label`, or leave it out")
    learned = prior_shares(models)
    return lambda job: job.prior(learned, settings.doubt)


def predict_step(project: Project, out: Path, options: PredictOptions) -> dict[str, Path]:
    """Map the project's prepared sites with its model (or another one); map folders by site.

    Of a shard, those that are finished.
    """
    settings, given = project.predict_settings(), _mapping(project, out, options)
    asked, risk = options.certain or settings.certain, options.risk or settings.risk
    tricks = _tricks(project, options)
    wanted = wanted_certain(given.models, tricks, asked, risk, options.certain_reference) if asked else None
    more = {**given.layers, "progress": len(given.jobs) == 1}
    for job in _tracked(given.jobs, "mapping"):
        what = (given.predictor, given.scene_of(job), job.folder)
        made: MapResult | None
        if options.shard is None:
            made = predict_scene(*what, **more, executor=options.cluster or work_through)
        else:
            made = predict_shard(*what, options.shard, **more)
        if wanted is not None and made is not None:
            certain_step(made, wanted)
    if all(job.mapped for job in given.jobs):
        describe_in_stac(project, [(job, job.folder) for job in given.jobs], out / MAPS)
    return {job.key: job.folder for job in given.jobs if job.mapped}


def estimate_step(project: Project, out: Path, options: PredictOptions) -> Estimate:
    """What `predict_step` would take; nothing is written."""
    given = _mapping(project, out, options)
    return total(estimate_scene(given.predictor, given.scene_of(job), **given.layers) for job in given.jobs)


def wanted_certain(
    models: Sequence[Path], tricks: Tricks, names: Sequence[str], risk: float, reference: Path | None = None
) -> WantedCertain:
    """What three-state maps are to be made of, read once; refuses what would stop them after hours of mapping.

    Args:
        models: folders of the models; the thresholds of a single one are used unless a reference is given.
        tricks: that the map is made with; thresholds are of a model without any.
        names: of the classes.
        risk: largest share of errors; with the model's thresholds one of `core.three_state.RISKS`.
        reference: class raster or polygons of a part of the map.

    Raises:
        MapmendError: no such class, thresholds or file.
    """
    model = models[0]
    card = read_card(model)
    legend = Legend.from_dict(card.legend, where=model)
    known = tuple(legend.names[legend.index_of(name)] for name in names)
    if reference is not None and not reference.is_file():
        raise ManifestError("no such file", where=reference, fix="correct the path")
    if reference is None and (tricks.any or len(models) > 1):
        raise ModelError(
            "a model's thresholds are of its own probabilities, not of several models', views' or suppressed classes'",
            where=model,
            fix="give --certain-reference, or map with the model alone",
        )
    thresholds = of_model(card.metrics, known, risk, model) if reference is None else None
    return WantedCertain(legend, known, risk, thresholds, reference)


def certain_step(made: MapResult, wanted: WantedCertain) -> tuple[CertainMap, ...]:
    """Write three-state maps of classes beside a map that has their probabilities, and say what they promise.

    Raises:
        MapmendError: the reference covers nothing of the map, or a file cannot be read or written.
    """
    thresholds = wanted.thresholds
    if thresholds is None:
        assert wanted.reference is not None
        thresholds = of_reference(made, wanted.legend, wanted.names, wanted.risk, wanted.reference)
    maps = write_certain(made, wanted.legend, thresholds)
    for one in maps:
        console.print(one.describe(), soft_wrap=True, highlight=False)
    return maps


def _probabilities(project: Project, options: PredictOptions) -> tuple[str, ...]:
    """Classes whose probability is written: those that are asked for, and those of three-state maps."""
    settings = project.predict_settings()
    asked = options.probabilities or settings.probabilities
    return tuple({*((asked,) if isinstance(asked, str) else asked), *(options.certain or settings.certain)})


def project_predictor(project: Project, out: Path, options: PredictOptions) -> Predictor:
    """The project's model, or the one that is asked for, with the project's settings unless others are asked for."""
    settings = project.predict_settings()
    return assembled_predictor(
        options.models or predicting_models(project, out),
        _tricks(project, options),
        window=options.window or settings.window,
        overlap=options.overlap if options.overlap is not None else settings.overlap,
        batch=options.batch or settings.batch,
        precision=options.precision or settings.precision,
        device=options.device,
    )


def _modalities(card: ModelCard) -> dict[str, int]:
    """Bands of each modality that a model reads, in its order."""
    return {name: len(Sensor.from_dict(sensor).bands) for name, sensor in card.sensors.items()}


def _tricks(project: Project, options: PredictOptions) -> Tricks:
    settings = project.predict_settings()
    return Tricks(
        options.views or settings.views,
        options.suppress or settings.suppress,
        options.disagreement or settings.disagreement,
    )


def change_step(project: Project, out: Path) -> dict[str, ChangeResult]:
    """From-to rasters, consistent maps, the updated map and polygons of every site that was mapped as a pair.

    Raises:
        ManifestError: no site has two dates.
        JobError: a pair is not mapped yet.
    """
    settings = project.change_settings()
    jobs = _pairs(project, out)
    if not jobs:
        raise _no_pair(project)
    for job in jobs:
        if not job.mapped:
            raise JobError("is not mapped yet", where=f"site '{job.key}'", fix="run `mapmend predict` first")
    made = {}
    for job in _tracked(jobs, "comparing"):
        inputs = job.change_inputs(project.old_map)
        made[job.key] = change_maps(inputs, project.legend, job.change_folder, settings, progress=len(jobs) == 1)
    describe_in_stac(project, [(job, job.change_folder) for job in jobs], out / CHANGES)
    return made


def has_pairs(project: Project, out: Path) -> bool:
    """Whether the project maps any site as a pair."""
    return bool(_pairs(project, out))


def _pairs(project: Project, out: Path) -> list[MapJob]:
    return [job for job in map_jobs(project, out) if job.before is not None]


def _no_pair(project: Project) -> ManifestError:
    if project.dates != "pair":
        return ManifestError(
            f"maps `dates: {project.dates}`, and change compares maps that are made as a pair",
            where=project.path,
            fix="list `change` among the steps",
        )
    split = project.predict_settings().split
    of_split = f" in split '{split}', which alone predict maps," if split else ""
    return ManifestError(
        f"no site{of_split} has two dates to compare",
        where=project.path,
        fix="list images of two dates, or `steps` without change",
    )


def _tracked(jobs: Sequence[MapJob], word: str) -> Iterator[MapJob]:
    columns = (TextColumn(word), BarColumn(), MofNCompleteColumn(), TextColumn("sites"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=len(jobs) == 1) as bar:
        yield from bar.track(jobs)


def is_first_process() -> bool:
    """Whether this is the first, or the only, of the processes that torchrun, SLURM or the training loop started."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"))
