"""How a reference sample was drawn: strata, their sizes and samples; the file that `sample` writes, `assess` reads.

A file written by hand needs `kind`, `strata` (each with `name`, `samples`, and `pixels` or `area_ha`), `classes` and
`pixel_area_ha`, so that samples drawn with other tools can be used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mapmend.core.durable import replace_json
from mapmend.core.errors import SampleError
from mapmend.core.plain import parse, suggestion

KINDS = ("stratified", "simple", "systematic", "cluster")
_FORMAT, _VERSION = "mapmend-sample-design", 1
_MOST_BYTES = 2**24  # a design of some hundred strata takes 100 kB; what is larger is some other file
_STRICT = {"extra": "forbid", "allow_inf_nan": False}
_AGREE = 1e-6  # relative: areas are often rounded where they are written down


@dataclass(frozen=True)
class Stratum:
    """A part of the population and how many of its units were drawn.

    Attributes:
        name: of the stratum.
        pixels: units in the population; patches where the design's kind is "cluster".
        area_ha: their area; on a grid in degrees pixels differ in area.
        samples: units drawn, all rounds together.
    """

    name: str
    pixels: int
    area_ha: float
    samples: int

    def __post_init__(self) -> None:
        where = f"stratum '{self.name}'"
        if not self.name.strip():
            raise SampleError("a stratum has no name", fix="name each stratum")
        if self.pixels < 1:
            raise SampleError(f"has {self.pixels} pixels", where=where, fix="leave out strata without any")
        if not (math.isfinite(self.area_ha) and self.area_ha > 0):
            raise SampleError(f"has an area of {self.area_ha:g} ha", where=where, fix="give a positive area")
        if self.samples < 0:
            raise SampleError(f"has {self.samples} samples", where=where, fix="give how many were drawn")
        if self.samples > self.pixels:
            said = f"has {self.samples} samples and {self.pixels} pixels"
            raise SampleError(said, where=where, fix="a unit is drawn at most once")


@dataclass(frozen=True)
class SampleDesign:
    """A probability sample's design.

    Inside a stratum units are drawn with probability in proportion to their area: π_u = n_h · a_u / A_h.

    Attributes:
        kind: "stratified", "simple", "systematic" or "cluster".
        strata: of the population; a single one for "simple" and "systematic".
        classes: names that a reference may take, in the legend's order.
        class_ids: their ids in the legend.
        class_pixels: pixels of each class in the map (of the later date); empty where unknown.
        class_areas_ha: their areas; empty where unknown.
        two_dates: whether each unit has a reference of the earlier date too.
        rounds: units drawn in each round.
        seed: of the draw.
        map: the map's file name and hash and how the strata were made from it, in plain values.
    """

    kind: str
    strata: tuple[Stratum, ...]
    classes: tuple[str, ...]
    class_ids: tuple[int, ...]
    class_pixels: tuple[int, ...]
    class_areas_ha: tuple[float, ...]
    two_dates: bool
    rounds: tuple[int, ...]
    seed: int
    map: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SampleError(f"unknown kind '{self.kind}' of a sample", fix=suggestion(self.kind, KINDS))
        if not self.strata:
            raise SampleError("has no strata", fix="give at least one")
        _unique("stratum", [one.name for one in self.strata])
        if self.kind in ("simple", "systematic") and len(self.strata) > 1:
            raise SampleError(
                f"a {self.kind} sample has one stratum, not {len(self.strata)}",
                fix="give the whole population as one; kind 'stratified' is that of a draw in each stratum",
            )
        self._check_classes()
        drawn = sum(one.samples for one in self.strata)
        if drawn == 0:
            raise SampleError("has no samples", fix="give how many units were drawn in each stratum")
        if any(number < 0 for number in self.rounds) or sum(self.rounds) != drawn:
            raise SampleError(
                f"rounds of {' + '.join(map(str, self.rounds)) or 'no'} samples, and {drawn} in the strata",
                fix="leave 'rounds' out for a single one",
            )

    def _check_classes(self) -> None:
        if len(self.classes) < 2:
            raise SampleError("has fewer than two classes", where="classes", fix="name all that a reference may take")
        _unique("class", self.classes)
        _unique("class id", self.class_ids)
        known = len(self.classes)
        for name in ("class_ids", "class_pixels", "class_areas_ha"):
            values = getattr(self, name)
            if len(values) != known and (values or name == "class_ids"):
                raise SampleError(f"{known} classes and {len(values)} values", where=name, fix="give one for each")
            if any(not (math.isfinite(value) and value >= 0) for value in values):
                raise SampleError("has a negative value", where=name, fix="give zero for a class that the map lacks")
        ids = {str(one): name for one, name in zip(self.class_ids, self.classes, strict=True)}
        for name in self.classes:
            if ids.get(name, name) != name:
                said = f"class '{name}' has the name that is the id of class '{ids[name]}'"
                raise SampleError(said, where="class_ids", fix="give the ids of the classes, in their order")

    @property
    def total_ha(self) -> float:
        """Area of the population."""
        return math.fsum(one.area_ha for one in self.strata)

    @property
    def pixel_area_ha(self) -> float:
        """Mean area of a unit over the population."""
        return self.total_ha / sum(one.pixels for one in self.strata)

    @property
    def sizes(self) -> tuple[float, ...]:
        """N_h: the area of each stratum in mean pixels, or how many patches it has.

        Where all pixels have one area these are exactly the strata's pixels.
        """
        counted = tuple(float(one.pixels) for one in self.strata)
        if self.kind == "cluster":
            return counted
        unit = self.pixel_area_ha
        by_area = tuple(one.area_ha / unit for one in self.strata)
        same = all(math.isclose(one, other, rel_tol=1e-9) for one, other in zip(by_area, counted, strict=True))
        return counted if same else by_area

    @property
    def weights(self) -> tuple[float, ...]:
        """W_h: the share of each stratum in the sizes."""
        sizes = self.sizes
        return tuple(size / math.fsum(sizes) for size in sizes)


def read_design(path: Path) -> SampleDesign:
    """The design that a file holds.

    Raises:
        SampleError: no such file, not JSON, an unknown or missing key, or values that do not go together.
    """
    plain = _read_json(path)
    made_by, version = plain.pop("format", _FORMAT), plain.pop("schema_version", _VERSION)
    if made_by != _FORMAT:
        raise SampleError(f"is of the format '{made_by}'", where=path, fix=f"give a design, '{_FORMAT}'")
    if version != _VERSION:
        raise SampleError(f"has schema version {version}", where=path, fix=f"this mapmend reads version {_VERSION}")
    known = [one.name for kind in (_DesignFile, _StratumFile) for one in fields(kind)]
    file = parse(_DesignFile, plain, known, where=path, error=SampleError)
    try:
        return _design_of(file)
    except SampleError as fault:
        place = f"{path}: {fault.where}" if fault.where is not None else path
        raise SampleError(fault.what, where=place, fix=fault.fix) from None


def write_design(path: Path, design: SampleDesign) -> None:
    """Write a design as JSON, whole or not at all.

    Raises:
        DiskError: the disk is full.
        SampleError: the place cannot be written.
    """
    content: dict[str, Any] = {"format": _FORMAT, "schema_version": _VERSION, "kind": design.kind}
    content["strata"] = [
        {"name": one.name, "pixels": one.pixels, "area_ha": one.area_ha, "samples": one.samples}
        for one in design.strata
    ]
    content["pixel_area_ha"] = design.pixel_area_ha
    for name in ("classes", "class_ids", "class_pixels", "class_areas_ha", "rounds"):
        content[name] = list(getattr(design, name))
    content |= {"two_dates": design.two_dates, "seed": design.seed, "map": dict(design.map)}
    replace_json(path, content, error=SampleError)


@dataclass(frozen=True)
class _StratumFile:
    __pydantic_config__ = _STRICT
    name: str
    samples: int
    pixels: int | None = None
    area_ha: float | None = None


@dataclass(frozen=True)
class _DesignFile:
    __pydantic_config__ = _STRICT
    kind: str
    strata: list[_StratumFile]
    classes: list[str]
    pixel_area_ha: float | None = None
    class_ids: list[int] | None = None
    class_pixels: list[int] = field(default_factory=list)
    class_areas_ha: list[float] = field(default_factory=list)
    two_dates: bool = False
    rounds: list[int] | None = None
    seed: int = 0
    map: dict[str, Any] = field(default_factory=dict)


def _design_of(file: _DesignFile) -> SampleDesign:
    unit = file.pixel_area_ha
    if unit is not None and not unit > 0:
        raise SampleError(f"a pixel of {unit:g} ha", where="pixel_area_ha", fix="give a positive area")
    ids = file.class_ids
    if ids is None:
        numbers = all(name.isascii() and name.isdigit() for name in file.classes)
        ids = [int(name) for name in file.classes] if numbers else list(range(len(file.classes)))
    strata = tuple(_stratum_of(one, unit) for one in file.strata)
    areas = file.class_areas_ha
    if not areas and unit is not None:
        areas = [pixels * unit for pixels in file.class_pixels]
    design = SampleDesign(
        kind=file.kind,
        strata=strata,
        classes=tuple(file.classes),
        class_ids=tuple(ids),
        class_pixels=tuple(file.class_pixels),
        class_areas_ha=tuple(areas),
        two_dates=file.two_dates,
        rounds=(sum(one.samples for one in strata),) if file.rounds is None else tuple(file.rounds),
        seed=file.seed,
        map=file.map,
    )
    # half a pixel a stratum is what rounding areas to pixels may cost
    slack = _AGREE + 0.5 * len(strata) / sum(one.pixels for one in strata)
    if unit is not None and not math.isclose(unit, design.pixel_area_ha, rel_tol=slack):
        raise SampleError(
            f"pixel_area_ha is {unit:g}, and the strata's areas give {design.pixel_area_ha:g}",
            fix="give areas in hectares, one of 10 000 square metres",
        )
    return design


def _stratum_of(one: _StratumFile, unit: float | None) -> Stratum:
    where = f"stratum '{one.name}'"
    pixels, area = one.pixels, one.area_ha
    if pixels is None and area is None:
        raise SampleError("has neither 'pixels' nor 'area_ha'", where=where, fix="give one of them")
    if unit is None and (pixels is None or area is None):
        raise SampleError("has no 'pixel_area_ha'", fix="give the area of a pixel in hectares")
    if pixels is None and area is not None and unit is not None:
        if not (math.isfinite(area) and area >= unit / 2):
            raise SampleError(f"has an area of {area:g} ha", where=where, fix="give that of a pixel or more")
        pixels = round(area / unit)
    elif area is None and pixels is not None and unit is not None:
        area = pixels * unit
    assert pixels is not None and area is not None
    return Stratum(one.name, pixels, area, one.samples)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise SampleError("is too large for a sample's design", where=path, fix="give the file of `sample`")
        content = json.loads(path.read_bytes().decode("utf-8-sig"), object_pairs_hook=_once)
    except OSError as fault:
        raise SampleError(f"cannot be read ({fault.strerror})", where=path, fix="check the path") from None
    except SampleError as fault:
        raise SampleError(fault.what, where=path, fix=fault.fix) from None
    except (ValueError, RecursionError) as fault:
        raise SampleError(f"is not valid JSON ({fault})", where=path, fix="correct the file") from None
    if not isinstance(content, dict):
        raise SampleError("is not a mapping of keys to values", where=path, fix="give the design that `sample` wrote")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _unique("key", [key for key, _ in pairs])
    return dict(pairs)


def _unique(what: str, values: Sequence[object]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise SampleError(f"{what} '{value}' is given twice", fix="give each once")
