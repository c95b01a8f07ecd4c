"""What a reader has to know about an assessment's figures, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mapmend.accuracy.design import SampleDesign


def on_lone_samples(
    names: Sequence[str], sizes: Sequence[float], samples: Sequence[int], *, matched: bool
) -> Iterator[str]:
    """Which estimates strata with no sample, or one, leave undefined.

    Args:
        names: of the strata.
        sizes: of the strata.
        samples: answered in each.
        matched: the strata are the map's classes.
    """
    for name, size, number in zip(names, sizes, samples, strict=True):
        if number == 0 and size > 0:
            rest = (
                "its own user's accuracy and cells are undefined; those of the map's other classes are given"
                if matched
                else "what the map may show there are undefined"
            )
            yield f"'{name}' has no sample: overall accuracy, all areas and producer's accuracies, and {rest}"
        if number == 1 and size > 1:
            own = "of its user's accuracy, of" if matched else "of what the map may show there, of"
            yield (
                f"'{name}' was sampled once: standard errors and classical intervals {own} the overall accuracy, and "
                "of all areas and producer's accuracies are undefined; the others need none"
            )


def on_classes(names: Sequence[str], counts: Sequence[Sequence[int]], pixels: Sequence[float]) -> Iterator[str]:
    """Which classes map or reference lack; counts are K×K, [map][reference]."""
    for k, name in enumerate(names):
        if pixels[k] == 0:
            yield f"'{name}' is not in the map: its user's accuracy is undefined"
        elif not sum(counts[k]):
            yield f"'{name}' of the map has no sample: its user's accuracy is undefined"
        if not any(row[k] for row in counts):
            yield f"'{name}' is not in the reference sample: its producer's accuracy is undefined"


def on_answers(design: SampleDesign, answered: Sequence[int], half: int, unit: str) -> Iterator[str]:
    """How many points have no answer, by stratum."""
    lacking = [one.samples - number for one, number in zip(design.strata, answered, strict=True)]
    drawn = sum(one.samples for one in design.strata)
    if sum(lacking):
        parts = [
            f"'{one.name}' {number} of {one.samples}"
            for one, number in zip(design.strata, lacking, strict=True)
            if number
        ]
        yield (
            f"{sum(lacking)} of {drawn} {unit} have no answer ({', '.join(parts)}): estimates hold if they are missing "
            "by chance within their strata"
        )
    if half:
        yield f"points answered for one date alone, which count as unanswered: {half}"


def on_form(form: str, map_agrees: bool) -> Iterator[str]:
    """What the estimator takes for granted."""
    if form == "stratified":
        yield (
            "the strata are those of the sample's design, not the classes of this map; standard errors allow for a "
            "finite population, intervals do not, which errs on the safe side"
        )
    if form == "post":
        yield (
            "weighted by the map's classes after the draw: intervals are conditional on how many points fell into each"
        )
    if form == "plain":
        yield "not weighted by the map's classes: " + (
            "one of them has fewer than two points" if map_agrees else "the map is not of the sample's population"
        )
    if form == "clusters":
        yield (
            "patches are the units: intervals allow for how much the pixels of a patch are alike, and are wide where "
            "few patches hold a class"
        )


def on_kind(kind: str) -> Iterator[str]:
    """What is said of systematic samples."""
    if kind == "systematic":
        yield (
            "a systematic sample is treated as a simple random one, which errs on the safe side: its true errors are "
            "usually smaller, unless the landscape repeats itself at the grid's spacing"
        )
