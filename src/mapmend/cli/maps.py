"""Verbs that make maps, of a project or of files: predict, change."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mapmend.cli.jobs import tell_of_jobs
from mapmend.cli.mosaics import images_of, in_order, placed_images
from mapmend.cli.options import Data, Device, Json, Out, Precision, emit, emit_estimate, folder_of
from mapmend.core.errors import EmptyMapError, ProjectError

UTM = "utm"  # for --crs: a grid for each zone


def predict(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="PROJECT.yaml|IMAGE...|MAP", help="A project, a scene's files (or SENSOR=FILE), or a map's folder."
        ),
    ],
    out: Out = None,
    model: Annotated[
        list[Path] | None,
        typer.Option("--model", help="A model folder; of several, the mean counts. Default: the project's own."),
    ] = None,
    before: Annotated[
        list[Path] | None, typer.Option("--before", help="An image of an earlier date, to be mapped with the change.")
    ] = None,
    mosaic: Annotated[
        Literal["first", "newest"] | None,
        typer.Option("--mosaic", help="Images, or a manifest's, make one map; which counts where several are valid."),
    ] = None,
    grid: Annotated[Path | None, typer.Option("--grid", help="With --mosaic: a raster whose grid the map has.")] = None,
    crs: Annotated[
        str, typer.Option("--crs", help="With --mosaic and --gsd: of the map; utm makes one for each UTM zone.")
    ] = "",
    gsd: Annotated[float | None, typer.Option("--gsd", help="With --mosaic: side of the map's pixels.")] = None,
    aoi: Annotated[Path | None, typer.Option("--aoi", help="Vector file outside of which the map has no data.")] = None,
    window: Annotated[int | None, typer.Option("--window", min=32, help="Side of a window in pixels.")] = None,
    overlap: Annotated[int | None, typer.Option("--overlap", min=0, help="Pixels that windows share.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Windows at once.")] = None,
    precision: Annotated[Precision | None, typer.Option("--precision", help="Of the network's arithmetic.")] = None,
    probability: Annotated[
        list[str] | None,
        typer.Option("--probability", metavar="CLASS", help="Write this class's probability too; all for each class."),
    ] = None,
    entropy: Annotated[bool, typer.Option("--entropy", help="Write how undecided the model is too.")] = False,
    disagreement: Annotated[
        bool, typer.Option("--disagreement", help="Write how much several models disagree too.")
    ] = False,
    date: Annotated[str, typer.Option("--date", help="Of the images: a STAC item is written beside the map.")] = "",
    date_before: Annotated[str, typer.Option("--date-before", help="Of those of --before.")] = "",
    certain: Annotated[
        list[str] | None,
        typer.Option("--certain", metavar="CLASS", help="Map where it is the class, is not, or cannot be told."),
    ] = None,
    risk: Annotated[
        float | None, typer.Option("--risk", help="With --certain: largest share of errors. Default: 0.05")
    ] = None,
    certain_reference: Annotated[
        Path | None,
        typer.Option("--certain-reference", help="With --certain: truth of a part, by which its thresholds are set."),
    ] = None,
    backend: Annotated[
        Literal["auto", "torch", "openvino"] | None,
        typer.Option("--backend", help="What runs the network; auto tries. Default: torch"),
    ] = None,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="Do this part of the blocks; the last part finishes.")
    ] = None,
    executor: Annotated[
        Literal["local", "ray"], typer.Option("--executor", help="Who does the blocks: this process, or a Ray cluster.")
    ] = "local",
    ray_address: Annotated[
        str | None, typer.Option("--ray-address", help="With ray: host:port of a cluster. Default: this machine.")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, help="With ray: processes. Default: all.")] = 0,
    block: Annotated[int | None, typer.Option("--block", min=32, help="Side of a block in pixels, at most.")] = None,
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Of a processor. Default: all.")] = None,
    status: Annotated[bool, typer.Option("--status", help="Say how far it is, and do nothing.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Compare what is written with its checksums.")] = False,
    views: Annotated[
        int | None, typer.Option("--views", help="Looks at each window, of which the mean is taken: 1, 4, 8 or 24.")
    ] = None,
    suppress: Annotated[
        list[str] | None, typer.Option("--suppress", metavar="CLASS", help="A class that the map never shows.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option("--png", help="Folder for a PNG of each map's codes too, 0 where there is no class.")
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Images may be https:, s3:, gs: or az: addresses, or in STAC items.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and write nothing.")] = False,
    data: Data = None,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Map a project's sites, or one scene given by its image files; goes on where an interrupted one stopped."""
    if status or check:
        if tell_of_jobs(inputs, out, data, json_file, check=check):
            raise typer.Exit(1)
        return
    if allow_remote:
        from mapmend.raster import remote

        remote.allow_remote()
    if inputs[0].is_dir():
        raise ProjectError("is a folder", where=inputs[0], fix="give a project or images; a map's folder with --status")
    from mapmend.core.manifest import check_pair
    from mapmend.core.sensor import Sensor
    from mapmend.core.settings import from_mapping
    from mapmend.nn.model_folder import read_card
    from mapmend.predict.assembled import Tricks, assembled_predictor
    from mapmend.predict.backends.choose import on_backend
    from mapmend.predict.estimate import total
    from mapmend.predict.executors.local import work_through
    from mapmend.predict.executors.ray import Ray
    from mapmend.predict.executors.shard import Shard
    from mapmend.predict.job import estimate_scene, predict_scene, predict_shard
    from mapmend.predict.scene import Scene, mosaic_of_files, scene_of_files, scenes_of_zones
    from mapmend.project import PredictSettings, load_project
    from mapmend.raster.png import write_class_png
    from mapmend.raster.stac import write_item
    from mapmend.run import claimed
    from mapmend.steps import PredictOptions, certain_step, estimate_step, predict_step, wanted_certain

    if bool(before) != bool(date_before) and date:
        raise ProjectError(
            "of two dates one is given", where="--date", fix="give --before with --date-before, or neither"
        )
    if mosaic is None and (grid is not None or crs or gsd is not None):
        raise ProjectError("a grid is for --mosaic", where="--grid", fix="give --mosaic first, or leave it out")
    if crs == UTM and (gsd is None or grid is not None):
        what = "makes a grid for each zone, of pixels whose size it must be told"
        raise ProjectError(what, where="--crs utm", fix="give --gsd in metres, and no --grid")
    if mosaic is not None and before:
        raise ProjectError("two dates make no mosaic", where="--mosaic", fix="mosaic each date by itself")
    if aoi is not None and not aoi.is_file():
        raise ProjectError("no such file", where=f"--aoi {aoi}", fix="correct the path")
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    part = Shard.parse(shard) if shard is not None else None
    ray = executor == "ray" or ray_address is not None
    if ray and part is not None:
        raise ProjectError(
            "a cluster does not share a job by shards", where="--shard", fix="give --shard or --executor"
        )
    cluster = Ray(ray_address or "", workers) if ray else None
    asked = {"views": views} if views is not None else {}
    looks = from_mapping(PredictSettings, asked, where="--views").views
    tricks = Tricks(looks, tuple(suppress or ()), disagreement)
    chances = tuple(probability or ())
    options = PredictOptions(
        models=tuple(model or ()),
        aoi=aoi,
        window=window,
        overlap=overlap,
        batch=batch,
        precision=precision,
        device=device,
        probabilities=chances,
        certain=tuple(certain or ()),
        risk=risk,
        certain_reference=certain_reference,
        views=looks if views is not None else None,
        suppress=tricks.suppress,
        block=block,
        shard=part,
        backend=backend,
        cluster=cluster,
        entropy=entropy,
        disagreement=disagreement,
    )
    if inputs[0].suffix in (".yaml", ".yml"):
        if before or date or date_before or len(inputs) > 1:
            raise ProjectError(
                "a project's images and dates are named in its file",
                where=inputs[0],
                fix="list the earlier ones below `scenes:`",
            )
        project = load_project(inputs[0], data)
        folder = folder_of(out, project.name)
        if dry_run:
            emit_estimate(estimate_step(project, folder, options), json_file)
            return
        with claimed(project, folder, "predict") if part is None else nullcontext():
            maps = predict_step(project, folder, options)
        if png is not None:
            for name, path in maps.items():
                write_class_png(path / "class.tif", png / f"{name.replace('/', '_')}.png")
        emit({"maps": {name: str(path) for name, path in maps.items()}}, json_file)
        return
    if not model or (out is None and not dry_run):
        raise ProjectError("image files need --model and --out", fix="or give a project file")
    predictor = assembled_predictor(
        model,
        tricks,
        window=window,
        overlap=overlap,
        batch=batch,
        precision=precision or "float32",
        device=device,
    )
    area = str(aoi) if aoi else None
    if mosaic is not None:
        placed = placed_images(inputs, predictor.sensors, mosaic, grid, "" if crs == UTM else crs, gsd)
        named = [str(path) for path in inputs]
        if crs == UTM:
            scenes = scenes_of_zones(named, predictor.sensors, area, placed)
        else:
            scenes = [mosaic_of_files(named, predictor.sensors, area, placed=placed)]
    else:
        sensors = read_card(model[0]).sensors  # of one date, also where the model wants two
        names, cards = list(sensors), [Sensor.from_dict(card, where=model[0]) for card in sensors.values()]
        files, dated = images_of(inputs, cards)
        earlier, dated_before = images_of(before or (), cards)
        if not before or (dated and dated_before):
            date, date_before = date or dated, date_before or dated_before
        files, absent = in_order(files, names)
        scenes = [scene_of_files(files, cards, area, in_order(earlier, names)[0], absent=absent)]
    check_pair(date_before, date, "--date")
    scenes = [replace(scene, date=date, date_before=date_before) for scene in scenes]
    # where there are several zones, each has a folder of its own
    folders = [out / scene.zone.name if scene.zone is not None else out for scene in scenes] if out is not None else []
    predictor = on_backend(predictor, backend or "torch", folders)
    more: dict[str, Any] = {"block": block, "probabilities": options.named, "entropy": entropy}
    if dry_run:
        emit_estimate(total(estimate_scene(predictor, scene, **more) for scene in scenes), json_file)
        return
    share = risk or PredictSettings().risk
    wanted = wanted_certain(model, tricks, options.certain, share, certain_reference) if options.certain else None

    def mapped(scene: Scene, folder: Path) -> dict[str, Any] | None:
        """What was written of a scene, as plain values; None of a shard whose others are not done."""
        result = (
            predict_scene(predictor, scene, folder, **more, executor=cluster or work_through)
            if part is None
            else predict_shard(predictor, scene, folder, part, **more)
        )
        if result is None:
            return None
        if png is not None:
            write_class_png(result.class_path, png / f"{scene.name}.png")
        typer.echo(f"map: {result.class_path}", err=True)
        made = {
            "class": result.class_path,
            "confidence": result.confidence_path,
            "change": result.change_path,
            "entropy": result.entropy_path,
            "disagreement": result.disagreement_path,
        }
        told: dict[str, Any] = {layer: str(path) for layer, path in made.items() if path is not None}
        if result.probability_paths:
            told["probability"] = {name: str(path) for name, path in result.probability_paths.items()}
        if wanted is not None:
            told["certain"] = {one.name: one.to_dict() for one in certain_step(result, wanted)}
        names = {"name": scene.name, "date": date, "date_before": date_before}
        if date and (item := write_item(folder, scene.grid, **names, legend=predictor.legend)) is not None:
            told["item"] = str(item)
        return told

    written: dict[Path, dict[str, Any] | None] = {}
    nothing = None
    for scene, folder in zip(scenes, folders, strict=True):
        try:
            written[folder] = mapped(scene, folder)
        except EmptyMapError as fault:  # of several zones, one may be touched by the frames of images alone
            nothing = fault
    if nothing is not None and not written:
        raise nothing
    if None in written.values():
        typer.echo(f"shard {shard} is done; others are not", err=True)
        emit({"finished": False}, json_file)
        return
    told_of = {folder.name: told for folder, told in written.items() if told is not None}
    emit({"maps": told_of} if crs == UTM else next(iter(told_of.values())), json_file)


def change(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="PROJECT.yaml|MAP|BEFORE.tif AFTER.tif",
            help="A project, the folder of a map of two dates, or two class rasters.",
        ),
    ],
    out: Out = None,
    legend: Annotated[str | None, typer.Option("--legend", help="Of two rasters: a shipped legend, or a file.")] = None,
    probability: Annotated[
        Path | None, typer.Option("--probability", help="Raster of the probability of change, 200·p in 8 bits.")
    ] = None,
    old: Annotated[
        Path | None, typer.Option("--old", help="The map to be updated. Default: the earlier raster.")
    ] = None,
    date_before: Annotated[str, typer.Option("--date-before", help="Of the earlier raster.")] = "",
    date_after: Annotated[str, typer.Option("--date-after", help="Of the later raster.")] = "",
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Probability from which on it is a change. Default: 0.5")
    ] = None,
    mmu_ha: Annotated[float | None, typer.Option("--mmu-ha", help="Smallest patch in hectares.")] = None,
    mmu_pixels: Annotated[int | None, typer.Option("--mmu-pixels", help="Smallest patch in pixels.")] = None,
    data: Data = None,
    json_file: Json = None,
) -> None:
    """Compare two dates of a project, a map or class rasters: from-to raster, updated map, polygons and areas."""
    from mapmend.change.inputs import ChangeInputs, read_map
    from mapmend.change.job import change_maps
    from mapmend.change.settings import ChangeSettings
    from mapmend.core.legend import load_legend
    from mapmend.core.settings import from_mapping
    from mapmend.raster.opening import raster_info
    from mapmend.raster.stac import write_item

    given = {"threshold": threshold, "mmu_ha": mmu_ha, "mmu_pixels": mmu_pixels}
    asked = {name: value for name, value in given.items() if value is not None}
    if inputs[0].suffix in (".yaml", ".yml"):
        if asked or old or probability or legend or date_before or date_after or len(inputs) > 1:
            raise ProjectError("a project's change is set in its file", where=inputs[0], fix="set it below `change:`")
        from mapmend.project import load_project

        project = load_project(inputs[0], data)
        folder = folder_of(out, project.name)
        from mapmend.run import claimed
        from mapmend.steps import change_step  # torch and timm, which two rasters do not need

        with claimed(project, folder, "change"):
            results = change_step(project, folder)
        emit({name: result.to_dict() for name, result in results.items()}, json_file)
        return
    old_map = str(old) if old is not None else None
    if inputs[0].is_dir() and len(inputs) == 1 and out is not None:
        if legend or probability or date_before or date_after:
            raise ProjectError("a map's folder says legend, dates and probability itself", where=inputs[0])
        files, classes = read_map(inputs[0], old_map)
    elif len(inputs) != 2 or legend is None or out is None:
        number = "" if len(inputs) == 2 else f", and was given {len(inputs)} files"
        raise ProjectError(
            f"change wants two class rasters with --legend and --out{number}",
            fix="or give a project file, or the folder of a map of two dates with --out",
        )
    else:
        chance = str(probability) if probability is not None else None
        paths, dates = (str(inputs[0]), str(inputs[1])), (date_before, date_after)
        files, classes = ChangeInputs(*paths, chance, None, None, old_map, *dates), load_legend(legend, Path())
    files = replace(files, name=files.name or out.absolute().name)
    result = change_maps(files, classes, out, from_mapping(ChangeSettings, asked, where="options"))
    names = {"name": files.name, "date": files.date_after, "date_before": files.date_before}
    write_item(out, raster_info(files.after).grid, **names, legend=classes)
    typer.echo(f"changes: {result.folder / 'changes.gpkg'}", err=True)
    emit(result.to_dict(), json_file)
