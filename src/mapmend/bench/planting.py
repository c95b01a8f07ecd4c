"""Noisy labels as files: a label that is right, made wrong, with what was done to it in its tags."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from mapmend.bench.ground import Ground, Place
from mapmend.bench.noises import Noise
from mapmend.core.durable import replace_file
from mapmend.core.errors import LabelError
from mapmend.core.grid import full_window, ground_pixel_size
from mapmend.core.legend import Legend, load_crosswalk
from mapmend.core.manifest import Row, format_manifest
from mapmend.data.noise import Noised, inject
from mapmend.project import Project
from mapmend.raster.reading import LabelReader
from mapmend.raster.writing import TiledWriter

TAG = "MAPMEND_NOISE"
"""Of a noisy label's file: how it was made, as JSON."""

_MOST_PIXELS = 2**26  # of a label: objects are looked at as a whole


@dataclass(frozen=True)
class Planted:
    """A project whose labels are noisy and whose references are the truth.

    Attributes:
        project: without steps.
        rate: wrong pixels of all labelled ones.
    """

    project: Project
    rate: float


def plant(ground: Ground, noise: Noise, seed: int, folder: Path) -> Planted:
    """Write a noisy label of every place below `folder`, and the manifests that list them; equal seeds, equal bytes.

    Args:
        ground: with the truth.
        noise: to be planted.
        seed: of this planting; every place draws for itself.
        folder: of the labels.

    Raises:
        LabelError: an earlier date is needed and missing, a label is too large, or fewer than two classes are left.
    """
    rows: list[Row] = []
    references: list[Row] = []
    found: set[int] = set()
    wrong = labelled = 0
    for place in ground.places:
        noised = _noised(place, noise, seed, ground.legend)
        path = folder.absolute() / f"{place.site.name}.tif"
        _write(path, place, ground.legend, noised, provenance_of(noised, noise, seed))
        found |= set(np.unique(noised.label).tolist()) - {255}
        wrong, labelled = wrong + int(noised.changed.sum()), labelled + int((noised.label != 255).sum())
        gsd = noise.block * max(ground_pixel_size(place.site.grid)) if noise.block is not None else None
        rows += [replace(row, label=str(path), label_gsd=gsd, trust=noise.trust) for row in place.rows]
        truth = str(Path(place.truth).absolute())
        references.append(Row(place.site.name, place.site.date, label=truth, trust="reference"))
    if len(found) < 2:
        raise LabelError(
            f"labels made noisy by '{noise.title}' hold fewer than two classes",
            where=ground.project.path,
            fix="use places with more classes, or less noise",
        )
    replace_file(folder / "scenes.csv", format_manifest(rows))
    replace_file(folder / "references.csv", format_manifest(references))
    project = replace(
        ground.project,
        data=folder.absolute(),
        scenes="scenes.csv",
        reference="references.csv",
        seed=seed,
        steps={},
        listed=True,
    )
    return Planted(project, wrong / labelled)


def provenance_of(noised: Noised, noise: Noise, seed: int) -> dict[str, Any]:
    """How a label was made wrong and how wrong it became, as plain values."""
    told = ("asked", "rate", "lost", "gained", "boundary_share")
    return {
        "noise": noise.injector.name,
        "settings": asdict(cast(Any, noise.injector)),
        "seed": seed,
        **{name: getattr(noised, name) for name in told},
    }


def _noised(place: Place, noise: Noise, seed: int, legend: Legend) -> Noised:
    grid = place.site.grid
    if int(grid.shape[0]) * int(grid.shape[1]) > _MOST_PIXELS:
        raise LabelError(
            f"is larger than the {_MOST_PIXELS / 1e6:.0f} Mpx that noise is planted in", where=place.truth, fix="cut it"
        )
    label = _indices(place.truth, place, legend)
    before = _indices(place.before, place, legend) if place.before is not None else None
    own = (seed << 32) + zlib.crc32(place.site.name.encode())
    try:
        return inject(label, noise.injector, classes=len(legend), seed=own, before=before)
    except LabelError as fault:
        raise LabelError(fault.what, where=f"site '{place.site.name}'", fix=fault.fix) from None


def _indices(path: str, place: Place, legend: Legend) -> np.ndarray:
    grid = place.site.grid
    ids = LabelReader(path, grid, load_crosswalk(None, legend)).read(full_window(grid))
    indices: np.ndarray = legend.lut[ids]
    return indices


def _write(path: Path, place: Place, legend: Legend, noised: Noised, made: Mapping[str, Any]) -> None:
    ids = np.full(256, 255, np.uint8)
    ids[: len(legend)] = legend.ids
    grid = place.site.grid
    path.parent.mkdir(parents=True, exist_ok=True)
    with TiledWriter(path, grid, 1, "uint8", nodata=255, tags={TAG: json.dumps(made)}, legend=legend) as out:
        out.write(full_window(grid), ids[noised.label])
