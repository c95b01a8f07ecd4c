"""What `predict` does, once its options are understood: the sites of a project, or a scene of image files."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer

from mapmend.certain import WantedCertain
from mapmend.cli.images import images_of, in_order, placed_images
from mapmend.cli.options import Rule, emit, emit_estimate, folder_of
from mapmend.core.errors import EmptyMapError, ProjectError
from mapmend.core.manifest import check_pair
from mapmend.core.sensor import Sensor
from mapmend.nn.model_folder import read_card
from mapmend.predict.assembled import Tricks, assembled_predictor
from mapmend.predict.backends.choose import on_backend
from mapmend.predict.estimate import total
from mapmend.predict.executors.local import work_through
from mapmend.predict.job import MapResult, estimate_scene, predict_scene, predict_shard
from mapmend.predict.predictor import Predictor
from mapmend.predict.scene import Scene, mosaic_of_files, scene_of_files, scenes_of_zones
from mapmend.project import load_project
from mapmend.raster.png import write_class_png
from mapmend.raster.stac import write_item
from mapmend.run import claimed
from mapmend.step_settings import PredictSettings
from mapmend.steps import PredictOptions, certain_step, estimate_step, predict_step, wanted_certain

UTM = "utm"  # for --crs: a grid for each zone


@dataclass(frozen=True)
class Images:
    """What is mapped where no project names it.

    Attributes:
        inputs: of the date that is mapped; image files, SENSOR=FILE, STAC files, or a manifest of a mosaic.
        before: of an earlier date.
        rule: by which images make a mosaic; None where they are sensors of one place.
        grid: raster whose grid a mosaic has.
        crs: of a mosaic; `utm` makes one for each zone.
        gsd: side of a mosaic's pixels.
        date: of the images.
        date_before: of those of the earlier date.
    """

    inputs: tuple[Path, ...]
    before: tuple[Path, ...] = ()
    rule: Rule | None = None
    grid: Path | None = None
    crs: str = ""
    gsd: float | None = None
    date: str = ""
    date_before: str = ""

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ProjectError: a date is missing, a grid is of no mosaic, or its pixels have no size.
        """
        if bool(self.before) != bool(self.date_before) and self.date:
            raise ProjectError(
                "of two dates one is given", where="--date", fix="give --before with --date-before, or neither"
            )
        if self.rule is None and (self.grid is not None or self.crs or self.gsd is not None):
            raise ProjectError("a grid is for --mosaic", where="--grid", fix="give --mosaic first, or leave it out")
        if self.crs == UTM and (self.gsd is None or self.grid is not None):
            what = "makes a grid for each zone, of pixels whose size it must be told"
            raise ProjectError(what, where="--crs utm", fix="give --gsd in metres, and no --grid")
        if self.rule is not None and self.before:
            raise ProjectError("two dates make no mosaic", where="--mosaic", fix="mosaic each date by itself")

    def scenes(self, model: Path, predictor: Predictor, aoi: Path | None) -> list[Scene]:
        """Scenes to map, with their dates: one, or one for each UTM zone.

        Raises:
            SensorError, ManifestError, RasterError: the images are not what the model was made for, or cannot be read.
            ProjectError: the dates are in the wrong order.
        """
        area = str(aoi) if aoi else None
        date, date_before = self.date, self.date_before
        if self.rule is not None:
            crs = "" if self.crs == UTM else self.crs
            placed = placed_images(self.inputs, predictor.sensors, self.rule, self.grid, crs, self.gsd)
            named = [str(path) for path in self.inputs]
            if self.crs == UTM:
                scenes = scenes_of_zones(named, predictor.sensors, area, placed)
            else:
                scenes = [mosaic_of_files(named, predictor.sensors, area, placed=placed)]
        else:
            sensors = read_card(model).sensors  # of one date, also where the model wants two
            names, cards = list(sensors), [Sensor.from_dict(card, where=model) for card in sensors.values()]
            files, dated = images_of(self.inputs, cards)
            earlier, dated_before = images_of(self.before, cards)
            if not self.before or (dated and dated_before):
                date, date_before = date or dated, date_before or dated_before
            files, absent = in_order(files, names)
            scenes = [scene_of_files(files, cards, area, in_order(earlier, names)[0], absent=absent)]
        check_pair(date_before, date, "--date")
        return [replace(scene, date=date, date_before=date_before) for scene in scenes]


@dataclass(frozen=True)
class Told:
    """Where a mapping leaves what it makes.

    Attributes:
        out: folder of the results.
        png: folder for a PNG of each map's codes too.
        dry_run: say what it would take, and write nothing.
        json_file: of the result as JSON.
    """

    out: Path | None
    png: Path | None
    dry_run: bool
    json_file: str | None


def map_project(file: Path, data: Path | None, options: PredictOptions, where: Told) -> None:
    """Map a project's sites, or say what that would take."""
    project = load_project(file, data)
    folder = folder_of(where.out, project.name)
    if where.dry_run:
        emit_estimate(estimate_step(project, folder, options), where.json_file)
        return
    with claimed(project, folder, "predict") if options.shard is None else nullcontext():
        maps = predict_step(project, folder, options)
    if where.png is not None:
        for name, path in maps.items():
            write_class_png(path / "class.tif", where.png / f"{name.replace('/', '_')}.png")
    emit({"maps": {name: str(path) for name, path in maps.items()}}, where.json_file)


def map_images(images: Images, options: PredictOptions, where: Told) -> None:
    """Map a scene of files, or say what that would take; of several UTM zones each has a folder below `out`."""
    out = where.out
    if not options.models or (out is None and not where.dry_run):
        raise ProjectError("image files need --model and --out", fix="or give a project file")
    defaults = PredictSettings()
    tricks = Tricks(options.views or defaults.views, options.suppress, options.disagreement)
    predictor = assembled_predictor(
        options.models,
        tricks,
        window=options.window,
        overlap=options.overlap,
        batch=options.batch,
        precision=options.precision or "float32",
        device=options.device,
    )
    scenes = images.scenes(options.models[0], predictor, options.aoi)
    folders = [out / scene.zone.name if scene.zone is not None else out for scene in scenes] if out is not None else []
    predictor = on_backend(predictor, options.backend or "torch", folders)
    layers: dict[str, Any] = {"block": options.block, "probabilities": options.named, "entropy": options.entropy}
    if where.dry_run:
        emit_estimate(total(estimate_scene(predictor, scene, **layers) for scene in scenes), where.json_file)
        return
    wanted = None
    if options.certain:
        risk = options.risk or defaults.risk
        wanted = wanted_certain(options.models, tricks, options.certain, risk, options.certain_reference)
    told: dict[str, dict[str, Any]] = {}
    unfinished = False
    nothing = None
    for scene, folder in zip(scenes, folders, strict=True):
        try:
            result = (
                predict_scene(predictor, scene, folder, **layers, executor=options.cluster or work_through)
                if options.shard is None
                else predict_shard(predictor, scene, folder, options.shard, **layers)
            )
        except EmptyMapError as fault:  # of several zones, one may be touched by the frames of images alone
            nothing = fault
            continue
        if result is None:
            unfinished = True
        else:
            told[folder.name] = _told(result, scene, folder, predictor, where.png, wanted)
    if nothing is not None and not told and not unfinished:
        raise nothing
    if unfinished:
        typer.echo(f"shard {options.shard} is done; others are not", err=True)
        emit({"finished": False}, where.json_file)
        return
    emit({"maps": told} if images.crs == UTM else next(iter(told.values())), where.json_file)


def _told(
    result: MapResult,
    scene: Scene,
    folder: Path,
    predictor: Predictor,
    png: Path | None,
    wanted: WantedCertain | None,
) -> dict[str, Any]:
    """What was written of a scene, as plain values, after what goes with its map: PNG, three-state maps, STAC item."""
    if png is not None:
        write_class_png(result.class_path, png / f"{scene.name}.png")
    typer.echo(f"map: {result.class_path}", err=True)
    made = {
        "class": result.class_path,
        "confidence": result.confidence_path,
        "change": result.change_path,
        "entropy": result.entropy_path,
        "disagreement": result.disagreement_path,
        "used": result.used_path,
    }
    told: dict[str, Any] = {layer: str(path) for layer, path in made.items() if path is not None}
    if result.probability_paths:
        told["probability"] = {name: str(path) for name, path in result.probability_paths.items()}
    if wanted is not None:
        told["certain"] = {one.name: one.to_dict() for one in certain_step(result, wanted)}
    names = {"name": scene.name, "date": scene.date, "date_before": scene.date_before}
    if scene.date and (item := write_item(folder, scene.grid, **names, legend=predictor.legend)) is not None:
        told["item"] = str(item)
    return told
