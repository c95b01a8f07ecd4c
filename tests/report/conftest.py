import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from mapmend.accuracy.change import ChangeAccuracy
from mapmend.accuracy.confusion import ConfusionMatrix
from mapmend.core.legend import load_legend
from mapmend.report.change_data import ChangePanel, ChangeReport
from mapmend.report.data import Accuracy, ClassAreas, CurvePoint, ReportData, SitePanel, StepTime
from mapmend.report.stretch import stretch


def _smooth(rng, side, scale):
    """Noise of a given grain: cubic interpolation of a coarse random grid."""
    coarse = rng.normal(size=(side // scale + 3, side // scale + 3))
    return ndimage.zoom(coarse, scale, order=3)[:side, :side]


def _scene(legend, side, seed):
    """A truth of blobs, a map that blurs some of it, a coarse label that misses more, an image that shows the truth."""
    rng = np.random.default_rng(seed)
    fields = np.stack([_smooth(rng, side, max(4, side // 8)) for _ in legend.classes])
    fields += rng.normal(0, 0.5, len(legend))[:, None, None]
    truth = fields.argmax(0)
    noise = _smooth(rng, side, max(2, side // 40))
    mapped = (fields + 0.35 * np.stack([_smooth(rng, side, max(2, side // 40)) for _ in legend.classes])).argmax(0)
    block = max(2, side // 24)
    label = truth[block // 2 :: block, block // 2 :: block].repeat(block, 0).repeat(block, 1)[:side, :side]
    label = np.pad(label, [(0, side - n) for n in label.shape], mode="edge")
    label = np.where(_smooth(rng, side, max(4, side // 6)) > 1.2, 0, label)
    ranked = np.sort(fields, 0)
    margin = ranked[-1] - ranked[-2] if len(legend) > 1 else np.ones_like(truth, float)
    confidence = np.round(200 * np.clip(0.45 + 0.55 * np.tanh(margin), 0, 1)).astype(np.uint8)
    tones = rng.uniform(40, 200, (3, len(legend)))
    pixels = tones[:, truth] + 12 * noise + rng.normal(0, 8, (3, side, side))
    valid = np.ones((side, side), bool)
    valid[: side // 6, : side // 5] = False
    ids = [legend.id_lut[layer.astype(np.uint8)] for layer in (truth, mapped, label)]
    ids[1][~valid] = confidence[~valid] = 255
    ids[2][-side // 12 :] = 255
    return pixels, valid, confidence, *ids


def make_report(legend="openearthmap", side=64, sites=2, seed=0, curve=120):
    legend = load_legend(legend) if isinstance(legend, str) else legend
    panels, of_map, of_label = [], ConfusionMatrix(legend.names), ConfusionMatrix(legend.names)
    counts = np.zeros((3, len(legend)))
    for number in range(sites):
        pixels, valid, confidence, truth, mapped, label = _scene(legend, side, seed + number)
        reference = np.where(valid, truth, 255).astype(np.uint8)
        of_map.update(reference, mapped, lut=legend.lut)
        of_label.update(reference, label, lut=legend.lut)
        for row, ids in enumerate((label, mapped, reference)):
            counts[row] += np.bincount(legend.lut[ids[valid]], minlength=256)[: len(legend)]
        image = stretch(pixels, valid)
        note = "Held out: not used for training." if number else ""
        panels.append(
            SitePanel(f"site {number + 1}", valid, image, label, mapped, confidence, reference, "2024-07-31", 2.0, note)
        )
    rng = np.random.default_rng(seed)
    points = tuple(
        CurvePoint(
            10 * step,
            {
                "cross_entropy": 1.8 * np.exp(-step / 40) + 0.3 + 0.05 * rng.random(),
                "dice": 0.8 * np.exp(-step / 60) + 0.1,
            },
            {"oa": 0.9 - 0.5 * np.exp(-step / 25), "miou": 0.7 - 0.6 * np.exp(-step / 30)} if step % 12 == 0 else {},
            0.001 * (1 - step / curve),
        )
        for step in range(1, curve + 1)
    )
    areas = [tuple((row * 0.0004).tolist()) for row in counts]
    return ReportData(
        title="Upper valley",
        subtitle="Land cover at 2 m, mended from the 2016 map",
        created="2026-03-14 10:20 UTC",
        legend=legend,
        sites=tuple(panels),
        curves=points,
        best_step=960,
        areas=ClassAreas("ha", areas[1], areas[0], areas[2]),
        accuracy=Accuracy(
            of_map, of_label, "The reference is a 1 m map made by hand; none of it was used for training."
        ),
        times=(
            StepTime("prepare", 12.34),
            StepTime("train", 2154.0),
            StepTime("predict", 305.2),
            StepTime("report", 3.1),
        ),
        notes=("Two of the sites were held out of training.",),
        warnings=("naip_3.tif has no CRS: its areas are in pixels.",),
        provenance={
            "software": {"mapmend": "0.1.0", "torch": "2.15.0"},
            "seed": 0,
            "config": {
                "train": {"method": "supervised", "encoder": "tf_efficientnet_lite0", "steps": 1200},
                "aoi": None,
            },
            "inputs": [{"name": "naip_1.tif", "sha256": "9f2c" * 16}, {"name": "nlcd.tif", "sha256": "07ab" * 16}],
        },
    )


@pytest.fixture(scope="session")
def report():
    return make_report


def _earlier(legend, rng, truth, mapped, valid, image):
    """What a place was before: some blobs of other classes; the earlier map sees most of them, and others besides."""
    side = len(truth)
    grain = max(4, side // 8)
    real, unreal = _smooth(rng, side, grain) > 1.0, _smooth(rng, side, grain) > 1.7
    blobs = [ndimage.label(part)[0] for part in (real, unreal)]
    others = [np.array(legend.ids)[rng.integers(0, len(legend), part.max() + 1)][part] for part in blobs]
    found = real & (_smooth(rng, side, grain) < 0.9)
    old_truth = np.where(real, others[0], truth)
    old_map = np.select([found, unreal], others, mapped)
    old_map[~valid] = 255
    probability = np.where(old_map != mapped, 160, 12) + rng.integers(0, 40, (side, side))
    probability[~valid] = 255
    old_image = np.where(real[..., None], image[::-1], image)
    return old_truth.astype(np.uint8), old_map.astype(np.uint8), probability.astype(np.uint8), old_image


def make_change_report(legend="openearthmap", side=64, sites=2, seed=0):
    """`make_report` with an earlier date for each site."""
    data = make_report(legend, side, sites, seed)
    legend, rng = data.legend, np.random.default_rng(seed)
    accuracy = ChangeAccuracy(legend.names, "ha")
    of_old = ConfusionMatrix(legend.names)
    panels, size = [], np.full((side, side), 0.0004)
    for site in data.sites:
        old_truth, old_map, probability, image = _earlier(legend, rng, site.reference, site.map, site.valid, site.image)
        earlier = ChangePanel(
            site.valid,
            "2016-07-01",
            image,
            site.label,
            old_map,
            site.confidence,
            np.where(site.valid, old_truth, 255).astype(np.uint8),
            probability,
            site.map,
        )
        panels.append(dataclasses.replace(site, change=earlier))
        truth = [np.where(site.valid, legend.lut[ids], 255).astype(np.uint8) for ids in (old_truth, site.reference)]
        accuracy.update(tuple(truth), (legend.lut[old_map], legend.lut[site.map]), size)
        of_old.update(earlier.reference, old_map, lut=legend.lut)
    areas = tuple(tuple(row) for row in accuracy.map_areas.tolist())
    change = ChangeReport(
        unit="ha",
        areas=areas,
        patches=37,
        dates=(("2016-07-01", "2024-07-31"),) * sites,
        threshold=0.5,
        mmu="0.1 ha",
        dropped_patches=12,
        dropped_area=0.51,
        accuracy=accuracy,
        reference="Both sites have a reference at both dates.",
    )
    before = ClassAreas("ha", tuple(sum(row) for row in areas))
    after = ClassAreas("ha", tuple(sum(column) for column in zip(*areas, strict=True)))
    return dataclasses.replace(
        data,
        sites=tuple(panels),
        change=change,
        areas=after,
        areas_before=before,
        accuracy_before=Accuracy(of_old, None, "The reference of 2016 is a map made by hand."),
    )


@pytest.fixture(scope="session")
def change_report_data():
    return make_change_report
