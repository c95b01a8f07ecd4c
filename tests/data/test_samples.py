import pickle

import numpy as np
import pytest
import torch
from tests.data.scenery import grid, halves, image_of, write
from torch.utils.data import DataLoader

from mapmend.core.errors import LabelError
from mapmend.core.grid import Window
from mapmend.core.legend import load_legend
from mapmend.core.manifest import Row
from mapmend.core.sensor import load_sensor
from mapmend.data.augment import photometric
from mapmend.data.prepare import prepare
from mapmend.data.samples import TrainingSet, ValidationSet
from mapmend.data.splits import SitePart, split_sites

LEGEND = load_legend(
    {"name": "two", "classes": [{"id": 1, "name": "a", "color": "#aa0000"}, {"id": 2, "name": "b", "color": "#00aa00"}]}
)
SENSORS = {"optical": load_sensor("rgb")}


def sites(folder, shapes=((200, 240),), *, labels=None, nodata=0, **row):
    rows = []
    for number, shape in enumerate(shapes):
        ids = halves(*shape)
        pixels = image_of(ids, number)
        pixels[:, :, :16] = 0  # a strip without data
        label = ids if labels is None else labels[number]
        on = grid(*shape, east=1000 * number)  # sites on the same ground would fall on the same side
        rows.append(
            Row(
                f"s{number}",
                sensor="optical",
                image=(write(folder / f"i{number}.tif", pixels, on, nodata=nodata),),
                label=write(folder / f"l{number}.tif", label, on),
                **row,
            )
        )
    return prepare(rows, SENSORS, LEGEND, folder / "out").sites


def test_a_sample_is_a_pure_function_of_its_key(tmp_path):
    parts = split_sites(sites(tmp_path), block=64)
    one, other = (TrainingSet(parts, LEGEND, 64, seed=3) for _ in range(2))
    keys = [(5, 0, 1), (0, 0, 0), (5, 1, 1)]
    first = [one[key] for key in keys]
    again = [pickle.loads(pickle.dumps(other))[key] for key in reversed(keys)][::-1]
    for a, b in zip(first, again, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(first[0]["image"], first[2]["image"])
    assert not torch.equal(first[0]["image"], TrainingSet(parts, LEGEND, 64, seed=4)[keys[0]]["image"])


def test_samples_have_the_batchs_shapes_and_never_a_label_on_invalid_pixels(tmp_path):
    dataset = TrainingSet(split_sites(sites(tmp_path), block=64, share=0), LEGEND, 64, seed=0)
    for step in range(12):
        sample = dataset[step, 0, 0]
        assert sample["image"].shape == (1, 3, 64, 64) and sample["image"].dtype == torch.uint8
        assert sample["mask"].shape == (1, 64, 64) and sample["mask"].dtype == torch.int64
        assert sample["valid"].shape == (1, 1, 64, 64)
        invalid = ~sample["valid"].all(1)
        assert (sample["mask"][invalid] == 255).all()
        assert (sample["image"].amax(1)[invalid] == 0).all()
        assert set(sample["mask"].unique().tolist()) <= {0, 1, 255}


def test_image_and_label_are_turned_together(tmp_path):
    """The image's brightness tells the class, so a misaligned pair would disagree."""
    dataset = TrainingSet(split_sites(sites(tmp_path), block=64, share=0), LEGEND, 64, seed=0)
    for step in range(20):
        sample = dataset[step, 0, 0]
        known = sample["mask"][0] != 255
        guess = (sample["image"][0].float().mean(0) > 90).long()
        assert (guess == sample["mask"][0])[known].float().mean() > 0.99


def test_training_never_sees_labels_of_the_validation_blocks_or_their_buffer(tmp_path):
    [site] = sites(tmp_path, [(256, 320)])
    [part] = split_sites([site], block=64, share=0.3, seed=1)
    assert part.blocks and part.buffer == 8
    assert sum(block.height * block.width for block in part.blocks) / (256 * 320) == pytest.approx(0.3, abs=0.05)
    labels = np.full((256, 320), 255, np.uint8)
    for block in part.blocks:
        labels[block.pad(8).intersect(Window(0, 0, 256, 320)).slices] = 1
    labels[labels == 255] = 2
    [marked] = sites(tmp_path / "marked", [(256, 320)], labels=[labels])
    dataset = TrainingSet([SitePart(marked, True, part.blocks, part.buffer), SitePart(site, True)], LEGEND, 64, seed=0)
    only_marked = TrainingSet.__new__(TrainingSet)
    only_marked.__dict__ = {**dataset.__dict__, "_cumulative": dataset._cumulative[: dataset._offsets[1]]}
    for step in range(40):
        assert 0 not in only_marked[step, 0, 0]["mask"]  # index 0 is class 1
    validation = ValidationSet([SitePart(marked, True, part.blocks, part.buffer)], LEGEND, 64)
    seen = torch.cat([validation[i]["mask"].flatten() for i in range(len(validation))])
    assert set(seen.unique().tolist()) <= {0, 255}
    assert (seen == 0).sum() > 0.8 * sum(block.height * block.width for block in part.blocks)


def test_many_sites_are_held_out_whole_and_a_split_is_obeyed(tmp_path):
    many = sites(tmp_path, [(64, 64)] * 6)
    parts = split_sites(many, block=64, share=0.33)
    held = {part.site.name for part in parts if part.blocks}
    assert len(held) == 2 and not any(part.trains for part in parts if part.blocks)
    marked = [*sites(tmp_path / "v", [(64, 64)], split="val"), *many]
    assert [p.site.name for p in split_sites(marked, block=64) if not p.trains] == ["s0"]
    assert split_sites(sites(tmp_path / "t", [(64, 64)], split="test"), block=64) == ()


def test_sparse_labels_are_found(tmp_path):
    labels = np.full((300, 300), 255, np.uint8)
    labels[250:254, 30:34], labels[20:24, 280:284] = 1, 2
    dataset = TrainingSet(split_sites(sites(tmp_path, [(300, 300)], labels=[labels]), block=64, share=0), LEGEND, 64, 0)
    assert dataset.counts.tolist() == [16, 16] and dataset.frequencies() == (0.5, 0.5)
    hits = [bool((dataset[step, 0, 0]["mask"] != 255).any()) for step in range(40)]
    assert np.mean(hits) > 0.5  # of uniform crops 6 % would hold a label


def test_a_class_that_no_label_knows_still_has_a_frequency(tmp_path):
    labels = np.full((100, 100), 2, np.uint8)
    labels[0, 60] = 1
    parts = split_sites(sites(tmp_path, [(100, 100)], labels=[labels]), block=64, share=0)
    rare, common = TrainingSet(parts, LEGEND, 64, 0).frequencies()
    assert rare == pytest.approx(1 / 10_000, rel=0.01) and rare + common == pytest.approx(1)


def test_small_scenes_are_padded_with_invalid_pixels(tmp_path):
    dataset = TrainingSet(split_sites(sites(tmp_path, [(40, 64)]), block=64, share=0), LEGEND, 64, seed=0)
    sample = dataset[0, 0, 0]
    assert sample["image"].shape == (1, 3, 64, 64)
    assert int(sample["valid"].sum()) == 40 * 48


def test_anisotropic_pixels_are_not_turned_by_a_quarter(tmp_path):
    pixels = np.zeros((3, 64, 64), np.uint8) + np.linspace(10, 200, 64).astype(np.uint8)  # brightness grows along x
    image = write(tmp_path / "i.tif", pixels, grid(64, 64, (1.0, 2.0)))
    label = write(tmp_path / "l.tif", halves(64, 64), grid(64, 64, (1.0, 2.0)))
    row = Row("s", sensor="optical", image=(image,), label=label)
    made = prepare([row], SENSORS, LEGEND, tmp_path / "out").sites
    dataset = TrainingSet(split_sites(made, block=64, share=0), LEGEND, 64, seed=0)
    for step in range(16):
        rows = dataset[step, 0, 0]["image"][0, 0].float()
        assert rows.std(0).max() == 0 and rows.std(1).min() > 0


@pytest.mark.parametrize(("ids", "words"), [([1], "one class only"), ([255], "no pixel is labelled")])
def test_nothing_to_learn_is_refused(tmp_path, ids, words):
    label = np.full((64, 64), 1, np.uint8)
    made = sites(tmp_path, [(64, 64)], labels=[label])
    parts = split_sites(made, block=64, share=0)
    if ids == [255]:
        parts = [SitePart(parts[0].site, True, (Window(0, 0, 64, 64),))]
    with pytest.raises(LabelError, match=words):
        TrainingSet(parts, LEGEND, 64, seed=0)


def test_readers_opened_before_workers_start_give_the_right_pixels(tmp_path):
    parts = split_sites(sites(tmp_path, [(256, 256), (200, 240)]), block=64, share=0)
    dataset = TrainingSet(parts, LEGEND, 64, seed=0)
    keys = [(step, 0, i) for step in range(16) for i in range(2)]
    here = [dataset[key] for key in keys]  # opens the files in this process
    there = list(DataLoader(dataset, sampler=keys, batch_size=None, num_workers=2, multiprocessing_context="fork"))
    for a, b in zip(here, there, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_photometric_augmentation_repeats_with_its_generator_and_leaves_the_label():
    torch.manual_seed(0)
    batch = {
        "image": torch.randint(0, 255, (2, 1, 3, 8, 8), dtype=torch.uint8),
        "valid": torch.ones(2, 1, 1, 8, 8, dtype=torch.bool),
        "mask": torch.zeros(2, 1, 8, 8, dtype=torch.int64),
    }
    augment = photometric((20.0, 20.0, 20.0), 0.2)
    one, same, other = (augment(batch, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one["image"], same["image"]) and not torch.equal(one["image"], other["image"])
    assert one["mask"] is batch["mask"]
    # per sample the change is affine in the stored value
    x, y = batch["image"][0, 0, 0].float().flatten(), one["image"][0, 0, 0].flatten()
    slope = (y - y.mean()).norm() / (x - x.mean()).norm()
    assert 0.8 <= float(slope) <= 1.2
    assert torch.allclose(y - y.mean(), slope * (x - x.mean()), atol=1e-3)
