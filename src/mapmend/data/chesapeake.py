"""The Chesapeake Bay land cover data (Robinson et al. 2019, CVPR) as scenes: a file for each tile and layer.

Files are `TILE_LAYER.tif`, such as `m_3807504_ne_18_1_naip-new.tif`, in the folders of the download
(`de_1m_2013_extended-debuffered-train_tiles/`), in those of L2HNet, Paraformer, VCNet and MapSR (`HR_image/`,
`LR_label/`, `HR_label/` below the name of a state), or together in one. State, year and split are read from the
folders' names where those say them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mapmend.core.errors import ManifestError
from mapmend.core.manifest import SPLITS, Row, make_row
from mapmend.core.plain import suggestion

CHESAPEAKE = "chesapeake"
STATES = ("de", "md", "ny", "pa", "va", "wv")
IMAGES = ("naip-new", "naip-old", "landsat-leaf-on", "landsat-leaf-off")
LABELS = {"nlcd": "nlcd", "lc": "chesapeake"}  # layer → what explains its codes

_KEYS = (CHESAPEAKE, "states", "split", "sensor", "image", "date", "label", "label_legend", "label_gsd", "trust")
_GSD, _TRUST = {"nlcd": "30"}, {"nlcd": "coarse", "lc": "reference"}
_FILE = re.compile(rf"(.+)_({'|'.join((*IMAGES, *LABELS))})\.tiff?", re.IGNORECASE)
_DOWNLOADED = re.compile(rf"({'|'.join(STATES)})_\d+m_(\d{{4}})_.*-({'|'.join(SPLITS)})_tiles")
_PACKED = ("hr_image", "lr_label", "hr_label")  # folders beside one another, of one set of tiles
_NAMES = {  # as repackaged data sets are called, without what is between the words; West Virginia before Virginia
    "delaware": "de",
    "maryland": "md",
    "newyork": "ny",
    "pennsylvania": "pa",
    "westvirginia": "wv",
    "virginia": "va",
}


@dataclass(frozen=True)
class Tile:
    """The files of one tile.

    Attributes:
        name: as the files are called, without the layer.
        files: layer → path.
        state: one of `STATES`, or empty where no folder says it.
        year: of the image, four digits or empty.
        split: train, val, test or empty.
    """

    name: str
    files: Mapping[str, Path]
    state: str = ""
    year: str = ""
    split: str = ""

    @property
    def site(self) -> str:
        """`de_m_3807504_ne_18_1`: a tile at a border belongs to two states."""
        return f"{self.state}_{self.name}" if self.state else self.name


def chesapeake_rows(
    entry: Mapping[str, object], where: str, base: Path, *, reference: bool = False, tiles: Sequence[Tile] | None = None
) -> list[Row]:
    """Rows of a project's entry `{chesapeake: FOLDER, states: [de, md], split: train}`.

    Args:
        entry: `chesapeake`, the folder; `states` and `split`, of which one or several are taken, all by default (where
            no folder names a split, a single `split` is given to the rows); `image`, a layer or a mapping from sensors
            to layers, naip-new by default; `label`, nlcd, lc or none; and columns of the manifest.
        where: named in errors.
        base: folder that relative paths start from.
        reference: whether labels for scoring are asked for: rows of the layer lc, without images.
        tiles: found otherwise; None: those below the folder.

    Raises:
        ManifestError: an unknown key, state, split or layer, no tile, or a tile that lacks a layer.
    """
    for key in entry:
        if key not in _KEYS:
            raise ManifestError(f"unknown key '{key}'", where=where, fix=suggestion(str(key), _KEYS))
    states, splits = (_several(entry, key, known, where) for key, known in (("states", STATES), ("split", SPLITS)))
    label = str(entry.get("label", "lc" if reference else "nlcd"))
    _check(label, (*LABELS, "none"), "label", where)
    images = {} if reference else _images(entry, where)
    root = base / str(entry[CHESAPEAKE])
    found = find_tiles(root, where) if tiles is None else tiles
    rows: list[Row] = []
    for tile in found:
        if (states and tile.state not in states) or (splits and tile.split and tile.split not in splits):
            continue
        mark = tile.split or (splits[0] if len(splits) == 1 else "")
        values = {"site": tile.site, "date": str(entry.get("date", tile.year)), "split": "" if reference else mark}
        if label != "none":
            values |= {"label": _file(tile, label, where), "label_legend": LABELS[label], "trust": _TRUST[label]}
            values |= {"label_gsd": _GSD.get(label, "")}
            values |= {key: str(entry[key]) for key in ("label_legend", "label_gsd", "trust") if key in entry}
        for sensor, layer in images.items() or [("", "")]:
            image = {"sensor": sensor, "image": _file(tile, layer, where)} if layer else {}
            rows.append(make_row({key: text for key, text in {**values, **image}.items() if text}, where, base))
    if not rows:
        have = ", ".join(sorted({" ".join(filter(None, (t.state or "no state", t.split))) for t in found})) or "none"
        raise ManifestError(f"no tile of these states and splits (there is: {have})", where=where, fix="ask for those")
    return rows


def find_tiles(root: Path, where: str) -> list[Tile]:
    """The tiles below a folder, by state and name.

    Raises:
        ManifestError: there is no such folder, or no tile in it.
    """
    if not root.is_dir():
        raise ManifestError(f"no such folder: {root}", where=where, fix="give the folder that holds the tiles' folders")
    files: dict[tuple[Path, str], dict[str, Path]] = {}
    for path in sorted(root.rglob("*.tif*")):
        match = _FILE.fullmatch(path.name)
        if match:
            together = path.parent.parent if path.parent.name.lower() in _PACKED else path.parent
            files.setdefault((together, match[1]), {})[match[2].lower()] = path
    tiles = [_tile(name, layers, folder, root) for (folder, name), layers in files.items()]
    if not tiles:
        raise ManifestError(
            f"no file named TILE_LAYER.tif (such as …_naip-new.tif) below {root}", where=where, fix="check the folder"
        )
    return sorted(tiles, key=lambda tile: (tile.state, tile.name))


def tiles_of_index(root: Path, rows: Iterable[Mapping[str, object]]) -> list[Tile]:
    """The tiles of TorchGeo's index of the data: a column of paths for each layer, and `split` as in `de-train`."""
    tiles = []
    for row in rows:
        files = {layer: root / str(row[layer]) for layer in (*IMAGES, *LABELS) if isinstance(row.get(layer), str)}
        state, _, split = str(row["split"]).partition("-")
        first = next(iter(files.values()))
        match, folder = _FILE.fullmatch(first.name), _DOWNLOADED.fullmatch(first.parent.name)
        name, year = match[1] if match else first.stem, folder[2] if folder else ""
        tiles.append(Tile(name, files, state, year, split))
    return sorted(tiles, key=lambda tile: (tile.state, tile.name))


def _tile(name: str, layers: Mapping[str, Path], folder: Path, root: Path) -> Tile:
    """A tile whose state, year and split stand in the names of its folders, from the nearest outwards to the root's."""
    state = year = split = ""
    for part in (folder.name, *(parent.name for parent in folder.parents if parent.is_relative_to(root))):
        downloaded, plain = _DOWNLOADED.fullmatch(part.lower()), part.lower()
        if downloaded:
            return Tile(name, layers, *downloaded.groups())
        split = split or (plain if plain in SPLITS else "")
        state = state or (plain if plain in STATES else _state_named(plain))
    return Tile(name, layers, state, year, split)


def _state_named(folder: str) -> str:
    letters = re.sub(r"[^a-z]", "", folder)
    return next((state for name, state in _NAMES.items() if name in letters), "")


def _several(entry: Mapping[str, object], key: str, known: Sequence[str], where: str) -> list[str]:
    given = entry.get(key)
    texts = [str(one) for one in given] if isinstance(given, list) else [] if given is None else [str(given)]
    for text in texts:
        _check(text, known, key, where)
    return texts


def _images(entry: Mapping[str, object], where: str) -> dict[str, str]:
    """Sensor → layer."""
    given, sensor = entry.get("image", IMAGES[0]), str(entry.get("sensor", ""))
    if isinstance(given, Mapping) and sensor:
        raise ManifestError("gives `sensor` and a sensor for each image", where=where, fix="leave out `sensor`")
    layers = dict(given) if isinstance(given, Mapping) else {sensor: given}
    for layer in layers.values():
        _check(str(layer), IMAGES, "image", where)
    return {str(name): str(layer) for name, layer in layers.items()}


def _check(text: str, known: Sequence[str], key: str, where: str) -> None:
    if text not in known:
        raise ManifestError(f"{key} '{text}' is unknown", where=where, fix=suggestion(text, known))


def _file(tile: Tile, layer: str, where: str) -> str:
    path = tile.files.get(layer)
    if path is None:
        one = next(iter(tile.files.values()))
        raise ManifestError(
            f"tile {tile.name} has no layer {layer} (it has {one})", where=where, fix="fetch it, or ask for others"
        )
    return str(path.absolute())
