"""Data sets in the shape of TorchGeo's, written once as files with a manifest."""

import sys
import types

import numpy as np
import pytest
import rasterio
import torch

from mapmend.core.errors import ManifestError
from mapmend.core.legend import load_legend
from mapmend.core.sensor import load_sensor
from mapmend.data.prepare import prepare
from mapmend.data.scenes import read_scenes
from mapmend.data.torchgeo import write_scenes

pytestmark = pytest.mark.filterwarnings("ignore::mapmend.raster.opening.NotGeoreferenced")


class Samples:
    """A stand-in of the same shape as a data set; counts what is asked."""

    def __init__(self, *samples):
        self.samples, self.asked = samples, []

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        self.asked.append(index)
        sample = self.samples[index]
        if isinstance(sample, Exception):
            raise sample
        return sample


def image(*shape, highest=255, seed=0):
    """Whole numbers as float32, as TorchGeo gives them."""
    return torch.from_numpy(np.random.default_rng(seed).integers(1, highest + 1, shape).astype(np.float32))


def mask(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 2, shape))


def read(path):
    with rasterio.open(path) as file:
        return file.read(), file.profile


def rows_of(manifest):
    return read_scenes(str(manifest), manifest.parent)


def test_samples_become_scenes_that_prepare_takes(tmp_path):
    data = Samples(*({"image": image(3, 40, 50, seed=n), "mask": mask(40, 50, seed=n)} for n in range(3)))
    manifest = write_scenes(data, tmp_path / "set", sensor="png", site="x-{name}", columns={"split": "train"})
    rows = rows_of(manifest)
    assert [(row.site, row.date, row.sensor, row.split) for row in rows] == [
        (f"x-{n}", "", "png", "train") for n in range(3)
    ]
    pixels, profile = read(rows[2].image[0])
    assert profile["tiled"] and pixels.dtype == np.uint8
    assert (pixels == data.samples[2]["image"].numpy()).all()
    assert (read(rows[2].label)[0][0] == data.samples[2]["mask"].numpy()).all()
    prepared = prepare(rows, {"png": load_sensor("png")}, load_legend("change"), tmp_path / "out")
    counts = np.bincount(data.samples[0]["mask"].numpy().ravel())
    assert prepared.sites[0].label_counts == tuple(counts)


def test_dates_come_stacked_in_time_or_numbered(tmp_path):
    data = Samples({"image": image(2, 3, 8, 9), "mask": mask(1, 8, 9)})
    rows = rows_of(write_scenes(data, tmp_path / "dates", sensor="png"))
    assert [(row.date, row.label is None) for row in rows] == [("t1", True), ("t2", False)]
    assert (read(rows[1].image[0])[0] == data.samples[0]["image"][1].numpy()).all()
    pair = Samples({"image1": image(3, 8, 9), "image2": image(3, 8, 9, seed=1), "mask": mask(8, 9)})
    rows = rows_of(write_scenes(pair, tmp_path / "pair", sensor=["before", "after"]))
    assert [(row.site, row.date, row.sensor) for row in rows] == [("0", "", "before"), ("0", "", "after")]
    assert rows[0].label == rows[1].label
    assert (read(rows[1].image[0])[0] == pair.samples[0]["image2"].numpy()).all()
    both = Samples({"image": image(2, 3, 8, 9), "mask": mask(2, 8, 9)})
    rows = rows_of(write_scenes(both, tmp_path / "both"))
    assert (read(rows[0].label)[0][0] == both.samples[0]["mask"][0].numpy()).all()
    assert rows[0].label != rows[1].label


@pytest.mark.parametrize(
    ("highest", "shift", "dtype"), [(255, 0, "uint8"), (9000, 0, "uint16"), (9000, -500, "int16"), (9, 0.5, "float32")]
)
def test_numbers_keep_the_narrowest_type_that_holds_them(tmp_path, highest, shift, dtype):
    bright, dark = image(2, 30, 30, highest=highest) + shift, image(2, 30, 30, highest=3)
    rows = rows_of(write_scenes(Samples({"image": bright}, {"image": dark}), tmp_path / "set"))
    for row, expected in zip(rows, (bright, dark), strict=True):
        pixels, _ = read(row.image[0])
        assert pixels.dtype == dtype  # a dark sample has the type of the others
        assert (pixels == expected.numpy()).all()
        assert row.label is None


def test_an_interrupted_writing_goes_on(tmp_path):
    samples = [{"image": image(3, 8, 8, seed=n), "mask": mask(8, 8)} for n in range(4)]
    broken = Samples(*samples[:2], OSError("the disk is gone"), samples[3])
    with pytest.raises(ManifestError, match=r"Samples, sample 2: cannot be read \(OSError: the disk is gone\)"):
        write_scenes(broken, tmp_path / "set")
    assert not (tmp_path / "set" / "scenes.csv").exists()
    whole = Samples(*samples)
    rows = rows_of(write_scenes(whole, tmp_path / "set"))
    assert len(rows) == 4 and 1 not in whole.asked
    again = Samples(*samples)
    assert rows_of(write_scenes(again, tmp_path / "set")) == rows and again.asked == []
    with pytest.raises(ManifestError, match="another data set"):
        write_scenes(Samples(*samples[:3]), tmp_path / "set")


@pytest.mark.parametrize(
    ("sample", "sensor", "message"),
    [
        ({"mask": mask(8, 8)}, "", "has no 'image' (it has mask)"),
        ({"image": image(3, 8, 8), "mask": mask(9, 8)}, "", "(3, 8, 8), (9, 8)"),
        ({"image": image(3, 8, 8), "mask": mask(2, 8, 8)}, "", "shapes"),
        ({"image": image(2, 2, 3, 8, 8)}, "", "shapes"),
        ({"image": image(3, 8, 8)}, ["before", "after"], "1 dates, and 2 sensors"),
        ({"image": "a.tif"}, "", "no numbers in 'image'"),
        ([1, 2], "", "has no 'image'"),
    ],
)
def test_a_sample_of_another_shape_is_one_line(tmp_path, sample, sensor, message):
    with pytest.raises(ManifestError) as caught:
        write_scenes(Samples(sample), tmp_path / "set", sensor=sensor)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert list((tmp_path / "set").rglob("*.tif")) == []


def test_a_project_says_how_to_install_what_it_lacks(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchgeo.datasets", None)
    with pytest.raises(ManifestError, match=r'entry 1: TorchGeo is not installed .*pip install "mapmend\[torchgeo\]"'):
        read_scenes([{"torchgeo": "LEVIRCD"}], tmp_path)
    with pytest.raises(ManifestError, match="did you mean 'args'"):
        read_scenes([{"torchgeo": "LEVIRCD", "arg": {}}], tmp_path)


def test_a_project_names_any_data_set(tmp_path, monkeypatch):
    class Pairs(Samples):
        def __init__(self, root, split="train"):
            if not (root and split == "train"):
                raise FileNotFoundError(f"no {split}\nin {root}")
            self.root = root
            super().__init__({"image": image(2, 3, 8, 8), "mask": mask(8, 8)})

    class Places:
        pass

    class ByPlace(Places):
        pass

    module = types.ModuleType("torchgeo.datasets")
    module.Pairs, module.ByPlace, module.GeoDataset, module.__all__ = Pairs, ByPlace, Places, ("Pairs", "ByPlace")
    monkeypatch.setitem(sys.modules, "torchgeo", types.ModuleType("torchgeo"))
    monkeypatch.setitem(sys.modules, "torchgeo.datasets", module)
    entry = {"torchgeo": "Pairs", "args": {"root": "here"}, "sensor": ["a", "b"], "split": "test", "trust": "reference"}
    rows = read_scenes([entry, {**entry, "split": "val"}], tmp_path, tmp_path / "store")
    assert [(row.site, row.sensor, row.split, row.trust) for row in rows] == [
        (f"Pairs-{split}-0", sensor, split, "reference") for split in ("test", "val") for sensor in ("a", "b")
    ]
    for changes, message in [
        ({"torchgeo": "Pair"}, "did you mean 'Pairs'"),
        ({"args": {"root": "here", "split": "dev"}}, "Pairs cannot be opened (FileNotFoundError: no dev)"),
        ({"args": "here"}, "`args` is not a mapping"),
        ({"torchgeo": "ByPlace", "args": {}}, "asked by place"),
    ]:
        with pytest.raises(ManifestError) as caught:
            read_scenes([{**entry, **changes}], tmp_path, tmp_path / "store")
        assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_project_names_a_data_set_of_torchgeo_itself(tmp_path):
    pytest.importorskip("torchgeo", reason="the torchgeo extra is not installed")
    for kind in ("A", "B", "label"):
        for number in range(2):
            pixels = image(3, 16, 16, seed=number).numpy().astype(np.uint8)
            pixels = (mask(1, 16, 16, seed=number).numpy() * 255).astype(np.uint8) if kind == "label" else pixels
            (tmp_path / "levir" / kind).mkdir(parents=True, exist_ok=True)
            path = tmp_path / "levir" / kind / f"train_{number}.png"
            with rasterio.open(path, "w", driver="PNG", count=len(pixels), height=16, width=16, dtype="uint8") as file:
                file.write(pixels)
    entry = {"torchgeo": "LEVIRCD", "args": {"root": "levir", "split": "train"}, "sensor": ["before", "after"]}
    entry |= {"label_class": "changed", "label_rest": "unchanged", "split": "train"}
    rows = read_scenes([entry], tmp_path, tmp_path / "store")
    assert [(row.site, row.sensor) for row in rows] == [
        (f"LEVIRCD-train-{n}", sensor) for n in range(2) for sensor in ("before", "after")
    ]
    sensors = {"before": load_sensor("png"), "after": load_sensor("png")}
    [first, second] = prepare(rows, sensors, load_legend("change"), tmp_path / "out").sites
    assert first.label_counts == tuple(np.bincount(mask(1, 16, 16, seed=0).numpy().ravel()))
    assert second.label_counts == tuple(np.bincount(mask(1, 16, 16, seed=1).numpy().ravel()))
    for changes, message in [
        ({"torchgeo": "LEVIRC"}, "did you mean 'LEVIRCD"),
        ({"args": {"root": "nowhere"}}, "LEVIRCD cannot be opened (DatasetNotFoundError"),
        ({"args": {"rot": "levir"}}, "unexpected keyword argument 'rot'"),
    ]:
        with pytest.raises(ManifestError) as caught:
            read_scenes([{**entry, **changes}], tmp_path)
        assert message in str(caught.value) and "\n" not in str(caught.value)
