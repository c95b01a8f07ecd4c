"""Data sets of TorchGeo, and whatever gives samples like theirs, written once as files with a manifest.

An adapter: nothing here knows a data set's layout. It asks for `len(dataset)` and for `dataset[i]`, a dict with `image`
(C×H×W, or T×C×H×W for T dates) or `image1`, `image2`, ..., and with `mask` (H×W, 1×H×W or T×H×W) if there is a label.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from affine import Affine

from mapmend.core.durable import replace_file, replace_json
from mapmend.core.errors import ManifestError
from mapmend.core.grid import full_window, make_grid
from mapmend.core.manifest import COLUMNS, Row, format_manifest, parse_manifest
from mapmend.core.plain import suggestion
from mapmend.core.provenance import value_hash
from mapmend.data.torchgeo_opening import TORCHGEO, arguments, construct, first_line
from mapmend.raster.writing import TiledWriter

_COLUMNS = ("label_legend", "label_class", "label_rest", "label_gsd", "trust", "split")
_KEYS = (TORCHGEO, "args", "site", "sensor", *_COLUMNS)
_TYPES = ("uint8", "uint16", "int16")  # of whole numbers that come as floats; what fits none stays float32
_CODES = ("uint8", "int16", "uint16", "int32")
_NAME, _MANIFEST = "{name}", "scenes.csv"


class Samples(Protocol):
    """What the adapter needs of a data set."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Mapping[str, Any]: ...


def torchgeo_rows(entry: Mapping[str, object], where: str, base: Path, store: Path) -> tuple[Row, ...]:
    """Rows of a project's entry that names a TorchGeo data set; its samples are written below `store`, once.

    Args:
        entry: `torchgeo` (the class's name), `args`, `sensor` (one, or a list for the dates of a sample, which are
            then stacked), `site`, `split`, and the columns that explain a label.
        where: named in errors.
        base: folder that a relative `root` starts from.
        store: folder for the files.

    Raises:
        ManifestError: TorchGeo is not installed, has no such data set, or that cannot be opened or read.
    """
    for key in entry:
        if key not in _KEYS:
            raise ManifestError(f"unknown key '{key}'", where=where, fix=suggestion(key, _KEYS))
    name, args = str(entry[TORCHGEO]), arguments(entry, where, base)
    sensor = entry.get("sensor", "")
    columns = {key: str(entry[key]) for key in _COLUMNS if entry.get(key) is not None}
    folder = store / f"{name}-{value_hash([args, sensor, entry.get('site'), columns])[:8]}"
    manifest = folder / _MANIFEST
    if not manifest.is_file():
        default = f"{name}-{columns['split']}-{_NAME}" if "split" in columns else f"{name}-{_NAME}"
        write_scenes(
            _open(name, args, where),
            folder,
            sensor=[str(one) for one in sensor] if isinstance(sensor, list) else str(sensor),
            site=str(entry.get("site", default)),
            columns=columns,
        )
    return parse_manifest(manifest.read_text(), where=manifest, folder=manifest.parent)


def write_scenes(
    dataset: Samples,
    folder: Path,
    *,
    sensor: str | Sequence[str] = "",
    site: str = _NAME,
    columns: Mapping[str, str] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Write every sample of a data set as tiled GeoTIFFs, and the manifest of them; goes on where it was stopped.

    Dates become `t1`, `t2`, ...; a single mask belongs to the last. Samples are read and written one by one.

    Args:
        dataset: anything with a length and samples by number; see the head of this file.
        folder: for the files; it must be new, or hold a part of the same.
        sensor: name of the sensor; or one for each date of a sample, which makes them images of one date.
        site: of a sample; `{name}` stands for its number.
        columns: further columns of the manifest, the same for every sample: split, label_legend, ...
        progress: told how many samples are done.

    Returns:
        The manifest's file.

    Raises:
        ManifestError: a sample cannot be read or has no such shape, or the folder holds another data set.
        DiskError, RasterError: a file cannot be written.
    """
    columns = dict(columns or {})
    identity = {"samples": len(dataset), "sensor": sensor if isinstance(sensor, str) else list(sensor)}
    _claim(folder, {**identity, "kind": type(dataset).__name__, "site": site, "columns": columns})
    manifest = folder / _MANIFEST
    if manifest.is_file():
        return manifest
    digits = len(str(max(len(dataset) - 1, 0)))
    rows: list[Row] = []
    least = "uint8"
    for index in range(len(dataset)):
        name = f"{index:0{digits}d}"
        written = folder / name / "rows.csv"
        if index == 0 or not written.is_file():
            where = f"{type(dataset).__name__}, sample {index}"
            images, masks = _sample(dataset, index, where)
            # the first sample's type at least: one dark image must not be of another type than all others
            least = _common(least, *(_narrowest(image, _TYPES) for image in images))
            if not written.is_file():
                made = _write_sample(images, masks, folder / name, least, sensor, site.replace(_NAME, name), where)
                text = format_manifest(_row(values, columns, folder) for values in made)
                replace_file(written, text)
        rows += parse_manifest(written.read_text(), where=written, folder=Path())
        progress(index + 1)
    if not rows:
        raise ManifestError("holds no sample", where=type(dataset).__name__, fix="check its arguments")
    replace_file(manifest, format_manifest(rows))
    return manifest


def _open(name: str, args: Mapping[str, object], where: str) -> Samples:
    """A data set that is asked by number."""
    dataset: Samples = construct(name, args, where)
    module = importlib.import_module("torchgeo.datasets")
    if not hasattr(dataset, "__len__") or isinstance(dataset, module.GeoDataset):
        raise ManifestError(
            f"TorchGeo's {name} is asked by place, not by number", where=where, fix="give its files as patterns"
        )
    return dataset


def _claim(folder: Path, identity: Mapping[str, object]) -> None:
    """Mark a folder as that of a data set.

    Raises:
        ManifestError: it is that of another.
    """
    mark, wanted = folder / "dataset.json", value_hash(identity)
    if mark.is_file():
        if f'"{wanted}"' not in mark.read_text():
            raise ManifestError("holds the samples of another data set", where=folder, fix="give another folder")
        return
    replace_json(mark, {**identity, "hash": wanted})


def _sample(dataset: Samples, index: int, where: str) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Images C×H×W, one a date, and masks H×W: none, one, or one a date.

    Raises:
        ManifestError: the sample cannot be read, or its arrays have other shapes.
    """
    try:
        sample = dataset[index]
    except Exception as error:  # each data set raises its own
        raise ManifestError(f"cannot be read ({first_line(error)})", where=where, fix="check the data set") from None
    images, masks = _arrays(sample, "image", where), _arrays(sample, "mask", where)
    if not images:
        keys = ", ".join(map(str, sample)) if isinstance(sample, Mapping) else type(sample).__name__
        raise ManifestError(f"has no 'image' (it has {keys})", where=where, fix="give another data set")
    images = [date for image in images for date in (image if image.ndim == 4 else [image])]
    images = [image[None] if image.ndim == 2 else image for image in images]
    masks = [date for mask in masks for date in (mask if mask.ndim == 3 else [mask])]
    shapes = {image.shape[1:] for image in images} | {mask.shape for mask in masks}
    if len(shapes) > 1 or any(image.ndim != 3 for image in images) or len(masks) not in (0, 1, len(images)):
        found = [array.shape for array in (*images, *masks)]
        raise ManifestError(
            f"has images and masks of shapes {', '.join(map(str, found))}",
            where=where,
            fix="an image is C×H×W or T×C×H×W, a mask H×W or T×H×W",
        )
    return images, masks


def _arrays(sample: Mapping[str, Any], key: str, where: str) -> list[np.ndarray]:
    """The arrays under a key, or under the key with 1, 2, ... behind it."""
    numbered = [f"{key}{number}" for number in range(1, len(sample) + 1)]
    keys = [key] if key in sample else [each for each in numbered if each in sample]
    arrays = [np.asarray(sample[each]) for each in keys]
    for each, array in zip(keys, arrays, strict=True):
        if array.dtype.kind not in "buif" or not array.size:
            raise ManifestError(f"has no numbers in '{each}'", where=where, fix="give another data set")
    return arrays


def _write_sample(
    images: Sequence[np.ndarray],
    masks: Sequence[np.ndarray],
    folder: Path,
    least: str,
    sensor: str | Sequence[str],
    site: str,
    where: str,
) -> list[dict[str, str]]:
    """Write a sample's files; the values of its rows."""
    stacked = not isinstance(sensor, str)
    if stacked and len(sensor) != len(images):
        raise ManifestError(
            f"has {len(images)} dates, and {len(sensor)} sensors are named", where=where, fix="name one a date"
        )
    folder.mkdir(parents=True, exist_ok=True)
    many = len(images) > 1 and not stacked
    stems = (
        list(sensor) if stacked else [f"t{number:0{len(str(len(images)))}d}" for number in range(1, len(images) + 1)]
    )
    rows = []
    for number, (stem, image) in enumerate(zip(stems, images, strict=True)):
        own = {"site": site, "image": str(folder / f"{stem}.tif"), "sensor": stem if stacked else str(sensor)}
        own["date"] = stem if many else ""
        _write(folder / f"{stem}.tif", image, least)
        mask = masks[number] if len(masks) > 1 else masks[0] if masks and (stacked or image is images[-1]) else None
        if mask is not None:
            label = folder / ("label.tif" if len(masks) == 1 else f"{stem}_label.tif")
            _write(label, mask[None], _narrowest(mask, _CODES))
            own["label"] = str(label)
        rows.append(own)
    return rows


def _write(path: Path, pixels: np.ndarray, dtype: str) -> None:
    grid = make_grid((pixels.shape[1], pixels.shape[2]), Affine.identity(), None)
    with TiledWriter(path, grid, len(pixels), dtype) as out:
        out.write(full_window(grid), pixels.astype(dtype))


def _row(values: Mapping[str, str], columns: Mapping[str, str], folder: Path) -> Row:
    """A row whose files are relative to the folder of the manifest."""
    row = {key: value for key, value in values.items() if value}
    if "label" not in row:
        columns = {key: value for key, value in columns.items() if not key.startswith("label_")}
    for key in ("image", "label"):
        if key in row:
            row[key] = Path(row[key]).relative_to(folder).as_posix()
    merged: dict[str, Any] = {**columns, **row}
    merged["image"] = (row["image"],)
    assert merged.keys() <= set(COLUMNS)
    return Row(**merged)


def _common(*types: str) -> str:
    """The narrowest type that holds all of these exactly; float32 where no 16 bits do."""
    common = str(np.result_type(*types))
    return common if common in _TYPES else "float32"


def _narrowest(array: np.ndarray, types: Sequence[str]) -> str:
    """The narrowest type that holds all numbers exactly; samples mostly come as float32 whatever the files hold."""
    if array.dtype.kind == "f" and not (array == np.rint(array)).all():
        return "float32"
    low, high = int(array.min()), int(array.max())
    fitting = (name for name in types if np.iinfo(name).min <= low and high <= np.iinfo(name).max)
    return next(fitting, "float32")
