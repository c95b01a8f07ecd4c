"""The Chesapeake Bay data in each of the folders in which it is passed on."""

import sys
import types

import numpy as np
import pytest
from tests.data.scenery import grid, halves, image_of, write

from mapmend.core.errors import ManifestError
from mapmend.core.legend import load_legend
from mapmend.core.sensor import load_sensor
from mapmend.data.prepare import prepare
from mapmend.data.scenes import read_scenes, with_sensor

LAYERS = ("naip-new", "naip-old", "nlcd", "lc", "landsat-leaf-on", "buildings")
DOWNLOADED = "{}_1m_{}_extended-debuffered-{}_tiles"


def put(folder, tile, *layers):
    folder.mkdir(parents=True, exist_ok=True)
    for layer in layers:
        (folder / f"{tile}_{layer}.tif").touch()


@pytest.fixture
def downloaded(tmp_path):
    """Two states with the years of their folders, and all splits."""
    for state, year, tile in (("de", 2013, "m_3807504_ne_18_1"), ("va", 2014, "m_3707621_sw_18_1")):
        for number, split in enumerate(("train", "val", "test")):
            put(tmp_path / DOWNLOADED.format(state, year, split), tile.replace("_1", f"_{number}", 1), *LAYERS)
    return tmp_path


def rows_of(entry, base, name="scenes"):
    return read_scenes([entry], base, name=name)


def test_the_download_gives_a_row_for_each_tile_with_its_state_year_and_split(downloaded):
    rows = rows_of({"chesapeake": "."}, downloaded)
    assert {(row.site[:2], row.date, row.split) for row in rows} == {
        (state, year, split) for state, year in (("de", "2013"), ("va", "2014")) for split in ("train", "val", "test")
    }
    assert len(rows) == 6
    for row in rows:
        assert row.image[0].endswith("_naip-new.tif") and row.label.endswith("_nlcd.tif")
        assert row.image[0].removesuffix("naip-new.tif") == row.label.removesuffix("nlcd.tif")
        assert (row.label_legend, row.label_gsd, row.trust) == ("nlcd", 30, "coarse")


def test_states_and_splits_are_chosen(downloaded):
    rows = rows_of({"chesapeake": ".", "states": ["va"], "split": ["train", "test"]}, downloaded)
    assert {(row.site[:2], row.split) for row in rows} == {("va", "train"), ("va", "test")}
    rows = rows_of({"chesapeake": ".", "states": "de", "split": "val"}, downloaded)
    assert [(row.site[:2], row.split) for row in rows] == [("de", "val")]


def test_references_are_the_land_cover_of_the_same_sites(downloaded):
    scenes = rows_of({"chesapeake": "."}, downloaded)
    references = rows_of({"chesapeake": "."}, downloaded, "reference")
    assert [(row.site, row.date) for row in references] == [(row.site, row.date) for row in scenes]
    for row in references:
        assert row.image == () and row.label.endswith("_lc.tif") and row.label_legend == "chesapeake"


def test_other_layers_are_asked_for_by_sensor_and_label(downloaded):
    entry = {"chesapeake": ".", "states": "de", "split": "train", "label": "none"}
    rows = rows_of({**entry, "image": {"naip": "naip-new", "landsat": "landsat-leaf-on"}}, downloaded)
    assert [(row.sensor, row.image[0].rpartition("_")[2], row.label) for row in rows] == [
        ("naip", "naip-new.tif", None),
        ("landsat", "landsat-leaf-on.tif", None),
    ]
    [row] = rows_of({**entry, "image": "naip-old", "date": 2011, "label": "lc"}, downloaded)
    assert (row.date, row.label_legend, row.trust) == ("2011", "chesapeake", "reference")


def test_repackaged_folders_hold_a_state_in_their_name_and_layers_apart(tmp_path):
    names = {"Chesapeake_NewYork_dataset": "ny", "10test_West_Virginia": "wv", "10test_Virginia": "va"}
    for folder, state in names.items():
        for inner, layer in (("HR_image", "naip-new"), ("LR_label", "nlcd"), ("HR_label", "lc")):
            put(tmp_path / folder / inner, f"tile_of_{state}", layer)
    rows = rows_of({"chesapeake": ".", "split": "train"}, tmp_path)
    assert [row.site for row in rows] == ["ny_tile_of_ny", "va_tile_of_va", "wv_tile_of_wv"]
    assert {row.split for row in rows} == {"train"}  # no folder says it: it is a mark
    assert all("/LR_label/" in row.label for row in rows)
    rows = rows_of({"chesapeake": "Chesapeake_NewYork_dataset"}, tmp_path)
    assert [(row.site, row.date, row.split) for row in rows] == [("ny_tile_of_ny", "", "")]


def test_folders_of_a_state_and_a_split(tmp_path):
    for split in ("train", "test"):
        put(tmp_path / "CP" / "md" / split / "HR_image", f"m_38{split}_ne_18_1", "naip-new")
        put(tmp_path / "CP" / "md" / split / "LR_label", f"m_38{split}_ne_18_1", "nlcd")
    rows = rows_of({"chesapeake": "CP"}, tmp_path)
    assert [(row.site, row.split) for row in rows] == [
        ("md_m_38test_ne_18_1", "test"),
        ("md_m_38train_ne_18_1", "train"),
    ]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"chesapeake": "nowhere"}, ["no such folder", "nowhere"]),
        ({"chesapeake": ".", "states": ["de", "tx"]}, ["tx", "known: de, md"]),
        ({"chesapeake": ".", "states": "md"}, ["no tile", "de test"]),
        ({"chesapeake": ".", "split": "trian"}, ["trian", "train"]),
        ({"chesapeake": ".", "image": "naip_new"}, ["naip_new", "naip-new"]),
        ({"chesapeake": ".", "label": "nldc"}, ["nldc", "nlcd"]),
        ({"chesapeake": ".", "image": "landsat-leaf-off"}, ["landsat-leaf-off", "has no layer"]),
        ({"chesapeake": ".", "state": "de"}, ["'state'", "states"]),
    ],
)
def test_what_is_not_there_is_named(downloaded, entry, words):
    with pytest.raises(ManifestError) as fault:
        rows_of(entry, downloaded)
    text = str(fault.value)
    assert all(word in text for word in ["scenes, entry 1", *words]), text


def test_a_folder_without_tiles_is_refused(tmp_path):
    put(tmp_path, "other", "picture")
    with pytest.raises(ManifestError, match="TILE_LAYER"):
        rows_of({"chesapeake": "."}, tmp_path)


def test_training_on_17_codes_keeps_them_and_leaves_out_0_and_alaska(tmp_path):
    here, legend = grid(64, 64), load_legend("nlcd17")
    codes = np.array([0, 11, 12, 21, 22, 23, 24, 31, 41, 42, 43, 52, 71, 81, 82, 90, 95, 51, 72, 0], np.uint8)
    label = codes[np.arange(64 * 64).reshape(64, 64) % len(codes)]
    write(tmp_path / "m_1_ne_naip-new.tif", image_of(halves(64, 64), bands=4), here)
    write(tmp_path / "m_1_ne_nlcd.tif", label, here)
    rows = with_sensor(rows_of({"chesapeake": "."}, tmp_path), ["naip"])
    [site] = prepare(rows, {"naip": load_sensor("naip")}, legend, tmp_path / "out").sites
    told = dict(zip(legend.ids, site.label_counts, strict=True))
    assert told == {code: int((label == code).sum()) for code in codes if code not in (0, 51, 72)}


def test_torchgeos_index_gives_the_same_rows(downloaded, monkeypatch):
    """With a stand-in that has what TorchGeo's class has: an index of files relative to its root."""
    records = [
        {
            "split": f"{folder.name[:2]}-{folder.name.split('-')[-1].removesuffix('_tiles')}",
            **{
                layer: f"{folder.name}/{next(folder.glob(f'*_{layer}.tif')).name}"
                for layer in ("naip-new", "naip-old", "nlcd", "lc", "landsat-leaf-on")
            },
        }
        for folder in sorted(downloaded.iterdir())
    ]

    class ChesapeakeCVPR:
        def __init__(self, root, splits):
            self.index = types.SimpleNamespace(
                to_dict=lambda orient: [record for record in records if record["split"] in splits]
            )

    datasets = types.SimpleNamespace(ChesapeakeCVPR=ChesapeakeCVPR, __all__=["ChesapeakeCVPR"])
    monkeypatch.setitem(sys.modules, "torchgeo", types.SimpleNamespace(datasets=datasets))
    monkeypatch.setitem(sys.modules, "torchgeo.datasets", datasets)
    entry = {"torchgeo": "ChesapeakeCVPR", "args": {"root": ".", "splits": ["de-train", "de-test"]}, "sensor": "naip"}
    for name in ("scenes", "reference"):
        asked = {"chesapeake": ".", "states": "de", "split": ["train", "test"], "sensor": "naip"}
        assert rows_of(entry, downloaded, name) == rows_of(asked, downloaded, name)


def test_torchgeos_own_class_is_asked(tmp_path):
    """The real class, on an empty copy of the folders that it wants to see."""
    torchgeo = pytest.importorskip("torchgeo.datasets")
    geopandas = pytest.importorskip("geopandas")
    for name in torchgeo.ChesapeakeCVPR._files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if "." in path.name else path.mkdir(exist_ok=True)
    folder = DOWNLOADED.format("wv", 2014, "val")
    layers = ["naip-new", "naip-old", "nlcd", "lc", "landsat-leaf-on", "landsat-leaf-off", "buildings"]
    record = {"split": "wv-val", **{layer: f"{folder}/m_3708035_ne_17_1_{layer}.tif" for layer in layers}}
    place = geopandas.GeoSeries.from_wkt(["POLYGON((0 0,1 0,1 1,0 1,0 0))"], crs="EPSG:3857")
    geopandas.GeoDataFrame([record], geometry=place).to_file(tmp_path / "spatial_index.geojson", driver="GeoJSON")
    entry = {"torchgeo": "ChesapeakeCVPR", "args": {"root": ".", "splits": ["wv-val"]}}
    [row] = rows_of(entry, tmp_path)
    assert (row.site, row.date, row.split) == ("wv_m_3708035_ne_17_1", "2014", "val")
    with pytest.raises(ManifestError, match="cannot be opened"):
        rows_of({**entry, "args": {"root": "elsewhere", "splits": ["wv-val"]}}, tmp_path)
