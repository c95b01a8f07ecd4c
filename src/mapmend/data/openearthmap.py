"""OpenEarthMap and OpenEarthMap-SAR by their folders.

OpenEarthMap (Xia et al., WACV 2023): `REGION/images/REGION_1.tif`, `REGION/labels/REGION_1.tif`, and `train.txt`,
`val.txt`, `test.txt` with file names; images of the test list have no labels. OpenEarthMap-SAR (Xia et al. 2025,
arXiv 2501.10891): `train/{rgb_images,sar_images,labels}` and `test/sar_images`, whose files are called `TrainArea_…`,
`ValArea_…` and `TestArea_…`. Codes of both are those of the legend `openearthmap`, 0 for the background.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mapmend.core.errors import ManifestError
from mapmend.core.manifest import SPLITS, Row, make_row
from mapmend.core.plain import suggestion

OPENEARTHMAP, OPENEARTHMAP_SAR = "openearthmap", "openearthmap_sar"
_COMMON = ("split", "label", "label_legend", "trust")
_KEYS = (OPENEARTHMAP, "regions", "sensor", *_COMMON)
_SAR_KEYS = (OPENEARTHMAP_SAR, "part", "image", *_COMMON)
_IMAGES, _LABELS, _NONE = "images", "labels", "none"
_RADAR, _RGB = "sar_images", "rgb_images"
_AREAS = {"TrainArea": "train", "ValArea": "val", "TestArea": "test"}


def openearthmap_rows(entry: Mapping[str, object], where: str, base: Path, *, reference: bool = False) -> list[Row]:
    """Rows of a project's entry `{openearthmap: FOLDER, split: train}`.

    Args:
        entry: `openearthmap`, the folder of the regions' folders; `split`, whose list is taken where there is one, and
            that is given to the rows; `regions`, all by default; `label: none` for images alone; and `sensor`,
            `label_legend` and `trust` as in the manifest.
        where: named in errors.
        base: folder that relative paths start from.
        reference: whether labels for scoring are asked for: rows without images, of those that have a label.

    Raises:
        ManifestError: an unknown key, split or region, a list that names what is not there, or no image.
    """
    _check(entry, _KEYS, where)
    root, split = base / str(entry[OPENEARTHMAP]), str(entry.get("split", ""))
    images = {path.name: path for path in sorted(root.glob(f"*/{_IMAGES}/*.tif"))}
    given = entry.get("regions")
    if given is not None:
        wanted = [str(one) for one in given] if isinstance(given, list) else [str(given)]
        there = sorted({path.parents[1].name for path in images.values()})
        for region in wanted:
            if region not in there:
                raise ManifestError(f"region '{region}' is not there", where=where, fix=suggestion(region, there))
        images = {name: path for name, path in images.items() if path.parents[1].name in wanted}
    listed = root / f"{split}.txt"
    if split and listed.is_file():
        names = [Path(line.strip()).name for line in listed.read_text().splitlines() if line.strip()]
        if given is None:
            missing = next((name for name in names if name not in images), None)
            if missing is not None:
                raise ManifestError(f"names '{missing}', which no region has", where=listed, fix="check the folder")
        images = {name: images[name] for name in names if name in images}
    rows = []
    for path in images.values():
        label = path.parents[1] / _LABELS / path.name
        labelled = label.is_file() and (reference or entry.get("label") != _NONE)
        if reference and not labelled:
            continue
        values = {**_values(entry, reference), "site": path.stem, "split": "" if reference else split}
        values |= {"label": str(label.absolute())} if labelled else {}
        if not reference:
            values |= {"image": str(path.absolute()), "sensor": str(entry.get("sensor", ""))}
        rows.append(_row(values, where, base))
    return _found(rows, where, root)


def openearthmap_sar_rows(entry: Mapping[str, object], where: str, base: Path, *, reference: bool = False) -> list[Row]:
    """Rows of a project's entry `{openearthmap_sar: FOLDER, part: train, image: {radar: sar_images}}`.

    Args:
        entry: `openearthmap_sar`, the folder; `part`, its train (the default) or test; `image`, the project's sensors
            with the folders of their images, `{optical: rgb_images, radar: sar_images}` as far as they are there;
            `split`, which wins over the one in the files' names; `label: none` for images alone; and `label_legend` and
            `trust`.
        where: named in errors.
        base: folder that relative paths start from.
        reference: as in `openearthmap_rows`.

    Raises:
        ManifestError: an unknown key, part or split, a folder that is not there, or no image.
    """
    _check(entry, _SAR_KEYS, where)
    part = str(entry.get("part", "train"))
    if part not in ("train", "test"):
        raise ManifestError(f"part '{part}' is unknown", where=where, fix="use train or test")
    root = base / str(entry[OPENEARTHMAP_SAR]) / part
    given = entry.get("image")
    folders = {str(k): str(v) for k, v in given.items()} if isinstance(given, Mapping) else {}
    if not folders:
        folders = {
            name: folder for name, folder in {"optical": _RGB, "radar": _RADAR}.items() if (root / folder).is_dir()
        }
    for folder in folders.values():
        if not (root / folder).is_dir():
            raise ManifestError(f"no such folder: {root / folder}", where=where, fix="check `image`")
    names = sorted({path.name for folder in folders.values() for path in (root / folder).glob("*.tif")})
    rows = []
    for name in names:
        label = root / _LABELS / name
        labelled = label.is_file() and (reference or entry.get("label") != _NONE)
        split = str(entry.get("split") or next((s for area, s in _AREAS.items() if name.startswith(area)), ""))
        values = {**_values(entry, reference), "site": Path(name).stem, "split": "" if reference else split}
        values |= {"label": str(label.absolute())} if labelled else {}
        if reference:
            rows += [_row(values, where, base)] if labelled else []
            continue
        for sensor, folder in folders.items():
            image = root / folder / name
            if image.is_file():
                rows.append(_row({**values, "sensor": sensor, "image": str(image.absolute())}, where, base))
    return _found(rows, where, root)


def _check(entry: Mapping[str, object], keys: tuple[str, ...], where: str) -> None:
    for key in entry:
        if key not in keys:
            raise ManifestError(f"unknown key '{key}'", where=where, fix=suggestion(str(key), keys))
    split = entry.get("split")
    if split is not None and split not in SPLITS:
        raise ManifestError(f"split '{split}' is unknown", where=where, fix=suggestion(str(split), SPLITS))
    if entry.get("label") not in (None, _LABELS, _NONE):
        raise ManifestError(f"label '{entry['label']}' is unknown", where=where, fix="use labels or none")


def _values(entry: Mapping[str, object], reference: bool) -> dict[str, str]:
    plain = {key: str(entry[key]) for key in ("label_legend", "trust") if key in entry}
    return {"trust": "reference", **plain} if reference else plain


def _row(values: Mapping[str, str], where: str, base: Path) -> Row:
    return make_row({key: text for key, text in values.items() if text}, where, base)


def _found(rows: list[Row], where: str, root: Path) -> list[Row]:
    if not rows:
        raise ManifestError(f"no image below {root}", where=where, fix="check the folder and `split`")
    return rows
