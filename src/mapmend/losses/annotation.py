"""Dynamic shuffle and diagonal annotation of the cells of a batch: how far its neighbours in features bear out a label.

C2FNet (IEEE TGRS 63, 2025) states an Unsupervised Dynamic Shuffle and Diagonal Annotation and no equations; what
is here is our formulation, in which transport between cells gives both a confidence and a class distribution.
Nothing here has a gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mapmend.losses.cells import Cells
from mapmend.losses.transport import sinkhorn

_TIE = 1e-4  # confidences that differ by less than the transport's own error are equal


@dataclass(frozen=True)
class Annotation:
    """What transport says of N cells.

    Attributes:
        soft: d, N in [0, 1]: the share of a cell's mass that falls on cells of its own label.
        hard: N in [0, 1]: in which share of the transports the most of it falls on the cell itself.
        mixture: q, N×K: mean label mixture of the cells that the mass falls on.
    """

    soft: Tensor
    hard: Tensor
    mixture: Tensor


@torch.no_grad()
def annotate(
    cells: Cells,
    generator: torch.Generator,
    *,
    shuffle: bool = True,
    rounds: int = 4,
    group: int = 256,
    mu: float = 0.5,
    epsilon: float = 0.1,
) -> Annotation:
    """Transport each cell's prediction to the labels of a group of cells, at every scale of its features.

    Costs are C_ij = ‖π_i − u_j‖² + μ(1 − ⟨z_i, z_j⟩). Groups are as equal in size as can be, for a last group of few
    cells would find each of them sure of itself.

    Args:
        cells: N of them, at least one.
        generator: on the CPU.
        shuffle: groups are drawn anew in each round; else they are runs of neighbours, in one round.
        rounds: R.
        group: G, the most cells in a group.
        mu: weight of the features' part of the cost.
        epsilon: of the transport.
    """
    count, device = len(cells), cells.label.device
    order = torch.rand(rounds, count, generator=generator).argsort(1) if shuffle else torch.arange(count)[None]
    slots, member = _groups(count, group)
    index = order[:, slots].flatten(0, 1).to(device)
    # where a cell stands in its round: results are gathered, for to add them up has no fixed order on a GPU
    places = member.flatten().nonzero()[:, 0]
    place = torch.empty_like(order).scatter_(1, order, places.expand_as(order)).to(device)
    member = member.repeat(len(order), 1).to(device)
    classes = cells.mixture.shape[1]
    prediction, mixture = cells.prediction[index], cells.mixture[index]
    label = F.one_hot(cells.label, classes).float()[index]
    squares = prediction.square().sum(2)[..., None] + mixture.square().sum(2)[:, None]
    by_class = squares - 2 * prediction @ mixture.mT
    found = torch.zeros(len(order), count, classes + 2, device=device)
    for feature in cells.features:
        z = feature[index]
        plan = sinkhorn(by_class + mu * (1 - z @ z.mT), member, epsilon=epsilon)
        itself = plan.argmax(2) == torch.arange(plan.shape[1], device=device)
        own = ((plan @ label) * label).sum(2)
        every = torch.cat([own[..., None], itself[..., None].float(), plan @ mixture], 2)
        found += every.view(len(order), -1, classes + 2).gather(1, place[..., None].expand(-1, -1, classes + 2))
    mean = found.mean(0) / len(cells.features)
    return Annotation(mean[:, 0], mean[:, 1], mean[:, 2:])


def most_confident(score: Tensor, label: Tensor, share: float, classes: int) -> Tensor:
    """Of each class, the cells whose score is at least its (1 − share) quantile; ties are kept.

    Args:
        score: N.
        label: N int64.
        share: ρ, of the cells of a class.
        classes: K.

    Returns:
        N bool.
    """
    if not len(score):
        return torch.zeros_like(score, dtype=torch.bool)
    order = score.argsort(stable=True)
    rising = score[order[label[order].argsort(stable=True)]]  # class by class
    count = torch.bincount(label, minlength=classes)
    start = count.cumsum(0) - count
    at = (1 - share) * (count - 1).clamp(min=0)
    low, high = ((start + end.long()).clamp(max=len(score) - 1) for end in (at.floor(), at.ceil()))
    threshold = torch.lerp(rising[low], rising[high], at.frac().to(rising.dtype))
    return score >= threshold[label] - _TIE


def blend(log_p: Tensor, mixture: Tensor, beta: float) -> Tensor:
    """q(x) ∝ p(x)^β · m(x)^{1−β} of log-probabilities and a mixture, both B×K×H×W; no gradient."""
    return torch.softmax(beta * log_p.detach() + (1 - beta) * mixture.clamp(min=1e-8).log(), 1)


def _groups(count: int, most: int) -> tuple[Tensor, Tensor]:
    """Runs of 0 … count − 1 that differ in length by one at most, n×S, and which slots they fill; the rest repeat."""
    groups = -(-count // most)
    starts = torch.arange(groups + 1) * count // max(groups, 1)
    longest = -(-count // groups) if groups else 0
    slots = starts[:-1, None] + torch.arange(longest)
    return slots.clamp(max=max(count - 1, 0)), slots < starts[1:, None]
