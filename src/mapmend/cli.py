"""Every verb of the command line; each is a thin wrapper around the Python function of the same name."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rasterio.errors import NotGeoreferencedWarning

from mapmend import __version__
from mapmend.core.durable import replace_file
from mapmend.core.errors import MapmendError, ProjectError
from mapmend.core.preemption import Preempted
from mapmend.raster.opening import NotGeoreferenced

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="mapmend",
    help="Mend land-cover maps: imagery and imperfect labels in, a current map out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ProjectFile = Annotated[Path, typer.Argument(metavar="PROJECT.yaml", help="The project file.")]
Out = Annotated[Path | None, typer.Option("--out", help="Folder of the results. Default: ./<the project's name>")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder that the scenes' relative paths start from.")]
Json = Annotated[
    str | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON; - is standard output.")
]
Precision = Literal["float32", "bfloat16"]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"mapmend {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    pass


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="Folder of landscape, project and results.")] = Path("demo"),
    size: Annotated[int, typer.Option("--size", min=256, help="Side of the scene in pixels.")] = 1024,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Training steps.")] = 300,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of landscape and training.")] = 0,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Generate a landscape with a coarse, old, partly wrong label, mend it, and score both against the truth."""
    from mapmend.demo import demo as make

    _emit(make(out, size=size, steps=steps, seed=seed, device=device).to_dict(), json_file)


@app.command()
def run(
    project: ProjectFile, out: Out = None, data: Data = None, device: Device = "auto", json_file: Json = None
) -> None:
    """Do every step of a project; after an interruption the same command goes on where it stopped."""
    from mapmend.project import load_project

    opened = load_project(project, data)
    folder = _folder(out, opened.name)
    from mapmend.run import run as go  # torch and timm, which a file with faults does not wait for

    result = go(opened, folder, device=device)
    typer.echo(f"report: {result.report}" if result.report else f"results: {folder}", err=True)
    _emit(result.to_dict(), json_file)


@app.command()
def prepare(project: ProjectFile, out: Out = None, data: Data = None, json_file: Json = None) -> None:
    """Put each site's layers onto the site's own grid, once."""
    from mapmend.project import load_project

    opened = load_project(project, data)
    folder = _folder(out, opened.name)
    from mapmend.run import claimed
    from mapmend.steps import prepare_step

    with claimed(opened, folder, "prepare"):
        prepared = prepare_step(opened, folder)
    _emit({"sites": len({site.name for site in prepared.sites}), "folder": str(folder / "prepared")}, json_file)


@app.command()
def doctor(
    target: Annotated[Path, typer.Argument(metavar="PROJECT.yaml|FOLDER|FILE", help="What is to be examined.")],
    sensor: Annotated[str | None, typer.Option("--sensor", help="Sensor card that images should fit.")] = None,
    legend: Annotated[str | None, typer.Option("--legend", help="Legend that labels should be in.")] = None,
    data: Data = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where a project's results would go.")] = None,
    json_file: Json = None,
) -> None:
    """Say what is wrong before a long job, and how to mend it; exit code 1 where something is."""
    from mapmend.doctor.examine import doctor as examine
    from mapmend.doctor.page import show

    diagnosis = examine(target, sensor=sensor, legend=legend, data=data, out=out)
    show(diagnosis, _paper(json_file))
    _emit(diagnosis.to_dict(), json_file)
    if diagnosis.of("error"):
        raise typer.Exit(1)


@app.command()
def train(
    project: ProjectFile,
    out: Out = None,
    data: Data = None,
    start_from: Annotated[
        Path | None, typer.Option("--from", metavar="MODEL", help="A model folder to go on from.")
    ] = None,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Train the project's method on its prepared sites; goes on where an interrupted training stopped."""
    from mapmend.project import load_project

    opened = load_project(project, data)
    folder = _folder(out, opened.name)
    from mapmend.run import claimed
    from mapmend.steps import prepare_step, train_step

    if "WORLD_SIZE" not in os.environ:  # several processes would prepare at once: they find it done
        with claimed(opened, folder, "prepare"):
            prepare_step(opened, folder)
    with claimed(opened, folder, "train"):
        model = train_step(opened, folder, start_from=start_from, device=device)
    _emit({"model": str(model)}, json_file)


@app.command()
def predict(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="PROJECT.yaml|IMAGE...", help="A project, or a scene's files.")
    ],
    out: Out = None,
    model: Annotated[Path | None, typer.Option("--model", help="A model folder. Default: the project's own.")] = None,
    before: Annotated[
        list[Path] | None, typer.Option("--before", help="An image of an earlier date, to be mapped with the change.")
    ] = None,
    aoi: Annotated[Path | None, typer.Option("--aoi", help="Vector file outside of which the map has no data.")] = None,
    window: Annotated[int | None, typer.Option("--window", min=32, help="Side of a window in pixels.")] = None,
    overlap: Annotated[int | None, typer.Option("--overlap", min=0, help="Pixels that windows share.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Windows at once.")] = None,
    precision: Annotated[Precision | None, typer.Option("--precision", help="Of the network's arithmetic.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and write nothing.")] = False,
    data: Data = None,
    device: Device = "auto",
    json_file: Json = None,
) -> None:
    """Map a project's sites, or one scene given by its image files; goes on where an interrupted one stopped."""
    from mapmend.predict.job import estimate_scene, predict_scene
    from mapmend.predict.predictor import load_predictor
    from mapmend.predict.scene import scene_of_files
    from mapmend.project import load_project
    from mapmend.run import claimed
    from mapmend.steps import PredictOptions, estimate_step, predict_step

    if aoi is not None and not aoi.is_file():
        raise ProjectError("no such file", where=f"--aoi {aoi}", fix="correct the path")
    options = PredictOptions(model, aoi, window, overlap, batch, precision, device)
    if inputs[0].suffix in (".yaml", ".yml"):
        if before or len(inputs) > 1:
            raise ProjectError(
                "a project's images are named in its file", where=inputs[0], fix="list the earlier ones below `scenes:`"
            )
        project = load_project(inputs[0], data)
        folder = _folder(out, project.name)
        if dry_run:
            _emit_estimate(estimate_step(project, folder, options), json_file)
            return
        with claimed(project, folder, "predict"):
            maps = predict_step(project, folder, options)
        _emit({"maps": {name: str(path) for name, path in maps.items()}}, json_file)
        return
    if model is None or (out is None and not dry_run):
        raise ProjectError("image files need --model and --out", fix="or give a project file")
    predictor = load_predictor(
        model, window=window, overlap=overlap, batch=batch, precision=precision or "float32", device=device
    )
    scene = scene_of_files(
        [str(path) for path in inputs],
        predictor.sensors,
        str(aoi) if aoi else None,
        [str(path) for path in before or ()],
    )
    if dry_run:
        _emit_estimate(estimate_scene(predictor, scene), json_file)
        return
    assert out is not None
    result = predict_scene(predictor, scene, out)
    typer.echo(f"map: {result.class_path}", err=True)
    made = {"class": result.class_path, "confidence": result.confidence_path, "change": result.change_path}
    _emit({layer: str(path) for layer, path in made.items() if path is not None}, json_file)


@app.command()
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
        folder = _folder(out, project.name)
        from mapmend.run import claimed
        from mapmend.steps import change_step  # torch and timm, which two rasters do not need

        with claimed(project, folder, "change"):
            results = change_step(project, folder)
        _emit({name: result.to_dict() for name, result in results.items()}, json_file)
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
    _emit(result.to_dict(), json_file)


@app.command()
def report(project: ProjectFile, out: Out = None, data: Data = None, json_file: Json = None) -> None:
    """Score a project's maps where a reference exists, and write the report."""
    from mapmend.project import load_project

    opened = load_project(project, data)
    from mapmend.run import report_step

    result = report_step(opened, _folder(out, opened.name))
    typer.echo(f"report: {result.report}", err=True)
    _emit(result.to_dict(), json_file)


@app.command()
def assess(
    matrix: Annotated[
        Path,
        typer.Option("--matrix", help="CSV of a sample's counts: rows are the map's classes, columns the truth's."),
    ],
    stratum_pixels: Annotated[
        str, typer.Option("--stratum-pixels", help="Pixels of each class in the map, in the rows' order, with commas.")
    ],
    pixel_area_ha: Annotated[float, typer.Option("--pixel-area-ha", help="Hectares of a pixel; 0.09 for 30 m.")],
    level: Annotated[float, typer.Option("--level", help="Of confidence, between 0 and 1.")] = 0.95,
    json_file: Json = None,
) -> None:
    """Estimate accuracy and areas, with intervals, from a sample stratified by the map's classes."""
    from mapmend.assess import assess_matrix, show

    found = assess_matrix(matrix, stratum_pixels, pixel_area_ha, level)
    show(found, _paper(json_file))
    _emit(found.to_dict(), json_file)


@app.command()
def score(
    prediction: Annotated[Path, typer.Argument(metavar="PRED", help="Class raster, or folder of class rasters.")],
    reference: Annotated[
        Path, typer.Argument(metavar="REF", help="The truth: a raster, or a folder with equal names.")
    ],
    legend: Annotated[str | None, typer.Option("--legend", help="Whose ids the rasters hold.")] = None,
    classes: Annotated[int | None, typer.Option("--classes", min=1, max=254, help="Codes are 0 to one less.")] = None,
    ignore: Annotated[list[int] | None, typer.Option("--ignore", help="Code without a class, besides nodata.")] = None,
    before_pred: Annotated[Path | None, typer.Option("--before-pred", help="Prediction of the earlier date.")] = None,
    before_ref: Annotated[Path | None, typer.Option("--before-ref", help="Reference of the earlier date.")] = None,
    change_pred: Annotated[
        Path | None, typer.Option("--change-pred", help="The prediction's own map of change, 0 for unchanged.")
    ] = None,
    no_change: Annotated[
        int | None, typer.Option("--no-change", help="Code of what did not change, where only change has classes.")
    ] = None,
    ring: Annotated[
        int | None, typer.Option("--ring", help="Pixels along outlines for boundary metrics; 0 leaves them out.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say where and why conventions differ.")] = False,
    json_file: Json = None,
) -> None:
    """Score predictions against references in every published convention of the metrics."""
    from mapmend.core.legend import load_legend
    from mapmend.scoring.images import ScoreInputs
    from mapmend.scoring.job import score as judge
    from mapmend.scoring.page import show

    if legend is not None and classes is not None:
        raise ProjectError("--legend and --classes say the same thing twice", fix="give one of them")
    known = load_legend(legend, Path()) if legend is not None else classes
    inputs = ScoreInputs(prediction, reference, before_pred, before_ref, change_pred)
    scores = judge(inputs, known, ignore=tuple(ignore or ()), no_change=no_change, ring=ring)
    show(scores, _paper(json_file), explained=explain)
    _emit(scores.to_dict(), json_file)


def _folder(out: Path | None, name: str) -> Path:
    return out if out is not None else Path(name)


def _paper(json_file: str | None) -> Console:
    """Where people read tables: standard output, unless the JSON goes there; wide where nobody sees the width."""
    from rich.console import Console

    stream = sys.stderr if json_file == "-" else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else 160)


def _emit(result: Mapping[str, Any], json_file: str | None) -> None:
    if json_file is None:
        return
    text = json.dumps(result, indent=1, default=str)
    if json_file == "-":
        typer.echo(text)
    else:
        replace_file(Path(json_file), text + "\n")


def _emit_estimate(estimate: Any, json_file: str | None) -> None:
    plain = asdict(estimate)
    typer.echo(
        f"{plain['blocks']} blocks, {plain['windows']} windows, {plain['pixels'] / 1e6:.1f} Mpx: about "
        f"{plain['seconds'] / 60:.1f} min, {plain['disk'] / 1e9:.2f} GB of disk, "
        f"{plain['memory'] / 1e9:.1f} GB of memory",
        err=True,
    )
    _emit(plain, json_file)


_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # whose place differs between versions
_shown: set[type[Warning]] = set()


def _show_warning(message: Warning | str, category: type[Warning], *_place: object, **_options: object) -> None:
    """One line; where every file of a folder has the same fault, the first one speaks for all."""
    if category is NotGeoreferencedWarning:
        return  # rasterio's, of what this package says in its own words; filters do not hold in threads
    if category is NotGeoreferenced:
        if category in _shown:
            return
        message = f"{message} (other files without one are not named)"
    _shown.add(category)
    print(f"warning: {message}", file=sys.stderr)


def main() -> None:
    """Run the command line; a `MapmendError` becomes one line and exit code 2, a signal exit code 75."""
    warnings.showwarning = _show_warning
    _shown.clear()
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="mapmend", standalone_mode=False)
    except MapmendError as error:
        print(f"mapmend: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except _UsageError as error:
        fault = " ".join(error.format_message().split()).rstrip(".")  # type: ignore[attr-defined]
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "mapmend"
        print(f"mapmend: {fault}; see `{command} --help`", file=sys.stderr)
        raise SystemExit(2) from None
    except typer.Abort:
        raise SystemExit(1) from None
    except Preempted as stop:
        print(f"mapmend: {stop}", file=sys.stderr)
        raise SystemExit(stop.code) from None
    raise SystemExit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
