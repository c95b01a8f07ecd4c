"""A mapping job: from a model and a scene to a map folder, block by block, to be stopped and gone on with at will."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mapmend.core.classes import NODATA
from mapmend.core.durable import replace_json
from mapmend.core.errors import MapmendError, RasterError
from mapmend.core.grid import grid_to_dict
from mapmend.core.preemption import Preempted, Watch, watch_signals
from mapmend.core.provenance import RECORD, file_hash, file_stamp, provenance
from mapmend.nn.allocator import keep_large_blocks
from mapmend.predict.blocks import Block, batch_size, block_side, plan_blocks
from mapmend.predict.estimate import Estimate, disk_bytes, estimate_job
from mapmend.predict.layers import Layers, choose_layers
from mapmend.predict.ledger import Ledger
from mapmend.predict.pair import channels, fitted
from mapmend.predict.predictor import Predictor, load_predictor
from mapmend.predict.progress import MappingProgress
from mapmend.predict.run_block import BlockResult, run_block
from mapmend.predict.scene import Scene, SceneReader, check_sensors
from mapmend.raster.writing import check_disk, write_cog, write_qml

__all__ = ["Estimate", "MapResult", "Preempted", "Scene", "estimate_scene", "predict_scene"]


@dataclass(frozen=True)
class MapResult:
    """A finished map.

    Attributes:
        folder: of the map: its rasters, `mapmend.json`, a style beside every class raster.
        class_path: legend ids, uint8, nodata 255; the later date's where two were mapped.
        confidence_path: round(200·p) of the class, uint8, nodata 255.
        seconds: of all blocks, interrupted runs included.
        pixels: that got a class.
        change_path: probability of change, round(200·p), where two dates were mapped.
        probability_paths: probability of the classes that were named, round(200·p); of two dates, at the later one.
    """

    folder: Path
    class_path: Path
    confidence_path: Path
    seconds: float
    pixels: int
    change_path: Path | None = None
    probability_paths: Mapping[str, Path] = field(default_factory=dict)


def predict_scene(
    model: Path | Predictor,
    scene: Scene,
    out: Path,
    *,
    block: int | None = None,
    progress: bool = True,
    probabilities: str | Sequence[str] = (),
) -> MapResult:
    """Map a scene; the same call goes on where an earlier one stopped, and returns at once when all is done.

    Args:
        model: a model folder, or a predictor from `load_predictor`, which has more settings.
        scene: what is mapped.
        out: the map folder; made if it is not there.
        block: side of a block in pixels, at most; it does not change the map.
        progress: show a progress line on a terminal.
        probabilities: classes whose probability is written too, as `probability_<class>.tif`, or `all`.

    Raises:
        LegendError: the model has no such class.
        SensorError: the scene is not what the model was made for.
        JobError: the folder belongs to another job.
        DiskError: the disk is full, or will be.
        RasterError: a file cannot be read, or nothing in the scene is valid.
        Preempted: SIGTERM or SIGUSR1 came; what is done is kept.
    """
    job = _plan(model, scene, block, probabilities)
    ledger, identity = Ledger(out, job.layers), _identity(job)
    ledger.claim(identity)
    finished = _finished(out, job.layers)
    if finished is None:
        try:
            check_disk(out, disk_bytes(job.blocks, job.layers))
            results = _run_blocks(job, ledger, progress)
        except MapmendError:
            if not ledger.started:
                ledger.discard()
            raise
        if not any(result.pixels for result in results):
            ledger.discard()
            raise RasterError(
                "has no valid pixel", where=f"scene '{scene.name}'", fix="check its nodata value, masks and area"
            )
        finished = _put_together(job, ledger, results, identity)
    ledger.clean()
    return finished


def estimate_scene(
    model: Path | Predictor, scene: Scene, *, block: int | None = None, probabilities: str | Sequence[str] = ()
) -> Estimate:
    """What `predict_scene` with the same arguments would take; a batch is predicted, nothing is written.

    Raises:
        MapmendError: as `predict_scene`.
    """
    job = _plan(model, scene, block, probabilities)
    return estimate_job(job.predictor, job.scene, job.blocks, job.layers)


@dataclass(frozen=True)
class _Job:
    predictor: Predictor
    scene: Scene
    blocks: tuple[Block, ...]
    layers: Layers


def _plan(model: Path | Predictor, scene: Scene, block: int | None, probabilities: str | Sequence[str]) -> _Job:
    keep_large_blocks()
    predictor, scene = fitted(load_predictor(Path(model)) if isinstance(model, str | Path) else model, scene)
    if predictor.sensors:
        check_sensors(scene, predictor.sensors)
    side = block_side(predictor.lattice, channels(predictor), block)
    layers = choose_layers(predictor.legend, scene.dates, probabilities)
    return _Job(predictor, scene, tuple(plan_blocks(scene.grid, side, SceneReader(scene).bounds)), layers)


def _identity(job: _Job) -> dict[str, object]:
    """All that the map's bytes depend on; the blocks' side is not among it."""
    predictor, scene = job.predictor, job.scene
    sources = (*scene.before, *scene.sources)
    files = [file for source in sources for file in (*source.files, source.valid) if file is not None]
    return {
        **predictor.identity,
        "window": predictor.lattice.size,
        "overlap": predictor.lattice.overlap,
        "batch": batch_size(scene.grid, predictor.lattice, predictor.batch),
        "legend": predictor.legend.to_dict(),
        "scene": scene.name,
        "date": scene.date,
        **({"date_before": scene.date_before} if scene.before else {}),
        "grid": grid_to_dict(scene.grid),
        "sources": [file_stamp(file) for file in files],
        "bands": [list(source.bands) for source in sources],
        "aoi": file_hash(scene.aoi) if scene.aoi is not None else None,
        **({"probabilities": list(job.layers.names)} if job.layers.names else {}),
    }


def _run_blocks(job: _Job, ledger: Ledger, progress: bool) -> list[BlockResult]:
    ledger.blocks.mkdir(exist_ok=True)
    results: list[BlockResult] = []
    areas = [block.window.height * block.window.width for block in job.blocks]
    with watch_signals() as watch, MappingProgress(job.scene.name, sum(areas), shown=progress) as bar:
        for block, area in zip(job.blocks, areas, strict=True):
            result = ledger.done(block)
            if result is not None:
                bar.skip(area)
            elif watch.asked:
                raise Preempted(len(results), len(job.blocks), "blocks")
            else:
                result = _run_one(job, block, ledger, watch, bar, len(results))
            results.append(result)
    return results


def _run_one(job: _Job, block: Block, ledger: Ledger, watch: Watch, bar: MappingProgress, done: int) -> BlockResult:
    def on_rows(rows: int) -> None:
        bar.advance(rows * block.window.width)
        if watch.urgent:
            raise Preempted(done, len(job.blocks), "blocks")

    result = run_block(job.predictor, job.scene, block, ledger.blocks, layers=job.layers, on_rows=on_rows)
    ledger.record(block, result)
    return result


def _put_together(job: _Job, ledger: Ledger, results: list[BlockResult], identity: Mapping[str, object]) -> MapResult:
    predictor, grid, out = job.predictor, job.scene.grid, ledger.folder
    tags = {"MAPMEND_WEIGHTS": str(predictor.identity.get("weights", "")), "MAPMEND_SCENE": job.scene.name}
    paths = job.layers.of_map(out)
    for number, path in enumerate(paths):
        parts = [(result.files[number], block.window) for block, result in zip(job.blocks, results, strict=True)]
        kind: Literal["class", "confidence"] = "class" if path.stem.startswith("class") else "confidence"
        legend = predictor.legend if kind == "class" else None
        write_cog(
            parts,
            grid,
            path,
            kind=kind,
            legend=legend,
            dtype="uint8",
            nodata=NODATA,
            band_names=(path.stem,),
            tags=tags,
        )
        if legend is not None:
            write_qml(path.with_suffix(".qml"), legend)
    seconds, pixels = sum(result.seconds for result in results), sum(result.pixels for result in results)
    record = {
        **provenance(identity),
        "windows": sum(result.windows for result in results),
        "pixels": pixels,
        "seconds": round(seconds, 1),
        "files": {path.name: file_hash(path) for path in paths},
    }
    replace_json(out / RECORD, record)
    return _result(out, job.layers, seconds, pixels)


def _result(out: Path, layers: Layers, seconds: float, pixels: int) -> MapResult:
    paths = layers.of_map(out)
    named = dict(zip(layers.names, paths[len(paths) - len(layers.names) :], strict=True))
    return MapResult(out, paths[0], paths[1], seconds, pixels, paths[4] if layers.dates == 2 else None, named)


def _finished(out: Path, layers: Layers) -> MapResult | None:
    paths = layers.of_map(out)
    if not (out / RECORD).is_file() or not all(path.is_file() for path in paths):
        return None
    try:
        record = json.loads((out / RECORD).read_text())
        return _result(out, layers, float(record["seconds"]), int(record["pixels"]))
    except (ValueError, KeyError, TypeError):
        return None
