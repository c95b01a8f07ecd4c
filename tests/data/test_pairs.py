import pickle

import numpy as np
import pytest
import torch
from tests.data.scenery import grid, image_of, write

from mapmend.core.errors import LabelError, LegendError, ManifestError
from mapmend.core.legend import load_legend
from mapmend.core.manifest import format_manifest, parse_manifest
from mapmend.core.sensor import load_sensor
from mapmend.data.layouts import expand
from mapmend.data.pairs import PairTrainingSet, PairValidationSet, UnlabelledPairs, pair_parts, pair_sites
from mapmend.data.prepare import prepare
from mapmend.data.sites import load_prepared
from mapmend.data.splits import split_sites

LEGEND = load_legend(
    {"name": "two", "classes": [{"id": 1, "name": "a", "color": "#aa0000"}, {"id": 2, "name": "b", "color": "#00aa00"}]}
)
SENSORS = {"optical": load_sensor("rgb")}


def truth(shape, seed):
    """Ids of two dates in cells of eight pixels, a third of which changed."""
    rng = np.random.default_rng(seed)
    cells = tuple(-(-n // 8) for n in shape)
    first = rng.integers(1, 3, cells)
    second = np.where(rng.random(cells) < 0.33, 3 - first, first)
    return [np.kron(ids, np.ones((8, 8)))[: shape[0], : shape[1]].astype(np.uint8) for ids in (first, second)]


def manifest(folder, shapes=((120, 130),), *, labels=(True, True), change=False, split="", east=0, name="s"):
    """A manifest of pairs as a user writes it; images show their class, the left strip is invalid at date 2."""
    lines = ["site,date,image,label,change,change_legend,split"]
    for number, shape in enumerate(shapes):
        on = grid(*shape, east=east + 1000 * number)
        ids = truth(shape, number)
        site = f"{name}{number}"
        for date, of_date in enumerate(ids):
            pixels = image_of(of_date, 2 * number + date)
            pixels[:, :, : 16 * date] = 0
            write(folder / f"{site}_{date}.tif", pixels, on, nodata=0)
            write(folder / f"{site}_label_{date}.tif", of_date, on)
        write(folder / f"{site}_change.tif", np.where(ids[0] != ids[1], 255, 0).astype(np.uint8), on)
        for date in range(2):
            label = f"{site}_label_{date}.tif" if labels[date] else ""
            told = f"{site}_change.tif" if change and date else ""
            lines.append(f"{site},t{date + 1},{site}_{date}.tif,{label},{told},,{split}")
    return "\n".join(lines) + "\n"


def prepared_of(folder, text, out="out"):
    rows = parse_manifest(text, where="scenes.csv", folder=folder)
    rows = [type(row)(**{**vars(row), "sensor": "optical"}) for row in rows]
    return prepare(rows, SENSORS, LEGEND, folder / out)


def parts_of(prepared, share=0.0):
    return pair_parts(split_sites(pair_sites(prepared, labelled=True), block=64, share=share))


def training_set(folder, crop=64, seed=0, **how):
    return PairTrainingSet(parts_of(prepared_of(folder, manifest(folder, **how))), LEGEND, crop, seed)


def guess(image):
    """What the image's brightness tells: class indices 2×H×W."""
    return (image.float().mean(1) > 90).long()


def test_a_sample_is_a_pure_function_of_its_key_with_the_batchs_shapes(tmp_path):
    dataset = training_set(tmp_path, shapes=((120, 130), (64, 200)))
    for step in range(6):
        one, other = dataset[step, 0, 1], pickle.loads(pickle.dumps(dataset))[step, 0, 1]
        assert all(torch.equal(one[name], other[name]) for name in one)
        assert one["image"].shape == (2, 3, 64, 64) and one["image"].dtype == torch.uint8
        assert one["valid"].shape == (2, 1, 64, 64)
        assert one["mask"].shape == (2, 64, 64) and one["mask"].dtype == torch.int64
        assert one["change"].shape == (64, 64) and one["change"].dtype == torch.int64


@pytest.mark.parametrize("change", [False, True])
def test_dates_labels_and_change_are_turned_together(tmp_path, change):
    dataset = training_set(tmp_path, change=change)
    for step in range(12):
        sample = dataset[step, 0, 0]
        classes, known = guess(sample["image"]), sample["mask"] != 255
        assert (classes == sample["mask"])[known].float().mean() > 0.99
        told = sample["change"] != 255
        assert told.any()
        assert torch.equal((sample["mask"][0] != sample["mask"][1])[told], sample["change"][told].bool())


def test_a_change_counts_where_both_dates_are_valid(tmp_path):
    dataset = training_set(tmp_path, shapes=((64, 64),), change=True)
    sample = dataset[0, 0, 0]
    both = sample["valid"].all(1).all(0)
    assert not both.all()
    assert ((sample["change"] == 255) == ~both).all()
    invalid = ~sample["valid"].all(1)
    assert (sample["mask"][invalid] == 255).all()
    assert (sample["mask"][0] != 255).sum() > (sample["mask"][1] != 255).sum()


@pytest.mark.parametrize(
    ("labels", "change", "known"),
    [
        ((True, False), False, (True, False, False)),
        ((False, True), True, (False, True, True)),
        ((False, False), True, (False, False, True)),
        ((True, True), False, (True, True, True)),
    ],
    ids=["one date", "one date and change", "change alone", "two dates"],
)
def test_what_is_not_labelled_is_unknown(tmp_path, labels, change, known):
    dataset = training_set(tmp_path, labels=labels, change=change)
    sample = dataset[0, 0, 0]
    found = [*(sample["mask"] != 255), sample["change"] != 255]
    assert tuple(bool(one.any()) for one in found) == known
    assert bool(dataset.counts.any()) == any(labels)
    assert bool(dataset.change_counts.all()) == known[2]


def test_counts_are_of_all_trainable_pixels(tmp_path):
    first, second = truth((120, 130), 0)
    dataset = training_set(tmp_path)
    assert dataset.counts.tolist() == [int((first == id_).sum() + (second == id_).sum()) for id_ in (1, 2)]
    assert dataset.change_counts.tolist() == [int((first == second).sum()), int((first != second).sum())]


def test_a_told_change_goes_before_what_the_labels_say(tmp_path):
    text = manifest(tmp_path, change=True)
    on = grid(120, 130)
    write(tmp_path / "s0_change.tif", np.full((120, 130), 255, np.uint8), on)
    sample = PairTrainingSet(parts_of(prepared_of(tmp_path, text)), LEGEND, 64, 0)[0, 0, 0]
    assert (sample["change"][sample["change"] != 255] == 1).all()
    assert (sample["mask"][0] == sample["mask"][1]).any()


def test_a_changes_own_codes_and_its_unknown_places(tmp_path):
    """A crosswalk explains 0 unlabelled, 1 unchanged, 2 changed; where it says nothing, the dates' labels do."""
    codes = tmp_path / "codes.yaml"
    codes.write_text("name: codes\nsource: codes\nmapping:\n  unchanged: [1]\n  changed: [2]\nignore: [0]\n")
    text = manifest(tmp_path, change=True, labels=(True, False)).replace("s0_change.tif,", f"s0_change.tif,{codes}")
    first, second = truth((120, 130), 0)
    told = np.where(first != second, 2, 1).astype(np.uint8)
    told[:60] = 0
    write(tmp_path / "s0_change.tif", told, grid(120, 130))
    dataset = PairTrainingSet(parts_of(prepared_of(tmp_path, text)), LEGEND, 64, 0)
    expected = [int((told == code).sum()) for code in (1, 2)]
    assert dataset.change_counts.tolist() == expected
    write(tmp_path / "s0_change.tif", np.full((120, 130), 7, np.uint8), grid(120, 130))
    with pytest.raises(LegendError, match="7"):
        prepared_of(tmp_path, text, "other")


def test_prepared_pairs_survive_the_file_and_old_files_have_none(tmp_path):
    prepared = prepared_of(tmp_path, manifest(tmp_path, change=True))
    assert load_prepared(tmp_path / "out/prepared.json") == prepared
    assert [site.change is not None for site in prepared.sites] == [False, True]
    prepared_of(tmp_path, manifest(tmp_path), "plain")
    assert '"change"' not in (tmp_path / "plain/prepared.json").read_text().replace('"change.tif', "")


def test_held_out_blocks_are_the_same_at_both_dates_and_never_trained_on(tmp_path):
    prepared = prepared_of(tmp_path, manifest(tmp_path, shapes=((200, 260),), labels=(False, False), change=True))
    [part] = parts_of(prepared, share=0.25)
    assert part.before.blocks == part.after.blocks and part.after.blocks
    training = PairTrainingSet([part], LEGEND, 64, 0)
    validation = PairValidationSet([part], LEGEND, 64)
    held = sum(int((validation[index]["change"] != 255).sum()) for index in range(len(validation)))
    assert held > 0
    assert training.change_counts.sum() < 200 * 260 - held
    for index in range(len(validation)):
        assert validation[index]["image"].shape == (2, 3, 64, 64)


def test_pairs_without_a_label_are_another_loaders(tmp_path):
    known = manifest(tmp_path, shapes=((80, 80),))
    rest = manifest(tmp_path, shapes=((70, 100), (130, 64)), labels=(False, False), east=10_000, name="u")
    prepared = prepared_of(tmp_path, known + rest.partition("\n")[2])
    assert {site.name for site in pair_sites(prepared, labelled=True)} == {"s0"}
    sites = pair_sites(prepared, labelled=False)
    assert {site.name for site in sites} == {"u0", "u1"}
    dataset = UnlabelledPairs(sites, LEGEND, 64, 0)
    seen = set()
    for step in range(30):
        sample = dataset[step, 0, 0]
        assert (sample["mask"] == 255).all() and (sample["change"] == 255).all()
        assert sample["image"].shape == (2, 3, 64, 64)
        seen.add(sample["image"].numpy().tobytes())
    assert len(seen) > 25  # drawn anew each time
    with pytest.raises(LabelError, match="no pair without a label"):
        UnlabelledPairs((), LEGEND, 64, 0)


def test_places_marked_test_or_of_one_date_take_no_part(tmp_path):
    prepared = prepared_of(tmp_path, manifest(tmp_path, split="test"))
    assert pair_sites(prepared, labelled=True) == pair_sites(prepared, labelled=False) == ()
    single = "\n".join(manifest(tmp_path).splitlines()[:2]) + "\n"
    assert pair_sites(prepared_of(tmp_path, single, "one"), labelled=True) == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("site,date,image,change\ns,t1,a.tif,c.tif\ns,t2,b.tif,d.tif\n", "different changes"),
        ("site,date,image,change\ns,t1,a.tif,c.tif\n", "one date"),
        ("site,date,image,change_legend\ns,t1,a.tif,codes.yaml\n", "no `change`"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(tmp_path, text, told):
    with pytest.raises(ManifestError, match=told) as caught:
        prepared_of(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_one_class_of_change_and_nothing_else_is_refused(tmp_path):
    text = manifest(tmp_path, labels=(False, False), change=True)
    write(tmp_path / "s0_change.tif", np.zeros((120, 130), np.uint8), grid(120, 130))
    with pytest.raises(LabelError, match="one class only \\('unchanged'\\)"):
        PairTrainingSet(parts_of(prepared_of(tmp_path, text)), LEGEND, 64, 0)


def test_a_and_b_and_label_folders_are_a_pattern(tmp_path):
    for folder in ("A", "B", "label"):
        for name in ("x", "y"):
            write(tmp_path / folder / f"{name}.png", np.zeros((8, 8), np.uint8), grid(8, 8, crs=None))
    (tmp_path / "list.txt").write_text("x.png\n")
    before = {"date": "t1", "image": "A/{name}.png", "list": "list.txt"}
    after = {"date": "t2", "image": "B/{name}.png", "change": "label/{name}.png", "list": "list.txt"}
    rows = [*expand(before, "here", tmp_path), *expand(after, "here", tmp_path)]
    assert [(row.site, row.date, row.change) for row in rows] == [
        ("x", "t1", None),
        ("x", "t2", str(tmp_path / "label/x.png")),
    ]
    again = parse_manifest(format_manifest(rows), where="x", folder=tmp_path)
    assert list(again) == rows
    (tmp_path / "label/x.png").unlink()
    with pytest.raises(ManifestError, match="there is no label/x.png"):
        expand(after, "here", tmp_path)
