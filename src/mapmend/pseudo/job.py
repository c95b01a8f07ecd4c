"""`pseudo`: models' maps of many places as labels, with how sure they are, and a manifest that points to them.

Each model maps each place with the engine that maps everything else, block by block and resumably. What the maps say
together is read in strips and counted; the confidence from which each class is kept follows from the counts of all
places; then the labels are written.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import yaml
from rasterio.windows import Window as RasterioWindow

from mapmend.core.classes import NODATA
from mapmend.core.durable import replace_file, replace_json
from mapmend.core.errors import JobError, LabelError, ProjectError
from mapmend.core.grid import Window, windows
from mapmend.core.legend import Legend
from mapmend.core.manifest import Row, format_manifest
from mapmend.core.provenance import RECORD, file_stamp, provenance, value_hash
from mapmend.predict.job import MapResult, predict_scene
from mapmend.predict.predictor import Predictor
from mapmend.pseudo.combining import Bytes, combined, selected, thresholds
from mapmend.pseudo.places import Place, image_stamps
from mapmend.pseudo.settings import PseudoSettings
from mapmend.pseudo.table import Table, table_of
from mapmend.pseudo.tally import Tally
from mapmend.raster.opening import handle, raster_faults
from mapmend.raster.writing import TiledWriter, write_qml

MANIFEST, LABEL, CONFIDENCE, LEGEND, TABLE = "scenes.csv", "label.tif", "confidence.tif", "legend.yaml", "table.json"
WORK = ".work"
_STRIP = 1024


@dataclass(frozen=True)
class PseudoResult:
    """Finished pseudo-labels.

    Attributes:
        folder: of the labels, a folder for each place in it.
        manifest: rows of all places, which point to their labels.
        places: keys of the places, which are the names of their folders.
        table: what was kept, by class, and how far the models agree.
        shares: of each model that had to agree, class by class the share `learned` and that `estimated` of the places,
            where these were asked for.
    """

    folder: Path
    manifest: Path
    places: tuple[str, ...]
    table: Table
    shares: tuple[Mapping[str, Mapping[str, float]], ...] = ()

    def to_dict(self) -> dict[str, object]:
        """Plain values."""
        more = {"shares": list(self.shares)} if self.shares else {}
        return {"folder": str(self.folder), "manifest": str(self.manifest), **self.table.to_dict(), **more}


def label_places(
    predictors: Sequence[Predictor],
    places: Sequence[Place],
    out: Path,
    settings: PseudoSettings,
    *,
    progress: bool = True,
) -> PseudoResult:
    """Label places; the same call goes on where an earlier one stopped, and other settings use its maps again.

    Args:
        predictors: those whose maps have to agree, one where there is but one, or an ensemble.
        places: what is labelled.
        out: folder of the labels; the models' maps stay in `.work` in it until the labels are written.
        settings: how the maps become labels.
        progress: show a progress line on a terminal.

    Raises:
        LabelError: a class that a model shows has no label left, or nothing is labelled at all.
        MapmendError: as `predict_scene`.
        Preempted: a signal came; what is done is kept.
    """
    legend = predictors[0].legend
    config = _config(predictors, places, settings)
    done = _finished(out, places, config)
    if done is not None:
        return done
    mapped: dict[str, list[MapResult]] = {place.key: [] for place in places}
    for predictor in predictors:
        folder = out / WORK / value_hash(work_of(predictor))[:16]
        for place in places:
            mapped[place.key].append(predict_scene(predictor, place.scene, folder / place.key, progress=progress))
    tally = Tally(len(legend), len(predictors))
    for place in places:
        for _, maps, label, confidence in _said(place, mapped[place.key], legend):
            tally.count(maps, label, confidence)
    least = thresholds(tally.candidates, settings.keep)
    _refuse_empty(tally, legend, settings)
    (out / RECORD).unlink(missing_ok=True)
    for place in places:
        tally.kept += _write(place, mapped[place.key], legend, least, out / place.key)
    table = table_of(tally, legend, least)
    replace_file(out / LEGEND, yaml.safe_dump(json.loads(json.dumps(legend.to_dict())), sort_keys=False))
    replace_file(out / MANIFEST, format_manifest(row for place in places for row in pointing(place, out)))
    replace_json(out / TABLE, table.to_dict())
    replace_json(out / RECORD, provenance(config))
    shutil.rmtree(out / WORK, ignore_errors=True)
    return _result(out, places, table)


def work_of(predictor: Predictor) -> list[object]:
    """All of a predictor that its maps depend on, or that a job of theirs goes on by."""
    lattice = predictor.lattice
    return [dict(predictor.identity), lattice.size, lattice.overlap, predictor.batch]


def labelled_keys(folder: Path) -> tuple[str, ...]:
    """Keys of the places that a finished job has labelled; what an earlier one left beside them does not count.

    Raises:
        JobError: there is none, or it cannot be read.
    """
    if not (folder / RECORD).is_file():
        raise JobError("holds no labels yet", where=folder, fix="run the project's step `pseudo` first")
    try:
        return tuple(place[0] for place in json.loads((folder / RECORD).read_text())["config"]["places"])
    except (ValueError, KeyError, TypeError, IndexError):
        raise JobError("cannot be read", where=folder / RECORD, fix="delete it, and run `pseudo` again") from None


def pointing(place: Place, out: Path) -> Iterator[Row]:
    """The place's rows, which point to its pseudo-label and carry no other."""
    folder = (out / place.key).absolute()
    for row in place.rows:
        if not row.image:
            continue
        yield replace(
            row,
            label=str(folder / LABEL),
            label_legend=None,
            label_field=None,
            label_class=None,
            label_rest=None,
            label_band=None,
            label_gsd=None,
            label_confidence=str(folder / CONFIDENCE),
            trust="pseudo",
        )


def _config(predictors: Sequence[Predictor], places: Sequence[Place], settings: PseudoSettings) -> dict[str, object]:
    """All that the labels depend on."""
    agreeing = places if settings.combine == "label" else ()
    given = [file_stamp(file) for place in agreeing for file in place.given_files]
    return {
        "settings": asdict(settings),
        "models": [dict(predictor.identity) for predictor in predictors],
        "windows": [[predictor.lattice.size, predictor.lattice.overlap] for predictor in predictors],
        "places": image_stamps(places),
        "labels": given,
    }


def _finished(out: Path, places: Sequence[Place], config: dict[str, object]) -> PseudoResult | None:
    """What an earlier call with the same settings has made, if it is all there."""
    files = [out / RECORD, out / TABLE, out / MANIFEST, *(out / place.key / LABEL for place in places)]
    if not all(file.is_file() for file in files):
        return None
    try:
        if json.loads((out / RECORD).read_text())["config_hash"] != value_hash(config):
            return None
        return _result(out, places, Table.from_dict(json.loads((out / TABLE).read_text())))
    except (ValueError, KeyError, TypeError):
        return None


def _result(out: Path, places: Sequence[Place], table: Table) -> PseudoResult:
    return PseudoResult(out, out / MANIFEST, tuple(place.key for place in places), table)


def _said(
    place: Place, maps: Sequence[MapResult], legend: Legend
) -> Iterator[tuple[Window, list[Bytes], Bytes, Bytes]]:
    """Window by window, each model's classes, and class and confidence of all of them together, as indices."""
    for window in windows(place.scene.grid, _STRIP):
        read = [(legend.lut[_read(one.class_path, window)], _read(one.confidence_path, window)) for one in maps]
        given = legend.lut[_read(Path(place.given), window)] if place.given is not None else None
        yield window, [index for index, _ in read], *combined(read, given)


def _read(path: Path, window: Window) -> Bytes:
    with raster_faults(path):
        area = RasterioWindow(window.col, window.row, window.width, window.height)
        values: Bytes = handle(str(path)).read(1, window=area)
        return values


def _write(place: Place, maps: Sequence[MapResult], legend: Legend, least: Sequence[int], folder: Path) -> np.ndarray:
    """Write a place's label and confidence; pixels kept per class."""
    folder.mkdir(parents=True, exist_ok=True)
    kept, grid = np.zeros(len(legend), np.int64), place.scene.grid
    with (
        TiledWriter(folder / LABEL, grid, 1, "uint8", nodata=NODATA, legend=legend, band_names=("label",)) as labels,
        TiledWriter(folder / CONFIDENCE, grid, 1, "uint8", nodata=NODATA, band_names=("confidence",)) as sure,
    ):
        for window, _, label, confidence in _said(place, maps, legend):
            label, confidence = selected(label, confidence, least)
            kept += np.bincount(label.ravel(), minlength=256)[: len(legend)]
            labels.write(window, legend.id_lut[label])
            sure.write(window, confidence)
    write_qml((folder / LABEL).with_suffix(".qml"), legend)
    return kept


def _refuse_empty(tally: Tally, legend: Legend, settings: PseudoSettings) -> None:
    left = tally.candidates.sum(1)
    if not left.any():
        raise LabelError("nothing is left to be a label", fix="the models agree nowhere: combine them by `mean`")
    empty = [
        name for name, shown, kept in zip(legend.names, tally.shown.sum(0), left, strict=True) if shown and not kept
    ]
    if empty and not settings.allow_empty:
        raise LabelError(
            f"class '{empty[0]}' has no pixel left after selection, and a model shows it",
            fix="combine by `mean`, or allow it with `allow_empty`",
        )


def check_settings(settings: PseudoSettings, models: int) -> None:
    """Refuse a combination that does not go with the number of models.

    Raises:
        ProjectError: it does not.
    """
    least = {"single": (1, 1), "mean": (2, 99), "agreement": (2, 99), "label": (1, 99)}[settings.combine]
    if not least[0] <= models <= least[1]:
        wanted = "one model" if least == (1, 1) else f"at least {least[0]} model{'s' if least[0] > 1 else ''}"
        fix = "combine by `mean` or `agreement`" if models > 1 else "give more models, or combine by `single`"
        raise ProjectError(f"'combine: {settings.combine}' wants {wanted}, and {models} are given", fix=fix)
