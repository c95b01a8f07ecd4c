"""Ensembles, views and suppressed classes, by another route."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from tiny_predictors import Constant, Counting, Local, Position, predictor
from tiny_scenes import random_pixels, read, sensor, write_scene

from mapmend.core.classes import Legend, LegendClass
from mapmend.core.errors import LegendError, ModelError
from mapmend.core.grid import Window
from mapmend.predict.augmented import Augmented, resampled, views_of
from mapmend.predict.ensemble import Ensemble
from mapmend.predict.job import predict_scene
from mapmend.predict.pair import fitted
from mapmend.predict.probabilities import blended_probabilities
from mapmend.predict.suppressed import Suppressed

OTHER = Legend("two", (LegendClass(1, "a", "#000000"), LegendClass(2, "b", "#ffffff")))


def batch(side=64, number=3, seed=0):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1, 250, (number, 3, side, side), dtype=np.uint8)
    valid = rng.random((number, 1, side, side)) > 0.1
    return pixels * valid, valid


def test_an_ensemble_is_the_mean_of_its_members(legend):
    members = [predictor(Local(seed=seed), legend) for seed in range(3)]
    pixels, valid = batch()
    expected = np.mean([member.probabilities(pixels, valid).numpy() for member in members], axis=0)
    np.testing.assert_allclose(Ensemble(members).probabilities(pixels, valid).numpy(), expected, atol=1e-6)


def test_an_ensemble_s_map_is_that_of_the_mean_of_blended_probabilities(legend, scene, tmp_path):
    members = [predictor(Local(seed=seed), legend) for seed in range(2)]
    window = Window(0, 0, 150, 170)
    mean = np.mean([blended_probabilities(member, scene, window)[0] for member in members], axis=0)
    result = predict_scene(Ensemble(members), scene, tmp_path / "map", block=96)
    ids, confidence = read(result.class_path), read(result.confidence_path)
    known, top = ids != 255, np.sort(mean, axis=0)
    clear = known & (top[-1] - top[-2] > 1e-4)
    np.testing.assert_array_equal(ids[clear], legend.id_lut[mean.argmax(0)][clear])
    assert np.abs(confidence[known] / 200 - mean.max(0)[known]).max() <= 0.0026


def test_a_pair_is_mapped_by_an_ensemble_as_by_its_only_kind_of_member(legend, tmp_path):
    first, second = (write_scene(tmp_path, random_pixels(80, 90, seed=s), name=f"at{s}") for s in (0, 1))
    pair = replace(second, before=first.sources, date="2020", date_before="2010")
    alone = predict_scene(predictor(Local(), legend), pair, tmp_path / "alone")
    twice = predict_scene(Ensemble([predictor(Local(), legend)] * 2), pair, tmp_path / "twice")
    np.testing.assert_array_equal(read(alone.class_path), read(twice.class_path))
    np.testing.assert_array_equal(read(alone.change_path), read(twice.change_path))


def test_disagreement_is_what_the_mean_is_unsure_of_less_what_each_member_is(legend):
    members = [predictor(Local(seed=seed), legend) for seed in range(3)]
    pixels, valid = batch()
    said = np.stack([member.probabilities(pixels, valid).numpy() for member in members]).astype(np.float64)
    found = Ensemble(members, disagreement=True).probabilities(pixels, valid).numpy()
    np.testing.assert_allclose(found[:, :3], said.mean(0), atol=1e-6)
    np.testing.assert_allclose(
        found[:, 3], entropy(said.mean(0), base=3, axis=1) - entropy(said, base=3, axis=2).mean(0), atol=1e-5
    )
    one = predictor(Local(), legend)
    assert Ensemble([one, one], disagreement=True).probabilities(pixels, valid)[:, 3].abs().max() < 1e-6


def test_a_map_with_disagreement_is_the_same_map_and_does_not_depend_on_blocks(legend, scene, tmp_path):
    members = [predictor(Local(seed=seed), legend) for seed in range(2)]
    made = Suppressed(Augmented(Ensemble(members, disagreement=True), 4), ["water"])
    plain = predict_scene(Suppressed(Augmented(Ensemble(members), 4), ["water"]), scene, tmp_path / "plain")
    maps = [predict_scene(made, scene, tmp_path / f"b{side}", block=side, entropy=True) for side in (64, 96)]
    assert maps[0].disagreement_path.read_bytes() == maps[1].disagreement_path.read_bytes()
    np.testing.assert_array_equal(read(plain.class_path), read(maps[0].class_path))
    np.testing.assert_array_equal(read(plain.confidence_path), read(maps[0].confidence_path))
    known, apart = read(plain.class_path) != 255, read(maps[0].disagreement_path)
    assert plain.disagreement_path is None and (apart[~known] == 255).all()
    assert apart[known].max() <= 200 and len(np.unique(apart[known])) > 5
    whole = blended_probabilities(Ensemble(members, disagreement=True), scene, Window(0, 0, 150, 170))[0]
    alone = predict_scene(Ensemble(members, disagreement=True), scene, tmp_path / "alone")
    assert np.abs(read(alone.disagreement_path)[known] - 200 * whole[3][known]).max() < 0.51


def test_members_that_contradict_each_other_disagree_as_much_as_two_can(legend, tmp_path):
    members = [predictor(Constant(logits), legend) for logits in ((40.0, 0.0, 0.0), (0.0, 0.0, 40.0))]
    place = write_scene(tmp_path, random_pixels(70, 80))
    made = predict_scene(Ensemble(members, disagreement=True), place, tmp_path / "map")
    assert (read(made.disagreement_path)[read(made.class_path) != 255] == round(200 * np.log(2) / np.log(3))).all()


def test_of_a_pair_the_later_date_is_disagreed_about(legend, tmp_path):
    first, second = (write_scene(tmp_path, random_pixels(80, 90, seed=s), name=f"at{s}") for s in (0, 1))
    pair = replace(second, before=first.sources, date="2020", date_before="2010")
    members = [predictor(Local(seed=seed), legend) for seed in range(2)]
    made = predict_scene(Ensemble(members, disagreement=True), pair, tmp_path / "pair")
    later = predict_scene(Ensemble(members, disagreement=True), second, tmp_path / "later")
    plain = predict_scene(Ensemble(members), pair, tmp_path / "plain")
    np.testing.assert_array_equal(read(made.change_path), read(plain.change_path))
    both = (read(made.class_path) != 255) & (read(later.class_path) != 255)
    np.testing.assert_array_equal(read(made.disagreement_path)[both], read(later.disagreement_path)[both])


@pytest.mark.parametrize("names", [("a", "b", "c"), ("a", "b", "c", "d")])
def test_suppression_leaves_change_and_disagreement_of_a_pair_as_they_are(names, tmp_path):
    many = Legend("many", tuple(LegendClass(number, name, "#000000") for number, name in enumerate(names)))
    first, second = (write_scene(tmp_path, random_pixels(70, 70, seed=s), name=f"at{s}") for s in (0, 1))
    pair = replace(second, before=first.sources, date="2020", date_before="2010")
    members = [predictor(Local(classes=len(names), seed=seed), many) for seed in range(2)]
    ensemble, _ = fitted(Ensemble(members, disagreement=True), pair)
    pixels, valid = batch()
    both = np.concatenate([pixels, pixels[::-1]], axis=1)
    known = valid.repeat(6, axis=1)
    whole, less = (one.probabilities(both, known) for one in (ensemble, Suppressed(ensemble, ["a"])))
    assert torch.equal(whole[:, -1], less[:, -1]) and (less[:, [0, len(names)]] == 0).all()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"legend": OTHER}, "its legend 'two'"),
        ({"sensors": [sensor(3, unit="dB")]}, "reads other images"),
        ({"size": 32, "overlap": 8}, "its windows of 32 pixels"),
    ],
)
def test_models_that_do_not_go_together_are_refused(legend, change, told):
    settings = {"legend": legend, "sensors": [sensor(3)]}
    one, other = (predictor(Local(), **{**settings, **more}) for more in ({}, change))
    with pytest.raises(ModelError, match=told) as fault:
        Ensemble([one, other])
    assert "\n" not in str(fault.value) and "model 2" in str(fault.value)


@pytest.mark.parametrize("number", [1, 4, 8, 24])
def test_views_are_all_different_and_come_back_to_their_place(number):
    places = np.arange(64 * 64).reshape(1, 64, 64)
    seen = [(scale, look.of(places).tobytes()) for scale, looks in views_of(number) for look in looks]
    assert len(set(seen)) == number
    for _, looks in views_of(number):
        for look in looks:
            assert torch.equal(look.undo(torch.from_numpy(look.of(places))), torch.from_numpy(places))


def test_views_are_the_mean_over_what_is_said_of_each_in_a_naive_loop(legend):
    single, (pixels, valid) = predictor(Local(depth=2), legend), batch()
    ways = [lambda a: a, np.flipud, np.fliplr, lambda a: np.flipud(np.fliplr(a))]  # each its own inverse

    def on_maps(change, maps):
        return np.stack([np.stack([change(one) for one in window]) for window in maps])

    expected = np.mean(
        [on_maps(w, single.probabilities(on_maps(w, pixels), on_maps(w, valid)).numpy()) for w in ways], axis=0
    )
    np.testing.assert_allclose(Augmented(single, 4).probabilities(pixels, valid).numpy(), expected, atol=1e-6)


def test_what_knows_no_direction_says_the_same_in_all_views(legend):
    pixels, valid = batch()
    for number in (4, 8, 24):
        found = Augmented(predictor(Constant([0.0, 1.0, 2.0]), legend), number).probabilities(pixels, valid)
        expected = torch.tensor([0.0, 1, 2]).softmax(0).view(1, 3, 1, 1).expand_as(found)
        torch.testing.assert_close(found, expected)
    turned = Augmented(predictor(Position(), legend), 8).probabilities(pixels, valid)
    torch.testing.assert_close(turned[:, 0], turned[:, 1])  # no left and right is left


def test_views_at_six_sizes_come_in_batches_of_no_more_pixels(legend):
    counting = Counting(predictor(Local(), legend, batch=4))
    found = Augmented(counting, 24).probabilities(*batch(number=4))
    assert found.shape == (4, 3, 64, 64)
    torch.testing.assert_close(found.sum(1), torch.ones(4, 64, 64))
    assert {shape[-1] for shape in counting.shapes} == {32, 48, 64, 80, 96, 112}
    assert max(shape[0] * shape[-1] ** 2 for shape in counting.shapes) <= 4 * 64**2


def test_resampling_looks_at_valid_pixels_alone():
    pixels, valid = np.full((1, 2, 16, 16), 90, np.uint16), np.ones((1, 1, 16, 16), bool)
    valid[..., :7], pixels[..., :7] = False, 0
    for side in (8, 12, 28):
        values, known = resampled(pixels, valid, side)
        assert known.any() and not known.all()
        np.testing.assert_allclose(values[np.broadcast_to(known, values.shape)], 90, rtol=1e-5)
        assert not values[~np.broadcast_to(known, values.shape)].any()


def test_a_suppressed_class_is_never_shown_and_the_rest_sums_to_one(legend, scene, tmp_path):
    single, (pixels, valid) = predictor(Local(), legend), batch()
    plain = single.probabilities(pixels, valid).numpy().astype(np.float64)
    expected = plain[:, [0, 2]] / (plain[:, [0]] + plain[:, [2]])
    found = Suppressed(single, ["forest"]).probabilities(pixels, valid)
    assert not found[:, 1].any()
    np.testing.assert_allclose(found.numpy()[:, [0, 2]], expected, atol=1e-6)
    result = predict_scene(Suppressed(single, ["20"]), scene, tmp_path / "map")
    assert set(np.unique(read(result.class_path))) == {10, 44, 255}


def test_where_nothing_else_is_possible_what_is_left_is_alike(legend):
    pixels, valid = batch(number=1)
    found = Suppressed(predictor(Constant([0.0, 900.0, 0.0]), legend), ["forest"]).probabilities(pixels, valid)
    assert torch.equal(found[0, :, 0, 0], torch.tensor([0.5, 0.0, 0.5]))


def test_too_many_suppressed_classes_are_refused(legend):
    with pytest.raises(LegendError, match="fewer than two classes"):
        Suppressed(predictor(Local(), legend), ["forest", "water"])
    with pytest.raises(LegendError, match="no class 'snow'"):
        Suppressed(predictor(Local(), legend), ["snow"])


def test_tricks_are_part_of_a_map_s_identity_and_are_not_calibrated(legend):
    single = predictor(Local(), legend)
    made = [Ensemble([single, single]), Ensemble([single, single], disagreement=True)]
    made += [Augmented(single, 4), Augmented(single, 8), Suppressed(single, ["water"])]
    assert len({str(one.identity) for one in (single, *made)}) == 1 + len(made)
    assert all(one.calibration is None for one in made)
