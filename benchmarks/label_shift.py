"""How well `doctor` tells a label that lies beside its image, on generated landscapes whose shift is known.

    python benchmarks/label_shift.py [--first 200] [--seeds 30] [--side 384]

The rule's thresholds were set on the seeds 0 to 23 and 100 to 119; those measured here are others. `alarm` is the share
of landscapes in which a shift is reported; the error is the distance of the reported shift from the true one in pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from mapmend.data.label_shift import Shift, estimate_shift
from mapmend.data.landscape.generation import Landscape, generate
from trials import machine, table

RADIUS = 16
HALF_CELL = 5  # pixels by which the generator puts its coarse label up and left

Case = Callable[[Landscape, Landscape, np.random.Generator], tuple[np.ndarray, tuple[int, int] | None]]


def truth_in_place(place: Landscape, other: Landscape, rng: np.random.Generator) -> tuple[np.ndarray, None]:
    return place.truth_1, None


def coarse_in_place(place: Landscape, other: Landscape, rng: np.random.Generator) -> tuple[np.ndarray, None]:
    return np.roll(place.label, (HALF_CELL, HALF_CELL), (0, 1)), None


def of_another_place(place: Landscape, other: Landscape, rng: np.random.Generator) -> tuple[np.ndarray, None]:
    return other.truth_1, None


def truth_moved(place: Landscape, other: Landscape, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int]]:
    dy, dx = (int(n) for n in rng.integers(-12, 13, 2))
    return np.roll(place.truth_1, (dy, dx), (0, 1)), (dx, dy)


def coarse_moved(place: Landscape, other: Landscape, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int]]:
    return place.label, (-HALF_CELL, -HALF_CELL)


CASES: dict[str, Case] = {
    "truth in place": truth_in_place,
    "coarse label in place": coarse_in_place,
    "truth of another place": of_another_place,
    "truth moved by up to 12 px": truth_moved,
    "coarse label moved by half a cell": coarse_moved,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--side", type=int, default=384)
    given = parser.parse_args()
    alarms: dict[str, int] = dict.fromkeys(CASES, 0)
    errors: dict[str, list[float]] = {name: [] for name in CASES}
    places = [generate(given.side, seed) for seed in range(given.first, given.first + given.seeds)]
    for number, place in enumerate(places):
        for name, case in CASES.items():
            labels, true = case(place, places[number - 1], np.random.default_rng(number))
            shift: Shift = estimate_shift(place.image_1, place.valid_1, labels, RADIUS)
            alarms[name] += shift.certain
            if shift.certain and true is not None:
                errors[name].append(float(np.hypot(shift.dx - true[0], shift.dy - true[1])))
    rows = []
    for name in CASES:
        worst = f"{np.median(errors[name]):.2f} / {max(errors[name]):.2f}" if errors[name] else "–"
        rows.append([name, f"{alarms[name]} of {given.seeds}", worst])
    print(table(["label", "alarm", "error, median / worst"], rows))
    print(f"\n{machine()}")


if __name__ == "__main__":
    main()
