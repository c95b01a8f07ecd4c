"""The Poland data of Paraformer (Li et al. 2024, CVPR) as scenes: OpenEarthMap's folders with coarse products beside.

Each region has a folder with `images/`, `labels/` (OpenEarthMap's eight classes, the reference) and one folder for
each product, cut to the images: `REGION/images/REGION_1.tif`, `REGION/ESA_GLC10/REGION_1.tif`. The literature scores
on four classes, and there are two tables of which of OpenEarthMap's and of the product's classes belong to each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mapmend.core.errors import ManifestError
from mapmend.core.manifest import SPLITS, Row, make_row
from mapmend.core.plain import suggestion

POLAND = "poland"
REFERENCE = "openearthmap"


@dataclass(frozen=True)
class Product:
    """A coarse product of the data.

    Attributes:
        folders: as the folder with its files may be called, in lower case.
        gsd: pixel size in metres.
        class_maps: the class maps that are published for it.
    """

    folders: tuple[str, ...]
    gsd: int
    class_maps: tuple[str, ...]


PRODUCTS = {
    "worldcover": Product(("esa_glc10", "esa_worldcover", "worldcover"), 10, ("bare_built", "bare_low")),
    "esri_glc10": Product(("esri_glc10",), 10, ("bare_built",)),
    "from_glc10": Product(("from_glc10", "form_glc10"), 10, ("bare_built",)),
    "glc_fcs30": Product(("glc_fcs30",), 30, ("bare_built",)),
}
CLASS_MAPS = ("bare_built", "bare_low")

_KEYS = (POLAND, "product", "classes", "regions", "split", "sensor", "label_legend", "label_gsd", "trust")
_IMAGES, _LABELS = "images", "labels"


def poland_rows(entry: Mapping[str, object], where: str, base: Path, *, reference: bool = False) -> list[Row]:
    """Rows of a project's entry `{poland: FOLDER, product: worldcover, classes: bare_built}`.

    Args:
        entry: `poland`, the folder of the regions' folders; `product`, the coarse label, worldcover by default;
            `classes`, the class map, bare_built by default: bare land is built, or bare_low: it is low vegetation;
            `regions`, all by default; `split`, and columns of the manifest; `label_legend` wins over `classes`.
        where: named in errors.
        base: folder that relative paths start from.
        reference: whether labels for scoring are asked for: rows of OpenEarthMap's labels, without images.

    Raises:
        ManifestError: an unknown key, product, class map or region, no image, or an image without its label.
    """
    for key in entry:
        if key not in _KEYS:
            raise ManifestError(f"unknown key '{key}'", where=where, fix=suggestion(str(key), _KEYS))
    name, classes = str(entry.get("product", "worldcover")), str(entry.get("classes", CLASS_MAPS[0]))
    for key, value, known in (("product", name, tuple(PRODUCTS)), ("classes", classes, CLASS_MAPS)):
        if value not in known:
            raise ManifestError(f"{key} '{value}' is unknown", where=where, fix=suggestion(value, known))
    product = PRODUCTS[name]
    if not reference and "label_legend" not in entry and classes not in product.class_maps:
        fix = f"use {' or '.join(product.class_maps)}, or give a crosswalk of your own as `label_legend`"
        raise ManifestError(f"no class map '{classes}' is published for '{name}'", where=where, fix=fix)
    if entry.get("split") is not None and entry["split"] not in SPLITS:
        raise ManifestError(
            f"split '{entry['split']}' is unknown", where=where, fix=suggestion(str(entry["split"]), SPLITS)
        )
    source, folders, gsd = (REFERENCE, (_LABELS,), "") if reference else (name, product.folders, str(product.gsd))
    common = {
        "label_legend": f"{source}_{classes}",
        "label_gsd": gsd,
        "trust": "reference" if reference else "coarse",
        **{key: str(entry[key]) for key in ("label_legend", "label_gsd", "trust") if key in entry},
        "split": "" if reference else str(entry.get("split") or ""),
        "sensor": "" if reference else str(entry.get("sensor", "")),
    }
    rows = []
    for region in _regions(entry, base / str(entry[POLAND]), where):
        labels = _label_folder(region, folders, where)
        for image in sorted((region / _IMAGES).glob("*.tif")):
            label = labels / image.name
            if not label.is_file():
                if reference:
                    continue  # OpenEarthMap keeps the labels of its test images to itself
                raise ManifestError(f"{image} has no {label}", where=where, fix="cut the product to every image")
            values = {**common, "site": image.stem, "label": str(label.absolute())}
            values |= {} if reference else {"image": str(image.absolute())}
            rows.append(make_row({key: text for key, text in values.items() if text}, where, base))
    if not rows:
        raise ManifestError("its regions hold no image with a label", where=where, fix="check the folder")
    return rows


def _regions(entry: Mapping[str, object], root: Path, where: str) -> list[Path]:
    if not root.is_dir():
        raise ManifestError(f"no such folder: {root}", where=where, fix="give the folder of the regions' folders")
    there = {path.parent.name: path.parent for path in sorted(root.glob(f"*/{_IMAGES}")) if path.is_dir()}
    if not there:
        raise ManifestError(f"no folder REGION/{_IMAGES} below {root}", where=where, fix="check the folder")
    given = entry.get("regions")
    asked = list(there) if given is None else [str(one) for one in given] if isinstance(given, list) else [str(given)]
    for region in asked:
        if region not in there:
            raise ManifestError(f"region '{region}' is not there", where=where, fix=suggestion(region, there))
    return [there[region] for region in asked]


def _label_folder(region: Path, names: tuple[str, ...], where: str) -> Path:
    found = [path for path in sorted(region.iterdir()) if path.is_dir() and path.name.lower() in names]
    if not found:
        raise ManifestError(f"{region} has no folder {names[0]}", where=where, fix="put the product's files there")
    return found[0]
