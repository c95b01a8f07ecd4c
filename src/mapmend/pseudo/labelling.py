"""`pseudo` by its models: of a manifest, or of a project's prepared sites."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mapmend.core.durable import replace_json
from mapmend.core.legend import Legend
from mapmend.core.provenance import value_hash
from mapmend.core.sensor import Sensor
from mapmend.data.leaks import side_of_site
from mapmend.data.scenes import check_files, read_scenes, with_sensor
from mapmend.data.sites import PreparedSite
from mapmend.nn.model_folder import learned_shares, read_card
from mapmend.predict.assembled import Tricks, assembled_predictor
from mapmend.predict.class_shares import Floats, class_shares, described, with_class_shares
from mapmend.predict.ensemble import check_members
from mapmend.predict.predictor import Predictor
from mapmend.pseudo.job import WORK, PseudoResult, check_settings, label_places, work_of
from mapmend.pseudo.places import Place, image_stamps, places_of_rows, places_of_sites
from mapmend.pseudo.settings import PseudoSettings

SHARES = "shares.json"
_ONE_CLASS = 0.95  # share of a class that leaves the others next to nothing


def pseudo_manifest(
    manifest: Path, models: Sequence[Path], out: Path, settings: PseudoSettings | None = None, *, device: str = "auto"
) -> PseudoResult:
    """Label the places of a manifest; those that lack an image that the models read are left out.

    Args:
        manifest: CSV or Parquet; its sensors are called as in the models' project.
        models: model folders of one legend and the same sensors.
        out: folder of the labels and of the manifest that points to them.
        settings: see there.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        MapmendError: models that do not go together, an image that they cannot read, or as of `label_places`.
    """
    settings = settings or PseudoSettings()
    predictors = pseudo_predictors(models, settings, device)
    card = read_card(models[0])
    cards = {name: Sensor.from_dict(plain, where=models[0]) for name, plain in card.sensors.items()}
    rows = with_sensor(read_scenes(str(manifest.absolute()), Path()), list(cards))
    check_files(rows, manifest)
    rows = tuple(row for row in rows if row.split != "test" and settings.split in ("", row.split))
    legend = Legend.from_dict(card.legend, where=models[0])
    places = places_of_rows(rows, cards, legend, out / WORK, labels=settings.combine == "label")
    return _labelled(predictors, models, places, out, settings)


def pseudo_sites(
    sites: Sequence[PreparedSite],
    models: Sequence[Path],
    out: Path,
    settings: PseudoSettings | None = None,
    *,
    device: str = "auto",
) -> PseudoResult:
    """Label prepared sites without a label, or, to agree with it, those with one; arguments as of `pseudo_manifest`.

    Raises:
        MapmendError: as of `pseudo_manifest`.
    """
    settings = settings or PseudoSettings()
    predictors = pseudo_predictors(models, settings, device)
    wanted = settings.combine == "label"
    chosen = [
        site
        for site in sites
        if side_of_site(site) != "test" and settings.split in ("", site.split) and (site.label is not None) == wanted
    ]
    places = places_of_sites(chosen, list(read_card(models[0]).sensors))
    return _labelled(predictors, models, places, out, settings, progress=len(places) == 1)


def pseudo_predictors(models: Sequence[Path], settings: PseudoSettings, device: str) -> list[Predictor]:
    """A predictor for each map that has to agree: of each model, or one of the only model or of their mean.

    Raises:
        ModelError: they differ in legend or sensors.
        ProjectError: their number does not go with the combination.
    """
    check_settings(settings, len(models))
    tricks = Tricks(settings.views, settings.suppress)
    plain = {"batch": settings.batch, "device": device}
    given = {"window": settings.window, "overlap": settings.overlap}
    if settings.combine in ("single", "mean"):
        return [assembled_predictor(models, tricks, **plain, **given)]
    first = assembled_predictor(models[:1], tricks, **plain, **given)
    given = {"window": first.lattice.size, "overlap": first.lattice.overlap}
    predictors = [first, *(assembled_predictor([model], tricks, **plain, **given) for model in models[1:])]
    if len(predictors) > 1:
        check_members(predictors)
    return predictors


def _labelled(
    predictors: Sequence[Predictor],
    models: Sequence[Path],
    places: Sequence[Place],
    out: Path,
    settings: PseudoSettings,
    *,
    progress: bool = True,
) -> PseudoResult:
    """`label_places`, by the class shares of the places where these are asked for.

    What was found of shares is kept in `shares.json`, and looked for again only with other models or places.
    """
    if settings.shares == "learned":
        return label_places(predictors, places, out, settings, progress=progress)
    alone = len(predictors) == len(models)
    learned = [np.array(learned_shares(of_one)) for of_one in ([[model] for model in models] if alone else [models])]
    scenes, known, images = [place.scene for place in places], _shares_found(out), image_stamps(places)
    made, fitting = {}, []
    for predictor, before in zip(predictors, learned, strict=True):
        key = value_hash([work_of(predictor), before.tolist(), images])
        names = predictor.legend.names
        made[key] = known.get(key) or described(names, before, class_shares(predictor, before, scenes))
        found = np.array([made[key][name]["estimated"] for name in names])
        _warn_of_one_class(names, before, found)
        fitting.append(with_class_shares(predictor, before, found))
    out.mkdir(parents=True, exist_ok=True)
    replace_json(out / SHARES, made)
    result = label_places(fitting, places, out, settings, progress=progress)
    return replace(result, shares=tuple(made.values()))


def _warn_of_one_class(names: Sequence[str], learned: Floats, found: Floats) -> None:
    """An undertrained model finds its commonest class everywhere, and shares estimated from it say so."""
    most = int(found.argmax())
    if found[most] > _ONE_CLASS and learned[most] < _ONE_CLASS:
        warnings.warn(
            f"shares: estimated finds '{names[most]}' on {100 * found[most]:.0f} % of these places, "
            f"{100 * learned[most]:.0f} % of the model's labels: if that cannot be, train longer, or leave it out",
            stacklevel=2,
        )


def _shares_found(out: Path) -> dict[str, Mapping[str, Mapping[str, float]]]:
    try:
        found: dict[str, Mapping[str, Mapping[str, float]]] = json.loads((out / SHARES).read_text())
        return found
    except (OSError, ValueError):
        return {}
