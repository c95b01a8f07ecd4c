"""Three-state maps: how often the promise is kept over 500 draws of calibration blocks, and what it costs.

    python benchmarks/accuracy/conformal.py [--trials 500] [--workers 2]

Every trial draws other calibration blocks of 64² pixels from a map, sets both thresholds for 5 % errors at a risk of
5 % (each), and looks at all other blocks: the share of false "class" among what is called the class (commission), and
of the class among what is called not the class (omission). A trial in which nothing is called keeps its promise; how
often anything is called the class stands beside. Pixel by pixel is the same search with a binomial test that takes
every pixel for a draw of its own.

1. Simulated maps of 2048² pixels: truth and error are smooth random fields; probabilities are right, or too sure of
   themselves, and in the last two maps another class looks like this one in some regions.
2. The embedded landscape (1536²): a small convolutional network that learned on another landscape.

About 10 minutes on two cores.
"""

from __future__ import annotations

import argparse
import math
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from scipy import ndimage, stats

from mapmend.accuracy.conformal import ThreeStateCounts
from mapmend.core.stored import STEPS
from mapmend.data.landscape import Landscape, generate

sys.path.insert(0, str(Path(__file__).parents[1]))
from trials import machine, table

ALPHA, DELTA, BLOCK = 0.05, 0.05, 64
SIZES = (20, 40, 80, 160)
METHODS = ("bootstrap", "t", "betting", "pixel by pixel")
SIMULATED = {  # pixels that truth and error are smooth over, error's size, sureness, class's share, look-alike's share
    "short errors, right probabilities": (8, 8, 0.5, 1, 0.3, 0),
    "long errors, too sure": (30, 30, 0.3, 3, 0.3, 0),
    "rare class, too sure": (30, 10, 0.15, 2, 0.1, 0),
    "look-alike in 1 %": (30, 10, 0.2, 2, 0.3, 0.01),
    "long look-alike in 1.5 %": (60, 10, 0.3, 2, 0.3, 0.015),
}
LEARNED = {2: "forest", 3: "grassland", 7: "building"}  # code and name
SEED, TEACHER = 0, 1


def smooth(rng: np.random.Generator, side: int, length: float) -> np.ndarray:
    """A random field of unit variance."""
    field = ndimage.gaussian_filter(rng.normal(size=(side, side)).astype(np.float32), length, mode="wrap")
    return field / field.std()


def simulated(length: float, error: float, size: float, sure: float, share: float, alike: float) -> np.ndarray:
    """Counts of the blocks of a simulated map, N×201×2."""
    rng = np.random.default_rng(SEED)
    field, noise = smooth(rng, 2048, length), smooth(rng, 2048, error)
    limit = np.quantile(field, 1 - share)
    seen = field - limit + size * noise
    if alike:
        other = smooth(rng, 2048, length)
        seen = np.where(other > np.quantile(other, 1 - alike), np.abs(seen) + 0.5, seen)
    return counted(stats.norm.cdf(sure * seen / size), field > limit)


def learned(trials_seed: int) -> dict[str, np.ndarray]:
    """The same of the landscape's classes, by a network that learned on another landscape."""
    import torch

    torch.manual_seed(trials_seed)
    teacher, pupil = generate(512, TEACHER), generate(1536, SEED)
    layers: list[torch.nn.Module] = []
    for index, (made, width) in enumerate(((6, 24), (24, 24), (24, 24), (24, 8))):
        layers += [torch.nn.Conv2d(made, width, 3, padding="same", dilation=2 if index == 2 else 1), torch.nn.ReLU()]
    network = torch.nn.Sequential(*layers[:-1])
    pixels, truth = torch.tensor(_bands(teacher)), torch.tensor(teacher.truth_1.astype(np.int64))
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3)
    for _ in range(150):
        row, col = torch.randint(0, 512 - 192, (2,)).tolist()
        piece = slice(row, row + 192), slice(col, col + 192)
        loss = torch.nn.functional.cross_entropy(network(pixels[None, :, *piece]), truth[None, *piece])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.inference_mode():
        shares = network(torch.tensor(_bands(pupil))[None])[0].softmax(0).numpy()
    agreement = (shares.argmax(0) == pupil.truth_1).mean()
    print(f"network: overall accuracy {agreement:.3f} on the landscape it did not see", file=sys.stderr)
    return {f"landscape, {name}": counted(shares[code], pupil.truth_1 == code) for code, name in LEARNED.items()}


def _bands(landscape: Landscape) -> np.ndarray:
    bands = np.concatenate([landscape.image_1, landscape.radar_1]).astype(np.float32)
    return (bands - bands.mean((1, 2), keepdims=True)) / bands.std((1, 2), keepdims=True)


def counted(probability: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Counts of every block."""
    counts, steps = ThreeStateCounts(), np.rint(STEPS * probability).astype(np.uint8)
    for row in range(0, len(steps), BLOCK):
        for col in range(0, steps.shape[1], BLOCK):
            piece = slice(row, row + BLOCK), slice(col, col + BLOCK)
            counts.update(f"{row} {col}", steps[piece], truth[piece])
    return np.array(list(counts.blocks.values()))


def pixel_by_pixel(total: np.ndarray) -> int | None:
    """The lowest step from the top that a binomial test over pixels lets through."""
    upward = total[::-1].cumsum(0)[::-1]
    tested = np.flatnonzero(total.any(1))
    passed = stats.binom.cdf(upward[tested, 0], upward[tested].sum(1), ALPHA) <= DELTA
    failed = np.flatnonzero(~passed)
    first = failed[-1] + 1 if failed.size else 0
    return int(tested[first]) if first < len(tested) else None


def one_trial(blocks: np.ndarray, size: int, method: str, seed: int) -> tuple[bool, bool, bool, bool, float]:
    """Commission kept, omission kept, anything called the class, anything called not, share that abstains."""
    order = np.random.default_rng(seed).permutation(len(blocks))
    drawn, rest = blocks[order[:size]], blocks[order[size:]].sum(0)
    if method == "pixel by pixel":
        upper, mirrored = pixel_by_pixel(drawn.sum(0)), pixel_by_pixel(drawn.sum(0)[::-1, ::-1])
        lower = None if mirrored is None else STEPS + 1 - mirrored
        if upper is not None and lower is not None and upper < lower:
            upper = lower = min(max(STEPS // 2, upper), lower)
    else:
        counts = ThreeStateCounts()
        counts.blocks = {str(number): block for number, block in enumerate(drawn)}
        found = counts.thresholds(ALPHA, DELTA, method, others=len(blocks) - size)
        upper, lower = found.upper, found.lower
    called = rest[STEPS + 1 if upper is None else upper :].sum(0)
    denied = rest[: 0 if lower is None else lower].sum(0)
    kept = called[0] <= ALPHA * called.sum(), denied[1] <= ALPHA * denied.sum()
    return (*kept, upper is not None, lower is not None, 1 - (called.sum() + denied.sum()) / rest.sum())


def case(given: tuple[str, np.ndarray, int, str, int]) -> list[str]:
    """A row of the table."""
    name, blocks, size, method, trials = given
    found = np.array([one_trial(blocks, size, method, seed) for seed in range(trials)], float).mean(0)
    return [name, str(size), method, *(f"{100 * value:.1f}" for value in found)]


def main() -> None:
    """Make the maps, run the trials, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    maps = {name: simulated(*settings) for name, settings in SIMULATED.items()} | learned(SEED)
    cases = [
        (name, blocks, size, method, given.trials)
        for name, blocks in maps.items()
        for size in SIZES
        for method in METHODS
    ]
    with ProcessPoolExecutor(given.workers) as pool:
        rows = list(pool.map(case, cases))
    print(f"`python benchmarks/accuracy/conformal.py --trials {given.trials}`\n")
    head = (
        "map",
        "blocks",
        "method",
        "commission kept, %",
        "omission kept, %",
        "class called, %",
        "not class called, %",
    )
    print(table((*head, "abstains, % of pixels"), rows))
    print("\nLeast and mean over all maps and numbers of blocks:\n")
    short = []
    for method in METHODS:
        values = np.array([row[3:] for row in rows if row[2] == method], float)
        kept = values[:, :2]
        short.append([method, *(f"{value:.1f}" for value in (*kept.min(0), *kept.mean(0), values[:, 4].mean()))])
    head = ("method", "commission, least", "omission, least", "commission, mean", "omission, mean", "abstains, mean")
    print(table(head, short))
    noise = 100 * math.sqrt(DELTA * (1 - DELTA) / given.trials)
    print(
        f"\n{given.trials} trials each, so a share of 95 % has a standard error of {noise:.1f}; seeds 0 to "
        f"{given.trials - 1} of the draws, {SEED} of the maps, {TEACHER} of the network's landscape. {machine()}."
    )


if __name__ == "__main__":
    main()
