"""`pseudo` by its models: of a manifest, or of a project's prepared sites."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mapmend.core.legend import Legend
from mapmend.core.sensor import Sensor
from mapmend.data.scenes import check_files, read_scenes, with_sensor
from mapmend.data.sites import PreparedSite
from mapmend.nn.model_folder import read_card
from mapmend.predict.assembled import Tricks, assembled_predictor
from mapmend.predict.ensemble import check_members
from mapmend.predict.predictor import Predictor
from mapmend.pseudo.job import WORK, PseudoResult, check_settings, label_places
from mapmend.pseudo.places import places_of_rows, places_of_sites
from mapmend.pseudo.settings import PseudoSettings


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
    return label_places(predictors, places, out, settings)


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
        if site.split != "test" and settings.split in ("", site.split) and (site.label is not None) == wanted
    ]
    places = places_of_sites(chosen, list(read_card(models[0]).sensors))
    return label_places(predictors, places, out, settings, progress=len(places) == 1)


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
