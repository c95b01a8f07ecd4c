"""A training of a project's method: on what, from which weights, and into which model folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch.utils.data import Dataset

from mapmend.calibrate import calibrate
from mapmend.core.errors import LabelError, ManifestError, ProjectError
from mapmend.core.places import TRAINED_ON, TrainedPlace, merged, trained_places
from mapmend.core.provenance import file_hash, provenance
from mapmend.core.sensor import Sensor
from mapmend.core.settings import from_mapping
from mapmend.data.alignment import resolution_alignment
from mapmend.data.augment import photometric
from mapmend.data.pair_data import UNLABELLED, pair_data
from mapmend.data.pairs import PairValidationSet
from mapmend.data.samples import TrainingSet, ValidationSet, shares_of
from mapmend.data.sites import Prepared, PreparedSite, channel_statistics, load_prepared
from mapmend.data.splits import SitePart, split_sites, with_fewer_labels
from mapmend.data.unlabelled import UnlabelledSet, unlabelled_sites
from mapmend.losses.distortion import distortion
from mapmend.maps import PREPARED
from mapmend.methods.method import Batch, Method
from mapmend.nn.build import build_network
from mapmend.nn.model_folder import (
    BELIEVED_SHARES,
    CLASS_SHARES,
    ModelCard,
    load_model,
    model_hash,
    read_card,
    save_model,
)
from mapmend.nn.spec import NetworkSpec
from mapmend.nn.warm_start import warm_start
from mapmend.project import Project
from mapmend.stages import learned_identity, learned_sites
from mapmend.step_settings import DataSettings
from mapmend.train.config import LoopConfig
from mapmend.train.loop import fit
from mapmend.train.session import Augment

console = Console(stderr=True)

LABELS = "labels"
"""Key of a model's provenance: name and SHA-256 of every label file that it learned from; null where nobody knows."""

_LEAST_WINDOW = 256  # of a model that was trained on smaller crops: fewer window edges


@dataclass(frozen=True)
class Given:
    """What a method is trained and validated on.

    Attributes:
        sites: whose images the network must be able to read.
        parts: of the labelled ones, and the blocks that are held out from them.
        training: samples, or by loader.
        validation: windows that validate; may be empty.
        counts: trainable labelled pixels per class.
        shares: of the classes in what is learned: labels, or the mixtures that their product stands for.
        believed: of the classes in the mixtures that the labels' product stands for, whatever is learned; empty where
            it has none.
        frequencies: of the classes, where the network is to know them.
        config: of the method, with what depends on the labels filled in.
    """

    sites: Sequence[PreparedSite]
    parts: Sequence[SitePart]
    training: Dataset[Any] | Mapping[str, Dataset[Any]]
    validation: ValidationSet | PairValidationSet
    counts: Sequence[int]
    shares: tuple[float, ...]
    believed: tuple[float, ...]
    frequencies: tuple[float, ...]
    config: Any


def train_project(
    project: Project,
    out: Path,
    training_folder: Path,
    model_folder: Path,
    *,
    start_from: Path | None = None,
    device: str = "auto",
) -> Path:
    """Train the project's method on all that it has labels for; the model folder.

    Args:
        project: whose `train` settings are used.
        out: holds what `prepare_step` left.
        training_folder: checkpoints and log, from which an interrupted training goes on.
        model_folder: where the model goes.
        start_from: a model whose weights to go on from, as far as they fit.
        device: auto, cpu, cuda or mps.
    """
    settings = project.train_settings()
    data, seed = settings.data, settings.loop.seed
    prepared = learned_sites(load_prepared(out / PREPARED), data, out)
    prepared = replace(prepared, sites=with_fewer_labels(prepared.sites, data.labelled_share, seed))
    if settings.method.pair(settings.own):
        given = _of_pairs(project, prepared)
    else:
        parts = split_sites(prepared.labelled, block=data.crop, share=data.validation_share, seed=seed)
        given = _of_parts(project, prepared, parts)
    return _train(project, out, given, training_folder, model_folder, start_from, device, validates=True)


def train_unseen(
    project: Project,
    out: Path,
    parts: Sequence[SitePart],
    training_folder: Path,
    model_folder: Path,
    *,
    device: str = "auto",
) -> Path:
    """Train the project's method on parts of its prepared sites, so that nobody looks at the labels held out.

    The last weights are taken, and are not calibrated. Arguments as of `train_project`, and:
        parts: what is trained on, and the blocks that are held out from it.

    Raises:
        ProjectError: a method of two dates, which has no map of one date's label.
    """
    settings = project.train_settings()
    if settings.method.pair(settings.own):
        raise ProjectError(
            f"method '{settings.method.name}' learns from pairs of dates, not from one label",
            where=project.path,
            fix="name a method of one date, like `method: supervised`",
        )
    given = _of_parts(project, load_prepared(out / PREPARED), parts)
    return _train(project, out, given, training_folder, model_folder, None, device, validates=False)


def _of_parts(project: Project, prepared: Prepared, parts: Sequence[SitePart]) -> Given:
    settings = project.train_settings()
    method, data, seed = settings.method, settings.data, settings.loop.seed
    legend = prepared.legend
    own = method.configured(settings.own, _label_ratio([part.site for part in parts if part.trains]))
    training = TrainingSet(
        parts,
        legend,
        data.crop,
        seed,
        label_pixels=method.sees_label_pixels(own),
        confidence=method.sees_confidence(own),
        scale=data.scale,
        most_of_class=data.most_of_class,
    )
    frequencies = training.frequencies() if method.knows_frequencies(own) else ()
    validation = ValidationSet(parts, legend, data.crop)
    sites = [part.site for part in parts]
    loaders: Mapping[str, Dataset[Any]] = {method.loaders[0]: training}
    if UNLABELLED in method.loaders:
        others = unlabelled_sites(prepared.sites)
        loaders = {**loaders, UNLABELLED: UnlabelledSet(others, legend, data.crop, seed)}
        sites += others
    counts = tuple(map(int, training.counts))
    return Given(sites, parts, loaders, validation, counts, training.shares(), training.believed(), frequencies, own)


def _of_pairs(project: Project, prepared: Prepared) -> Given:
    settings = project.train_settings()
    method, data = settings.method, settings.data
    own = method.configured(settings.own, None)
    found = pair_data(
        prepared,
        data.crop,
        data.validation_share,
        settings.loop.seed,
        unlabelled=UNLABELLED in method.loaders,
        change_alone=method.change_alone(own),
    )
    shares = shares_of(found.counts)
    return Given(found.sites, found.parts, found.training, found.validation, found.counts, shares, (), (), own)


def _train(
    project: Project,
    out: Path,
    given: Given,
    training_folder: Path,
    model_folder: Path,
    start_from: Path | None,
    device: str,
    *,
    validates: bool,
) -> Path:
    settings = project.train_settings()
    method_class, net, data, loop = settings.method, settings.network, settings.data, settings.loop
    if device != "auto":
        loop = from_mapping(LoopConfig, {**asdict(loop), "accelerator": device.partition(":")[0]}, where="--device")
    own, parts, legend = given.config, given.parts, load_prepared(out / PREPARED).legend
    modalities = _modalities(given.sites)
    mean, std = channel_statistics([part.site for part in parts if part.trains])
    bands = tuple(f"{modality}.{band}" for modality, sensor in modalities.items() for band in sensor.band_names)
    head = net.head or method_class.head
    encoder, decoder = published(method_class) if net.preset else (net.encoder, net.decoder)
    pair = method_class.pair(own)
    partial = method_class.drops_modalities(own)
    if partial and len(modalities) < 2:
        raise ProjectError("'modality_dropout' needs two sensors", where=project.path, fix="leave it out")
    spec = NetworkSpec(
        encoder, decoder, len(bands), len(legend), mean, std, net.decoder_widths, head, given.frequencies, pair, partial
    )
    torch.manual_seed(loop.seed)
    network, origin = build_network(spec, "none" if start_from is not None else net.weights)
    side = max(data.crop, _LEAST_WINDOW)
    cards = {modality: sensor.to_dict() for modality, sensor in modalities.items()}
    card = ModelCard(network.spec, cards, legend.to_dict(), side, side // 4, bands, method_class.name)
    places = [TrainedPlace(part.site.name, "train" if part.trains else "val", part.site.grid) for part in parts]
    if start_from is not None:
        other, other_card = load_model(start_from)
        origin = warm_start(network, other, card, other_card)
        places += trained_places(other_card.provenance, start_from) or ()
    console.print(f"weights: {origin.describe()}", soft_wrap=True, highlight=False)
    told: dict[str, object] = {"prepared": file_hash(out / PREPARED), **learned_identity(data, out)}
    if not validates:
        told["unseen"] = [part.describe() for part in parts]
    start = {"weights": origin.describe(), "from": model_hash(start_from) if start_from is not None else None}
    method = method_class(network, own, given.counts)
    method.bands, method.sensors = bands, modalities
    method.meet(legend.names, project.folder)
    result = fit(
        method,
        given.training,
        given.validation if validates and len(given.validation) else None,
        loop,
        training_folder,
        classes=legend.names,
        identity={**told, "network": spec.to_dict(), "data": asdict(data), **start},
        header={**start, "parts": [part.describe() for part in parts]},
        augment=_augmentation(mean, std, data),
    )
    if not result.first:
        raise SystemExit(0)  # the first process writes the model and goes on alone
    # what says change alone has no map of one date to be calibrated
    calibrates = validates and not method.change_alone(own)
    asked = settings.calibration.calibration if calibrates else "none"
    config = {
        "method": method.name,
        **asdict(net),
        **asdict(data),
        **asdict(loop),
        **asdict(method.config),
        "calibration": asked,
    }
    metrics: dict[str, object] = {
        "criterion": result.criterion,
        "best_step": result.best_step,
        "steps": result.steps,
        "stopped": result.stopped,
        "validation": result.metrics,
    }
    made = {**provenance(config, seed=loop.seed, inputs=[out / PREPARED]), **start, "seconds": round(result.seconds, 1)}
    made[TRAINED_ON] = [place.to_dict() for place in merged(places)]
    made[LABELS] = _labels_seen(parts, start_from)
    made[CLASS_SHARES] = list(given.shares)
    if given.believed:
        made[BELIEVED_SHARES] = list(given.believed)
    if asked != "none":
        calibrated = calibrate(network, card, parts, legend, asked, training_folder, loop.seed)
        console.print(f"calibration: {calibrated.describe()}", soft_wrap=True, highlight=False)
        metrics["calibration"] = dict(calibrated.evidence)
        card = replace(card, calibration=calibrated.calibration)
    card = replace(card, metrics=metrics, provenance=made)
    return save_model(model_folder, network, card)


def _augmentation(mean: tuple[float, ...], std: tuple[float, ...], data: DataSettings) -> Augment:
    """All that happens to a batch of windows, in this order: resolution, colours, light."""
    parts = (
        resolution_alignment(data.alignment),
        distortion(mean, std, applied=data.distortion),
        photometric(std, data.photometric),
    )

    def augment(batch: Batch, generator: torch.Generator) -> Batch:
        for part in parts:
            batch = part(batch, generator)
        return batch

    return augment


def published(method: type[Method]) -> tuple[str, str]:
    """Encoder and decoder of the network in a method's paper.

    Raises:
        ProjectError: it has none.
    """
    if method.published is None:
        raise ProjectError(f"method '{method.name}' has no published network", fix="give `encoder` and `decoder`")
    return method.published


def _labels_seen(parts: Sequence[SitePart], start_from: Path | None) -> list[dict[str, str]] | None:
    """Label files that were learned from, those of the model that was gone on from included; None: nobody knows."""
    files = sorted({file for part in parts for file in part.site.label_files})
    if not all(part.site.label_files for part in parts):
        return None
    seen = {file_hash(file): Path(file).name for file in files}
    if start_from is not None:
        earlier = read_card(start_from).provenance.get(LABELS)
        if not isinstance(earlier, list):
            return None
        seen = {one["sha256"]: one["name"] for one in earlier} | seen
    return [{"name": name, "sha256": sha256} for sha256, name in seen.items()]


def _label_ratio(sites: Sequence[PreparedSite]) -> float | None:
    """A label's pixel in pixels of the image, the largest of the sites; None where no label's pixel is known."""
    return max((ratio for site in sites if (ratio := site.label_ratio) is not None), default=None)


def _modalities(sites: Sequence[PreparedSite]) -> dict[str, Sensor]:
    """The sensors that every labelled site has, in the project's order.

    Raises:
        LabelError: no site is labelled.
        ManifestError: a site lacks a sensor that another has.
    """
    if not sites:
        raise LabelError("no scene has a label to train on", fix="give the manifest a `label`, or `--from` a model")
    first = {image.modality: image.source.sensor for image in sites[0].images}
    for site in sites:
        if [image.modality for image in site.images] != list(first):
            have = ", ".join(image.modality for image in site.images)
            raise ManifestError(f"site '{site.name}' {site.date} has {have}; '{sites[0].name}' has {', '.join(first)}")
    return first
