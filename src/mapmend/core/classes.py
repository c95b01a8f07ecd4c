"""The values behind a legend: classes with their codes, names and colours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from mapmend.core.errors import LegendError
from mapmend.core.plain import parse, suggestion

NODATA = 255  # in every class raster of this package: no class here

_MOST_CLASSES = 254  # one code below NODATA stays free, to mark what a look-up table does not know


@dataclass(frozen=True)
class LegendClass:
    """A class: its code in rasters, its name, and its colour `#rrggbb`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    id: int
    name: str
    color: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "color", self.color.lower())

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as three numbers, 0 to 255."""
        red, green, blue = bytes.fromhex(self.color[1:])
        return red, green, blue


class _LegendFile(BaseModel):
    """A legend as it is written in YAML; an ignored code is a number, or a class where its name or colour matters."""

    model_config = ConfigDict(extra="forbid")

    classes: tuple[LegendClass, ...]
    name: str = ""
    title: str = ""
    source: str = ""
    licence: str = ""
    ignore: tuple[int | LegendClass, ...] = ()


_KEYS = (*_LegendFile.model_fields, "id", "color")


@dataclass(frozen=True)
class Legend:
    """The classes of a map or of a product.

    Attributes:
        name: short name, which a crosswalk refers to.
        classes: in the order of their indices.
        title: what a reader calls it.
        source: where codes, names and colours come from.
        licence: licence of the product and the attribution it asks for.
        ignored: codes that mean "no label" in rasters of this legend, with a colour where they have one.
    """

    name: str
    classes: tuple[LegendClass, ...]
    title: str = ""
    source: str = ""
    licence: str = ""
    ignored: tuple[LegendClass, ...] = ()

    def __post_init__(self) -> None:
        where = f"legend '{self.name}'"
        if not 1 <= len(self.classes) <= _MOST_CLASSES:
            raise LegendError(f"has {len(self.classes)} classes", where=where, fix=f"list 1 to {_MOST_CLASSES}")
        _refuse_twice([entry.id for entry in self.classes + self.ignored], "code", where)
        _refuse_twice([_normal(entry.name) for entry in self.classes], "name", where)
        for entry in self.classes:
            if not 0 <= entry.id < NODATA:
                raise LegendError(f"class '{entry.name}' has code {entry.id}", where=where, fix="use codes 0 to 254")
            if not entry.name.strip():
                raise LegendError(f"class {entry.id} has no name", where=where, fix="name it")
        for entry in self.classes + self.ignored:
            needed = entry in self.classes or entry.color != ""
            if needed and not re.fullmatch("#[0-9a-f]{6}", entry.color):
                raise LegendError(
                    f"class '{entry.name}' has color '{entry.color}'", where=where, fix="write it as '#rrggbb', quoted"
                )

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def ids(self) -> tuple[int, ...]:
        """Codes in the order of the indices."""
        return tuple(entry.id for entry in self.classes)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of the indices."""
        return tuple(entry.name for entry in self.classes)

    @property
    def colors(self) -> list[tuple[int, int, int]]:
        """Colours in the order of the indices."""
        return [entry.rgb for entry in self.classes]

    @property
    def ignore(self) -> tuple[int, ...]:
        """Codes that mean "no label"."""
        return tuple(entry.id for entry in self.ignored)

    @property
    def lut(self) -> npt.NDArray[np.uint8]:
        """uint8[256]: id → index, NODATA for what is no id."""
        table = np.full(256, NODATA, np.uint8)
        table[list(self.ids)] = np.arange(len(self), dtype=np.uint8)
        return table

    @property
    def id_lut(self) -> npt.NDArray[np.uint8]:
        """uint8[256]: index → id, NODATA for what is no index."""
        table = np.full(256, NODATA, np.uint8)
        table[: len(self)] = self.ids
        return table

    def index_of(self, name_or_id: str | int) -> int:
        """The index of a class given by code or by name; case, `_` and `-` do not matter in names.

        Raises:
            LegendError: there is no such class.
        """
        text = str(name_or_id).strip()
        for index, entry in enumerate(self.classes):
            if text == str(entry.id) or _normal(text) == _normal(entry.name):
                return index
        known = [each for entry in self.classes for each in (entry.name, str(entry.id))]
        raise LegendError(f"has no class '{text}'", where=f"legend '{self.name}'", fix=suggestion(text, known))

    def has_name(self, name: str) -> bool:
        """Whether a class has this name; case, `_` and `-` do not matter."""
        return _normal(name) in map(_normal, self.names)

    def colormap(self) -> dict[int, tuple[int, int, int, int]]:
        """Code → (red, green, blue, 255), as GDAL's colour tables want it."""
        return {entry.id: (*entry.rgb, 255) for entry in self.classes}

    def from_colors(self, rgb: npt.NDArray[np.uint8], *, where: str | Path) -> npt.NDArray[np.uint16]:
        """The codes of a colour-coded label.

        Args:
            rgb: H×W×3, or H×W×4 with opacity: where that is 0 the code is NODATA.
            where: named in errors.

        Returns:
            H×W codes of this legend, ignored ones included.

        Raises:
            LegendError: a colour that no class has, or a colour that two have.
        """
        if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] not in (3, 4):
            raise LegendError(f"is {rgb.dtype} {rgb.shape}, not 8-bit colours", where=where, fix="give codes instead")
        colored = [entry for entry in self.classes + self.ignored if entry.color]
        _refuse_twice([entry.color for entry in colored], "color", f"legend '{self.name}'")
        packed = _pack(rgb)
        codes = np.full(packed.shape, NODATA, np.uint16)
        known = rgb[..., 3] == 0 if rgb.shape[2] == 4 else np.zeros(packed.shape, bool)
        for entry in colored:
            here = (packed == int(entry.color[1:], 16)) & ~known
            codes[here] = entry.id
            known |= here
        if not known.all():
            values, counts = np.unique(packed[~known], return_counts=True)
            order = np.argsort(-counts)[:3]
            named = ", ".join(f"#{values[i]:06x} ({counts[i]} px)" for i in order)
            more = f" and {len(values) - 3} more" if len(values) > 3 else ""
            raise LegendError(
                f"has colors that are not in legend '{self.name}': {named}{more}",
                where=where,
                fix="export it without smoothing or JPEG, or list the colors in a legend of your own",
            )
        return codes

    def to_dict(self) -> dict[str, object]:
        """Plain values, as in the YAML file."""
        classes, ignored = ([vars(entry).copy() for entry in entries] for entries in (self.classes, self.ignored))
        texts = {"name": self.name, "title": self.title, "source": self.source, "licence": self.licence}
        return {**texts, "ignore": ignored, "classes": classes}

    @classmethod
    def from_dict(cls, plain: Mapping[str, object], *, where: str | Path | None = None, name: str = "custom") -> Self:
        """The inverse of `to_dict`, which also reads the YAML form; `name` stands in where the values give none.

        Raises:
            LegendError: a key or a value that does not fit.
        """
        file = parse(_LegendFile, plain, _KEYS, where=where, error=LegendError)
        ignored = tuple(LegendClass(one, "no label") if isinstance(one, int) else one for one in file.ignore)
        return cls(file.name or name, file.classes, file.title, file.source, file.licence, ignored)


def _pack(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    red, green, blue = (rgb[..., band].astype(np.uint32) for band in range(3))
    return (red << np.uint32(16)) | (green << np.uint32(8)) | blue


def _normal(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _refuse_twice(values: list[int] | list[str], what: str, where: str) -> None:
    for value in values:
        if values.count(value) > 1:  # type: ignore[arg-type]
            raise LegendError(f"{what} '{value}' is given twice", where=where, fix="give each class its own")
