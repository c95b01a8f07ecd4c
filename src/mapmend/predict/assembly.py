"""A map put together from its blocks, and the record that says that it is finished."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mapmend.core.classes import NODATA
from mapmend.core.durable import replace_json
from mapmend.core.provenance import RECORD, file_hash, provenance
from mapmend.predict.layers import DISAGREEMENT, ENTROPY, USED, Layers
from mapmend.predict.plan import Job
from mapmend.predict.run_block import BlockResult
from mapmend.raster.writing import write_cog, write_qml


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
        entropy_path: entropy of all classes' probabilities ÷ that of equal ones, round(200·h), where it was asked for.
        disagreement_path: how much several models disagree, see `Ensemble`, round(200·d), where it was asked for.
        used_path: which images a pixel was mapped from, 1 the first, 2 the second, 4 the third, added up, where the
            model does without some.
    """

    folder: Path
    class_path: Path
    confidence_path: Path
    seconds: float
    pixels: int
    change_path: Path | None = None
    probability_paths: Mapping[str, Path] = field(default_factory=dict)
    entropy_path: Path | None = None
    disagreement_path: Path | None = None
    used_path: Path | None = None


def put_together(job: Job, out: Path, results: Sequence[BlockResult]) -> MapResult:
    """Write a COG per layer from the results of all blocks, then the record.

    Raises:
        DiskError: the disk is full.
        RasterError: a file cannot be read or written.
    """
    predictor, grid = job.predictor, job.scene.grid
    tags = {"MAPMEND_WEIGHTS": str(predictor.identity.get("weights", "")), "MAPMEND_SCENE": job.scene.name}
    paths = job.layers.of_map(out)
    for number, path in enumerate(paths):
        parts = [(result.files[number], block.window) for block, result in zip(job.blocks, results, strict=True)]
        kind: Literal["class", "confidence"] = (
            "class" if path.stem.startswith("class") or path.stem == USED else "confidence"
        )
        legend = predictor.legend if path.stem.startswith("class") else None
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
        **provenance(job.identity),
        "windows": sum(result.windows for result in results),
        "pixels": pixels,
        "seconds": round(seconds, 1),
        "files": {path.name: file_hash(path) for path in paths},
    }
    replace_json(out / RECORD, record)
    return _result(out, job.layers, seconds, pixels)


def finished_map(out: Path, layers: Layers) -> MapResult | None:
    """The map in a folder, if all of it is there; else None."""
    paths = layers.of_map(out)
    if not (out / RECORD).is_file() or not all(path.is_file() for path in paths):
        return None
    try:
        record = json.loads((out / RECORD).read_text())
        return _result(out, layers, float(record["seconds"]), int(record["pixels"]))
    except (ValueError, KeyError, TypeError):
        return None


def _result(out: Path, layers: Layers, seconds: float, pixels: int) -> MapResult:
    paths = dict(zip(layers.all, layers.of_map(out), strict=True))
    return MapResult(
        out,
        paths["class"],
        paths["confidence"],
        seconds,
        pixels,
        paths.get("change"),
        {name: paths[stem] for name, stem in zip(layers.names, layers.stems, strict=True)},
        paths.get(ENTROPY),
        paths.get(DISAGREEMENT),
        paths.get(USED),
    )
