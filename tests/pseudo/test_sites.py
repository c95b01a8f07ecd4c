"""Labels of a project's own sites: who gets one, and who learns from it."""

from tests.pseudo.test_labelling import CLASSES, model
from tiny_scenes import random_pixels, sensor, write_image

from mapmend.core.classes import Legend
from mapmend.core.manifest import Row
from mapmend.data.prepare import prepare
from mapmend.data.unlabelled import unlabelled_sites
from mapmend.pseudo.labelling import pseudo_sites
from mapmend.pseudo.settings import PseudoSettings
from mapmend.stages import learned_identity, learned_sites
from mapmend.step_settings import DataSettings


def prepared_sites(folder):
    """One of two dates, the first with a label; one that validates; and an unmarked one with a reference."""
    for number in range(4):
        write_image(folder / f"{number}.tif", random_pixels(70, 90, 2, seed=number))
    codes = random_pixels(70, 90, 1, seed=9)
    codes[:] = 7
    write_image(folder / "label.tif", codes)
    image, label = [(str(folder / f"{number}.tif"),) for number in range(4)], str(folder / "label.tif")
    rows = [
        Row("a", "2014-06-01", "cam", image[0], label=label, split="train"),
        Row("a", "2020-06-01", "cam", image[1], split="train"),
        Row("b", "", "cam", image[2], split="val"),
        Row("judge", "", "cam", image[3]),
    ]
    references = [Row("judge", label=label)]
    cards, legend = {"cam": sensor(2, "camera")}, Legend("three", CLASSES)
    return prepare(rows, cards, legend, folder / "run/prepared", references=references)


def test_labels_reach_the_places_and_dates_that_they_were_made_for_and_no_others(tmp_path):
    prepared, out = prepared_sites(tmp_path), tmp_path / "run"
    folder, data = out / "pseudo/guesses", DataSettings(labels="guesses")
    guesser = [model(tmp_path / "model", 1)]
    assert [site.name for site in unlabelled_sites(prepared.sites)] == ["a"]
    made = pseudo_sites(prepared.sites, guesser, folder, PseudoSettings())
    assert made.places == ("a/2020-06-01", "b")  # what judges is not labelled
    learned = {(site.name, site.date): site for site in learned_sites(prepared, data, out).sites}
    given = {(site.name, site.date): site for site in prepared.sites}
    assert learned["a", "2014-06-01"] == given["a", "2014-06-01"]
    assert learned["a", "2020-06-01"].label == str(folder / "a/2020-06-01/label.tif")
    assert learned["b", ""].label == str(folder / "b/label.tif") and learned["judge", ""].label is None
    before = learned_identity(data, out)

    pseudo_sites(prepared.sites, guesser, folder, PseudoSettings(split="train"))
    assert (folder / "b/label.tif").is_file()  # of the job before: nobody learns from it any more
    learned = {(site.name, site.date): site for site in learned_sites(prepared, data, out).sites}
    assert learned["b", ""].label is None and learned["a", "2020-06-01"].trust == "pseudo"
    assert learned_identity(data, out) != before
