"""Samples as people hand them in: a class raster, a CSV of points, a design file."""

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

EQUAL_AREA = Affine(30, 0, 4_300_000, 0, -30, 3_200_000)  # in EPSG:3035, where every pixel has 0.09 ha
NODATA = 255


def write_raster(path, pixels, transform=EQUAL_AREA, crs="EPSG:3035", nodata=NODATA):
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"count": 1, "height": pixels.shape[0], "width": pixels.shape[1], "dtype": pixels.dtype}
    with rasterio.open(path, "w", crs=crs, transform=transform, nodata=nodata, compress="lzw", **profile) as file:
        file.write(pixels, 1)
    return path


@dataclass
class Handed:
    """A sample; tests change what they are about, then write and assess it."""

    folder: Path
    pixels: np.ndarray
    design: dict
    rows: list = field(default_factory=list)
    crs: str | None = "EPSG:3035"

    @property
    def map(self):
        return self.folder / "map.tif"

    def point(self, stratum, reference, row, col, **more):
        x, y = EQUAL_AREA @ (col + 0.5, row + 0.5)
        one = {"id": len(self.rows) + 1, "stratum": stratum, "inclusion_probability": 0.0, "x": x, "y": y}
        self.rows.append(one | {"row": row, "col": col, "reference": reference, "interpreter": ""} | more)

    def draw(self, stratum, pixels, references, random, **more):
        """Points of a stratum at different places among `pixels`, flat indices, with these references."""
        for at, reference in zip(random.choice(pixels, len(references), replace=False), references, strict=True):
            self.point(stratum, reference, *divmod(int(at), self.pixels.shape[1]), **more)

    def settle(self):
        """Give the design the numbers drawn, and the points their probabilities."""
        for one in self.design["strata"]:
            mine = [row for row in self.rows if row["stratum"] == one["name"]]
            one["samples"] = len(mine)
            for row in mine:
                row["inclusion_probability"] = len(mine) / one["pixels"]
        return self

    def write(self, name="sample.csv", separator=",", bom=False):
        if not self.map.exists():
            write_raster(self.map, self.pixels, crs=self.crs)
        (self.folder / "design.json").write_text(json.dumps(self.design))
        text = io.StringIO()
        columns = dict.fromkeys(key for row in self.rows for key in row)
        writer = csv.DictWriter(text, columns, delimiter=separator, restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        path = self.folder / name
        path.write_bytes((b"\xef\xbb\xbf" if bom else b"") + text.getvalue().encode())
        return path


def shuffled_blocks(names, sizes, width):
    """Classes 1, 2, … in flat order, each as often as its size; the rest of the last row is nodata."""
    flat = np.repeat(np.arange(1, len(names) + 1), sizes)
    height = -(-flat.size // width)
    return np.append(flat, np.full(height * width - flat.size, NODATA)).reshape(height, width).astype(np.uint8)


def matrix_sample(folder, names, sizes, counts, width=400, seed=0, kind="stratified"):
    """A sample whose strata are the map's classes, with the counts of a matrix [map][reference]."""
    pixels = shuffled_blocks(names, sizes, width)
    strata = [{"name": name, "pixels": size, "samples": 0} for name, size in zip(names, sizes, strict=True) if size]
    ids = list(range(1, len(names) + 1))
    design = {"kind": kind, "strata": strata, "classes": list(names), "class_ids": ids, "pixel_area_ha": 0.09}
    handed, random = Handed(folder, pixels, design), np.random.default_rng(seed)
    for k, name in enumerate(names):
        references = [names[j] for j, count in enumerate(counts[k]) for _ in range(count)]
        if references:
            handed.draw(name, np.flatnonzero(pixels.ravel() == k + 1), references, random)
    return handed.settle()


@pytest.fixture
def small(tmp_path):
    """900 pixels of three classes; 20, 15 and 10 points."""
    counts = [[17, 2, 1], [1, 13, 1], [0, 1, 9]]
    return matrix_sample(tmp_path, ["forest", "water", "built"], [500, 300, 100], counts, width=30)


NAMES = ("forest", "water")
# of each stratum: name, pixels, mapped before and after, and the answers: (before, after, how many)
STRATA = [
    ("forest", 500, 1, 1, [("forest", "forest", 17), ("forest", "water", 2), ("water", "water", 1)]),
    ("water", 300, 2, 2, [("water", "water", 19), ("forest", "water", 1)]),
    ("forest to water", 100, 1, 2, [("forest", "water", 12), ("forest", "forest", 6), ("water", "water", 2)]),
]


@pytest.fixture
def dated(tmp_path):
    """Two dates: 20 points in each of three strata."""
    before, after = (np.concatenate([np.full(s[1], s[k]) for s in STRATA]).reshape(30, 30) for k in (2, 3))
    for name, pixels in (("before", before), ("after", after)):
        write_raster(tmp_path / "change" / f"{name}.tif", pixels.astype(np.uint8))
    design = {
        "kind": "stratified",
        "strata": [{"name": s[0], "pixels": s[1], "samples": 0} for s in STRATA],
        "classes": list(NAMES),
        "class_ids": [1, 2],
        "pixel_area_ha": 0.09,
        "two_dates": True,
    }
    handed, random, start = Handed(tmp_path, after.astype(np.uint8), design), np.random.default_rng(0), 0
    for name, size, _, _, answers in STRATA:
        places = iter(random.choice(size, 20, replace=False) + start)
        for old, new, number in answers:
            for _ in range(number):
                handed.point(name, new, *divmod(int(next(places)), 30), reference_before=old)
        start += size
    return handed.settle()
