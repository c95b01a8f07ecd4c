"""Verbs that make maps, of a project or of files: predict, change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from mapmend.cli.jobs import tell_of_jobs
from mapmend.cli.options import Data, Device, Json, Out, Precision, Rule, emit, folder_of
from mapmend.core.errors import ProjectError


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
        Rule | None,
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
    from mapmend.cli.mapping import Images, Told, map_images, map_project
    from mapmend.core.settings import from_mapping
    from mapmend.predict.executors.ray import Ray
    from mapmend.predict.executors.shard import Shard
    from mapmend.step_settings import PredictSettings
    from mapmend.steps import PredictOptions

    images = Images(tuple(inputs), tuple(before or ()), mosaic, grid, crs, gsd, date, date_before)
    images.check()
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
    options = PredictOptions(
        models=tuple(model or ()),
        aoi=aoi,
        window=window,
        overlap=overlap,
        batch=batch,
        precision=precision,
        device=device,
        probabilities=tuple(probability or ()),
        certain=tuple(certain or ()),
        risk=risk,
        certain_reference=certain_reference,
        views=from_mapping(PredictSettings, {"views": views}, where="--views").views if views is not None else None,
        suppress=tuple(suppress or ()),
        block=block,
        shard=part,
        backend=backend,
        cluster=Ray(ray_address or "", workers) if ray else None,
        entropy=entropy,
        disagreement=disagreement,
    )
    told = Told(out, png, dry_run, json_file)
    if inputs[0].suffix not in (".yaml", ".yml"):
        map_images(images, options, told)
        return
    if before or date or date_before or len(inputs) > 1:
        raise ProjectError(
            "a project's images and dates are named in its file",
            where=inputs[0],
            fix="list the earlier ones below `scenes:`",
        )
    map_project(inputs[0], data, options, told)


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
