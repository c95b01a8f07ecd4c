"""The files of each image that is scored, and windows of them as class indices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mapmend.core.classes import NODATA
from mapmend.core.crosswalk import Crosswalk
from mapmend.core.errors import GridError, LegendError, ManifestError, RasterError
from mapmend.core.grid import Grid, Window, full_window, same_grid
from mapmend.raster.labels import read_codes, read_values
from mapmend.raster.opening import RasterInfo, raster_info

_STRANGE = 254  # in a look-up table: a code that is no class; a legend has 254 classes at most, indices 0 to 253
_ENDINGS = (".png", ".tif", ".tiff", ".bmp", ".jp2", ".img", ".dat")

Classes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ScoreInputs:
    """What is scored: all of them files, or all of them folders of files with equal stems.

    Attributes:
        prediction: class raster or folder; of the later date where there are two.
        reference: the truth of the same date.
        before_prediction: of the earlier date, or None.
        before_reference: of the earlier date, or None.
        change_prediction: the prediction's own map of change, 0 for unchanged, or None.
    """

    prediction: Path
    reference: Path
    before_prediction: Path | None = None
    before_reference: Path | None = None
    change_prediction: Path | None = None

    def roles(self) -> dict[str, Path]:
        """Role → file or folder, of those that are given."""
        return {role: path for role, path in vars(self).items() if path is not None}


@dataclass(frozen=True)
class Codes:
    """What codes mean: crosswalks to one legend."""

    reference: Crosswalk
    prediction: Crosswalk

    def of(self, role: str) -> Crosswalk:
        """Of the rasters in a role."""
        return self.reference if role.endswith("reference") else self.prediction


def paired(roles: dict[str, Path]) -> tuple[dict[str, dict[str, Path]], tuple[str, ...]]:
    """Image → role → file, by equal stems; and a note for each role with files that have no partner.

    Raises:
        ManifestError: nothing has a partner, or a stem occurs twice.
    """
    for path in roles.values():
        if not path.exists():
            raise ManifestError("no such file or folder", where=path, fix="correct the path")
    folders = [path for path in roles.values() if path.is_dir()]
    if not folders:
        return {roles["reference"].stem: roles}, ()
    if len(folders) < len(roles):
        single = next(path for path in roles.values() if not path.is_dir())
        raise ManifestError("is a file, and others are folders", where=single, fix="give files alone or folders alone")
    listed = {role: _rasters(path) for role, path in roles.items()}
    shared = sorted(set.intersection(*(set(files) for files in listed.values())))
    if not shared:
        raise ManifestError(
            "has no file whose name, without its ending, is in every other folder",
            where=roles["prediction"],
            fix="name each prediction as its reference",
        )
    notes = tuple(
        f"{roles[role]}: {len(set(files) - set(shared))} of {len(files)} files have no partner and are not scored"
        for role, files in listed.items()
        if len(files) > len(shared)
    )
    return {stem: {role: files[stem] for role, files in listed.items()} for stem in shared}, notes


class ScoredImage:
    """The rasters of one image, on one grid.

    Args:
        files: role → raster.
        codes: what the codes of references and of predictions mean, in one legend.
    """

    def __init__(self, files: dict[str, Path], codes: Codes) -> None:
        self._codes, self._lut = codes, codes.reference.target.lut
        self._infos = {role: _info(path) for role, path in files.items()}
        self.grid: Grid = self._infos["reference"].grid
        for info in self._infos.values():
            _check_grid(info, self._infos["reference"])

    def read(self, role: str, window: Window) -> Classes:
        """Class indices of a window, which may reach outside: 255 there and where there is no class."""
        inside = window.intersect(full_window(self.grid))
        found = np.full((window.height, window.width), NODATA, np.uint8)
        if inside is not None:
            found[inside.shift(-window.row, -window.col).slices] = self._read_inside(role, inside)
        return found

    def is_plain(self, role: str) -> bool:
        """Whether a raster holds 8-bit codes alone, of which one at most says that something is missing."""
        info = self._infos[role]
        return info.dtype == "uint8" and info.count == 1 and not info.masked and "alpha" not in info.colorinterp

    def tile(self, role: str) -> int:
        """Height of a raster's tiles in pixels, 0 where it is stored in rows."""
        info = self._infos[role]
        return info.block[0] if info.tiled else 0

    def read_plain(self, role: str, window: Window) -> Classes:
        """Codes of a window inside a plain raster, as they stand in the file."""
        return read_values(self._infos[role], window)

    def meaning(self, role: str) -> tuple[Classes, npt.NDArray[np.bool_]]:
        """Of a plain raster's 256 codes: class index, 255 for none; and whether it is neither class nor nodata."""
        table = np.full(256, _STRANGE, np.uint8)
        for code, target in self._codes.of(role).table.items():
            if 0 <= code < len(table):
                table[code] = self._lut[target]
        nodata = self._infos[role].nodata[0]
        table[np.arange(len(table)) == nodata] = NODATA
        return table, table == _STRANGE

    @property
    def has_two_dates(self) -> bool:
        """Whether there is an earlier date."""
        return "before_reference" in self._infos

    def changed(self, window: Window) -> Classes:
        """The prediction's own change map: 0 unchanged, 1 changed."""
        codes, valid = read_codes(self._infos["change_prediction"], window)
        found: Classes = ((codes[0] != 0) & valid).astype(np.uint8)
        return found

    def _read_inside(self, role: str, window: Window) -> Classes:
        if self.is_plain(role):
            table, _ = self.meaning(role)
            found = table[self.read_plain(role, window)]
            if not (found == _STRANGE).any():
                return found
        info = self._infos[role]
        codes, valid = read_codes(info, window)
        return self._indices(codes[0], valid, info.path, self._codes.of(role))

    def _indices(
        self, codes: npt.NDArray[Any], valid: npt.NDArray[np.bool_], where: str, crosswalk: Crosswalk
    ) -> Classes:
        try:
            indices: Classes = self._lut[crosswalk.apply(codes, valid, where=where)]
        except LegendError as fault:
            raise LegendError(
                fault.what, where=where, fix="give its --legend, or name the code with --ignore"
            ) from None
        return indices


def _rasters(folder: Path) -> dict[str, Path]:
    """Rasters by name: files, and the maps that `predict` put into folders of their own."""
    found: dict[str, Path] = {path.parent.name: path for path in sorted(folder.glob("*/class.tif"))}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in _ENDINGS and path.is_file():
            if path.stem in found:
                raise ManifestError(f"has both {found[path.stem].name} and {path.name}", where=folder, fix="keep one")
            found[path.stem] = path
    return found


def _info(path: Path) -> RasterInfo:
    info = raster_info(path)
    bands = info.count - info.colorinterp.count("alpha")
    if bands != 1:
        raise RasterError(f"has {bands} bands", where=path, fix="give one band of class codes")
    return info


def _check_grid(info: RasterInfo, reference: RasterInfo) -> None:
    shapes = [" × ".join(str(int(n)) for n in reversed(one.grid.shape)) for one in (info, reference)]
    if shapes[0] != shapes[1]:
        raise GridError(
            f"is {shapes[0]} px, and {reference.path} is {shapes[1]} px", where=info.path, fix="crop both alike"
        )
    if info.grid.crs is not None and reference.grid.crs is not None and not same_grid(info.grid, reference.grid):
        raise GridError(f"does not lie where {reference.path} does", where=info.path, fix="put both on one grid")
